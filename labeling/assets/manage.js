// Runs each time a part of the Manage tab is mounted; gr.HTML gives it element and trigger.
// A control says with data-do which event it asks for; its other data, that of the section around
// it and the named fields in there go along, as JSON in the section's data-asked.
const FIELDS = "input, textarea, select, [contenteditable], [role=textbox], [role=listbox]";

let asking;

function ask(control) {
  asking = { ...control.dataset };
  const section = control.closest("[data-asked]");
  const asked = { ...section.dataset, ...control.dataset };
  for (const field of section.querySelectorAll("[name]")) {
    asked[field.name] = field.type === "checkbox" ? String(field.checked) : field.value;
  }
  if (control.matches("select")) asked.value = control.value;
  section.dataset.asked = JSON.stringify(asked);
  trigger(control.dataset.do);
}

element.addEventListener("click", (event) => {
  const control = event.target.closest("button[data-do]");
  // The second click of a double click would meet what has come up meanwhile.
  if (control && event.detail < 2) ask(control);
});
element.addEventListener("change", (event) => {
  if (event.target.matches("select[data-do]")) ask(event.target);
});

function onKey(event) {
  if (!element.isConnected) {
    document.removeEventListener("keydown", onKey);
    return;
  }
  const hidden = element.getClientRects().length === 0;
  if (hidden || event.repeat || event.isComposing || event.defaultPrevented) return;
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(FIELDS)) return;
  const key = event.key.toLowerCase();
  const control = [...element.querySelectorAll("[data-key]")].find((b) => b.dataset.key === key);
  if (!control) return;
  event.preventDefault();
  ask(control);
}
document.addEventListener("keydown", onKey);

// What came up stands where the click was: the focus stays, and a new pair begins at its top.
const stands = () => element.querySelector("[data-shown]")?.dataset.shown;
let shown = stands();
watch("value", () => {
  const now = stands();
  if (now && now !== shown && element.getBoundingClientRect().top < 0) {
    element.scrollIntoView({ block: "start" });
  }
  shown = now;
  if (!asking || document.activeElement !== document.body) return;
  const same = (control, names) => names.every((name) => control.dataset[name] === asking[name]);
  const controls = [...element.querySelectorAll("[data-do]")];
  const next =
    controls.find((control) => same(control, ["do", "key", "batch", "pair", "person"])) ||
    controls.find((control) => same(control, ["batch", "pair", "person"]));
  next?.focus({ preventScroll: true });
});
