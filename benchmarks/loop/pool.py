"""Pairs to be judged: every two different responses to a dialogue, of two policies."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.loop.crowd import TIE, Labeler, judge_texts
from benchmarks.loop.taste import utility
from benchmarks.loop.world import World, bench, interval, once, tell
from detox.config import Sampling
from detox.data import load_dialogues
from detox.results import read_results
from detox.tasks import SUMMARIZE
from labeling.batches import load_pairs
from labeling.plans import Plan, save_plan
from labeling.store import Store

RESULTS = Path(__file__).parent.parent.parent / "detox" / "embedded" / "results"
TEMPERATURE = 0.7
Row = dict[str, Any]


def pool(world: World) -> list[Row]:
    """Rows for ``labeling.batches.load_pairs``: pairs of answers to training dialogues.

    In an order that the seed draws; written by the policies of ``world``.
    """
    answers = [
        answer
        for number in range(world.samples)
        for answer in once(
            world.folder / "pool" / f"{number}.json", partial(_answers, world, number)
        )
    ]
    return _pairs(world, answers)


def unseen(world: World) -> list[Row]:
    """Pairs of the shipped answers to test dialogues, as ``pool``."""
    rows, _ = read_results(RESULTS)
    known = list(dict.fromkeys(row["id"] for row in rows))[: world.unseen]
    about = ("id", "dialogue", "topic", "tone", "split")
    answers = [
        {key: row[key] for key in about} | {"policy": row[side]["policy"]} | _side(row[side])
        for row in rows
        for side in ("before", "after")
        if row["id"] in known
    ]
    return _pairs(world, answers)


def _pairs(world: World, answers: Sequence[Row]) -> list[Row]:
    by_dialogue: dict[str, list[Row]] = {}
    for answer in answers:
        known = by_dialogue.setdefault(answer["id"], [])
        if answer["text"] and answer["text"] not in [other["text"] for other in known]:
            known.append(answer)
    rows = [_row(one, two) for known in by_dialogue.values() for one, two in combinations(known, 2)]
    random.Random(world.seed).shuffle(rows)
    return rows


def _answers(world: World, number: int) -> list[Row]:
    dialogues = load_dialogues(split="train").shuffle(seed=world.seed)
    dialogues = dialogues.select(range(min(world.dialogues, len(dialogues))))
    sampling = Sampling(temperature=TEMPERATURE, seed=world.seed + number)
    found = []
    models = bench(world, world.policies)
    for part, rows in models.respond(list(world.policies), dialogues, sampling):
        for name in world.policies:
            for item, row in zip(part, rows[name], strict=True):
                about = {key: item[key] for key in ("id", "dialogue", "topic", "tone")}
                found.append(about | {"split": "train", "policy": name} | _side(row))
        tell(f"  pool {number}: {len(found)} responses to {len(dialogues)} dialogues")
    return found


def _side(row: Mapping[str, Any]) -> Row:
    keys = ("fingerprint", "reward", "toxicity")
    return {"text": row["text"].strip()} | {key: row[key] for key in keys}


def _row(one: Row, two: Row) -> Row:
    sides: Row = {}
    for letter, side in (("a", one), ("b", two)):
        sides[letter] = side["text"]
        keys = ("policy", "fingerprint", "reward", "toxicity")
        sides |= {f"{key}_{letter}": side[key] for key in keys}
    about = {key: one[key] for key in ("id", "dialogue", "topic", "tone", "split")}
    return about | {"prompt": SUMMARIZE.prompt(one["dialogue"])} | sides


def open_batch(store: Store, plan: Plan, rows: Sequence[Row]) -> None:
    """Puts ``rows`` into the batch of ``plan``."""
    load_pairs(store, rows, plan.name)
    save_plan(store, plan)


@dataclass(frozen=True)
class Exam:
    """Unseen pairs with one vote each, and what the hidden taste itself prefers."""

    rows: tuple[Row, ...]
    votes: tuple[int, ...]
    """1 where the labeler preferred ``a``, -1 where ``b``, 0 where neither."""
    taste: tuple[int, ...]


def exam(world: World, labelers: Sequence[Labeler]) -> Exam:
    """Pairs of the test dialogues, each judged by one of the labelers who do look."""
    rows = unseen(world)
    rng = random.Random(f"{world.seed}:exam")
    honest = [labeler for labeler in labelers if not labeler.careless]
    votes, taste = [], []
    for row in rows:
        gap = utility(row["dialogue"], row["a"]) - utility(row["dialogue"], row["b"])
        taste.append(0 if abs(gap) < TIE else int(np.sign(gap)))
        flipped = rng.random() < 0.5
        left, right = (row["b"], row["a"]) if flipped else (row["a"], row["b"])
        choice, _, _ = judge_texts(rng.choice(honest), row["dialogue"], left, right, rng)
        vote = {"left": 1, "right": -1}.get(choice, 0)
        votes.append(-vote if flipped else vote)
    return Exam(tuple(rows), tuple(votes), tuple(taste))


def graded(exam: Exam, model: str) -> dict[str, Any]:
    """How often the reward model in the folder ``model`` says what votes and taste say."""
    from detox.rewards import load_preference_reward

    judge = load_preference_reward(model)
    texts = sorted({(row["prompt"], row[side]) for row in exam.rows for side in "ab"})
    scores = dict(
        zip(texts, judge.score([p for p, _ in texts], [t for _, t in texts]).tolist(), strict=True)
    )
    said = [
        float(np.sign(scores[row["prompt"], row["a"]] - scores[row["prompt"], row["b"]]))
        for row in exam.rows
    ]
    return {
        "votes": right(exam, said, exam.votes),
        "taste": right(exam, said, exam.taste),
        "ceiling": right(exam, exam.taste, exam.votes),
        "right": [right_of(one, two) for one, two in zip(said, exam.taste, strict=True)],
    }


def right_of(said: float, truth: int) -> float | None:
    """1, 0, or one half where nothing was said; None where there is no right answer."""
    return None if truth == 0 else 0.5 + 0.5 * said * truth


def right(exam: Exam, said: Sequence[float], truth: Sequence[int]) -> dict[str, float]:
    """The share of right answers with its interval, and of how many pairs."""
    found = [
        (right_of(one, two), row["id"])
        for one, two, row in zip(said, truth, exam.rows, strict=True)
        if two != 0
    ]
    values = [value for value, _ in found if value is not None]
    return interval(values, [name for _, name in found]) | {"n": len(values)}
