// Runs each time the Label tab's page is mounted; gr.HTML gives it element, trigger and watch.
const SETTLE_MS = 200; // a double click must not judge the pair that has just come up
const FIELDS = "input, textarea, select, [contenteditable], [role=textbox], [role=listbox]";
let shownAt = performance.now();

const page = () => element.querySelector("[data-assignment]");
const choices = () => element.querySelectorAll("[data-choice]");

function settle() {
  shownAt = performance.now();
  choices().forEach((button) => button.setAttribute("aria-disabled", "true"));
  setTimeout(() => choices().forEach((button) => button.removeAttribute("aria-disabled")), SETTLE_MS);
}

function act(button) {
  if (button.disabled || button.getAttribute("aria-disabled") === "true") return;
  if (button.dataset.choice) {
    page().dataset.choice = button.dataset.choice;
    page().dataset.seconds = ((performance.now() - shownAt) / 1000).toFixed(1);
    trigger("pick");
  } else if (button.dataset.action === "undo") {
    trigger("undo");
  } else {
    trigger("next");
  }
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-choice], [data-action]");
  if (button && event.detail < 2) act(button);
});

function onKey(event) {
  if (!element.isConnected) {
    document.removeEventListener("keydown", onKey);
    return;
  }
  const hidden = element.getClientRects().length === 0;
  if (hidden || event.repeat || event.isComposing || event.defaultPrevented) return;
  if (event.target.closest?.(FIELDS) || document.querySelector("dialog[open]")) return;
  let key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && key === "z" && !event.shiftKey) key = "u";
  else if (event.ctrlKey || event.metaKey || event.altKey) return;
  const button = [...element.querySelectorAll("[data-key]")].find((b) => b.dataset.key === key);
  if (!button) return;
  event.preventDefault();
  act(button);
}
document.addEventListener("keydown", onKey);

let shown = page()?.dataset.assignment;
if (shown) settle();
watch("value", () => {
  const now = page()?.dataset.assignment;
  if (now === shown) return;
  shown = now;
  if (!now) return;
  settle();
  element.querySelector(".lb-dialogue").scrollTop = 0;
  if (element.getBoundingClientRect().top < 0) element.scrollIntoView({ block: "start" });
});
