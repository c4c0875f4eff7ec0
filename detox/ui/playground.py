"""The Playground tab: one text, asked for in three ways side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from html import escape
from typing import Any

import gradio as gr
from gradio.events import api

from detox import wording
from detox.config import Sampling
from detox.data import check_dialogue, load_dialogues
from detox.errors import UserError
from detox.prompting import MOST_SHOTS, Setup, build_prompt, too_long
from detox.tasks import TASKS, Task, find_task
from detox.ui import html
from detox.ui.manners import lasting, polite
from detox.ui.one import QUICK, VERSIONS
from detox.ui.turns import breakable
from detox.workbench import Side, Workbench

COLUMNS = 3
# What the form of each column opens with: (template, shots).
OPENING = (("default", 0), ("default", 1), ("question", 0))
PRESS = html.empty(
    "One question, three ways", "Press <b>Ask</b>, and the three setups answer in turn."
)
# Slider ends and steps of the settings that people move; the rest are plain numbers.
_SLIDERS = {
    "temperature": (0, 2, 0.05),
    "top_p": (0.05, 1, 0.05),
    "max_new_tokens": (1, 256, 1),
    "num_beams": (1, 8, 1),
    "repetition_penalty": (1, 2, 0.05),
}


@dataclass(frozen=True)
class Answer:
    """What came of one setup: the prompt and its length, and a response or a warning."""

    setup: Setup
    prompt: str
    tokens: int = 0
    context: int = 0
    side: Side | None = None
    warning: str = ""
    seconds: float = 0.0


def playground_tab(bench: Workbench) -> None:
    """Builds the tab."""
    texts = {
        name: load_dialogues(split="test", task=task)["dialogue"] for name, task in TASKS.items()
    }
    first = next(iter(TASKS))
    with gr.Column(elem_classes="da-panel"):
        with gr.Row(elem_classes="da-controls"):
            task = gr.Radio(
                [(wording.capital(name), name) for name in TASKS],
                value=first,
                label="Task",
                elem_id="play-task",
            )
            another = gr.Button("Another example", size="sm", scale=0, min_width=150)
        text = gr.Textbox(texts[first][0], label="Text", lines=6, max_lines=12, elem_id="play-text")
    columns = []
    with gr.Row(equal_height=False):
        for number in range(COLUMNS):
            with gr.Column(min_width=280, elem_classes="da-panel"):
                columns.append(_column(bench, number))
    go = gr.Button("Ask", variant="primary", size="lg", elem_id="play-go")
    answers = gr.HTML(PRESS, elem_id="play-answers", apply_default_css=False)
    data = gr.JSON(visible=False, label="answers")
    shown = gr.State(0)

    @polite
    def chosen(task: str) -> list[Any]:
        found = find_task(task)
        choices = gr.Dropdown(choices=list(found.templates), value="default")
        return [texts[task][0], 0, *[choices] * COLUMNS]

    @polite
    def next_text(task: str, number: int) -> tuple[str, int]:
        find_task(task)
        number = (number + 1) % len(texts[task])
        return texts[task][number], number

    @breakable
    @lasting(lambda said: (html.failure("There is no answer", said), None))
    @polite
    def ask(task: str, text: str, *form: Any) -> Iterator[tuple[str, Any]]:
        """The answers of the setups as they come: as a page and as data."""
        size = len(form) // COLUMNS
        wanted = [_setup(form[i * size : (i + 1) * size]) for i in range(COLUMNS)]
        for status in bench.loading():
            yield html.waiting(status), None
        found: list[Answer] = []
        yield _cards(wanted, found), None
        for answer in answered(bench, find_task(task), text, wanted):
            found.append(answer)
            yield _cards(wanted, found), [_as_data(one) for one in found]

    def prompt(
        text: str,
        task: str = "summarize",
        version: str = next(iter(bench.specs)),
        template: str = "default",
        shots: int = 0,
        sampling: dict[str, float] | None = None,
    ) -> dict[str, Any]:
        """One setup's answer, its prompt and their lengths; ``sampling`` names what differs."""
        setup = Setup(version, template, int(shots), sampling_from(sampling or {}))
        bench.wait()
        (found,) = answered(bench, find_task(task), text, [setup])
        return _as_data(found)

    api(polite(prompt), api_name="prompt")
    task.change(
        chosen, task, [text, shown, *[c[1] for c in columns]], api_name="play_task", **QUICK
    )
    another.click(next_text, [task, shown], [text, shown], api_name="play_next", **QUICK)
    go.click(
        ask,
        [task, text, *[part for column in columns for part in column]],
        [answers, data],
        api_name="play_ask",
        api_visibility="undocumented",
        show_progress="minimal",
    )


