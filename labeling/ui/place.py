"""Where in the page a component is being built, and how our HTML sits in it."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.context import Context

# For gr.HTML: our own styles only, no padding.
FLAT: dict[str, Any] = {"apply_default_css": False, "elem_classes": "lb-flat"}
# For events: each takes milliseconds, so any number may run, and none waits for a model. They are
# queued all the same, as gradio 6.31 shows no error of an event that is not.
SWIFT: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}


def in_turn(name: str) -> dict[str, Any]:
    """For events that show the same list: one after the other, as quick as ``SWIFT``.

    Side by side, what was read before a change could arrive after it and replace it.
    """
    return {"concurrency_id": name, "concurrency_limit": 1, "show_progress": "hidden"}


def current_blocks() -> gr.Blocks:
    """The ``gr.Blocks`` under construction; ``RuntimeError`` outside of one."""
    if Context.root_block is None:
        raise RuntimeError("Build this tab inside gr.Blocks.")
    return Context.root_block


def current_tab() -> gr.Tab | None:
    """The innermost ``gr.Tab`` under construction, if any."""
    block = Context.block
    while block is not None and not isinstance(block, gr.Tab):
        block = block.parent
    return block
