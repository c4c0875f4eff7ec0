"""Pages of gradio's, served while a test asks them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr


@contextmanager
def served(page: gr.Blocks, **options: Any) -> Iterator[str]:
    """The address of ``page``, which is closed in the end.

    ``_frontend`` is off for the reason that ``app.launch`` gives: a busy machine is not a fault.
    """
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, _frontend=False, **options)
    try:
        yield address
    finally:
        page.close(verbose=False)
