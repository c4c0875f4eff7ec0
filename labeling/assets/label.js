// Runs each time the Label tab's page is mounted; gr.HTML gives it element, props,
// trigger and watch.
const SETTLE_MS = 250; // a second tap must not judge the pair that has just come up
let settling = 0;
// Not announced: a reader hears what became of the pick.
const SAVING = document.createElement("template");
SAVING.innerHTML = '<span class="lb-saving" aria-hidden="true">Saving…</span>';

// --- picks -----------------------------------------------------------------------------------

function choose(choice) {
  const pair = staged();
  if (!pair || desk.undoing) return;
  if (view() === "practice") return answerExample(choice);
  if (choice === "skip") return openSkip();
  pair.draft.choice = choice;
  if (detailed()) fillDraft();
  else send();
}

function send() {
  const pair = staged();
  if (!pair?.draft.choice || desk.undoing) return;
  stopClock();
  const editing = view() === "edit";
  const parcel = parcelOf(pair, editing);
  parcel.done = (html) => stored(parcel, html);
  parcel.failed = (refusal) => refused(parcel, refusal);
  const returning = outbox.held;
  if (editing) desk.edit = null;
  else desk.pair = desk.ahead.shift() ?? null;
  outbox.add(parcel, { first: returning });
  find(".lb-actions [data-action=undo]").disabled = false;
  settle();
  forward();
  say(SAVING.content.cloneNode(true));
}

function settle() {
  const choices = all("[data-choice]");
  choices.forEach((button) => button.setAttribute("aria-disabled", "true"));
  clearTimeout(settling);
  settling = setTimeout(() => choices.forEach((button) => button.removeAttribute("aria-disabled")), SETTLE_MS);
}

// On to the change that was begun, the pair that waits, or the end when the server has none.
function forward() {
  if (desk.edit) return show("edit");
  const none = !desk.pair && outbox.waiting.length === 0;
  show(none ? "end" : "pair");
}

function stored(parcel, html) {
  const turn = unpack(html);
  if (parcel.labeler !== desk.labeler) return;
  const before = desk.pair;
  merge(turn);
  fillAround(turn);
  const working = ["pair", "end"].includes(view());
  if (working && (desk.pair !== before || !desk.pair)) forward();
  if (view() !== "practice") say(turn.part("said"));
}

function refused(parcel, refusal) {
  if (parcel.labeler !== desk.labeler) {
    say("A pick of " + parcel.labeler + " was not saved: " + refusal.message);
    return;
  }
  if (desk.undoing) {
    desk.undoing = false;
    outbox.forgetUndo();
  }
  bringBack(parcel);
  say("");
  trouble("Your pick was not saved. " + refusal.message + " Your answer is still marked.", {
    retry: true,
    fetch: refusal.answered && !parcel.editing,
  });
}

// A pick that is not on its way any more stands on the stage again, its answer marked.
function bringBack(parcel) {
  if (parcel.editing) {
    desk.edit = parcel.pick;
    return show("edit");
  }
  if (desk.pair) desk.ahead.unshift(desk.pair);
  desk.pair = parcel.pick;
  show("pair");
}

function undo() {
  if (desk.undoing) return;
  const parcel = outbox.recall();
  if (parcel) {
    parcel.pick.sent = "";
    bringBack(parcel);
    say("Taken back before it was sent.");
    return;
  }
  desk.undoing = true;
  fillDraft();
  const request = ["undo", desk.labeler, desk.batch];
  const labeler = desk.labeler;
  const over = () => {
    desk.undoing = false;
    return labeler === desk.labeler;
  };
  outbox.add({
    request,
    done: (html) => over() && arrive(unpack(html)),
    failed: (refusal) => {
      if (!over()) return;
      fillDraft();
      if (refusal.answered) say(refusal.message);
      else trouble(refusal.message + " Whether the pick was taken back is not known.", { fetch: true });
    },
  });
}

// Shows the server's pair, whatever was on the stage, and what it said.
function arrive(turn) {
  merge(turn, { replace: true });
  fillAround(turn);
  if (view() === "welcome") return welcome();
  forward();
  say(turn.part("said"));
}

async function fetchNext() {
  await outbox.quiet();
  outbox.held = false;
  try {
    const [, html] = await call("next_pair", desk.labeler, desk.batch);
    arrive(unpack(html));
  } catch (refusal) {
    if (view() === "pair") trouble(refusal.message, { fetch: true });
    else say(refusal.message);
  }
  outbox.pump();
}

function chooseBatch(key) {
  desk.batch = key;
  memory.set("batch", key);
  fetchNext();
}

// --- earlier picks -----------------------------------------------------------------------------

async function openHistory(page) {
  await outbox.quiet();
  try {
    const [, html] = await call("history", desk.labeler, page);
    slot("history").innerHTML = html;
    for (const time of slot("history").querySelectorAll("time")) {
      time.textContent = new Date(time.dateTime).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    }
    show("history");
    say("");
  } catch (refusal) {
    say(refusal.message);
  }
}

async function openEdit(assignment) {
  try {
    const [, html] = await call("look_back", assignment, desk.labeler);
    desk.edit = unpack(html).pairs[0];
    show("edit");
    say("");
  } catch (refusal) {
    say(refusal.message);
  }
}

// --- practice ------------------------------------------------------------------------------------

function practise() {
  memory.set("content-note", "read");
  const items = all("template[data-example]").map(asPair);
  desk.drill = { items, at: 0, right: 0, heard: false };
  show("practice");
  say("");
}

