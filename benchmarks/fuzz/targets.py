"""What is fed with mangled input, and what must hold of it whatever it is fed.

A target takes bytes. It may raise ``UserError``, whose sentence people read; anything else that it
raises is a find, as is a record that changed though the input was refused.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from detox.data import check_dialogue, load_dialogues
from detox.errors import UserError
from detox.models import find_source
from detox.pipeline.config import read_config
from detox.pipeline.formats import parse_predictions, parse_preferences, parse_prompts
from detox.preference.pairs import read_pairs
from detox.results import first_samples, read_results
from labeling.batches import add_pairs
from labeling.durable.journal import lines_since, replay
from labeling.export import SUFFIXES, export
from labeling.files.read import open_table
from labeling.imports.run import IMPORT_FORMATS, import_file
from labeling.people import add_account
from labeling.picks import submit, undo
from labeling.plans import Plan, save_plan, set_status
from labeling.queue import next_pair
from labeling.store import Store, back_up, open_store

ROWS = 200
# Inputs after which a target gets a fresh record, so that what was accepted does not pile up.
FRESH = 100
TABLES = ("prompts", "candidates", "pairs", "labelers", "assignments", "picks")


@cache
def scratch() -> Path:
    """A folder for this process's files, which whoever started it removes."""
    return Path(tempfile.mkdtemp(prefix="detox-fuzz-"))


def written(data: bytes, name: str) -> Path:
    """A file that holds ``data``."""
    path = scratch() / name
    path.write_bytes(data)
    return path


def table(data: bytes) -> None:
    """A file of rows, as every importer reads it."""
    with closing(open_table(written(data, "table")).rows(None)) as rows:
        for _ in islice(rows, ROWS):
            pass


def imported(data: bytes) -> None:
    """A file brought in: all of it, or nothing."""
    store = record()
    before = counts(store)
    form = [None, *IMPORT_FORMATS][len(data) % (len(IMPORT_FORMATS) + 1)] if data else None
    try:
        import_file(store, written(data, "import.jsonl"), form)
    except UserError:
        assert counts(store) == before, "refused, and yet something was kept"
        raise


def journal(data: bytes) -> None:
    """Saved picks, replayed: all of them, or nothing."""
    store = record()
    before = counts(store)
    try:
        replay(store, data.decode("utf-8", "replace").splitlines())
    except UserError:
        assert counts(store) == before, "refused, and yet something was kept"
        raise


def vertex(data: bytes) -> None:
    """The files of a pipeline."""
    for parse in (parse_preferences, parse_prompts, parse_predictions):
        with suppress(UserError):
            parse(data, "file")


def config(data: bytes) -> None:
    """The settings of a pipeline."""
    read_config(written(data, "pipeline.yaml"))


def preferences(data: bytes) -> None:
    """Pairs to tune on directly."""
    read_pairs(str(written(data, "pairs.jsonl")))


def dialogues(data: bytes) -> None:
    """Dialogues of one's own."""
    load_dialogues(str(written(data, "dialogues.jsonl")), "train")


def results(data: bytes) -> None:
    """Results computed beforehand, which become pairs."""
    folder = scratch() / "results"
    folder.mkdir(exist_ok=True)
    lines, _, about = data.partition(b"\0")
    (folder / "compare.jsonl").write_bytes(lines)
    (folder / "summary.json").write_bytes(about or b"{}")
    rows, _ = read_results(folder)
    add_pairs(record(), first_samples(rows), "shipped")


def lineage(data: bytes) -> None:
    """What an adapter's folder says of itself."""
    folder = scratch() / "adapter"
    folder.mkdir(exist_ok=True)
    about, _, lora = data.partition(b"\0")
    (folder / "detox.json").write_bytes(about)
    (folder / "adapter_config.json").write_bytes(lora)
    (folder / "adapter_model.safetensors").write_bytes(b"")
    find_source(str(folder))


FIELDS = (
    *("labeler", "choice", "strength", "reasons", "note", "seconds", "flagged", "uuid"),
    *("assignment", "batch", "role", "status", "dialogue"),
)


def answers(data: bytes) -> None:
    """What a browser might send instead of a pick, a name, a plan or a dialogue."""
    said = {name: _value(part) for name, part in zip(FIELDS, data.split(b"\0"), strict=False)}
    with suppress(UserError):
        check_dialogue(said.get("dialogue", ""))
    store = record()
    name = said.get("labeler", "ada")
    with suppress(UserError):
        task = next_pair(store, name, random.Random(0))
        given = said.get("assignment") or (task.assignment_id if task else "none")
        keys = ("strength", "reasons", "note", "seconds", "flagged", "uuid")
        more = {key: said[key] for key in keys if key in said}
        submit(store, given, said.get("choice", "left"), labeler=name, **more)
        undo(store, name)
    with suppress(UserError):
        add_account(store, name, said.get("role", "labeler"))
    with suppress(UserError):
        save_plan(store, Plan(said.get("batch", "first"), guidelines=said.get("note", "")))
        set_status(store, said.get("batch", "first"), said.get("status", "open"))


