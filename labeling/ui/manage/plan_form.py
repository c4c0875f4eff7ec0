"""The form of a batch's plan: its fields, what they say, and what they are set to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gradio as gr

from detox.errors import UserError
from labeling.plans import GUIDELINES_LENGTH, Plan

# What the form of a new batch begins with.
OPENING = Plan("new", votes_wanted=3, repeat_share=0.1)
STRATEGIES = (
    ("Those with the fewest votes", "balanced"),
    ("Those whose summaries are scored alike", "uncertainty"),
    ("Those where people and scores disagree", "disagreement"),
)
# How each is called on a card.
STRATEGY_WORDS = {
    "balanced": "fewest votes first",
    "uncertainty": "alike scores first",
    "disagreement": "disagreement first",
}


def plan_fields(prefix: str) -> list[Any]:
    """Builds the fields, in the order in which ``read_plan`` takes and ``shown`` gives them."""
    votes, repeats, gold, strategy, hold, reveal, guidelines, seed = shown(OPENING)
    with gr.Row(elem_classes="mg-fields"):
        fields: list[Any] = [
            gr.Number(
                votes,
                precision=0,
                label="Labelers per pair",
                info="0 lets everybody judge every pair",
                min_width=160,
                elem_id=f"{prefix}-votes",
            ),
            gr.Number(
                repeats,
                label="Repeats, %",
                info="pairs shown to a labeler again",
                min_width=160,
                elem_id=f"{prefix}-repeats",
            ),
            gr.Number(
                gold,
                label="Gold, %",
                info="pairs whose answer is known",
                min_width=160,
                elem_id=f"{prefix}-gold",
            ),
        ]
    fields.append(
        gr.Radio(
            list(STRATEGIES),
            value=strategy,
            label="Pairs that come first",
            elem_id=f"{prefix}-strategy",
        )
    )
    with gr.Row(elem_classes="mg-fields"):
        fields += [
            gr.Number(
                hold,
                label="Held, minutes",
                info="until somebody else gets the pair",
                min_width=160,
                elem_id=f"{prefix}-hold",
            ),
            gr.Number(
                seed,
                precision=0,
                label="Seed",
                info="draws and orders pairs",
                min_width=160,
                elem_id=f"{prefix}-seed",
            ),
        ]
    reveal_field = gr.Checkbox(
        reveal,
        label="Labelers may see after their pick which version wrote what",
        elem_id=f"{prefix}-reveal",
    )
    guidelines_field = gr.Textbox(
        guidelines,
        label="Guidelines of this batch",
        info="shown beside the built-in ones",
        lines=2,
        max_lines=8,
        max_length=GUIDELINES_LENGTH,
        elem_id=f"{prefix}-guidelines",
    )
    return [*fields[:5], reveal_field, guidelines_field, fields[5]]


def read_plan(name: str, values: Sequence[Any]) -> Plan:
    """The plan that the fields say. Raises ``UserError`` for what is missing or cannot be."""
    votes, repeats, gold, strategy, hold, reveal, guidelines, seed = values
    numbers = (votes, repeats, gold, hold, seed)
    if any(value is None or not math.isfinite(value) for value in numbers):
        raise UserError("Give a number for every setting of the batch.")
    return Plan(
        (name or "").strip(),
        votes_wanted=int(votes) or None,
        repeat_share=float(repeats) / 100,
        gold_share=float(gold) / 100,
        strategy=strategy,
        hold_minutes=float(hold),
        reveal=bool(reveal),
        guidelines=guidelines or "",
        seed=int(seed),
    )


def shown(plan: Plan) -> list[Any]:
    """What the fields show for ``plan``; shares as percentages."""
    return [
        plan.votes_wanted or 0,
        round(100 * plan.repeat_share, 4),
        round(100 * plan.gold_share, 4),
        plan.strategy,
        plan.hold_minutes,
        plan.reveal,
        plan.guidelines,
        plan.seed,
    ]


def summary(plan: Plan) -> str:
    """The plan in one line of plain words."""
    parts = [
        f"{plan.votes_wanted} labelers per pair" if plan.votes_wanted else "everybody judges all",
        STRATEGY_WORDS[plan.strategy],
        f"held {plan.hold_minutes:g} min",
    ]
    if plan.repeat_share:
        parts.append(f"{100 * plan.repeat_share:g} % repeats")
    if plan.gold_share:
        parts.append(f"{100 * plan.gold_share:g} % gold")
    parts.append("versions told after the pick" if plan.reveal else "versions stay hidden")
    if plan.seed:
        parts.append(f"seed {plan.seed}")
    return " · ".join(parts)
