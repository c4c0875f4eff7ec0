"""How long Results and the next pair take when a database holds a million picks.

    python -m benchmarks.results_at_scale --picks 1000000

Builds a database of simulated labelers through the schema, its triggers on (some minutes for a
million picks), then times the first load of the picks in a new process, the load in a later one,
Results after one more pick each time, and the next pair of the labeler with most picks. Prints one
table and writes ``benchmarks/results/results_at_scale.json``. On a machine that others use as
well, seconds of the processor (of all cores) say more than those of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlite_utils import Database

from labeling.analysis import saved
from labeling.analysis.frame import frame
from labeling.analysis.report import report
from labeling.picks import submit
from labeling.queue import upcoming
from labeling.records import add_candidate, add_labeler, add_pair, add_policy, add_prompt
from labeling.store import open_store

T = TypeVar("T")

TOPICS = ("work", "home", "travel", "money", "health", "school", "sport", "food", "music", "news")
TONES = ("neutral", "annoyed", "rude")
POLICIES = ("before", "after", "later")
# Of every hundred picks, the last ones are repeats and gold.
REPEATS, GOLD = 0.04, 0.01
BATCHES = 4
START = datetime(2026, 1, 5, tzinfo=UTC)
SPEECH = (
    "they talk about the plan and who should call first because it was late again so one says"
    " sorry while the other wants to know what it costs and when the train leaves for the city"
)


@dataclass(frozen=True)
class Size:
    """How many picks, pairs and labelers a simulated database has."""

    picks: int
    pairs: int
    labelers: int


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picks", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, help="default: a tenth of the picks")
    parser.add_argument("--labelers", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--db", type=Path, help="keep the database here, or use the one there")
    parser.add_argument("--output", default="benchmarks/results/results_at_scale.json")
    parser.add_argument("--reading", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.reading:
        print(json.dumps(reading(asked.db)))
        return
    size = Size(asked.picks, asked.pairs or max(20, asked.picks // 10), asked.labelers)
    with tempfile.TemporaryDirectory() as scratch:
        path = asked.db or Path(scratch) / "labels.db"
        seconds = None
        if not path.exists():
            started = time.perf_counter()
            build(path, size)
            seconds = round(time.perf_counter() - started, 1)
        rows = measure(path, asked.rounds)
    shared = {"cores": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1)}
    found = {"building_s": seconds, **shared, **rows}
    for name, value in found.items():
        print(f"{name:34} {value}")
    output = Path(asked.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """Seconds of every kind; medians of ``rounds`` with all of them beside."""
    # Not at the top: the new processes need no gradio.
    from labeling.ui.results import page

    store, rng = open_store(path), random.Random(0)
    saved.beside(path).unlink(missing_ok=True)
    first, again = (_in_new_process(path) for _ in range(2))
    with store.reading() as db:
        counts = next(db.query("SELECT count(*) AS picks, max(seq) AS rows FROM picks"))
        pairs = db["pairs"].count
        labeler = next(
            db.query(
                "SELECT l.name FROM tallies AS t JOIN labelers AS l ON l.id = t.labeler_id"
                " GROUP BY l.id ORDER BY sum(t.done) DESC, l.id LIMIT 1"
            )
        )["name"]
    page(report(store))
    pairs_s, picks_s, results_s, work_s = [], [], [], []
    for _ in range(rounds):
        task, seconds = _timed(lambda: upcoming(store, labeler, rng, count=1))
        pairs_s.append(seconds)
        if task:
            mine = task[0].assignment_id
            picks_s.append(_timed(lambda mine=mine: submit(store, mine, "left", seconds=9.0))[1])
        started = time.process_time()
        results_s.append(_timed(lambda: page(report(store)))[1])
        work_s.append(round(time.process_time() - started, 4))
    return {
        "picks": counts["picks"],
        "pairs": pairs,
        "labelers": len(frame(store).labelers),
        "first_reading_s": first["reading_s"],
        "first_results_s": first["results_s"],
        "first_memory_mb": first["memory_mb"],
        "reading_in_a_later_process_s": again["reading_s"],
        "results_in_a_later_process_s": again["results_s"],
        "memory_in_a_later_process_mb": again["memory_mb"],
        "results_after_one_more_pick_s": _median(results_s),
        "results_processor_s": _median(work_s),
        "next_pair_s": _median(pairs_s),
        "pick_s": _median(picks_s),
        "rounds": {"results_s": results_s, "next_pair_s": pairs_s, "pick_s": picks_s},
    }


def reading(path: Path) -> dict[str, float]:
    """Seconds of reading every pick and of the first report, and memory that they took."""
    import pandas  # noqa: F401  # what libraries take is not what is measured

    store = open_store(path)
    before = _peak_mb()
    _, reading_s = _timed(lambda: frame(store))
    _, results_s = _timed(lambda: report(store))
    return {
        "reading_s": reading_s,
        "results_s": round(reading_s + results_s, 3),
        "memory_mb": round(_peak_mb() - before),
    }


def _in_new_process(path: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.results_at_scale", "--reading", "--db", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    result = work()
    return result, round(time.perf_counter() - started, 4)


def _median(seconds: list[float]) -> float | None:
    return round(statistics.median(seconds), 3) if seconds else None


def _peak_mb() -> float:
    """The most memory this process has held.

    What ``getrusage`` tells includes that of the process which started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 1024**2 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def build(path: Path, size: Size, seed: int = 0) -> None:
    """Fills a new database at ``path``; every row passes the schema's checks and triggers."""
    rng = np.random.default_rng(seed)
    store = open_store(path)
    with store.writing() as db:
        db.execute("PRAGMA cache_size = -524288")
        pairs = _pairs(db, size.pairs, random.Random(seed))
        labelers = [add_labeler(db, f"labeler {n}") for n in range(size.labelers)]
        _picks(db, pairs, labelers, size.picks, rng)