def answered(bench: Workbench, task: Task, text: str, wanted: Sequence[Setup]) -> Iterator[Answer]:
    """What each setup answers to ``text``; the models must have been loaded.

    A prompt that a policy cannot read is not cut: its answer is a warning with the count. Raises
    ``UserError`` for an unusable text and for unknown policies and templates.
    """
    text = check_dialogue(text)
    bench.check_names([setup.policy for setup in wanted])
    asked = [(setup, build_prompt(task, text, setup)) for setup in wanted]
    for setup, prompt in asked:
        policy = bench.policies[setup.policy]
        tokens = len(policy.tokenizer(prompt).input_ids)
        if warning := too_long(policy, prompt, setup.sampling):
            yield Answer(setup, prompt, tokens, policy.context, warning=warning)
            continue
        started = time.perf_counter()
        side = bench.answer(setup.policy, prompt, setup.sampling)
        seconds = time.perf_counter() - started
        yield Answer(setup, prompt, tokens, policy.context, side, seconds=seconds)


def _column(bench: Workbench, number: int) -> list[Any]:
    """The form of one setup, in the order that ``_setup`` reads it."""
    names = list(bench.specs)
    template, shots = OPENING[number]
    gr.HTML(f'<h3 class="da-title">Setup {number + 1}</h3>', apply_default_css=False)
    policy = gr.Dropdown(
        names,
        value=names[0],
        label="Version",
        allow_custom_value=True,
        min_width=120,
        elem_classes=VERSIONS,
    )
    wording = gr.Dropdown(
        list(next(iter(TASKS.values())).templates),
        value=template,
        label="Wording",
        allow_custom_value=True,
        min_width=120,
    )
    count = gr.Slider(0, MOST_SHOTS, shots, step=1, label="Solved examples first", min_width=120)
    with gr.Accordion("Generation", open=False):
        settings = [_setting(field) for field in fields(Sampling)]
    return [policy, wording, count, *settings]


def _setting(field: Any) -> Any:
    label, info = field.name.replace("_", " ").capitalize(), field.metadata["help"]
    if field.name in _SLIDERS:
        low, high, step = _SLIDERS[field.name]
        return gr.Slider(low, high, field.default, step=step, label=label, info=info, min_width=120)
    whole = 0 if isinstance(field.default, int) else None
    return gr.Number(field.default, precision=whole, label=label, info=info, min_width=120)


def _setup(form: Sequence[Any]) -> Setup:
    policy, template, shots, *numbers = form
    if any(value is None or not math.isfinite(value) for value in (shots, *numbers)):
        raise UserError("Give a number for every setting.")
    names = [field.name for field in fields(Sampling)]
    given = sampling_from(dict(zip(names, numbers, strict=True)))
    return Setup(policy, template, int(shots), given)


def sampling_from(numbers: dict[str, float]) -> Sampling:
    """The settings named in ``numbers``; ``UserError`` for what is none, or out of range."""
    kinds: dict[str, Any] = {name: type(value) for name, value in asdict(Sampling()).items()}
    for name, value in numbers.items():
        if name not in kinds:
            raise UserError(f"Unknown setting '{name}': choose among {', '.join(kinds)}.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"Give a number for {name}.")
    return Sampling(**{name: kinds[name](value) for name, value in numbers.items()})


def _cards(wanted: Sequence[Setup], found: Sequence[Answer]) -> str:
    cards = [_card(answer) for answer in found]
    cards += [_card(Answer(setup, "")) for setup in wanted[len(found) :]]
    return f'<div class="da-answers">{"".join(cards)}</div>'


def _card(answer: Answer) -> str:
    title = f"<header><h3>{escape(wording.capital(answer.setup.title))}</h3></header>"
    if answer.warning:
        inner = f'<p class="da-text da-none" role="note">{escape(answer.warning)}</p>'
    elif answer.side is None:
        waiting = f'{title}<p class="da-text"></p>'
        return f'<article class="da-card da-side da-writing">{waiting}</article>'
    else:
        side = answer.side
        assert side.reward is not None and side.toxicity is not None
        text = escape(wording.readable(side.text))
        style = "da-text" if text else "da-text da-none"
        inner = (
            f'<p class="{style}">{text or "This setup wrote nothing."}</p>'
            '<dl class="da-scores">'
            f'<dt>Reward</dt><dd class="da-span">{wording.number(side.reward)}</dd>'
            f"<dt>Toxicity</dt><dd>{html.bar(side.toxicity, 'toxicity')}</dd>"
            f"<dd>{wording.percent(side.toxicity)}</dd>"
            f'<dt>Length</dt><dd class="da-span">{wording.words(side.words)}, '
            f"{answer.seconds:.1f}\u00a0s</dd></dl>"
        )
    return (
        f'<article class="da-card da-side">{title}{inner}'
        f"<details><summary>The prompt, {answer.tokens:,} of {answer.context:,} tokens</summary>"
        f'<pre class="da-prompt">{escape(answer.prompt)}</pre></details></article>'
    )


def _as_data(answer: Answer) -> dict[str, Any]:
    return {
        "setup": asdict(answer.setup),
        "prompt": answer.prompt,
        "tokens": answer.tokens,
        "context": answer.context,
        "warning": answer.warning,
        "answer": None if answer.side is None else asdict(answer.side),
    }
