"""Mangles what people bring in, guided by coverage, and looks for anything but a sentence.

    python -m benchmarks.fuzz --cases 100000        # all targets together
    python -m benchmarks.fuzz --only journal --cases 5000

Each target (``targets.py``) runs in a process of its own under atheris (libFuzzer for Python),
from whole inputs on. Finds are kept in ``--finds`` with the traceback; give one back with
``--replay FILE --only TARGET``. Writes ``benchmarks/results/fuzz.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

# Of 100 cases; what takes longest gets fewest.
SHARES = {
    "table": 20,
    "import": 8,
    "journal": 12,
    "vertex": 14,
    "config": 10,
    "preferences": 8,
    "dialogues": 4,
    "results": 8,
    "lineage": 8,
    "answers": 8,
}
LONGEST = 8_192
MEMORY = Path("/dev/shm")
PATIENCE = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--only", choices=SHARES)
    parser.add_argument("--replay", type=Path, help="one find, whose traceback is shown")
    parser.add_argument("--finds", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", default="benchmarks/results/fuzz.json")
    parser.add_argument("--target", help=argparse.SUPPRESS)
    arguments, rest = parser.parse_known_args()
    if arguments.target:
        under_atheris(arguments.target, rest)
    elif arguments.replay:
        from benchmarks.fuzz.targets import TARGETS

        TARGETS[arguments.only](arguments.replay.read_bytes())
    else:
        shares = {arguments.only: 100} if arguments.only else SHARES
        found = {
            name: fuzzed(name, max(1, arguments.cases * share // 100), arguments)
            for name, share in shares.items()
        }
        told = {
            "cases": sum(each["cases"] for each in found.values()),
            "finds": sum(len(each["finds"]) for each in found.values()),
            "targets": found,
        }
        print(json.dumps(told, indent=2))
        if not arguments.only:
            Path(arguments.output).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
        sys.exit(bool(told["finds"]))


def fuzzed(name: str, cases: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """``cases`` of one target; it begins again after a find, with the next seed."""
    finds: list[str] = []
    done, began = 0, time.monotonic()
    place = arguments.finds / name
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        while done < cases and len(finds) < PATIENCE:
            said = _run(name, cases - done, arguments.seed + len(finds), Path(corpus), place)
            counted = re.findall(r"^#(\d+)\s", said, re.MULTILINE) or ["0"]
            done += max(map(int, counted))
            if not re.search(r"^Done \d+ runs", said, re.MULTILINE):
                finds.append(_last_words(said))
                print(f"{name}: {finds[-1]}", file=sys.stderr, flush=True)
                done += 1
    if not any(place.iterdir()):
        shutil.rmtree(place)
    seconds = round(time.monotonic() - began)
    return {"cases": done, "seconds": seconds, "finds": sorted(set(finds))}


def _run(name: str, cases: int, seed: int, corpus: Path, finds: Path) -> str:
    argv = [sys.executable, "-m", "benchmarks.fuzz", "--target", name, str(corpus)]
    argv += [f"-runs={cases}", f"-seed={seed}", f"-max_len={LONGEST}", "-timeout=20"]
    argv += [f"-artifact_prefix={finds}/", "-print_final_stats=1", "-rss_limit_mb=4096"]
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        done = subprocess.run(
            argv,
            env=os.environ | {"TMPDIR": scratch},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    return done.stdout + done.stderr


def _last_words(said: str) -> str:
    errors = re.findall(r"^(?:[\w.]*(?:Error|Exception)\b.*|.*ERROR: libFuzzer.*)$", said, re.M)
    return (errors or said.strip().splitlines() or ["died without a word"])[0][:300]


def under_atheris(name: str, argv: list[str]) -> None:
    """One target under atheris, from whole inputs on; ``argv`` begins with the folder for them.

    Does not return.
    """
    import atheris

    with atheris.instrument_imports(include=["detox", "labeling"]):
        from benchmarks.fuzz.targets import TARGETS, seeds
        from detox.errors import UserError

    target, corpus = TARGETS[name], Path(argv[0])
    if not any(corpus.iterdir()):
        for number, content in enumerate(seeds(name)):
            (corpus / f"seed-{number}").write_bytes(content)

    def once(data: bytes) -> None:
        with suppress(UserError):
            target(data)

    atheris.Setup([sys.argv[0], *argv], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
