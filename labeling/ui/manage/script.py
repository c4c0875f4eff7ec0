"""How a click inside our HTML becomes an event of gradio's, with what it was about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from labeling.ui.place import FLAT

_ASKED = (Path(__file__).parents[2] / "assets" / "manage.js").read_text(encoding="utf-8")


def asking_html(elem_id: str, label: str, events: tuple[str, ...]) -> Any:
    """A place for HTML whose controls may ask for ``events`` with ``data-do``."""
    # gr.HTML takes the names of its events from the strings in its script.
    script = f"const EVENTS = {json.dumps(events)};\n{_ASKED}"
    return gr.HTML(elem_id=elem_id, label=label, js_on_load=script, **FLAT)


def sent(elem_id: str, fields: Mapping[str, type]) -> str:
    """The ``js`` of an event of ``asking_html``: the first inputs are what was asked.

    ``fields`` names the data of the section in the order of the inputs, and their types, ``str``
    or ``bool``; the inputs after them stay as they are.
    """
    values = ", ".join(
        f"asked.{name} === 'true'" if kind is bool else f"asked.{name} || ''"
        for name, kind in fields.items()
    )
    return (
        "(...inputs) => { const asked = JSON.parse("
        f"document.querySelector('#{elem_id} [data-asked]').dataset.asked); "
        f"return [{values}, ...inputs.slice({len(fields)})]; }}"
    )
