// Runs when the list of trainings is mounted; gr.HTML gives it element, trigger and watch.
// The name of the training that was clicked goes along in the list's data-asked.
const EVENTS = ["choose"];

let asked;

element.addEventListener("click", (event) => {
  const run = event.target.closest("button[data-run]");
  if (!run) return;
  asked = run.dataset.run;
  run.closest("[data-asked]").dataset.asked = asked;
  trigger("choose");
});

// The list is drawn anew while a training goes on: the focus stays where it was.
watch("value", () => {
  if (!asked || document.activeElement !== document.body) return;
  const same = [...element.querySelectorAll("[data-run]")].find((b) => b.dataset.run === asked);
  same?.focus({ preventScroll: true });
});
