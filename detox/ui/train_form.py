"""The form of a new training: the fields of each kind as components, and what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import gradio as gr

from detox.errors import UserError
from detox.jobs import Jobs
from detox.recipes import FILE, FILES, Field, Recipe
from detox.ui.one import QUICK
from detox.ui.train_page import mix_html
from detox.workbench import Workbench

MOST_WEIGHT = 3


class Form:
    """The components of the form, in the order that their values come in."""

    def __init__(self, recipes: Sequence[Recipe], jobs: Jobs, bench: Workbench) -> None:
        """Builds it inside the current column."""
        if not recipes:
            raise ValueError("a form needs at least one kind of training")
        self.recipes, self.jobs, self.bench = list(recipes), jobs, bench
        first = self.recipes[0]
        gr.HTML('<h2 class="da-title">A new training</h2>', apply_default_css=False)
        self.kind = gr.Radio(
            [(f"{recipe.title}\n{recipe.about}", recipe.name) for recipe in self.recipes],
            value=first.name,
            label="Kind",
            show_label=False,
            container=False,
            visible=len(self.recipes) > 1,
            elem_id="train-kind",
            elem_classes="da-cards tr-kinds",
        )
        self.name = gr.Textbox(
            self.free_name(first.name),
            label="Name of what comes of it",
            max_lines=1,
            max_length=60,
            elem_id="train-name",
        )
        self.parts: dict[str, dict[str, Any]] = {}
        columns = []
        for recipe in self.recipes:
            with gr.Column(
                visible=recipe is first, elem_classes="tr-fields", elem_id=f"train-{recipe.name}"
            ) as column:
                self.parts[recipe.name] = _parts(recipe)
            columns.append(column)
        self.kind.change(
            lambda kind: [
                self.free_name(kind),
                *(gr.update(visible=each.name == kind) for each in self.recipes),
            ],
            self.kind,
            [self.name, *columns],
            api_name="train_kind",
            **QUICK,
        )

    @property
    def inputs(self) -> list[Any]:
        """Kind, name, and the fields of every kind."""
        return [self.kind, self.name, *(c for parts in self.parts.values() for c in parts.values())]

    @property
    def choices(self) -> list[Any]:
        """The components whose choices may change."""
        return [self.parts[recipe.name][field.name] for recipe, field in self._choosing()]

    def new_choices(self) -> list[Any]:
        """Updates of ``choices``; what is chosen stays."""
        return [gr.update(choices=list(_choices(field))) for _, field in self._choosing()]

    def _choosing(self) -> list[tuple[Recipe, Field]]:
        return [(r, field) for r in self.recipes for field in r.fields if field.choices]

    def chosen(self, kind: str, values: Sequence[Any]) -> tuple[Recipe, dict[str, Any]]:
        """The recipe called ``kind`` and its values among those of all kinds, in form's order."""
        recipe = self.recipe(kind)
        names = [(each, name) for each, parts in self.parts.items() for name in parts]
        return recipe, {
            name: value
            for (each, name), value in zip(names, values, strict=True)
            if each == recipe.name
        }

    def recipe(self, kind: str) -> Recipe:
        """The recipe called ``kind``; ``UserError`` that lists the known ones otherwise."""
        for recipe in self.recipes:
            if recipe.name == kind:
                return recipe
        known = ", ".join(recipe.name for recipe in self.recipes)
        raise UserError(f"Unknown kind of training '{kind}': choose one of {known}.")

    def free_name(self, kind: str) -> str:
        """A name that is not taken yet, for a training of ``kind``."""
        return self.jobs.free_name(self.recipe(kind).stem, list(self.bench.specs))


def _parts(recipe: Recipe) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for heading, group in groupby(recipe.fields, lambda field: field.group):
        fields = list(group)
        if heading:
            gr.HTML(f'<h3 class="tr-heading">{heading}</h3>', apply_default_css=False)
        weights = [field for field in fields if field.kind == "weight"]
        share = gr.HTML(_share(recipe, weights), apply_default_css=False) if weights else None
        with gr.Row(elem_classes="tr-group"):
            for field in fields:
                parts[field.name] = _component(recipe, field)
        if share is not None:
            sliders = [parts[field.name] for field in weights]
            _follow(recipe, weights, sliders, share)
    for field in recipe.fields:
        if field.when is not None and field.kind == FILE:
            _reveal(parts[field.when[0]], parts[field.name], field.when[1], field.name)
    return parts


def _share(recipe: Recipe, weights: Sequence[Field], values: Sequence[Any] = ()) -> str:
    given = dict(zip((field.name for field in weights), values, strict=False))
    asked = {field.name: given.get(field.name, field.default) or 0 for field in weights}
    return mix_html(recipe.mix(asked)) or '<p class="da-muted">Nothing is rewarded yet.</p>'


def _follow(recipe: Recipe, weights: Sequence[Field], sliders: list[Any], share: Any) -> None:
    gr.on(
        [slider.change for slider in sliders],
        lambda *values: _share(recipe, weights, values),
        sliders,
        share,
        api_name=f"train_{recipe.name}_mix",
        trigger_mode="always_last",
        **QUICK,
    )


def _reveal(choice: Any, component: Any, value: str | None, name: str) -> None:
    choice.change(
        lambda chosen: gr.update(visible=chosen == value),
        choice,
        component,
        api_name=f"train_{name}",
        **QUICK,
    )


def _choices(field: Field) -> Sequence[tuple[str, str]]:
    assert field.choices is not None
    return field.choices()


def _component(recipe: Recipe, field: Field) -> Any:
    options: dict[str, Any] = {
        "label": field.label,
        "elem_id": f"train-{recipe.name}-{field.name}",
        "min_width": 160,
    }
    if field.kind == FILE:
        return gr.File(
            file_types=list(FILES),
            visible=False,
            height=120,
            label=field.label,
            elem_id=options["elem_id"],
        )
    options |= {"value": field.default, "info": field.info or None}
    if field.kind == "choice":
        return gr.Dropdown(list(_choices(field)), allow_custom_value=True, **options)
    if field.kind == "weight":
        options |= {"min_width": 300, "elem_classes": "tr-weight", "buttons": []}
        return gr.Slider(0, MOST_WEIGHT, step=0.1, **options)
    return gr.Number(precision=0 if field.kind == "whole" else None, **options)
