"""What stays on the Label tab's page: its places, buttons and dialogs, as one piece of HTML.

The page's script fills the places (``data-slot``) with what ``stage.py`` writes and shows one
view (``data-view``) at a time. A button says what it does with ``data-choice``, ``data-action``,
``data-set`` or ``data-skip``, and ``data-key`` is the key that does the same. gr.HTML reads this
as a template once, so it holds no backslash, back-tick, ``${`` or double braces.
"""

from __future__ import annotations

from html import escape

from labeling.picks import NOTE_LENGTH, PICK_REASONS, SKIP_REASONS
from labeling.practice import ANSWERS, Feedback, examples
from labeling.schema import STRENGTHS
from labeling.ui.guide import (
    ANSWER_WORDS,
    HOW_MANY,
    QUESTION,
    guidelines_dialog,
    keys_dialog,
)
from labeling.ui.stage import pair_html

# choice, key, word on the button
CHOICES = (
    ("left", "1", "A is better"),
    ("right", "2", "B is better"),
    ("tie", "3", "Tie"),
    ("both_bad", "4", "Both bad"),
    ("skip", "s", "Skip"),
)
STRENGTH_KEYS = tuple(zip(STRENGTHS, "lc", strict=True))
REASON_KEYS = tuple(zip(PICK_REASONS, "5678", strict=True))
SKIP_KEYS = tuple(zip(SKIP_REASONS, "1234", strict=True))


def feedback_html(said: Feedback) -> str:
    """What a labeler hears about an answer in the practice round."""
    wanted = " or ".join(ANSWER_WORDS[each] for each in ANSWERS if each in said.expected)
    verdict = "That is how we see it, too." if said.correct else f"We would say: {wanted}."
    kind = "da-after" if said.correct else "da-before"
    return (
        f'<p class="lb-heard {kind}"><b>{"✓" if said.correct else "→"} {verdict}</b>'
        f" {escape(said.why)}</p>"
    )


def _button(
    word: str, key: str = "", style: str = "", *, shown: str = "", more: str = "", **data: str
) -> str:
    """A button; ``data`` are its data-attributes, ``shown`` what stands on it for its key."""
    marks = "".join(f' data-{name}="{escape(value)}"' for name, value in data.items())
    kind = f"lb-button {style}".strip()
    cap = ""
    if key:
        marks += f' data-key="{key}"'
        cap = f'<kbd aria-hidden="true">{shown or key}</kbd>'
    if key and "aria-keyshortcuts" not in more:
        marks += f' aria-keyshortcuts="{key}"'
    return f'<button type="button" class="{kind}"{marks}{more}><span>{word}</span>{cap}</button>'


def _chip(name: str, value: str, key: str, word: str = "") -> str:
    """A button that stays pressed until it is pressed again."""
    word = word or value.capitalize()
    return _button(word, key, "lb-chip", more=' aria-pressed="false"', set=name, value=value)


_WELCOME = f"""
<section class="lb-welcome" data-of="welcome" aria-labelledby="lb-welcome-title" hidden>
  <h2 class="da-title" id="lb-welcome-title" tabindex="-1">Before the first pair</h2>
  <p class="lb-note" role="note"><b>Content note.</b> The conversations, and some summaries,
  contain insults and mockery. They are there on purpose. Skip what you would rather not judge,
  and stop whenever you like: every pick is saved at once.</p>
  <p data-when="new">{HOW_MANY.capitalize()} short pairs show what is meant, with a word on each of
  your answers. They take two minutes and are kept apart from your picks.</p>
  <div class="lb-welcome-actions">
    {_button(f"Try {HOW_MANY} examples first", style="lb-primary", action="practise")}
    {_button("Skip the practice", action="begin")}
    {_button("I have read this: show the pairs", style="lb-primary", action="begin-known")}
  </div>
</section>"""

_ACTIONS = (
    '<div class="lb-actions" role="group" aria-label="Your pick">'
    + "".join(
        _button(
            word,
            key,
            f"lb-pick lb-pick-{choice}",
            more=' aria-expanded="false" aria-controls="lb-skip"' if choice == "skip" else "",
            choice=choice,
        )
        for choice, key, word in CHOICES
    )
    + _button("Undo", "u", "lb-undo", more=' aria-keyshortcuts="u Control+Z"', action="undo")
    + "</div>"
)

_SKIP = f"""
<div class="lb-skip" id="lb-skip" role="group" aria-labelledby="lb-skip-title" hidden>
  <p class="lb-label" id="lb-skip-title">Why do you skip this pair?</p>
  <div class="lb-chips">
    {"".join(_button(word.capitalize(), key, "lb-chip", skip=word) for word, key in SKIP_KEYS)}
    {_button("No reason", "Enter", "lb-chip", shown="⏎", skip="")}
    {_button("Cancel", "Escape", "lb-chip lb-quiet", shown="Esc", action="cancel-skip")}
  </div>
</div>"""

_TOOLS = (
    '<div class="lb-tools">'
    + _button(
        "Details",
        "d",
        "lb-small",
        more=' aria-expanded="false" aria-controls="lb-details"',
        action="details",
    )
    + _button("Broken pair", "f", "lb-small", more=' aria-pressed="false"', action="flag")
    + "</div>"
)

