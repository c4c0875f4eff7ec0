"""The stages as a drawn graph, in the colours of the page around it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

Record = Mapping[str, Any]

# Where each stage stands: column and row.
PLACES = {
    "preferences": (0, 0),
    "prompts": (0, 1),
    "eval_prompts": (0, 2),
    "reward_model": (1, 0),
    "reinforcement_learning": (2, 1),
    "bulk_inference": (3, 2),
    "evaluation": (4, 1),
}
# What is drawn; a stage also reads others of its past, which would only be more lines.
EDGES = (
    ("preferences", "reward_model"),
    ("prompts", "reinforcement_learning"),
    ("reward_model", "reinforcement_learning"),
    ("eval_prompts", "bulk_inference"),
    ("reinforcement_learning", "bulk_inference"),
    ("bulk_inference", "evaluation"),
    ("reward_model", "evaluation"),
)
WIDTH, HEIGHT, ACROSS, DOWN = 206, 96, 36, 28


def draw_graph(records: Mapping[str, Record]) -> str:
    """The graph as SVG: of every stage its name, whether it ran, n, seconds and key figure."""
    columns, rows = (1 + max(place[axis] for place in PLACES.values()) for axis in (0, 1))
    width = columns * (WIDTH + ACROSS) - ACROSS + 2
    height = rows * (HEIGHT + DOWN) - DOWN + 2
    parts = [_edge(one, other) for one, other in EDGES]
    parts += [_node(name, record) for name, record in records.items()]
    return (
        f'<svg role="img" aria-label="The stages of the pipeline" class="da-graph" '
        f'viewBox="-1 -1 {width} {height}" xmlns="http://www.w3.org/2000/svg">'
        '<defs><marker id="da-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="var(--da-muted)"/></marker>'
        f"</defs>{''.join(parts)}</svg>"
    )


def _corner(name: str) -> tuple[int, int]:
    column, row = PLACES[name]
    return column * (WIDTH + ACROSS), row * (HEIGHT + DOWN)


def _edge(one: str, other: str) -> str:
    (x1, y1), (x2, y2) = _corner(one), _corner(other)
    x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT // 2, y2 + HEIGHT // 2
    # lines that come in from above or below meet the node apart from the straight one
    y2 += 0 if y1 == y2 else -16 if y1 < y2 else 16
    bend = ACROSS
    return (
        f'<path d="M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2 - 2} {y2}" fill="none" '
        'stroke="var(--da-muted)" stroke-width="1.4" marker-end="url(#da-tip)"/>'
    )


def _node(name: str, record: Record) -> str:
    x, y = _corner(name)
    tone = "muted" if record["cached"] else "after"
    status = f"{'cached' if record['cached'] else 'run'} · {_time(record['seconds'])}"
    lines = (
        (24, "700", "ink", 14, record["title"]),
        (43, "400", tone, 12, f"{status} · n = {record['n']:,}"),
        (63, "400", "muted", 12, record["made"]),
        (81, "400", "ink", 12, record["figure"]),
    )
    texts = "".join(
        f'<text x="{x + 14}" y="{y + down}" font-size="{size}" font-weight="{weight}" '
        f'fill="var(--da-{colour})">{escape(_cut(text, size))}</text>'
        for down, weight, colour, size, text in lines
    )
    whole = escape(f"{record['title']}: {record['made']}; {record['figure']}")
    return (
        f'<g><title>{whole}</title><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" '
        f'rx="12" fill="var(--da-surface)" stroke="var(--da-line)"/><rect x="{x}" y="{y + 14}" '
        f'width="4" height="{HEIGHT - 28}" rx="2" fill="var(--da-{tone})"/>{texts}</g>'
    )


def _cut(text: str, size: float) -> str:
    most = int((WIDTH - 22) / (0.55 * size))
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
