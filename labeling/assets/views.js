// One view at a time, and what stands in it.
const root = element.querySelector(".lb-root");
const slot = (name) => root.querySelector("[data-slot=" + name + "]");
const find = (selector) => root.querySelector(selector);
const all = (selector) => [...root.querySelectorAll(selector)];
const view = () => root.dataset.view;
const onScreen = (node) => node.getClientRects().length > 0;
const dialog = (name) => find("[data-dialog=" + name + "]");

// The tab that is open already: the focus is on it when somebody has just come here.
const OPEN_TAB = "[role=tab][aria-selected=true]";
const clock = { since: 0 };

function stopClock() {
  const pair = clock.pair;
  if (pair && clock.since) pair.draft.ms += performance.now() - clock.since;
  clock.since = 0;
}

function startClock() {
  stopClock();
  clock.pair = staged();
  const showing = ["pair", "edit"].includes(view()) && clock.pair && !document.hidden && onScreen(root);
  clock.since = showing ? performance.now() : 0;
}

function show(name) {
  stopClock();
  root.dataset.view = name;
  for (const part of all("[data-of]")) part.hidden = !part.dataset.of.split(" ").includes(name);
  closeSkip();
  if (["pair", "edit", "practice"].includes(name)) fillStage();
  const heading = all("[data-of] h2[tabindex]").find(onScreen);
  focusOn(heading);
  startClock();
}

// A reader hears the new heading; nobody who works elsewhere on the page is disturbed.
function focusOn(heading) {
  const active = document.activeElement;
  const elsewhere = active && active !== document.body && !active.matches(OPEN_TAB) && !element.contains(active);
  if (!heading || elsewhere) return;
  active?.blur();
  heading.focus({ preventScroll: true });
  if (element.getBoundingClientRect().top < 0) element.scrollIntoView({ block: "start" });
}

function fillStage() {
  const pair = staged();
  const stage = find(".lb-stage");
  stage.dataset.assignment = pair?.id ?? "";
  stage.querySelector(".lb-main").hidden = !pair;
  stage.querySelector(".lb-waiting").hidden = Boolean(pair);
  if (!pair) return;
  const content = pair.content.cloneNode(true);
  slot("dialogue").replaceChildren(content.querySelector(".lb-dialogue"));
  slot("cards").replaceChildren(content.querySelector(".lb-cards"));
  slot("place").textContent = pair.place ? "Pair " + pair.place + ". " : "";
  find("#lb-note").value = pair.draft.note;
  slot("rules").textContent = pair.rules;
  find(".lb-batch-rules").hidden = !pair.rules;
  markGuidelines();
  fillBanner();
  trouble("");
  fillDraft();
}

// Whether the pair's batch has rules of its own that nobody has read in this browser.
function markGuidelines() {
  const rules = staged()?.rules ?? "";
  const unread = rules !== "" && memory.get("rules") !== rules;
  find(".lb-foot [data-action=guidelines] span").textContent = unread ? "Guidelines (new)" : "Guidelines";
}

function fillBanner() {
  const name = view();
  find(".lb-banner").hidden = name === "pair";
  find("[data-action=keep]").hidden = name !== "edit";
  find("[data-action=leave]").hidden = name !== "practice";
  if (name === "practice") {
    slot("banner").textContent = "Practice " + (desk.drill.at + 1) + " of " + desk.drill.items.length + ". Nothing here counts as a pick.";
  } else if (name === "edit") {
    const when = new Date(desk.edit.when).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    const seen = " You have seen which version wrote which, so the change is kept with a mark that it was not blind.";
    slot("banner").textContent = "You are changing an earlier pick, of " + when + "." + (desk.edit.seen ? seen : "");
  }
}

// In details mode a choice waits for its details; otherwise it is sent at once.
function detailed() {
  if (view() === "practice") return false;
  return memory.get("details") === "1" || (view() === "edit" && desk.edit.detailed);
}

function fillDraft() {
  const pair = staged();
  if (!pair) return;
  const { draft } = pair;
  const open = detailed();
  const heard = view() === "practice" && desk.drill.heard;
  const sided = draft.choice === "left" || draft.choice === "right";
  find(".lb-details").hidden = !open;
  find("[data-action=details]").setAttribute("aria-expanded", open);
  find("[data-action=flag]").setAttribute("aria-pressed", draft.flagged);
  find(".lb-feedback").hidden = !heard;
  for (const button of all("[data-choice]")) {
    const marked = button.dataset.choice === draft.choice;
    if (button.dataset.choice === "skip") button.classList.toggle("lb-marked", marked);
    else if (open || draft.choice) button.setAttribute("aria-pressed", marked);
    else button.removeAttribute("aria-pressed");
    button.toggleAttribute("disabled", Boolean(heard) || desk.undoing);
  }
  for (const chip of all("[data-set]")) {
    const { set, value } = chip.dataset;
    const pressed = set === "strength" ? draft.strength === value : draft.reasons.has(value);
    chip.setAttribute("aria-pressed", sided && pressed);
    chip.disabled = !sided;
  }
  find("[data-action=send]").disabled = !draft.choice;
  find(".lb-pair").dataset.marked = draft.choice;
}

function openSkip() {
  find(".lb-skip").hidden = false;
  find("[data-choice=skip]").setAttribute("aria-expanded", "true");
  find("[data-skip='']").focus();
}

function closeSkip() {
  find(".lb-skip").hidden = true;
  find("[data-choice=skip]").setAttribute("aria-expanded", "false");
}

// Everything that is not a pair: progress, the chooser of batches, the end.
function fillAround(turn) {
  slot("progress").replaceChildren(...turn.part("progress").childNodes);
  slot("end").replaceChildren(...turn.part("end").childNodes);
  const options = [...turn.part("batches").childNodes];
  slot("batches").replaceChildren(...options);
  find(".lb-batch").hidden = options.length === 0;
  find(".lb-actions [data-action=undo]").disabled = !turn.picked;
}

// `said` is a node, or a sentence of this page's own.
function say(said) {
  const words = typeof said === "string" ? [said] : [...said.childNodes];
  const other = view() === "end" ? "end-status" : view() === "history" ? "history-status" : "status";
  for (const name of ["status", "end-status", "history-status"]) {
    slot(name).replaceChildren(...(name === other ? words : []));
  }
}

// `retry` if the same answer may simply be sent again.
function trouble(sentence, { retry = false, fetch = false } = {}) {
  find(".lb-trouble").hidden = !sentence;
  slot("trouble").textContent = sentence;
  find("[data-action=again]").hidden = !retry;
  find(".lb-trouble [data-action=next]").hidden = !fetch;
}
