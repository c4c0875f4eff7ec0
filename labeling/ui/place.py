"""Where in the page a component is being built, and how our HTML sits in it."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.context import Context

# For gr.HTML: our own styles only, no padding.
FLAT: dict[str, Any] = {"apply_default_css": False, "elem_classes": "lb-flat"}


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


def plural(count: int, noun: str) -> str:
    """``1 pick``, ``2 picks``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
