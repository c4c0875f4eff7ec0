"""An hour of everything at once on one app process: do memory and open files stay where they are?

    python -m benchmarks.soak --minutes 60

Six labelers pick, somebody compares the models on long and short dialogues, somebody reads results
and opens the page, a lead exports and checks the record, and somebody sends what nobody should:
dialogues too long, answers to other people's pairs, names that are markup. All of them pause in
between, so that the app is busy and not flooded. Before that as many pages are opened as the app
remembers, so that what comes is not them. Every fifteen seconds memory, open files and threads of
the process are noted. Writes ``benchmarks/results/soak.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import psutil

from app import SESSIONS
from benchmarks.labelers import Browser, Event, Log, app_process, known_events
from detox.data import load_dialogues
from labeling.check import check_record
from labeling.store import open_store

EVERY = 15.0
LABELERS = 6
HOSTILE = '<img src=x onerror="window.hacked=1">'


@dataclass
class Watch:
    """What was noted of the process, and what went wrong."""

    megabytes: list[float] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    log: Log = field(default_factory=Log)
    bad: Log = field(default_factory=Log)

    def note(self, process: psutil.Process) -> None:
        """One look at the process."""
        with process.oneshot():
            self.megabytes.append(process.memory_info().rss / 1e6)
            self.files.append(process.num_fds())
            self.threads.append(process.num_threads())


@dataclass(frozen=True)
class Visitors:
    """What all visitors share."""

    client: httpx.AsyncClient
    events: dict[str, Event]
    watch: Watch
    until: float

    def browser(self, name: str, bad: bool = False) -> Browser:
        """One browser's session."""
        log = self.watch.bad if bad else self.watch.log
        return Browser(self.client, self.events, f"{name}{uuid.uuid4().hex[:8]}", log)

    async def again(self, name: str, pause: float, act: Callable[[], Awaitable[Any]]) -> None:
        """Acts, pauses, and acts again until the time is over."""
        rng = random.Random(name)
        while time.monotonic() < self.until:
            await act()
            self.watch.done[name] = self.watch.done.get(name, 0) + 1
            await asyncio.sleep(rng.uniform(0.5, 1.5) * pause)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--output", default="benchmarks/results/soak.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "labels.db"
        with app_process(database) as (url, process):
            watch = asyncio.run(soak(url, process, 60 * arguments.minutes))
        found = told(watch, arguments.minutes) | {
            "problems_of_the_record": list(check_record(open_store(database)).problems)
        }
    print(json.dumps(found, indent=2))
    Path(arguments.output).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if found["errors"] or found["problems_of_the_record"] or found["tracebacks"]:
        sys.exit(1)


async def soak(url: str, process: psutil.Process, seconds: float) -> Watch:
    """All visitors for so long, while the process is watched."""
    watch = Watch()
    # the server hangs up on who is quiet for five seconds; who asks just then is cut off
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=50, keepalive_expiry=2.0)
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=limits) as client:
        visitors = Visitors(client, await known_events(client), watch, time.monotonic() + seconds)

        for _ in range(SESSIONS):
            await visitors.browser("open").call("reports", {})
        visitors = replace(visitors, until=time.monotonic() + seconds)

        async def look() -> None:
            watch.note(process)

        await asyncio.gather(
            *(labeler(visitors, number) for number in range(LABELERS)),
            comparer(visitors),
            reader(visitors),
            lead(visitors),
            nuisance(visitors),
            steady(visitors, look),
        )
    return watch


async def steady(visitors: Visitors, look: Callable[[], Awaitable[None]]) -> None:
    """A look at the process, regularly."""
    while time.monotonic() < visitors.until:
        await look()
        await asyncio.sleep(EVERY)