def _pairs(db: Database, n: int, rng: random.Random) -> list[tuple[str, str, str]]:
    """``n`` new pairs as (id, first candidate, second candidate), in ``BATCHES`` batches."""
    policies = [add_policy(db, name) for name in POLICIES]
    words = SPEECH.split()
    made = []
    for number in range(n):
        turns = [
            f"#Person{1 + turn % 2}#: {' '.join(rng.choices(words, k=14))}." for turn in range(8)
        ]
        prompt = add_prompt(
            db,
            f"{number}\n" + "\n".join(turns),
            topic=TOPICS[rng.randrange(len(TOPICS))],
            tone=TONES[rng.randrange(len(TONES))],
        )
        first, second = rng.choices([(0, 1), (1, 2), (0, 2)], [3, 1, 1])[0]
        sides = [
            add_candidate(
                db,
                prompt,
                policies[which],
                f"{number} {which} {' '.join(rng.choices(words, k=rng.randrange(12, 32)))}.",
                reward=rng.gauss(float(which), 1.5),
                toxicity=rng.random(),
            )
            for which in (first, second)
        ]
        batch = f"batch {1 + number * BATCHES // n}"
        pair, _ = add_pair(db, prompt, sides[0], sides[1], batch)
        made.append((pair, sides[0], sides[1]))
    gold = rng.sample(range(n), max(1, n // 100))
    db.conn.executemany(
        "INSERT INTO gold (pair_id, outcome, source, created) VALUES (?, 'b', 'simulated', ?)",
        [(made[place][0], START.isoformat()) for place in gold],
    )
    return made


def _picks(
    db: Database,
    pairs: list[tuple[str, str, str]],
    labelers: list[int],
    picks: int,
    rng: np.random.Generator,
) -> None:
    """``picks`` picks by labelers who differ in taste, care and speed; the last one hurries."""
    gold = {row["pair_id"] for row in db.query("SELECT pair_id FROM gold")}
    taste = rng.normal(0.7, 0.4, len(labelers))
    easy = rng.normal(0, 1, len(pairs))
    per_labeler = _shares(picks, len(labelers))
    version = "benchmark"
    rows: list[tuple[Any, ...]] = []
    for place, (labeler, count) in enumerate(zip(labelers, per_labeler, strict=True)):
        repeats = int(count * REPEATS)
        regular = rng.choice(len(pairs), size=min(count - repeats, len(pairs)), replace=False)
        again = rng.choice(regular[: max(1, len(regular) // 2)], size=repeats)
        hurried = place == len(labelers) - 1
        for number, pair in enumerate([*regular.tolist(), *again.tolist()]):
            rows.append((labeler, pair, number >= len(regular), hurried, taste[place]))
    order = rng.permutation(len(rows))
    sides, wishes = rng.random((2, len(rows)))
    seconds = rng.lognormal(2.4, 0.5, len(rows))
    ids = [f"{value:032x}" for value in _ids(len(rows), rng)]
    assignments, answers = [], []
    # A repeat comes after the pick it repeats.
    for turn, at in enumerate(sorted(order.tolist(), key=lambda place: rows[place][2])):
        labeler, pair, again_, hurried, wish = rows[at]
        pair_id, first, second = pairs[pair]
        when = (START + timedelta(seconds=turn)).isoformat(timespec="microseconds")
        kind = "repeat" if again_ else "gold" if pair_id in gold else "regular"
        left_is_first = sides[at] < 0.5
        left, right = (first, second) if left_is_first else (second, first)
        likes_second = 1 / (1 + np.exp(-(wish + easy[pair])))
        if hurried:
            choice = "left"
        elif wishes[at] > 0.93:
            choice = ("tie", "both_bad", "skip")[int(1000 * wishes[at]) % 3]
        else:
            choice = "left" if (wishes[at] / 0.93 < likes_second) != left_is_first else "right"
        spent = 1.1 if hurried else round(float(seconds[at]), 2)
        assignments.append((ids[at], pair_id, labeler, left, right, when, version, kind, when))
        answers.append((f"p{ids[at]}", ids[at], choice, spent, when, version))
    db.conn.executemany(
        "INSERT INTO assignments (id, pair_id, labeler_id, left_candidate, right_candidate,"
        " assigned_at, app_version, kind, held_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        assignments,
    )
    db.conn.executemany(
        "INSERT INTO picks (uuid, assignment_id, choice, seconds, picked_at, app_version)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        answers,
    )


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (place < total % parts) for place in range(parts)]


def _ids(n: int, rng: np.random.Generator) -> Iterator[int]:
    for high, low in rng.integers(0, 2**63, size=(n, 2)).tolist():
        yield (high << 64) | low


if __name__ == "__main__":
    main()
