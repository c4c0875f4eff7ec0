"""What changes on the Label tab's page, as HTML: pairs, progress, what was said, and the end.

``turn_page`` makes one string of parts; the page's script puts each into its place in the shell
(``shell.py``). Pairs are inert ``template`` elements with nothing in them but texts. Every text
from the database or a labeler is escaped here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape

from detox.wording import number, percent, readable, turns
from labeling.picks import Reveal, Side
from labeling.queue import Progress, Share, Task
from labeling.ui.scope import OpenBatch
from labeling.ui.session import Change, Last, Turn

PICKED = {
    "left": "you chose A",
    "right": "you chose B",
    "tie": "you called it a tie",
    "both_bad": "you found both bad",
    "skip": "you skipped it",
}
_OTHERS = {"left": "chose A", "right": "chose B", "tie": "a tie", "both_bad": "both bad"}
ALL_BATCHES = "All open batches"
_RESTS = {
    "empty": (
        "…",
        "There is nothing to label yet",
        "Pairs are generated beforehand, so that labeling never waits for a model. Load some"
        " with <code>python -m labeling pairs FILE</code>.",
    ),
    "paused": (
        "II",
        "Labelling is paused",
        "Whoever leads this project has paused it. Your picks are saved, and the pairs will wait"
        " for you here.",
    ),
    "closed": (
        "✓",
        "This project is closed",
        "No more picks are wanted, and those that were made stay as they are. Thank you for yours.",
    ),
}


def turn_page(turn: Turn) -> str:
    """All the page needs of a turn: up to two pairs, and everything that is shown around them."""
    tasks = [task for task in (turn.task, turn.ahead) if task]
    pairs = "".join(
        _template(task, turn.progress.done + place) for place, task in enumerate(tasks, start=1)
    )
    marks = (" data-undo" if turn.undoable else "") + (" data-new" if turn.new else "")
    return (
        f'<div class="lb-turn" data-labeler="{escape(turn.labeler)}"{marks}>{pairs}'
        f'<div data-part="progress">{progress_bars(turn.progress)}</div>'
        f'<div data-part="said">{_said(turn)}</div>'
        f'<div data-part="end">{"" if tasks else _end(turn)}</div>'
        f'<div data-part="batches">{_batches(turn)}</div></div>'
    )


def change_page(change: Change) -> str:
    """An earlier pick: its pair, with the old answer in the attributes of the template."""
    pick, task = change.earlier.pick, change.earlier.task
    answer = {
        "choice": pick.choice,
        "strength": pick.strength or "",
        "reasons": "\n".join(pick.reasons),
        "note": pick.note,
        "when": pick.picked_at,
    }
    marks = "".join(f' data-{name}="{escape(value)}"' for name, value in answer.items())
    marks += " data-flagged" if pick.flagged else ""
    marks += " data-seen" if change.seen else ""
    return f'<div class="lb-turn">{_template(task, None, marks)}</div>'


def pair_html(dialogue: str, left: str, right: str) -> str:
    """A conversation and its two summaries, as they stand on the stage."""
    cards = "".join(
        f'<article class="da-card lb-card lb-card-{side}" aria-label="Summary {letter}">'
        f'<h3 class="lb-letter" aria-hidden="true">{letter}</h3><p>{_text(text)}</p></article>'
        for side, letter, text in (("left", "A", left), ("right", "B", right))
    )
    return f'{_dialogue(dialogue)}<div class="lb-cards">{cards}</div>'


def progress_bars(progress: Progress) -> str:
    """How far the labeler is, the batch of the pair, and the project, each with a bar."""
    parts = [
        ("own", f"You: {progress.done} of {progress.total}", progress.done, progress.total),
        ("batch", f"Batch {_share(progress.batch)}", progress.batch.votes, progress.batch.wanted),
        (
            "project",
            f"Project {_share(progress.project)}",
            progress.project.votes,
            progress.project.wanted,
        ),
    ]
    bars = "".join(
        f'<div class="lb-meter lb-meter-{name}"><span>{words}</span>'
        f'<div class="da-bar" role="meter" aria-label="{words}" aria-valuemin="0"'
        f' aria-valuemax="{most}" aria-valuenow="{done}"'
        f' style="--value:{100 * done / most:.1f}%"><i></i></div></div>'
        for name, words, done, most in parts
        if most
    )
    return f'<div class="lb-progress">{bars}</div>'


def _share(share: Share) -> str:
    return percent(share.votes / share.wanted) if share.wanted else ""


def _template(task: Task, place: int | None, marks: str = "") -> str:
    ordinal = f' data-place="{place}"' if place else ""
    rules = escape(task.guidelines.strip())
    return (
        f'<template data-assignment="{escape(task.assignment_id)}"{ordinal}{marks}>'
        f"{pair_html(task.dialogue, task.left, task.right)}"
        f'<div class="lb-own-rules">{rules}</div></template>'
    )


def _dialogue(dialogue: str) -> str:
    said = turns(dialogue)
    first = said[0][0] if said else ""
    lines, last = [], None
    for speaker, words in said:
        kind = "da-turn" + (" da-right" if speaker != first else "")
        kind += " da-follow" if speaker == last else ""
        name = f"<b>{escape(readable(speaker))}</b>" if speaker and speaker != last else ""
        lines.append(f'<div class="{kind}">{name}<span>{_text(words)}</span></div>')
        last = speaker
    return (
        '<article class="da-card lb-dialogue"><h3 class="lb-label">The conversation</h3>'
        '<div class="da-talk" tabindex="0" role="region" aria-label="The conversation">'
        f"{''.join(lines)}</div></article>"
    )


def _said(turn: Turn) -> str:
    parts = []
    if turn.note:
        parts.append(f"<span>{escape(turn.note)}</span>")
    if turn.last:
        parts.append(_saved(turn.last))
    return "".join(parts)


def _saved(last: Last) -> str:
    what = "Your change is saved" if last.change else "Saved"
    told = f'<span><b class="lb-saved">{what}</b>: {PICKED[last.choice]}.</span>'
    return told + (_reveal(last.reveal) if last.reveal else "")


def _reveal(sides: Reveal) -> str:
    return f"{_side('A', sides.left)}{_side('B', sides.right)}{_others(sides.others)}"


def _side(letter: str, side: Side) -> str:
    scores = []
    if side.reward is not None:
        scores.append(f"reward {number(side.reward)}")
    if side.toxicity is not None:
        scores.append(f"toxicity {percent(side.toxicity)}")
    tone = f" da-{side.policy}" if side.policy in ("before", "after") else ""
    numbers = f" <small>{', '.join(scores)}</small>" if scores else ""
    return f'<span class="lb-was{tone}">{letter} was <b>{escape(side.policy)}</b>{numbers}</span>'


def _others(counts: Mapping[str, int]) -> str:
    told = [f"{counts[name]} {words}" for name, words in _OTHERS.items() if counts.get(name)]
    return f'<span class="lb-others">Others: {", ".join(told)}.</span>' if told else ""


def _end(turn: Turn) -> str:
    mark, title, text = _RESTS.get(turn.rest) or _finished(turn)
    again = "Look again" if turn.rest == "empty" else "Look for new pairs"
    undo = "" if turn.rest in ("empty", "closed") or not turn.undoable else _UNDO
    elsewhere = _button("all", "Show all open batches") if turn.chosen else ""
    return (
        f'<div class="lb-mark" aria-hidden="true">{mark}</div>'
        f'<h2 class="da-title" tabindex="-1">{title}</h2><p>{text}</p>'
        f'<div class="lb-end-actions">{_button("next", again)}{elsewhere}{undo}</div>'
    )


_UNDO = (
    '<button type="button" class="lb-button" data-action="undo" data-key="u"'
    ' aria-keyshortcuts="u Control+Z"><span>Undo the last pick</span>'
    '<kbd aria-hidden="true">u</kbd></button>'
)


def _finished(turn: Turn) -> tuple[str, str, str]:
    done, total = turn.progress.done, turn.progress.total
    count = f"{done} pair{'s' if done != 1 else ''} judged. Thank you, {escape(turn.labeler)}"
    if done < total:
        return (
            "✓",
            "There is nothing left for you to do",
            f"{count}: every other pair has the picks it needs, or is with another labeler just"
            " now.",
        )
    return (
        "✓",
        "You have labelled every pair",
        f"{count}: the Results tab shows what everybody's picks say so far.",
    )


def _button(action: str, word: str) -> str:
    kind = " lb-primary" if action == "next" else ""
    return (
        f'<button type="button" class="lb-button{kind}" data-action="{action}">'
        f"<span>{word}</span></button>"
    )


def _batches(turn: Turn) -> str:
    """The options of the batch chooser; none where there is nothing to choose."""
    if len(turn.batches) < 2 and not turn.chosen:
        return ""
    options = [("", ALL_BATCHES), *((batch.key, _batch(batch)) for batch in turn.batches)]
    if turn.chosen and turn.chosen not in dict(options):
        options.append((turn.chosen, "A batch that is not open"))
    return "".join(
        f'<option value="{escape(key)}"{" selected" if key == turn.chosen else ""}>{words}</option>'
        for key, words in options
    )


def _batch(batch: OpenBatch) -> str:
    opened = datetime.fromisoformat(batch.opened)
    return (
        f"Batch {batch.number}, {opened.day} {opened:%b %Y}: {batch.done} of {batch.pairs} judged"
    )


def _text(text: str) -> str:
    """Escaped, with DialogSum's ``#Person1#`` as a reader would write it."""
    return escape(readable(text))
