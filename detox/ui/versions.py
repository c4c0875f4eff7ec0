"""Lists of policy versions that grow while the page is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from detox.ui.one import VERSIONS
from detox.workbench import Workbench


def offer_versions(
    page: gr.Blocks, bench: Workbench, triggers: Sequence[Any] = (), others: Sequence[str] = ()
) -> None:
    """Keeps every list of versions in ``page`` up to date, once all of them have been built.

    Those are the components of the class ``VERSIONS`` and those with an id in ``others``. They
    hear of new versions when the page is loaded and at each of ``triggers``; what is chosen in
    them stays.
    """
    lists = [
        block
        for block in page.blocks.values()
        if VERSIONS in (getattr(block, "elem_classes", None) or ())
        or getattr(block, "elem_id", None) in others
    ]
    built = list(bench.specs)

    def versions() -> list[Any]:
        """The versions there are, in every list of them."""
        names = list(bench.specs)
        if names == built:
            return [gr.skip() for _ in lists]
        return [gr.update(choices=[(name, name) for name in names]) for _ in lists]

    gr.on(
        [page.load, *triggers],
        versions,
        None,
        lists,
        api_name="versions",
        show_progress="hidden",
        concurrency_limit=None,
    )