_DETAILS = f"""
<div class="lb-details" id="lb-details" role="group" aria-label="Details of your pick" hidden>
  <div class="lb-ask-more" role="group" aria-labelledby="lb-strength-title">
    <p class="lb-label" id="lb-strength-title">How much better?</p>
    <div class="lb-chips">{"".join(_chip("strength", value, key) for value, key in STRENGTH_KEYS)}
    </div></div>
  <div class="lb-ask-more" role="group" aria-labelledby="lb-reasons-title">
    <p class="lb-label" id="lb-reasons-title">Why?</p>
    <div class="lb-chips">{"".join(_chip("reasons", value, key) for value, key in REASON_KEYS)}
    </div></div>
  <div class="lb-ask-more lb-ask-note">
    <label class="lb-label" for="lb-note">Note <kbd aria-hidden="true">n</kbd></label>
    <textarea id="lb-note" rows="1" maxlength="{NOTE_LENGTH}" aria-keyshortcuts="n"></textarea>
    {_button("Send", "Enter", "lb-primary lb-send", shown="⏎", action="send")}
  </div>
</div>"""

_STAGE = f"""
<section class="lb-stage" data-of="pair edit practice" aria-labelledby="lb-question" hidden>
  <div class="lb-banner" role="note" hidden><p data-slot="banner"></p>
    {_button("Keep it as it is", "Escape", shown="Esc", action="keep")}
    {_button("Leave the practice", "Escape", shown="Esc", action="leave")}
  </div>
  <header class="lb-top">
    <h2 class="lb-question" id="lb-question" tabindex="-1"><span class="lb-unseen"
      data-slot="place"></span>{QUESTION}</h2>
    <div data-slot="progress"></div>
  </header>
  <div class="lb-waiting" hidden><p>Your pick is being saved; the next pair follows.</p>
    {_button("Undo", "u", "lb-undo", more=' aria-keyshortcuts="u Control+Z"', action="undo")}</div>
  <div class="lb-main">
    <div data-slot="dialogue"></div>
    <div class="lb-pair">
      <div data-slot="cards"></div>
      <div class="lb-panel">
        <div class="lb-trouble" hidden><p role="alert" data-slot="trouble"></p>
          {_button("Send it again", "Enter", shown="⏎", action="again")}
          {_button("Fetch the pair that waits for me", action="next")}
        </div>
        {_ACTIONS}{_SKIP}{_TOOLS}{_DETAILS}
        <div class="lb-feedback" hidden><div role="status" data-slot="feedback"></div>
          {_button("Next example", "Enter", "lb-primary", shown="⏎", action="next-example")}
        </div>
        <p class="lb-status" role="status" data-slot="status"></p>
      </div>
    </div>
  </div>
</section>"""

_DRILLED = f"""
<section class="lb-end" data-of="drilled" aria-labelledby="lb-drilled-title" hidden>
  <div class="lb-mark" aria-hidden="true">✓</div>
  <h2 class="da-title" id="lb-drilled-title" tabindex="-1">That was the practice</h2>
  <p data-slot="drilled"></p>
  <div class="lb-end-actions">
    {_button("Start labelling", "Enter", "lb-primary", shown="⏎", action="begin")}
    {_button("Once more", action="practise")}
  </div>
</section>"""

_END = """
<section class="lb-end" data-of="end" aria-label="No pair to judge" hidden>
  <div class="lb-end-said" data-slot="end"></div>
  <p class="lb-status" role="status" data-slot="end-status"></p>
</section>"""

_HISTORY = f"""
<section class="lb-history" data-of="history" aria-labelledby="lb-history-title" hidden>
  <header class="lb-top"><h2 class="da-title" id="lb-history-title" tabindex="-1">Your earlier
    picks</h2>{_button("Back to the pair", "Escape", shown="Esc", action="back")}</header>
  <p class="lb-status" role="status" data-slot="history-status"></p>
  <div data-slot="history"></div>
</section>"""

_FOOT = f"""
<footer class="lb-foot">
  <div class="lb-foot-tools" data-of="pair edit end practice drilled">
    {_button("Earlier picks", "h", "lb-small", action="history")}
    {_button("Guidelines", "g", "lb-small", action="guidelines")}
    {_button("Keys", "?", "lb-small", action="keys")}
    <label class="lb-batch" hidden><span>Pairs from</span>
      <select data-slot="batches"></select></label>
  </div>
  <p class="lb-who da-muted">Labelling as <b data-slot="who"></b></p>
  LEAVE
</footer>"""

_LEAVE = _button("Change name", style="lb-small", more=' id="label-change"', action="sign-out")

_EXAMPLES = "".join(
    f'<template data-example="{escape(each.id)}">'
    f"{pair_html(each.dialogue, each.left, each.right)}</template>"
    for each in examples()
)


def shell(*, asks_name: bool) -> str:
    """The whole piece; where the page ``asks_name``, it can be changed."""
    foot = _FOOT.replace("LEAVE", _LEAVE if asks_name else "")
    return (
        f'<div class="lb-root" data-view="blank">{_WELCOME}{_STAGE}{_DRILLED}{_END}{_HISTORY}{foot}'
        f"{guidelines_dialog()}{keys_dialog()}{_EXAMPLES}</div>"
    )
