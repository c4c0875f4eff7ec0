"""Gold pairs: those whose answer is known, listed, made and made ordinary again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

import gradio as gr

from detox.errors import UserError
from detox.ui.html import empty
from detox.ui.manners import polite
from labeling.gold import Gold, gold_pairs, mark_gold, unmark_gold
from labeling.history import find_pair, pair_history
from labeling.store import Store
from labeling.ui.identity import Gate
from labeling.ui.manage.script import asking_html, sent
from labeling.ui.place import FLAT, SWIFT, current_tab, in_turn
from labeling.ui.stage import pair_html

LIST = "manage-gold"
ANSWERS = (("A is better", "a"), ("B is better", "b"), ("Tie", "tie"), ("Both bad", "both_bad"))
ANSWER_WORDS = {value: word for word, value in ANSWERS}
SOURCES = {"lead": "a lead", "adjudication": "a decision", "file": "a file"}
NOTHING = empty(
    "No pair is gold",
    "Gold pairs have a known answer and show how carefully somebody labels. Make some below, from"
    " a decision under <b>Conflicts</b>, or with <code>gold</code> in a file of pairs.",
)


def gold_html(found: Sequence[Gold]) -> str:
    """The gold pairs as a table."""
    if not found:
        return NOTHING
    rows = "".join(
        f'<tr><td data-name="Pair"><code title="{each.pair_id}">{each.pair_id[:12]}</code></td>'
        f'<td data-name="Batch">{escape(each.batch)}</td>'
        f'<td data-name="Answer"><b>{ANSWER_WORDS[each.outcome]}</b></td>'
        f'<td data-name="From">{escape(SOURCES.get(each.source, each.source))}<br>'
        f'<span class="da-muted">{each.created[:10]}</span></td>'
        f'<td class="mg-start" data-name="Note">{escape(each.note) or "–"}</td>'
        f'<td class="mg-row-actions">{_button("show", each.pair_id, "Show")}'
        f"{_button('remove', each.pair_id, 'Remove')}</td></tr>"
        for each in found
    )
    return (
        '<section class="da-card" data-asked><h3 class="da-title">'
        f"{len(found):,} gold pair{'' if len(found) == 1 else 's'}</h3>"
        '<div class="da-table-box"><table class="da-table mg-table"><thead><tr><th>Pair</th>'
        "<th>Batch</th><th>Answer</th><th>From</th><th>Note</th><th></th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _button(event: str, pair_id: str, word: str) -> str:
    return (
        f'<button type="button" class="mg-button mg-quiet mg-small" data-do="{event}"'
        f' data-pair="{pair_id}">{word}</button>'
    )


def candidate_html(store: Store, pair_id: str) -> tuple[str, str]:
    """The whole id of a pair and its texts, A being its first response; ``UserError`` if unknown.

    A prefix of the id is enough.
    """
    found = pair_history(store, (pair_id or "").strip())
    texts = found["candidates"]
    shown = pair_html(found["prompt"]["dialogue"], texts["a"]["text"], texts["b"]["text"])
    return found["pair"], f'<div class="mg-pair">{shown}</div>'


def gold_section(gate: Gate) -> None:
    """Builds the section inside the current ``gr.Tab``."""
    with gr.Column(elem_classes="mg-section"):
        listed = asking_html(LIST, "gold", ("show", "remove"))
        with gr.Column(elem_classes="da-panel"):
            gr.HTML('<h3 class="da-title">Make a pair gold</h3>', **FLAT)
            with gr.Row(elem_classes="mg-line"):
                pair = gr.Textbox(
                    label="Pair",
                    info="its id, or the beginning of it, as exports and decisions name it",
                    max_lines=1,
                    elem_id="gold-pair",
                    scale=4,
                )
                show = gr.Button("Show the pair", size="md", scale=0, elem_id="gold-show")
            texts = gr.HTML(elem_id="gold-texts", label="texts", **FLAT)
            outcome = gr.Radio(list(ANSWERS), label="The right answer", elem_id="gold-answer")
            note = gr.Textbox(label="Why", max_lines=3, max_length=2_000, elem_id="gold-note")
            with gr.Row(elem_classes="mg-foot"):
                mark = gr.Button("Make it gold", variant="primary", size="md", elem_id="gold-mark")
    with gr.Row(visible=False):
        chosen = gr.Textbox(label="pair")
        answer = gr.JSON(label="answer")

    def view(store: Store) -> tuple[Any, str]:
        found = gold_pairs(store)
        return [asdict(each) for each in found], gold_html(found)

    @polite
    def gold(request: gr.Request) -> tuple[Any, str]:
        """The gold pairs of every batch."""
        store, _ = gate.admit(request, "lead")
        return view(store)

    @polite
    def show_pair(pair: str, request: gr.Request) -> tuple[str, str]:
        """The whole id of a pair and its texts."""
        store, _ = gate.admit(request, "lead")
        return candidate_html(store, pair)

    @polite
    def make_gold(pair: str, outcome: str, note: str, request: gr.Request) -> tuple[Any, ...]:
        """Makes a pair gold: ``outcome`` says which of its responses, a or b, is right."""
        store, _ = gate.admit(request, "lead")
        if not outcome:
            raise UserError("Say what the right answer is.")
        whole = find_pair(store, (pair or "").strip())
        mark_gold(store, whole, outcome, note=note or "")
        gr.Info(f"{ANSWER_WORDS[outcome]}: kept as the right answer.")
        return *view(store), "", "", None, ""

    @polite
    def remove_gold(pair: str, request: gr.Request) -> tuple[Any, str]:
        """Makes a gold pair an ordinary one again; its picks stay."""
        store, _ = gate.admit(request, "lead")
        unmark_gold(store, pair)
        return view(store)

    shown, turn = [answer, listed], in_turn("gold")
    if (tab := current_tab()) is not None:
        tab.select(gold, None, shown, api_name="manage_gold", **turn)
    gr.on(
        [show.click, pair.submit], show_pair, pair, [pair, texts], api_name="manage_pair", **SWIFT
    )
    listed.show(
        show_pair,
        chosen,
        [pair, texts],
        js=sent(LIST, {"pair": str}),
        api_visibility="private",
        **SWIFT,
    )
    mark.click(
        make_gold,
        [pair, outcome, note],
        [*shown, pair, texts, outcome, note],
        api_name="manage_mark_gold",
        **turn,
    )
    listed.remove(
        remove_gold,
        chosen,
        shown,
        js=sent(LIST, {"pair": str}),
        api_name="manage_remove_gold",
        **turn,
    )
