"""Kills a labeling process again and again, takes its disk away, and counts what is lost.

    python -m benchmarks.durability --kills 100

A process labels with four threads, saves to a dataset (``fake_hub.py``, a folder that answers the
calls we make) every second and a half, and now and then changes a plan, so that copies are made.
It is killed with SIGKILL at a random moment; three times of four its disk is wiped as well, and
every fifth time it finds a database of the first version there, so that a migration is what is
interrupted. Each pick is reported over a pipe once it is acknowledged. After every start the
database is compared with those reports: a pick may be missing only if the disk was wiped and it
was acknowledged after the last commit that ended had begun, none that a commit held may be missing,
and none may be there twice. How long before a wipe that commit began is the window, as it was.
Writes ``benchmarks/results/durability.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlite_utils import Database

from benchmarks.fake_hub import FakeHub
from labeling.batches import add_pairs
from labeling.check import check_record
from labeling.durable.hub import PICKS, kept_beside
from labeling.durable.keeper import Keeper
from labeling.durable.restore import restore
from labeling.picks import submit
from labeling.plans import Plan, save_plan
from labeling.queue import next_pair
from labeling.schema import migrations
from labeling.store import open_store

REPO, BATCH = "somebody/picks", "load"
EVERY = 1.5 / 60
THREADS, PAIRS = 4, 3_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="benchmarks/results/durability.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = torment(Path(scratch), arguments.kills, arguments.seed)
    print(json.dumps(found, indent=2))
    Path(arguments.output).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


@dataclass
class Ledger:
    """What was acknowledged, when, and what may be gone. Times are of the machine's own clock."""

    acknowledged: dict[str, float] = field(default_factory=dict)
    safe_until: float = 0.0
    """When the last commit that ended had begun: what was acknowledged before is safe."""
    wiped: float = 0.0
    """When the last disk was lost."""
    endangered: set[str] = field(default_factory=set)
    """Picks that were made too late to be safe when a disk was lost."""
    lost_within: set[str] = field(default_factory=set)
    lost_beyond: set[str] = field(default_factory=set)
    committed_and_gone: set[str] = field(default_factory=set)
    doubled: int = 0
    problems: list[str] = field(default_factory=list)

    def wipe(self, killed: float) -> float:
        """The disk is lost that was in use until ``killed``: what may be lost with it.

        Returns for how long picks had been made that no ended commit is known to hold, in seconds.
        """
        since = max(self.wiped, self.safe_until)
        new = {uuid: at for uuid, at in self.acknowledged.items() if at >= since}
        self.endangered |= new.keys()
        self.wiped = killed
        return killed - min(new.values(), default=killed)

    def compare(self, path: Path, committed: Collection[str] = ()) -> None:
        """Sets the database at ``path`` beside what was acknowledged until it was killed.

        ``committed`` are the picks that the dataset held then.
        """
        with closing(sqlite3.connect(path)) as db:
            there = {row[0] for row in db.execute("SELECT uuid FROM picks")}
            chains = "SELECT count(*) FROM picks WHERE supersedes IS NULL GROUP BY assignment_id"
            self.doubled += sum(row[0] > 1 for row in db.execute(chains))
        self.committed_and_gone |= set(committed) - there
        gone = self.acknowledged.keys() - there
        self.lost_within |= gone & self.endangered
        self.lost_beyond |= gone - self.endangered


