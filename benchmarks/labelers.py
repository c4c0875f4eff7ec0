"""Many labelers at once on one app process, over HTTP: is every pick kept, once, and how soon?

    python -m benchmarks.labelers --labelers 50 --picks 100 --think 2

Starts ``python app.py`` on a fresh database with the shipped pairs and sends what a browser sends.
Each labeler signs in, thinks (exponential, ``--think`` seconds on average), picks, and takes the
next pair from the answer; a share of picks is sent twice, as a nervous finger or a retrying
browser would. Afterwards the database is read: every pick acknowledged must be there, once, and
the record whole. The clients run beside the server on the same cores. Writes
``benchmarks/results/labelers.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from labeling.check import check_record
from labeling.store import open_store

CHOICES = ("left", "right", "tie", "both_bad", "skip")
WEIGHTS = (40, 40, 10, 5, 5)
STARTED_WITHIN = 120


@dataclass
class Log:
    """What the labelers saw: seconds of each call, what failed, and the picks acknowledged."""

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    picked: Counter[tuple[str, str]] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labelers", type=int, default=50)
    parser.add_argument("--picks", type=int, default=100, help="of each labeler")
    parser.add_argument("--think", type=float, default=2.0, help="seconds, on average")
    parser.add_argument("--twice", type=float, default=0.02, help="share of picks sent twice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="benchmarks/results/labelers.json")
    arguments = parser.parse_args()
    found = measure(arguments)
    print(json.dumps(found, indent=2))
    path = Path(arguments.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if found["errors"] or found["lost"] or found["doubled"] or found["problems"]:
        sys.exit(1)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs the whole of it; returns the figures."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "labels.db"
        with app(database) as url:
            started = time.perf_counter()
            log = asyncio.run(everybody(url, arguments))
            took = time.perf_counter() - started
        return figures(arguments, database, log, took)


@contextmanager
def app(database: Path) -> Iterator[str]:
    """The address of an app in a process of its own, once it is up and its models are loaded."""
    with app_process(database) as (url, _):
        yield url


@contextmanager
def app_process(database: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The same, with its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {
        "DETOX_DB": str(database),
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "CI": "1",  # opens no browser
    }
    process = subprocess.Popen(
        [sys.executable, "app.py"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(process, url)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + STARTED_WITHIN
    watched = psutil.Process(process.pid)
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit("The app did not start: try `python app.py`.")
        try:
            if httpx.get(f"{url}/gradio_api/info", timeout=5).is_success:
                break
        except httpx.HTTPError:
            time.sleep(0.5)
    # The models load in the background, which is not what is measured here.
    while time.monotonic() < deadline and watched.cpu_percent(interval=2) > 15:
        pass


async def everybody(url: str, arguments: argparse.Namespace) -> Log:
    """All labelers at once."""
    log = Log()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=4 * arguments.labelers)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        events = await known_events(client)
        await asyncio.gather(
            *(
                one(Browser(client, events, f"session{number}", log), number, arguments, log)
                for number in range(arguments.labelers)
            )
        )
    return log


@dataclass(frozen=True)
class Event:
    """An event of the app: its number, and the names and defaults of what it takes."""

    number: int
    parameters: list[tuple[str, Any]]


async def known_events(client: httpx.AsyncClient) -> dict[str, Event]:
    """The app's events by name."""
    config = (await client.get("/config")).json()
    told = (await client.get("/gradio_api/info")).json()["named_endpoints"]
    numbers = {each["api_name"]: each["id"] for each in config["dependencies"]}
    return {
        name.strip("/"): Event(
            numbers[name.strip("/")],
            [(p["parameter_name"], p.get("parameter_default")) for p in about["parameters"]],
        )
        for name, about in told.items()
    }


