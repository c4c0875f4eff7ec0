"""Every batch as a card: how far it is, whether it is open, and how it is labelled."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from html import escape
from typing import Any

import gradio as gr

from detox.ui.html import empty
from detox.ui.manners import polite
from labeling.active import Ranked, prioritise
from labeling.plans import Plan, Standing, find_plan, save_plan, set_status, standings
from labeling.store import Store
from labeling.ui.identity import Gate
from labeling.ui.manage import plan_form
from labeling.ui.manage.script import asking_html, sent
from labeling.ui.place import FLAT, SWIFT, current_tab, in_turn

PAGE = "manage-batches"
# What may be done with a batch: the status it gets, and the word on the button.
MOVES = {
    "open": (("paused", "Pause"), ("closed", "Close")),
    "paused": (("open", "Open"), ("closed", "Close")),
    "closed": (("open", "Open again"),),
}
NOTHING = empty(
    "There is no batch yet",
    "Make one under <b>New batch</b>: choose dialogues and versions, and pairs are written for"
    " your labelers.",
)


def overview(store: Store) -> tuple[list[dict[str, Any]], str]:
    """Every batch, oldest first, for programs and as HTML."""
    found = standings(store)
    told = [asdict(each) | {"wanted": each.wanted} for each in found]
    cards = "".join(_card(each) for each in found)
    return told, f'<section class="mg-batches" data-asked>{cards}</section>' if found else NOTHING


def _card(batch: Standing) -> str:
    name = escape(batch.plan.name)
    share = min(1.0, batch.votes / batch.wanted) if batch.wanted else 0.0
    facts = [
        (f"{batch.pairs:,}", "pair" if batch.pairs == 1 else "pairs"),
        (f"{batch.labelers:,}", "labeler" if batch.labelers == 1 else "labelers"),
        (f"{batch.held:,}", "held now"),
        (f"{batch.conflicts:,}", "in conflict"),
        (f"{batch.gold:,}", "gold"),
    ]
    missing = (
        '<p class="mg-hint">It asks for gold pairs, and none is marked yet: see <b>Gold</b>.</p>'
        if batch.plan.gold_share and not batch.gold
        else ""
    )
    return (
        f'<article class="da-card mg-batch mg-{batch.status}" aria-label="{name}">'
        f'<header><h3 class="da-title">{name}</h3>'
        f'<span class="da-pill mg-status">{batch.status}</span></header>'
        f'<div class="mg-votes"><span><b>{batch.votes:,}</b> of {batch.wanted:,} votes</span>'
        f'<div class="da-bar" role="meter" aria-label="Votes of {name}" aria-valuemin="0"'
        f' aria-valuemax="100" aria-valuenow="{100 * share:.0f}"'
        f' style="--value:{100 * share:.1f}%"><i></i></div></div>'
        f'<ul class="mg-facts">{"".join(f"<li><b>{n}</b> {word}</li>" for n, word in facts)}</ul>'
        f'<p class="da-muted">{escape(plan_form.summary(batch.plan))}<br>made {_day(batch)}</p>'
        f'{missing}<div class="mg-actions">{_actions(batch)}</div></article>'
    )


def _day(batch: Standing) -> str:
    made = datetime.fromisoformat(batch.created)
    return f"{made.day} {made:%B %Y}"


def _actions(batch: Standing) -> str:
    name = escape(batch.plan.name)
    moves = "".join(
        f'<button type="button" class="mg-button" data-do="set_status" data-batch="{name}"'
        f' data-value="{status}" aria-label="{word} {name}">{word}</button>'
        for status, word in MOVES[batch.status]
    )
    return moves + "".join(
        f'<button type="button" class="mg-button mg-quiet" data-do="{event}" data-batch="{name}"'
        f' aria-label="{word}: {name}">{word}</button>'
        for event, word in (("edit_plan", "Change"), ("edit_order", "Order the pairs"))
    )


def order(store: Store, batch: str, strategy: str, spec: str = "") -> Ranked | None:
    """Gives ``batch`` a strategy and orders its pairs by it; None where there is no order.

    ``spec`` names the reward that tells, as in ``detox ppo``, mostly ``preference:FOLDER``; if it
    is empty, the rewards that came with the pairs do. Raises ``UserError`` for an unknown batch
    or strategy and a reward that cannot be loaded; then nothing has changed.
    """
    plan = replace(find_plan(store, batch), strategy=strategy)
    reward = None
    if spec.strip() and strategy != "balanced":
        from detox.rewards import load_reward

        reward = load_reward(spec.strip())
    save_plan(store, plan)
    return None if strategy == "balanced" else prioritise(store, batch, reward)


def order_words(done: Ranked) -> str:
    """What became of an order, in one sentence."""
    pairs = f"{done.ranked:,} pair{'' if done.ranked == 1 else 's'}"
    if not done.unscored:
        return f"Ordered: {pairs}."
    return f"Ordered: {pairs}; {done.unscored:,} without scores stay in the middle."


def batches_section(gate: Gate) -> list[Any]:
    """Builds the section inside the current ``gr.Tab``.

    Returns the components that show ``overview``, for the event that opens the tab around.
    """
    chosen = gr.Textbox(visible=False, label="batch")
    with gr.Column(elem_id="manage-batch-list", elem_classes="mg-section") as listed:
        page = asking_html(PAGE, "batches", ("set_status", "edit_plan", "edit_order"))
        with gr.Row(elem_classes="mg-foot"):
            refresh = gr.Button("Refresh", size="sm", scale=0, elem_id="manage-batches-refresh")
    with gr.Column(visible=False, elem_id="manage-plan", elem_classes="da-panel") as plan_panel:
        plan_title = gr.HTML(**FLAT)
        fields = plan_form.plan_fields("manage-plan")
        with gr.Row(elem_classes="mg-foot"):
            save = gr.Button("Save", variant="primary", size="md", elem_id="manage-plan-save")
            leave_plan = gr.Button("Back", size="md", elem_id="manage-plan-back")
    with gr.Column(visible=False, elem_id="manage-order", elem_classes="da-panel") as order_panel:
        order_title = gr.HTML(**FLAT)
        strategy = gr.Radio(
            list(plan_form.STRATEGIES), label="Pairs that come first", elem_id="manage-order-by"
        )
        spec = gr.Textbox(
            label="Scores",
            info="Empty: those that came with the pairs, by the hate classifier. Or a reward model "
            "trained on picks, as in preference:runs/reward",
            placeholder="preference:runs/reward",
            max_lines=1,
            elem_id="manage-order-reward",
        )
        with gr.Row(elem_classes="mg-foot"):
            go = gr.Button(
                "Order the pairs", variant="primary", size="md", elem_id="manage-order-go"
            )
            leave_order = gr.Button("Back", size="md", elem_id="manage-order-back")
    with gr.Row(visible=False):
        status = gr.Textbox(label="status")
        answer = gr.JSON(label="answer")

    panels = [listed, plan_panel, order_panel]

    def showing(which: int) -> list[Any]:
        return [gr.update(visible=place == which) for place in range(len(panels))]

    @polite
    def batches(request: gr.Request) -> tuple[Any, ...]:
        """Every batch with its plan, its status and its counts."""
        store, _ = gate.admit(request, "lead")
        return overview(store)

    @polite
    def batch_status(batch: str, status: str, request: gr.Request) -> tuple[Any, ...]:
        """Opens, pauses or closes a batch."""
        store, _ = gate.admit(request, "lead")
        set_status(store, batch, status)
        return overview(store)

    @polite
    def batch_plan(batch: str, request: gr.Request) -> tuple[Any, ...]:
        """How a batch is labelled."""
        store, _ = gate.admit(request, "lead")
        plan = find_plan(store, batch)
        return asdict(plan), batch, _title("Change", batch), *plan_form.shown(plan), *showing(1)

    @polite
    def change_plan(
        batch: str,
        labelers_per_pair: float,
        repeats_percent: float,
        gold_percent: float,
        strategy: str,
        hold_minutes: float,
        reveal: bool,
        guidelines: str,
        seed: float,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        """Changes how a batch is labelled; its pairs and picks stay."""
        store, _ = gate.admit(request, "lead")
        before = find_plan(store, batch)
        values = (
            labelers_per_pair,
            repeats_percent,
            gold_percent,
            strategy,
            hold_minutes,
            reveal,
            guidelines,
            seed,
        )
        plan = plan_form.read_plan(batch, values)
        save_plan(store, plan)
        said = f"Saved. {_reordered(store, before, plan)}".strip()
        gr.Info(said)
        return *overview(store), *showing(0)

    @polite
    def batch_order(batch: str, request: gr.Request) -> tuple[Any, ...]:
        """By what a batch orders its pairs."""
        store, _ = gate.admit(request, "lead")
        plan = find_plan(store, batch)
        told = {"batch": batch, "strategy": plan.strategy}
        return told, batch, _title("Order the pairs of", batch), plan.strategy, *showing(2)

    @polite
    def order_batch(batch: str, strategy: str, reward: str, request: gr.Request) -> tuple[Any, ...]:
        """Sets a batch's strategy, and orders its pairs by it."""
        store, _ = gate.admit(request, "lead")
        done = order(store, batch, strategy, reward or "")
        told = asdict(done) if done else {"ranked": 0, "unscored": 0}
        said = order_words(done) if done else "Pairs with the fewest votes come first."
        gr.Info(said)
        return told, *showing(0)

    @polite
    def back() -> list[Any]:
        return showing(0)

    shown, turn = [answer, page], in_turn("batches")
    triggers = [refresh.click]
    if (tab := current_tab()) is not None:
        triggers.append(tab.select)
    gr.on(triggers, batches, None, shown, api_name="manage_batches", **turn)
    page.set_status(
        batch_status,
        [chosen, status],
        shown,
        js=sent(PAGE, {"batch": str, "value": str}),
        api_name="manage_batch_status",
        **turn,
    )
    page.edit_plan(
        batch_plan,
        chosen,
        [answer, chosen, plan_title, *fields, *panels],
        js=sent(PAGE, {"batch": str}),
        api_name="manage_batch_plan",
        **SWIFT,
    )
    save.click(
        change_plan, [chosen, *fields], [*shown, *panels], api_name="manage_change_plan", **turn
    )
    page.edit_order(
        batch_order,
        chosen,
        [answer, chosen, order_title, strategy, *panels],
        js=sent(PAGE, {"batch": str}),
        api_name="manage_batch_order",
        **SWIFT,
    )
    ordered = go.click(
        order_batch,
        [chosen, strategy, spec],
        [answer, *panels],
        api_name="manage_order",
        concurrency_limit=1,
        show_progress="minimal",
    )
    # afterwards, as rewards may take long to load and the list's turn is short
    ordered.success(batches, None, shown, api_name="manage_batch_cards", **turn)
    gr.on(
        [leave_plan.click, leave_order.click],
        back,
        None,
        panels,
        api_visibility="private",
        **SWIFT,
    )
    return shown


def _title(what: str, batch: str) -> str:
    return f'<h3 class="da-title">{what} “{escape(batch)}”</h3>'


def _reordered(store: Store, before: Plan, after: Plan) -> str:
    """Orders the pairs by the scores that came with them where the plan asks for another order."""
    if after.strategy == "balanced":
        return ""
    if (before.strategy, before.seed) == (after.strategy, after.seed):
        return ""
    return order_words(prioritise(store, after.name))