async function answerExample(choice) {
  const { drill } = desk;
  const item = drill.items[drill.at];
  if (drill.heard || choice === "skip") return;
  item.draft.choice = choice;
  fillDraft();
  try {
    const [answer, html] = await call("practice", item.id, choice, desk.labeler);
    if (desk.drill !== drill) return;
    desk.fresh = false;
    drill.heard = true;
    drill.right += answer.correct ? 1 : 0;
    fillDraft();
    slot("feedback").innerHTML = html;
    find(".lb-feedback").scrollIntoView({ block: "nearest" });
  } catch (refusal) {
    item.draft.choice = "";
    fillDraft();
    say(refusal.message);
  }
}

function nextExample() {
  const { drill } = desk;
  drill.heard = false;
  slot("feedback").replaceChildren();
  drill.at += 1;
  if (drill.at < drill.items.length) return show("practice");
  slot("drilled").textContent = "You and the guidelines agreed on " + drill.right + " of " + drill.items.length + " pairs. The guidelines stay at hand below.";
  show("drilled");
}

function leavePractice() {
  memory.set("practice-" + desk.labeler, "left");
  desk.fresh = false;
  desk.drill = null;
  forward();
}

// --- what buttons do -------------------------------------------------------------------------------

const actions = {
  again: send,
  all: () => chooseBatch(""),
  back: () => forward(),
  begin: leavePractice,
  "begin-known": () => forward(),
  "cancel-skip": () => {
    closeSkip();
    focusOn(find(".lb-question"));
  },
  change: (button) => openEdit(button.dataset.assignment),
  close: (button) => button.closest("dialog").close(),
  details: () => {
    const open = !detailed();
    memory.set("details", open ? "1" : "");
    if (view() === "edit") desk.edit.detailed = open;
    fillDraft();
  },
  flag: () => {
    staged().draft.flagged = !staged().draft.flagged;
    fillDraft();
  },
  guidelines: () => {
    dialog("guidelines").showModal();
    if (staged()?.rules) memory.set("rules", staged().rules);
    markGuidelines();
  },
  history: () => openHistory(0),
  "history-page": (button) => openHistory(Number(button.dataset.page)),
  keep: () => {
    desk.edit = null;
    forward();
    say("The earlier pick stays as it is.");
  },
  keys: () => dialog("keys").showModal(),
  leave: leavePractice,
  next: fetchNext,
  "next-example": nextExample,
  practise: () => {
    dialog("guidelines").close();
    practise();
  },
  send,
  "sign-out": signOut,
  undo,
};

function act(button) {
  const { choice, action, set, value, skip } = button.dataset;
  if (["begin", "begin-known"].includes(action)) memory.set("content-note", "read");
  if (choice) choose(choice);
  else if (skip !== undefined) {
    const { draft } = staged();
    Object.assign(draft, { choice: "skip", strength: "", reasons: new Set(skip ? [skip] : []) });
    send();
  } else if (set) {
    const { draft } = staged();
    if (set === "strength") draft.strength = draft.strength === value ? "" : value;
    else if (!draft.reasons.delete(value)) draft.reasons.add(value);
    fillDraft();
  } else actions[action]?.(button);
}

element.addEventListener("click", (event) => {
  if (event.target.nodeName === "DIALOG") return event.target.close();
  const button = event.target.closest("button");
  if (!button || button.disabled) return;
  // A key presses a button with detail 0, a pointer with 1, its double click with 2.
  const pointed = button.dataset.choice && event.detail > 0;
  if (pointed && (event.detail > 1 || button.ariaDisabled === "true")) return;
  act(button);
});
// The focus stays on the heading when the mouse is used, so that Enter still sends.
element.addEventListener("mousedown", (event) => {
  if (event.target.closest(".lb-panel button")) event.preventDefault();
});
find("#lb-note").addEventListener("input", (event) => {
  if (staged()) staged().draft.note = event.target.value;
});
slot("batches").addEventListener("change", (event) => chooseBatch(event.target.value));
// Time counts only while the pair is to be seen: not in another tab, be it of the browser or the app.
document.addEventListener("visibilitychange", startClock);
new IntersectionObserver(startClock).observe(root);

async function signOut() {
  await outbox.quiet();
  if (outbox.waiting.length) trouble("Some picks are not saved yet: send them first.", { retry: true });
  else trigger("sign_out");
}

// --- who is here -----------------------------------------------------------------------------------

// Gradio has signed somebody in or out. It may tell it twice, the second time late.
function receive(html) {
  if (!html?.trim()) {
    desk.labeler = "";
    show("blank");
    return;
  }
  const turn = unpack(html);
  if (turn.labeler === desk.labeler) return;
  slot("who").textContent = turn.labeler;
  Object.assign(desk, { labeler: turn.labeler, batch: "", pair: null, ahead: [], edit: null, drill: null, undoing: false });
  merge(turn, { replace: true });
  fillAround(turn);
  say(turn.part("said"));
  welcome();
  const kept = memory.get("batch");
  if (kept && slot("batches").querySelector("option[value='" + CSS.escape(kept) + "']")) chooseBatch(kept);
}

// Once per browser: what is to be read here. Once per labeler: the practice.
function welcome() {
  const known = memory.get("content-note") === "read";
  const offer = desk.fresh && !memory.get("practice-" + desk.labeler);
  if (!desk.pair || (known && !offer)) return forward();
  find(".lb-welcome .lb-note").hidden = known;
  find("[data-when=new]").hidden = !offer;
  find(".lb-welcome [data-action=practise]").hidden = !offer;
  find(".lb-welcome [data-action=begin]").hidden = !offer;
  find(".lb-welcome [data-action=begin-known]").hidden = offer;
  show("welcome");
}

receive(props.value);
watch("value", () => receive(props.value));