async def one(browser: Browser, number: int, arguments: argparse.Namespace, log: Log) -> None:
    """One labeler from sign-in to their last pick."""
    rng, name = random.Random(arguments.seed * 1000 + number), f"labeler {number}"
    await asyncio.sleep(rng.random() * arguments.think)
    turn = await browser.call("sign_in", {"name": name})
    for _ in range(arguments.picks):
        if turn is None or turn["pair"] is None:
            log.errors.append(f"{name} was given no pair")
            return
        await asyncio.sleep(rng.expovariate(1 / arguments.think))
        assignment = turn["pair"]["assignment_id"]
        sent = {
            "choice": rng.choices(CHOICES, WEIGHTS)[0],
            "assignment": assignment,
            "seconds": 1.0,
            "labeler": name,
            "uuid": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        }
        turn = await browser.call("pick", sent, times=2 if rng.random() < arguments.twice else 1)
        if turn is not None:
            log.picked[name, assignment] += 1


@dataclass(frozen=True)
class Browser:
    """What gradio's page does: it posts an event and reads the answers from one stream."""

    client: httpx.AsyncClient
    events: dict[str, Event]
    session: str
    log: Log

    async def call(self, name: str, values: dict[str, Any], times: int = 1) -> Any:
        """The JSON answer of an event, the last one if it is sent twice; None if it failed."""
        event = self.events[name]
        data = [values.get(parameter, default) for parameter, default in event.parameters]
        body = {"data": data, "fn_index": event.number, "session_hash": self.session}
        started = time.perf_counter()
        try:
            for _ in range(times):
                asked = await self.client.post("/gradio_api/queue/join", json=body)
                asked.raise_for_status()
            answers = await self._answers(times)
        except (httpx.HTTPError, ValueError) as error:
            self.log.errors.append(f"{name}: {type(error).__name__} {error}")
            return None
        self.log.seconds[name].append(time.perf_counter() - started)
        for answer in answers:
            if not answer["success"]:
                self.log.errors.append(f"{name}: {answer['output']}")
                return None
        return answers[-1]["output"]["data"][0]

    async def _answers(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        stream = self.client.stream(
            "GET", "/gradio_api/queue/data", params={"session_hash": self.session}
        )
        async with stream as response:
            async for line in response.aiter_lines():
                if line.startswith("data:"):
                    said = json.loads(line.removeprefix("data:"))
                    if said["msg"] == "process_completed":
                        found.append(said)
                    if len(found) == count or said["msg"] == "close_stream":
                        break
        if len(found) < count:
            raise ValueError("the stream ended before the answer")
        return found


def figures(arguments: argparse.Namespace, database: Path, log: Log, took: float) -> dict[str, Any]:
    """What was asked for: errors, lost, doubled, and how long a pick took, in milliseconds."""
    store = open_store(database)
    with store.reading() as db:
        stored = Counter(
            (row["name"], row["assignment_id"])
            for row in db.query(
                "SELECT l.name, p.assignment_id FROM picks AS p"
                " JOIN assignments AS a ON a.id = p.assignment_id"
                " JOIN labelers AS l ON l.id = a.labeler_id"
            )
        )
        (twice,) = db.query(
            "SELECT count(*) AS n FROM (SELECT 1 FROM assignments WHERE kind = 'regular'"
            " GROUP BY labeler_id, pair_id HAVING count(*) > 1)"
        )
    return {
        "labelers": arguments.labelers,
        "think_seconds": arguments.think,
        "picks": sum(log.picked.values()),
        "sent_twice_share": arguments.twice,
        "seconds": round(took, 1),
        "picks_per_second": round(sum(log.picked.values()) / took, 1),
        "errors": log.errors[:20],
        "lost": sum(stored[key] == 0 for key in log.picked),
        "doubled": sum(count > 1 for count in stored.values()) + int(twice["n"]),
        "problems": list(check_record(store).problems),
        "pick_ms": _quantiles(log.seconds["pick"]),
        "sign_in_ms": _quantiles(log.seconds["sign_in"]),
        "cores": psutil.cpu_count(logical=True),
    }


def _quantiles(seconds: list[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=100)
    chosen = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(seconds)}
    return {name: round(1000 * value, 1) for name, value in chosen.items()}


if __name__ == "__main__":
    main()