def _value(part: bytes) -> Any:
    """JSON where it is some, else text."""
    try:
        return json.loads(part)
    except ValueError:
        return part.decode("utf-8", "replace")


Target = Callable[[bytes], None]
TARGETS: dict[str, Target] = {
    "table": table,
    "import": imported,
    "journal": journal,
    "vertex": vertex,
    "config": config,
    "preferences": preferences,
    "dialogues": dialogues,
    "results": results,
    "lineage": lineage,
    "answers": answers,
}


class Records:
    """Fresh copies of one small record."""

    def __init__(self) -> None:
        self.uses = 0
        self.origin = open_store(scratch() / "origin.db")
        small(self.origin)
        self.now = self.origin

    def next(self) -> Store:
        """The record to use now."""
        if self.uses % FRESH == 0:
            path = scratch() / "record.db"
            for end in ("", "-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
            back_up(self.origin, path)
            self.now = open_store(path)
        self.uses += 1
        return self.now


@cache
def _records() -> Records:
    return Records()


def record() -> Store:
    """A small record that holds what ``small`` puts there, and some of what was accepted since."""
    return _records().next()


def counts(store: Store) -> list[int]:
    """How many rows each table has."""
    with store.reading() as db:
        return [next(db.query(f"SELECT count(*) AS n FROM {name}"))["n"] for name in TABLES]


def small(store: Store) -> None:
    """Some pairs, and picks on them."""
    texts = {"policy_a": "after", "policy_b": "before", "reward_a": 1.5, "toxicity_b": 0.25}
    rows: list[dict[str, Any]] = [
        {"dialogue": f"#Person1#: plan {i}? é", "a": f"Yes, {i}.", "b": f"No {i}."} | texts
        for i in range(6)
    ]
    add_pairs(store, rows, "first")
    rng = random.Random(0)
    for labeler in ("ada", "ben"):
        for choice in ("left", "right", "tie", "left"):
            task = next_pair(store, labeler, rng)
            assert task is not None
            submit(store, task.assignment_id, choice, labeler=labeler, note="=1+1", seconds=2.0)


def seeds(name: str) -> Iterator[bytes]:
    """Whole inputs of a target, which mangling begins with."""
    store = record()
    files = {}
    for form in SUFFIXES:
        out = scratch() / f"seed-{form}{SUFFIXES[form]}"
        with suppress(UserError):
            export(store, form, out)
        if out.is_file():
            files[form] = out.read_bytes()
    lines = b"\n".join(files.values())
    if name in ("table", "import"):
        yield from files.values()
        yield b'[{"dialogue": "#Person1#: a?", "a": "b", "b": "c"}]'
        yield b"dialogue,a,b\r\n#Person1#: x?,y,z\r\n"
    elif name == "journal":
        yield "\n".join(lines_since(store, 0)[0]).encode()
    elif name in ("vertex", "preferences"):
        yield from files.values()
        yield lines[:4000]
    elif name == "config":
        root = Path(__file__).parent.parent.parent / "configs" / "pipeline.yaml"
        yield root.read_bytes()
        yield yaml.safe_dump({"preferences": "a.jsonl", "policy": "before"}).encode()
    elif name == "dialogues":
        yield b'{"dialogue": "#Person1#: a?", "summary": "b", "id": "1", "split": "train"}\n'
        yield b"id,dialogue,summary\n1,#Person1#: a?,b\n"
    elif name == "results":
        side = {"policy": "x", "text": "t", "reward": 1.0, "toxicity": 0.1}
        row = {"id": "1", "dialogue": "#Person1#: a?", "prompt": "p", "split": "test"}
        yield json.dumps(row | {"before": side, "after": side | {"text": "u"}}).encode() + b"\0{}"
    elif name == "lineage":
        yield b'{"base": "embedded", "parent": "../sft"}\0{"base_model_name_or_path": "x"}'
    elif name == "answers":
        sent = ["ada", "left", '"clearly"', '["gentle"]', "n", "1.5", "false", "u"]
        sent += ["", "first", "lead", "closed", "#Person1#: a?"]
        yield "\0".join(sent).encode()
        yield b"eve\0skip\0null\0[]\0\0null\0true"