async def labeler(visitors: Visitors, number: int) -> None:
    """Picks, three seconds a pair; under a new name when there are no more pairs for the old."""
    rng = random.Random(number)
    turn: Any = None
    name, browser = "", visitors.browser("label")

    async def act() -> None:
        nonlocal turn, name, browser
        if turn is None or turn["pair"] is None:
            name, browser = f"labeler {uuid.uuid4().hex[:8]}", visitors.browser("label")
            turn = await browser.call("sign_in", {"name": name})
            return
        sent = {
            "choice": rng.choice(("left", "right", "tie")),
            "assignment": turn["pair"]["assignment_id"],
            "seconds": 3.0,
            "labeler": name,
            "uuid": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        }
        turn = await browser.call("pick", sent)

    await visitors.again("pick", 3.0, act)


async def comparer(visitors: Visitors) -> None:
    """Two summaries of a dialogue, written on the spot."""
    dialogues = load_dialogues(split="test")
    rng = random.Random("compare")

    async def act() -> None:
        talk = dialogues[rng.randrange(len(dialogues))]["dialogue"]
        await visitors.browser("compare").call("compare", {"dialogue": talk})

    await visitors.again("compare", 60.0, act)


async def reader(visitors: Visitors) -> None:
    """Opens the page, and looks at what the picks say."""

    async def act() -> None:
        (await visitors.client.get("/")).raise_for_status()
        browser = visitors.browser("read")
        for event in ("results", "reports", "example", "batch"):
            await browser.call(event, {})

    await visitors.again("read", 20.0, act)


async def lead(visitors: Visitors) -> None:
    """Looks at the batches, checks the record, exports."""

    async def act() -> None:
        browser = visitors.browser("lead")
        for event in ("manage_batches", "manage_check", "export_overview", "export"):
            await browser.call(event, {})

    await asyncio.sleep(30)  # there must be picks before they can be exported
    await visitors.again("lead", 60.0, act)


async def nuisance(visitors: Visitors) -> None:
    """Sends what nobody should."""
    nonsense: list[tuple[str, dict[str, Any]]] = [
        ("compare", {"dialogue": "#Person1#: word " * 200_000}),
        ("compare", {"dialogue": ""}),
        ("pick", {"choice": "sideways", "assignment": "none", "labeler": "x", "uuid": "y"}),
        ("pick", {"choice": "left", "assignment": "f" * 64, "labeler": HOSTILE, "uuid": ""}),
        ("manage_decide", {}),
        ("import_check", {}),
    ]

    async def act() -> None:
        for event, values in nonsense:
            await visitors.browser("bad", bad=True).call(event, values)
        await visitors.client.post("/gradio_api/queue/join", content=b"\xff{" * 1000)

    await visitors.again("nuisance", 30.0, act)


def told(watch: Watch, minutes: float) -> dict[str, Any]:
    """First and last quarter of what was noted after the first tenth, in which things are made."""
    warm = len(watch.megabytes) // 10

    def quarters(values: list[float] | list[int]) -> dict[str, float]:
        values = values[warm:]
        part = max(1, len(values) // 4)
        return {
            "first_quarter": round(statistics.median(values[:part]), 1),
            "last_quarter": round(statistics.median(values[-part:]), 1),
            "most": round(max(values), 1),
        }

    return {
        "minutes": minutes,
        "done": watch.done,
        "megabytes": quarters(watch.megabytes),
        "megabytes_by_five_minutes": by_time(watch.megabytes, 300),
        "open_files": quarters(watch.files),
        "threads": quarters(watch.threads),
        "errors": watch.log.errors[:20],
        "refusals": len(watch.bad.errors),
        "tracebacks": [said for said in watch.bad.errors if "Traceback" in said][:5],
    }


def by_time(values: list[float], seconds: float) -> list[float]:
    """Medians of all that was noted, for each so many seconds."""
    part = round(seconds / EVERY)
    starts = range(0, len(values), part)
    return [round(statistics.median(values[start : start + part]), 1) for start in starts]


if __name__ == "__main__":
    main()
