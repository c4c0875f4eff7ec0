"""A labeler's own picks as a list, newest first, each of which they may change."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from detox.wording import readable, turns
from labeling.picks import Earlier, earlier
from labeling.store import Store
from labeling.ui.session import signed_in

PAGE = 20
EXCERPT = 110
_WORDS = {
    "left": "A is better",
    "right": "B is better",
    "tie": "Tie",
    "both_bad": "Both bad",
    "skip": "Skipped",
}


@dataclass(frozen=True)
class History:
    """One page of a labeler's picks, the first page being 0; ``more`` if older ones follow."""

    picks: tuple[Earlier, ...]
    page: int
    more: bool

    def answer(self) -> dict[str, Any]:
        """The page for programs, as JSON."""
        return {
            "picks": [asdict(each.pick) | {"closed": each.closed} for each in self.picks],
            "page": self.page,
            "more": self.more,
        }


def history(store: Store, labeler: str, page: int = 0) -> History:
    """Page ``page`` of the labeler's picks, ``PAGE`` to a page; a negative one is the first.

    Raises ``UserError`` without a labeler, ``StoreError`` by the database.
    """
    page = max(int(page or 0), 0)
    found = earlier(store, signed_in(labeler), limit=PAGE + 1, offset=page * PAGE)
    return History(tuple(found[:PAGE]), page, len(found) > PAGE)


def history_page(found: History) -> str:
    """The list as HTML, with a way to older and newer ones."""
    if not found.picks:
        return (
            '<p class="lb-none da-muted">'
            + ("There are no older picks." if found.page else "You have not picked anything yet.")
            + f"</p>{_pager(found)}"
        )
    rows = "".join(_row(each) for each in found.picks)
    return f'<ol class="lb-picks" role="list">{rows}</ol>{_pager(found)}'


def _row(each: Earlier) -> str:
    pick = each.pick
    marks = [f"<b>{_WORDS[pick.choice]}</b>"]
    if pick.strength:
        marks.append(f"<span>{escape(pick.strength)}</span>")
    if pick.reasons:
        marks.append(f"<span>{escape(', '.join(pick.reasons))}</span>")
    if pick.flagged:
        marks.append('<span class="lb-flagged">flagged as broken</span>')
    note = f'<p class="lb-said">“{escape(_short(pick.note))}”</p>' if pick.note else ""
    about = escape(_short(_excerpt(each.task.dialogue)))
    return (
        f'<li><p class="lb-about">{about}</p>'
        f'<p class="lb-answer lb-answer-{pick.choice}">{"".join(marks)}</p>{note}'
        f'<p class="lb-when"><time datetime="{escape(pick.picked_at)}">'
        f"{escape(pick.picked_at[:16].replace('T', ' '))} UTC</time></p>"
        f"{_change(each, about)}</li>"
    )


def _change(each: Earlier, about: str) -> str:
    if each.closed:
        return '<p class="lb-fixed da-muted">Its batch is closed, so it can no longer change.</p>'
    return (
        '<button type="button" class="lb-button" data-action="change"'
        f' data-assignment="{escape(each.task.assignment_id)}"'
        f' aria-label="Change the pick on: {about}"><span>Change</span></button>'
    )


def _pager(found: History) -> str:
    newer = _turn_to("Newer picks", found.page - 1) if found.page else ""
    older = _turn_to("Older picks", found.page + 1) if found.more else ""
    return f'<div class="lb-pager">{newer}{older}</div>' if newer or older else ""


def _turn_to(word: str, page: int) -> str:
    return (
        '<button type="button" class="lb-button" data-action="history-page"'
        f' data-page="{page}"><span>{word}</span></button>'
    )


def _excerpt(dialogue: str) -> str:
    """The first words of a conversation, with who says them."""
    return " ".join(
        f"{readable(speaker)}: {readable(words)}" if speaker else readable(words)
        for speaker, words in turns(dialogue)[:3]
    )


def _short(text: str) -> str:
    """One line of at most ``EXCERPT`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT - 1].rstrip()}…"
