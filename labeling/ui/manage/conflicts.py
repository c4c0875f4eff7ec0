"""The pairs that labelers see differently: one after the other for a lead, blind, and a list."""

from __future__ import annotations

import csv
import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from detox.errors import UserError
from detox.ui.manners import polite
from detox.wording import readable
from labeling.adjudication import (
    NOTE_LENGTH,
    Conflict,
    Decision,
    Vote,
    adjudicate,
    conflicts,
    decisions,
    look_at,
    next_conflict,
)
from labeling.formats import inert
from labeling.gold import mark_gold
from labeling.plans import standings
from labeling.store import Store
from labeling.ui.identity import Gate
from labeling.ui.manage.script import asking_html, sent
from labeling.ui.place import SWIFT, current_tab
from labeling.ui.stage import pair_html

PAGE, LIST = "manage-conflicts", "manage-decided"
# So many decisions are listed; the file holds them all.
LISTED = 50
CHOICES = (
    ("left", "1", "A is better"),
    ("right", "2", "B is better"),
    ("tie", "3", "Tie"),
    ("both_bad", "4", "Both bad"),
)
VOTE_WORDS = {"left": "A", "right": "B", "tie": "tie", "both_bad": "both bad", "skip": "skipped"}
_STORAGE_KEY = "detox-arena-lead"


def conflict_html(
    conflict: Conflict | None, waiting: int, batches: Sequence[str], batch: str, said: str = ""
) -> str:
    """The pair to decide with the votes on it, or that none waits; ``said`` is told on top."""
    head = f'<p class="mg-said" role="status">{escape(said)}</p>' if said else ""
    head += (
        '<div class="mg-conflict-head"><h3 class="da-title">'
        f"{_waiting(waiting)}</h3>{_chooser(batches, batch)}</div>"
    )
    if conflict is None:
        left = (
            "Those left for later come again when this tab is opened anew."
            if waiting
            else "Pairs come here when labelers disagree on them, or flag them."
        )
        body = f'<p class="da-muted mg-rest">{left}</p>'
    else:
        body = (
            f'<div class="mg-pair">{pair_html(conflict.dialogue, conflict.left, conflict.right)}'
            f'<div class="mg-judge">{_votes(conflict.votes)}{_controls()}</div></div>'
        )
    about = (
        f' data-shown="{escape(conflict.pair_id)}" data-pair="{escape(conflict.pair_id)}"'
        f' data-left="{escape(conflict.left_candidate)}"'
        if conflict
        else ""
    )
    return f'<section class="mg-conflict" data-asked{about}>{head}{body}</section>'


def _waiting(count: int) -> str:
    if count == 0:
        return "No pair waits for a decision"
    return "One pair waits for a decision" if count == 1 else f"{count:,} pairs wait for a decision"


def _chooser(batches: Sequence[str], batch: str) -> str:
    if len(batches) < 2 and not batch:
        return ""
    options = "".join(
        f'<option value="{escape(name)}"{" selected" if name == batch else ""}>'
        f"{escape(name) or 'All batches'}</option>"
        for name in ("", *batches)
    )
    return (
        '<select class="mg-select" name="batch" data-do="choose_batch" aria-label="Batch">'
        f"{options}</select>"
    )


def _votes(votes: Sequence[Vote]) -> str:
    rows = "".join(
        _vote(vote) for vote in sorted(votes, key=lambda v: list(VOTE_WORDS).index(v.choice))
    )
    return f'<h4 class="lb-label">How it was judged</h4><ul class="mg-votes-list">{rows}</ul>'


def _vote(vote: Vote) -> str:
    strength = f"{vote.strength} " if vote.strength and vote.choice in ("left", "right") else ""
    flag = ' <span class="da-pill mg-flag">flagged</span>' if vote.flagged else ""
    note = f"<q>{escape(vote.note)}</q>" if vote.note else ""
    return (
        f'<li><b class="mg-mark mg-mark-{vote.choice}">{strength}{VOTE_WORDS[vote.choice]}</b>'
        f'<span class="da-muted">{escape(vote.labeler)}</span>{flag}{note}</li>'
    )


def _controls() -> str:
    buttons = "".join(
        f'<button type="button" class="mg-button mg-choice mg-choice-{choice}" data-do="decide"'
        f' data-choice="{choice}" data-key="{key}" aria-keyshortcuts="{key}">{word}'
        f'<kbd aria-hidden="true">{key}</kbd></button>'
        for choice, key, word in CHOICES
    )
    return (
        '<label class="mg-field">Why, for those who ask later'
        f'<textarea name="note" rows="2" maxlength="{NOTE_LENGTH}"></textarea></label>'
        '<label class="mg-check"><input type="checkbox" name="gold"> Make it a gold pair with this'
        " answer</label>"
        f'<div class="mg-choices" role="group" aria-label="Your decision">{buttons}'
        '<button type="button" class="mg-button mg-quiet" data-do="later" data-key="s"'
        ' aria-keyshortcuts="s">Later<kbd aria-hidden="true">s</kbd></button></div>'
    )


