// What is on the labeler's desk: the pair they see, the one after it, and their answer so far.
const memory = {
  kept: new Map(),
  get(name) {
    try {
      return localStorage.getItem("detox-arena-" + name) ?? memory.kept.get(name) ?? "";
    } catch {
      return memory.kept.get(name) ?? ""; // a browser may refuse to store anything
    }
  },
  set(name, value) {
    memory.kept.set(name, value);
    try {
      localStorage.setItem("detox-arena-" + name, value);
    } catch {
      /* kept for this visit */
    }
  },
};

const desk = {
  labeler: "",
  batch: "",
  fresh: false, // the labeler has neither practised nor picked
  pair: null, // null while the next one is on its way
  ahead: [],
  edit: null, // an earlier pick on the stage instead
  drill: null, // {items, at, right, heard}
  undoing: false,
};

function newDraft(answer = {}) {
  return { choice: "", strength: "", reasons: new Set(), note: "", flagged: false, ms: 0, ...answer };
}

function asPair(template) {
  const { assignment, example, place, choice, strength, reasons, note, flagged, seen, when } = template.dataset;
  const old = choice && {
    choice,
    strength,
    note,
    reasons: new Set(reasons ? reasons.split("\n") : []),
    flagged: flagged !== undefined,
  };
  return {
    id: assignment ?? example,
    place,
    when,
    seen: seen !== undefined,
    content: template.content,
    rules: template.content.querySelector(".lb-own-rules")?.textContent ?? "",
    draft: newDraft(old || {}),
    detailed: Boolean(old && (strength || reasons || note || flagged !== undefined)),
    uuid: "",
    sent: "",
  };
}

// The parts of a page that the server sends, without putting any of it on this page.
function unpack(html) {
  const box = document.createElement("template");
  box.innerHTML = html;
  const turn = box.content.querySelector(".lb-turn");
  return {
    labeler: turn.dataset.labeler,
    picked: "undo" in turn.dataset,
    fresh: "new" in turn.dataset,
    pairs: [...turn.querySelectorAll("template")].map(asPair),
    part: (name) => turn.querySelector("[data-part=" + name + "]"),
  };
}

// The pair on the stage, be it new, an earlier one, or an example.
function staged() {
  if (view() === "edit") return desk.edit;
  if (view() === "practice") return desk.drill.items[desk.drill.at];
  return desk.pair;
}

// Takes in what the server knows now; `replace` shows its pair whatever is on the stage.
function merge(turn, { replace = false } = {}) {
  desk.fresh = turn.fresh;
  // What the labeler has begun to say of a pair stays with it.
  const known = [desk.pair, ...desk.ahead].filter(Boolean);
  const pairs = turn.pairs
    .filter((pair) => !outbox.has(pair.id))
    .map((pair) => Object.assign(known.find((each) => each.id === pair.id) ?? pair, { place: pair.place }));
  if (replace || !desk.pair) desk.pair = pairs[0] ?? null;
  desk.ahead = pairs.filter((pair) => pair.id !== desk.pair?.id);
}

// The pick of `pair` as it goes to the server.
function parcelOf(pair, change) {
  const { choice, strength, reasons, note, flagged, ms } = pair.draft;
  const sided = choice === "left" || choice === "right";
  const told = [
    sided && strength ? strength : "",
    sided || choice === "skip" ? [...reasons] : [],
    note.trim(),
    flagged,
  ];
  const answer = JSON.stringify([choice, told]);
  // Another answer after one that may have arrived replaces it; the same one is kept once.
  const again = pair.sent !== "" && pair.sent !== answer;
  if (pair.sent !== answer) pair.uuid = newId();
  pair.sent = answer;
  const seconds = Math.round(ms / 100) / 10;
  const request = ["pick", choice, pair.id, seconds, desk.labeler, ...told, pair.uuid, change || again, desk.batch];
  return { request, pick: pair, labeler: desk.labeler, editing: change };
}
