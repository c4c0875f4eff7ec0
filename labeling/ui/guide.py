"""What a labeler can read: the introduction, the guidelines with worked examples, and the keys."""

from __future__ import annotations

from html import escape

from detox.wording import turns
from labeling.practice import Worked, examples, worked

QUESTION = "Which summary is gentler, and still tells what happened?"
ANSWER_WORDS = {
    "left": "A is better",
    "right": "B is better",
    "tie": "Tie",
    "both_bad": "Both bad",
}
_COUNTS = {3: "three", 4: "four", 5: "five", 6: "six"}
HOW_MANY = _COUNTS.get(len(examples()), str(len(examples())))
RULES = (
    "<b>Gentler</b> means no insult is repeated: “she is angry about the late report” is gentler"
    " than “she calls him a lazy idiot”.",
    "<b>Still tells what happened</b>: a gentle summary that leaves out the point, or makes"
    " something up, is not better.",
    "<b>About the same?</b> Call it a <i>tie</i>. Do both fail? <i>Both bad</i>. If you cannot"
    " tell, <i>skip</i>.",
    "<b>Is the pair itself broken</b>, cut off or not a conversation at all? Flag it.",
)
INTRO = f"""
<div class="lb-intro">
  <h2 class="da-title">Judge two summaries</h2>
  <p class="lb-lead">You read a conversation and two summaries of it, A and B, and say which one
  is better. You are not told which model wrote which until you have picked.</p>
  <p class="lb-ask">{QUESTION}</p>
  <ul class="lb-rules">{"".join(f"<li>{rule}</li>" for rule in RULES[:3])}</ul>
  <p class="da-muted">The conversations contain insults, on purpose; you are asked before you see
  the first one. Every pick is saved at once, and you can change it later.</p>
</div>
"""

# What each key does, in groups; keys joined by "or" do the same.
KEYS = (
    (
        "Judge",
        (
            ("1", "A is better"),
            ("2", "B is better"),
            ("3", "Tie"),
            ("4", "Both bad"),
            ("s", "Skip, then 1 to 4 for a reason, or Enter without one"),
            ("f", "Flag the pair as broken; the mark goes along with your pick"),
        ),
    ),
    (
        "With details",
        (
            ("d", "Show or hide the details; with them, 1 to 4 mark and Enter sends"),
            ("l or c", "Slightly, or clearly better"),
            ("5 6 7 8", "Why: gentler, more faithful, more fluent, better length"),
            ("n", "Write a note; Escape leaves it"),
            ("Enter", "Send the pick"),
        ),
    ),
    (
        "Look around",
        (
            ("u or Ctrl+Z", "Undo the last pick"),
            ("h", "Your earlier picks"),
            ("g", "Guidelines"),
            ("?", "This list"),
            ("Escape", "Close, cancel, go back"),
        ),
    ),
)


def guidelines_dialog() -> str:
    """The built-in guidelines, with a place for those of the batch, as a dialog."""
    cases = "".join(_worked(each, place) for place, each in enumerate(worked(), start=1))
    return f"""
<dialog class="lb-dialog" data-dialog="guidelines" aria-labelledby="lb-guidelines-title">
  <header><h2 class="da-title" id="lb-guidelines-title">Guidelines</h2>{_close()}</header>
  <div class="lb-dialog-body" tabindex="0" role="region" aria-labelledby="lb-guidelines-title">
    <section class="lb-batch-rules" hidden><h3>For the pairs of this batch</h3>
      <p data-slot="rules"></p></section>
    <section><h3>{QUESTION}</h3>
      <ul class="lb-rules">{"".join(f"<li>{rule}</li>" for rule in RULES)}</ul></section>
    <section><h3>Worked examples</h3>{cases}</section>
    <section><h3>Practice</h3><p>{HOW_MANY.capitalize()} short pairs, with a word on each of your
      answers. They are kept apart from your picks.</p>
      <p><button type="button" class="lb-button" data-action="practise"
        ><span>Practise with {HOW_MANY} examples</span></button></p></section>
    <p class="da-muted">Content note: conversations and some summaries contain insults and
      mockery, on purpose. Skip whatever you would rather not judge.</p>
  </div>
</dialog>"""


def keys_dialog() -> str:
    """Every key, as a dialog."""
    groups = "".join(
        f"<section><h3>{title}</h3><dl>{''.join(_key(keys, does) for keys, does in rows)}</dl>"
        "</section>"
        for title, rows in KEYS
    )
    return f"""
<dialog class="lb-dialog" data-dialog="keys" aria-labelledby="lb-keys-title">
  <header><h2 class="da-title" id="lb-keys-title">Keys</h2>{_close()}</header>
  <div class="lb-dialog-body lb-keys" tabindex="0" role="region" aria-labelledby="lb-keys-title">
    {groups}
    <p class="da-muted">Keys rest while you type, and while a window like this one is open.</p>
  </div>
</dialog>"""


def _close() -> str:
    return (
        '<button type="button" class="lb-button lb-small" data-action="close"'
        ' aria-label="Close"><span>Close</span><kbd aria-hidden="true">Esc</kbd></button>'
    )


def _key(keys: str, does: str) -> str:
    alternatives = [
        " ".join("+".join(f"<kbd>{part}</kbd>" for part in key.split("+")) for key in group.split())
        for group in keys.split(" or ")
    ]
    return f"<div><dt>{' or '.join(alternatives)}</dt><dd>{does}</dd></div>"


def _worked(case: Worked, place: int) -> str:
    said = "<br>".join(
        f"<b>{escape(speaker)}:</b> {escape(words)}" for speaker, words in turns(case.dialogue)
    )
    return (
        f'<article class="lb-worked" aria-label="Worked example {place}"><p>{said}</p>'
        f'<p><span class="lb-letter" aria-label="A">A</span>{escape(case.left)}</p>'
        f'<p><span class="lb-letter" aria-label="B">B</span>{escape(case.right)}</p>'
        f'<p class="lb-why"><b>{ANSWER_WORDS[case.answer]}.</b> {escape(case.why)}</p></article>'
    )
