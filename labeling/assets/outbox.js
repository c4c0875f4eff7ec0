// Picks on their way to the server: one at a time, in order, each until the server has stored it.
const PATIENCE_MS = 40000; // the database may wait half a minute for another writer
const PAUSE_MS = 700; // before the one quiet second try
const UNREACHED = "The server cannot be reached.";

const place = new URL(window.gradio_config?.root ?? location.pathname, location.href);
const api = location.origin + place.pathname.replace(/\/$/, "") + (window.gradio_config?.api_prefix ?? "/gradio_api");

class Refusal extends Error {
  // answered: the server has said no; otherwise nobody knows whether it heard at all
  constructor(sentence, answered) {
    super(sentence);
    this.answered = answered;
  }
}

const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const plain = (html) => new DOMParser().parseFromString(html, "text/html").body.textContent;

// crypto.randomUUID is missing where the page came over plain HTTP
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

// What an event of the app answers: its JSON for programs, and HTML for this page.
async function call(name, ...data) {
  let reply;
  try {
    reply = await fetch(api + "/run/" + name, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ data }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
  } catch {
    throw new Refusal(UNREACHED, false);
  }
  const said = await reply.json().catch(() => null);
  if (reply.ok && said?.data) return said.data;
  if (said?.error) throw new Refusal(plain(said.error), true);
  if (reply.status === 401 || reply.status === 403) throw new Refusal("You are signed out: load the page again and sign in.", true);
  throw new Refusal(UNREACHED, false);
}

// Sending the same pick twice is safe: it carries an id of its own, and the server keeps one.
async function insist(...request) {
  try {
    return await call(...request);
  } catch (refusal) {
    if (refusal.answered) throw refusal;
    await later(PAUSE_MS);
    return call(...request);
  }
}

const outbox = {
  waiting: [], // {request, pick, done(html), failed(refusal)}; the first may be on its way.
  // Without a pick it is an undo, which must not be sent twice.
  busy: false,
  held: false, // a pick came back: what was made after it waits until it has gone out again

  add(parcel, { first = false } = {}) {
    if (first) outbox.waiting.unshift(parcel);
    else outbox.waiting.push(parcel);
    outbox.held = false;
    outbox.pump();
  },

  async pump() {
    if (outbox.busy || outbox.held || outbox.waiting.length === 0) return;
    outbox.busy = true;
    const parcel = outbox.waiting[0];
    let settle;
    try {
      const [, html] = await (parcel.pick ? insist : call)(...parcel.request);
      settle = () => parcel.done(html);
    } catch (refusal) {
      settle = () => parcel.failed(refusal);
      outbox.held = outbox.waiting.length > 1;
    }
    outbox.waiting.shift();
    outbox.busy = false;
    settle();
    outbox.pump();
  },

  // The pick made last, if it has not left yet: it can be taken back without asking anybody.
  recall() {
    const sending = outbox.busy ? 1 : 0;
    return outbox.waiting.length > sending ? outbox.waiting.pop() : null;
  },

  // An undo that has not left yet, of a pick that came back, has nothing to take back.
  forgetUndo() {
    outbox.waiting = outbox.waiting.filter((parcel) => parcel.pick);
    outbox.held = outbox.waiting.length > 0;
  },

  has: (assignment) => outbox.waiting.some((parcel) => parcel.pick?.id === assignment),

  async quiet() {
    while (outbox.busy) await later(20);
  },
};

window.addEventListener("beforeunload", (event) => {
  if (outbox.waiting.length) event.preventDefault();
});