def decided_html(found: Sequence[Decision]) -> str:
    """The latest decisions as a table; what was behind the sides is told here."""
    if not found:
        return ""
    rows = "".join(_decision(each) for each in found)
    return (
        '<section class="da-card" data-asked><h3 class="da-title">Decided</h3>'
        f'<p class="da-muted">The latest {len(found)}; picks of labelers stay as they are.</p>'
        '<div class="da-table-box"><table class="da-table mg-table"><thead><tr>'
        "<th>Decision</th><th>Conversation</th><th>Votes</th><th>By</th><th></th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _decision(each: Decision) -> str:
    outcome = escape(outcome_words(each))
    said = readable(each.dialogue)
    start = escape(said[:90] + ("…" if len(said) > 90 else ""))
    votes = ", ".join(
        f"{number} {word}"
        for number, word in (
            (each.votes_a, escape(each.policy_a)),
            (each.votes_b, escape(each.policy_b)),
            (each.votes_tie, "tie"),
            (each.votes_both_bad, "both bad"),
        )
        if number
    )
    note = f"<br><q>{escape(each.note)}</q>" if each.note else ""
    gold = (
        '<span class="da-pill mg-gold">gold</span>'
        if each.gold
        else _button("make_gold", each.pair_id, "Make it gold")
    )
    return (
        f'<tr><td data-name="Decision"><b>{outcome}</b>{note}</td>'
        f'<td class="mg-start" data-name="Conversation">{start}<br>'
        f'<code title="{each.pair_id}">{each.pair_id[:12]}</code> · {escape(each.batch)}</td>'
        f'<td data-name="Votes">{votes or "none"}</td>'
        f'<td data-name="By">{escape(each.lead)}<br>'
        f'<span class="da-muted">{each.adjudicated_at[:16].replace("T", " ")}</span></td>'
        f'<td class="mg-row-actions">{gold}'
        f"{_button('again', each.pair_id, 'Decide again')}</td></tr>"
    )


def outcome_words(each: Decision) -> str:
    """A decision in terms of versions: ``after is better``, ``tie`` or ``both bad``."""
    return f"{each.policy} is better" if each.policy else each.outcome.replace("_", " ")


def _button(event: str, pair_id: str, word: str) -> str:
    return (
        f'<button type="button" class="mg-button mg-quiet mg-small" data-do="{event}"'
        f' data-pair="{pair_id}">{word}</button>'
    )


def write_decisions(path: Path, found: Iterable[Decision]) -> None:
    """Decisions as CSV with a header; cells that a spreadsheet would run are made inert."""
    names = [each.name for each in fields(Decision)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*names, "policy"])
        writer.writeheader()
        for each in found:
            row = asdict(each) | {"policy": each.policy or "", "gold": int(each.gold)}
            writer.writerow({name: inert(value) for name, value in row.items()})


