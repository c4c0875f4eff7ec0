"""What tuned policies are worth: judged by the hidden taste itself on dialogues nobody saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.loop.taste import utility, win
from benchmarks.loop.world import World, bench, interval, once
from detox.config import Sampling
from detox.data import load_dialogues

Row = dict[str, Any]
MEASURES = ("toxicity", "words")


def answers(world: World, policies: Mapping[str, str], path: Path) -> dict[str, list[Row]]:
    """What each policy says to the test dialogues, by its name; kept in ``path``."""

    def work() -> dict[str, list[Row]]:
        dialogues = load_dialogues(split="test").shuffle(seed=world.seed)
        dialogues = dialogues.select(range(min(world.test, len(dialogues))))
        found: dict[str, list[Row]] = {name: [] for name in policies}
        for part, rows in bench(world, policies).respond(
            list(policies), dialogues, Sampling(seed=world.seed)
        ):
            for name, answered in rows.items():
                for item, row in zip(part, answered, strict=True):
                    about = {key: item[key] for key in ("id", "dialogue", "tone")}
                    found[name].append(about | {key: row[key] for key in ("text", *MEASURES)})
        return found

    return dict(once(path, work))


def against(one: Sequence[Row], two: Sequence[Row]) -> dict[str, Any]:
    """How often the hidden taste prefers the responses ``two``, and what they are.

    ``worth`` is what the taste finds in them, in logits.
    """
    wins = [
        win(first["dialogue"], second["text"], first["text"])
        for first, second in zip(one, two, strict=True)
    ]
    ids = [row["id"] for row in one]
    return {
        "dialogues": len(wins),
        "win_rate": interval(wins, ids),
        "worth": interval([utility(row["dialogue"], row["text"]) for row in two], ids),
        **{key: interval([float(row[key]) for row in two], ids) for key in MEASURES},
    }
