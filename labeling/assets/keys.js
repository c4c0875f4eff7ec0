// Every button with a data-key answers to that key, as long as it is on the screen.
const FIELDS = "input, textarea, select, [contenteditable], [role=textbox], [role=listbox], [role=combobox], [role=slider], [role=radio]";
const PRESSABLE = "button, a[href], summary, [role=button], [role=menuitem]";

function keyOf(event) {
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && key === "z" && !event.shiftKey && !event.altKey) return "u";
  return event.ctrlKey || event.metaKey || event.altKey ? "" : key;
}

function onKey(event) {
  if (!element.isConnected) {
    document.removeEventListener("keydown", onKey);
    return;
  }
  if (event.key === "Escape" && event.target.id === "lb-note") {
    focusOn(find(".lb-question"));
    return;
  }
  if (!onScreen(root) || event.repeat || event.isComposing || event.defaultPrevented) return;
  if (event.target.closest?.(FIELDS) || document.querySelector("dialog[open]")) return;
  const key = keyOf(event);
  if (!key) return;
  const pressing = key === "enter" && !event.target.matches?.(OPEN_TAB) && event.target.closest?.(PRESSABLE);
  // Enter on a choice that is marked already sends it; on any other button it presses that.
  if (pressing && !(detailed() && pressing.dataset.choice && pressing.getAttribute("aria-pressed") === "true")) return;
  const skipping = find(".lb-skip");
  const scope = skipping.hidden || view() === "history" ? root : skipping;
  if (key === "n" && scope === root && onScreen(find("#lb-note"))) {
    event.preventDefault();
    find("#lb-note").focus();
    return;
  }
  const button = [...scope.querySelectorAll("[data-key]")].find((each) => each.dataset.key.toLowerCase() === key && !each.disabled && onScreen(each));
  if (!button) return;
  event.preventDefault();
  act(button);
}
document.addEventListener("keydown", onKey);