def conflicts_section(gate: Gate, rng: random.Random) -> None:
    """Builds the section inside the current ``gr.Tab``; ``rng`` draws the sides."""
    scratch = TemporaryDirectory(prefix="detox-arena-")  # kept by the handlers, gone with the app
    skipped = gr.State(())
    kept = gr.BrowserState("", storage_key=_STORAGE_KEY, secret=_STORAGE_KEY)
    with gr.Column(elem_classes="mg-section"):
        with gr.Row(elem_classes="da-controls mg-lead", visible=gate.entrance.asks_name):
            lead = gr.Textbox(
                label="Your name",
                info="kept with your decisions",
                max_lines=1,
                max_length=100,
                elem_id="manage-lead",
            )
        page = asking_html(PAGE, "conflict", ("decide", "later", "choose_batch"))
        listed = asking_html(LIST, "decided", ("again", "make_gold"))
        with gr.Row(elem_classes="mg-foot", visible=False) as takeaway:
            prepare = gr.Button("All decisions as CSV", size="sm", elem_id="manage-decided-csv")
            download = gr.DownloadButton(
                "Download the file", visible=False, size="sm", elem_id="manage-decided-download"
            )
    with gr.Row(visible=False):
        pair, choice = gr.Textbox(label="pair"), gr.Textbox(label="choice")
        left = gr.Textbox(label="left_candidate")
        note, gold = gr.Textbox(label="note"), gr.Checkbox(label="gold", value=False)
        batch = gr.Textbox(label="batch", value="")
        answer = gr.JSON(label="answer")

    def shown(
        store: Store, later: tuple[str, ...], batch: str, said: str = "", done: Any = None
    ) -> tuple[Any, ...]:
        names = [standing.plan.name for standing in standings(store)]
        only = batch or None
        conflict = next_conflict(store, rng, only, skip=later)
        waiting = conflicts(store, only)
        told = {
            "waiting": waiting,
            "conflict": asdict(conflict) if conflict else None,
            "decision": done,
        }
        return told, conflict_html(conflict, waiting, names, batch or "", said), batch or ""

    def all_of(
        store: Store, found: Sequence[Decision], later: tuple[str, ...], *rest: Any
    ) -> tuple[Any, ...]:
        some, stale = gr.update(visible=bool(found)), gr.update(visible=False)
        return *shown(store, later, *rest), decided_html(found), some, stale, later

    @polite
    def next_one(batch: str, request: gr.Request) -> tuple[Any, ...]:
        """The pair that a lead should decide next, how many wait, and those that are decided."""
        store, _ = gate.admit(request, "lead")
        return all_of(store, decisions(store, limit=LISTED), (), batch)

    @polite
    def decide(
        pair: str,
        choice: str,
        left_candidate: str,
        note: str,
        gold: bool,
        batch: str,
        lead: str,
        later: tuple[str, ...],
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """Records a decision, given as the side that was seen, and goes on to the next pair."""
        store, found = gate.admit(request, "lead", lead)
        if not found.name:
            raise UserError("Give your name first: decisions are kept under it.")
        made = adjudicate(
            store, found.name, pair, choice, left_candidate, note=note or "", gold=bool(gold)
        )
        latest_ones = decisions(store, limit=LISTED)
        latest = next(each for each in latest_ones if each.uuid == made.uuid)
        said = f"Saved: {outcome_words(latest)}."
        done = asdict(made) | {"lead": latest.lead, "policy": latest.policy}
        return *all_of(store, latest_ones, later, batch, said, done), found.name

    @polite
    def decided(request: gr.Request) -> tuple[Any, ...]:
        """Every decision, and as a CSV file."""
        store, _ = gate.admit(request, "lead")
        found = decisions(store)
        path = Path(scratch.name) / "decisions.csv"
        unfinished = path.with_name(f"{threading.get_ident()}.part")
        write_decisions(unfinished, found)
        unfinished.replace(path)
        return [asdict(each) for each in found], gr.update(value=str(path), visible=True)

    @polite
    def leave(
        pair: str, batch: str, later: tuple[str, ...], request: gr.Request
    ) -> tuple[Any, ...]:
        """Leaves a pair for later and goes on to the next one."""
        store, _ = gate.admit(request, "lead")
        later = (*later, pair)
        return *shown(store, later, batch), later

    @polite
    def choose(batch: str, request: gr.Request) -> tuple[Any, ...]:
        store, _ = gate.admit(request, "lead")
        return *shown(store, (), batch), ()

    @polite
    def again(pair: str, batch: str, request: gr.Request) -> tuple[Any, ...]:
        """A pair that is decided, to decide it anew; the later decision counts."""
        store, _ = gate.admit(request, "lead")
        conflict = look_at(store, pair, rng)
        names = [standing.plan.name for standing in standings(store)]
        waiting = conflicts(store, batch or None)
        told = {"waiting": waiting, "conflict": asdict(conflict), "decision": None}
        said = "Decide this pair again: your new decision counts instead of the old one."
        return told, conflict_html(conflict, waiting, names, batch, said), batch

    @polite
    def make_gold(pair: str, request: gr.Request) -> tuple[Any, ...]:
        """Makes a decided pair gold with the answer of the decision."""
        store, _ = gate.admit(request, "lead")
        found = next((each for each in decisions(store) if each.pair_id == pair), None)
        if found is None:
            raise UserError("This pair is not decided: decide it first.")
        mark_gold(store, pair, found.outcome, note=found.note, source="adjudication")
        told = {"pair_id": pair, "outcome": found.outcome}
        return told, decided_html(decisions(store, limit=LISTED))

    one = [answer, page, batch]
    everything = [*one, listed, takeaway, download, skipped]
    prepare.click(decided, None, [answer, download], api_name="manage_decisions", **SWIFT)
    if (tab := current_tab()) is not None:
        tab.select(next_one, batch, everything, api_name="manage_conflicts", **SWIFT)
    kept.change(lambda name: (name or "").strip(), kept, lead, api_visibility="private", **SWIFT)
    page.decide(
        decide,
        [pair, choice, left, note, gold, batch, lead, skipped],
        [*everything, kept],
        js=sent(
            PAGE,
            {"pair": str, "choice": str, "left": str, "note": str, "gold": bool, "batch": str},
        ),
        api_name="manage_decide",
        **SWIFT,
    )
    page.later(
        leave,
        [pair, batch, skipped],
        [*one, skipped],
        js=sent(PAGE, {"pair": str, "batch": str}),
        api_name="manage_later",
        **SWIFT,
    )
    page.choose_batch(
        choose,
        batch,
        [*one, skipped],
        js=sent(PAGE, {"value": str}),
        api_visibility="private",
        **SWIFT,
    )
    listed.again(
        again,
        [pair, batch],
        one,
        js=sent(LIST, {"pair": str}),
        api_name="manage_decide_again",
        **SWIFT,
    )
    listed.make_gold(
        make_gold,
        pair,
        [answer, listed],
        js=sent(LIST, {"pair": str}),
        api_name="manage_make_gold",
        **SWIFT,
    )