def torment(root: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """The whole ordeal; returns the counts."""
    rng = random.Random(seed)
    disk, hub = root / "disk", root / "hub"
    database = disk / "labels.db"
    ledger, windows, old = Ledger(), list[float](), 0
    wiped, committed = False, set[str]()
    began = time.monotonic()
    for number in range(kills + 1):
        if wiped and number % 5 == 0:
            first_version(database)
            old += 1
        worker = Worker(disk, hub, seed=rng.randrange(10**6))
        if number == kills or rng.random() < 0.8:
            worker.ready()
            ledger.compare(database, committed)
            if number == kills:
                worker.kill(ledger)
                break
            time.sleep(rng.uniform(0.1, 4.0))
        else:  # while it restores, or migrates
            time.sleep(rng.uniform(0.2, 2.0))
        killed = worker.kill(ledger)
        committed = in_journals(FakeHub(hub))
        wiped = rng.random() < 0.75
        if wiped:
            shutil.rmtree(disk, ignore_errors=True)
            windows.append(ledger.wipe(killed))
    ledger.problems += check_record(open_store(database)).problems
    return {
        "kills": kills,
        "disks_wiped": len(windows),
        "databases_of_the_first_version": old,
        "acknowledged": len(ledger.acknowledged),
        "lost_beyond_the_window": len(ledger.lost_beyond),
        "committed_and_not_restored": len(ledger.committed_and_gone),
        "lost_within_the_window": len(ledger.lost_within),
        "seconds_between_commits": EVERY * 60,
        "window_seconds": {
            name: round(float(np.percentile(windows or [0.0], at)), 2)
            for name, at in {"median": 50, "95 %": 95, "longest": 100}.items()
        },
        "doubled": ledger.doubled,
        "problems_of_the_record": ledger.problems,
        "seconds": round(time.monotonic() - began),
    }


def in_journals(hub: FakeHub) -> set[str]:
    """The picks that the dataset holds as lines."""
    found = set()
    for name, path in hub.files(REPO).items():
        if name.startswith(PICKS):
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                if entry["table"] == "picks":
                    found.add(entry["row"]["uuid"])
    return found


def first_version(path: Path) -> None:
    """An empty database as the first version made it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(Database(path)) as db:
        second = [migration.name for migration in migrations.pending(db)][1]
        migrations.apply(db, stop_before=second)


class Worker:
    """A labeling process and the reports of what it acknowledged."""

    def __init__(self, disk: Path, hub: Path, seed: int) -> None:
        argv = [sys.executable, "-m", "benchmarks.durability_worker", str(disk), str(hub)]
        self.process = subprocess.Popen(
            [*argv, str(seed)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.reports: list[tuple[str, float]] = []
        self.safe_until = 0.0
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):  # cut by the kill
                continue
            word, _, at = line.strip().partition(" ")
            if word == "ready":
                self._ready.set()
            elif word == "safe":
                self.safe_until = float(at)
            elif at:
                self.reports.append((word, float(at)))

    def ready(self) -> None:
        """Waits until the database is there and labeling goes on."""
        if not self._ready.wait(120):
            raise RuntimeError("The process did not start: run the worker by hand to see why.")

    def kill(self, ledger: Ledger) -> float:
        """Kills it at once; returns when, after its last reports were read."""
        at = time.monotonic()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        ledger.acknowledged.update(self.reports)
        ledger.safe_until = max(ledger.safe_until, self.safe_until)
        return at


def work(disk: Path, hub: Path, seed: int) -> None:
    """What the process does until it is killed.

    It says ``ready`` once, then a line for each pick that is acknowledged, with the time, and for
    each commit that ended, with the time when it had begun.
    """
    database = disk / "labels.db"
    fake = FakeHub(hub)
    if not database.exists() or _is_first(database):
        # an old database without picks is one more thing to get over; the dataset knows better
        if database.exists():
            open_store(database)
            shutil.rmtree(disk)
        restore(database, REPO, kept_beside(database), fake)
    store = open_store(database)
    texts = {"policy_a": "after", "policy_b": "before"}
    rows = [
        {"dialogue": f"#Person1#: {i}?", "a": f"Yes {i}.", "b": f"No {i}."} | texts
        for i in range(PAIRS)
    ]
    add_pairs(store, rows, BATCH)
    Reporting(store, REPO, kept_beside(database), every=EVERY, hub=fake)
    report("ready")

    def label(number: int) -> None:
        rng = random.Random(f"{seed}:{number}")
        # a new name now and then: nobody judges a pair twice
        name = f"labeler {rng.randrange(10**9)}"
        while True:
            task = next_pair(store, name, rng, BATCH)
            if task is None:
                name = f"labeler {rng.randrange(10**9)}"
                continue
            for choice in rng.sample(("left", "right", "tie"), rng.choice((1, 1, 2))):
                pick = submit(store, task.assignment_id, choice, labeler=name)
                report(f"{pick.uuid} {time.monotonic()}")
            time.sleep(0.02)

    for number in range(THREADS):
        threading.Thread(target=label, args=(number,), daemon=True).start()
    rng = random.Random(seed)
    while True:
        time.sleep(rng.uniform(0.3, 2.0))
        save_plan(store, Plan(BATCH, guidelines=f"As of {rng.random()}"))


class Reporting(Keeper):
    """A keeper that says when a commit has ended."""

    def push_to_hub(self) -> Any:
        began = time.monotonic()
        done = super().push_to_hub()
        if not self.trouble:
            report(f"safe {began}")
        return done


def report(line: str) -> None:
    """One write, which threads cannot cut in two, and which a kill cannot keep in a buffer."""
    os.write(1, f"{line}\n".encode())


def _is_first(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as db:
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    return "picks" in tables and "batches" not in tables


if __name__ == "__main__":
    main()
