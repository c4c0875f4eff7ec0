"""Tables of reports: rows where there is room, and a block a row on a phone (``report.css``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """``rows`` of HTML under ``head``, which is text; the first cell names its row.

    Each cell carries its column's name, which is read where the head is out of sight. Raises
    ``ValueError`` for a row that does not fit the head.
    """
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        f"<tr><th>{first}</th>"
        + "".join(
            f'<td data-label="{escape(name)}">{cell}</td>'
            for name, cell in zip(head[1:], rest, strict=True)
        )
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="da-scroll"><table class="da-rows"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
