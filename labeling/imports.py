"""Preferences made elsewhere, or exported from here, back into the record.

Importing twice changes nothing: a file's pick is added only if the pair has fewer current picks
with that outcome than the file has rows that say so.
"""

from __future__ import annotations

import uuid as uuids
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.batches import load_pairs
from labeling.files import read_jsonl
from labeling.records import (
    add_assignment,
    add_candidate,
    add_labeler,
    add_pair,
    add_pick,
    add_policy,
    add_prompt,
    labeler_name,
)
from labeling.schema import STRENGTHS
from labeling.store import Store
from labeling.text import clean_text, content_id, dialogue_of, storable

UNKNOWN_POLICY = "unknown"
LABELER = "import"


@dataclass(frozen=True)
class ImportReport:
    """What an import changed."""

    format: str
    pairs: int
    picks: int
    # Rows that were in the record already.
    known: int
    # Rows whose two texts are the same to a reader.
    identical: int


@dataclass(frozen=True)
class Comparison:
    """One judged pair of a file. ``left`` and ``right`` are as the file orders them."""

    prompt: str
    left: str
    right: str
    choice: str
    dialogue: str | None = None
    policies: tuple[str, str] | None = None
    worker: str | None = None
    batch: str | None = None
    split: str | None = None
    topic: str | None = None
    strength: str | None = None
    note: str = ""


def import_file(
    store: Store,
    path: str | Path,
    format: str | None = None,
    *,
    batch: str | None = None,
    labeler: str = LABELER,
) -> ImportReport:
    """Adds the preferences or pairs of a JSONL file, all or none of them.

    ``format`` is one of ``READERS`` or ``pairs``; None finds it from the first row. Rows that
    name no worker count as picks of ``labeler`` (of ``labeler 2``, … where a file judges a pair
    several times).

    Raises ``UserError`` naming the file and line that cannot be used, ``StoreError`` by the
    database.
    """
    path = Path(path)
    rows = read_jsonl(path)
    first = next(rows)
    format = format or _recognise(path, first[1])
    if format not in (*READERS, "pairs"):
        raise UserError(f"Unknown format '{format}': use one of {', '.join(READERS)} or pairs.")
    every = chain([first], rows)
    if format == "pairs":
        report = load_pairs(store, (row for _, row in every), batch or path.stem)
        return ImportReport(format, report.added, 0, report.known, report.identical)
    counts: Counter[str] = Counter()
    with store.writing() as db:
        adder = _Adder(db, batch or path.stem, labeler)
        for number, row in every:
            try:
                counts += adder.add(READERS[format](row))
            except UserError as error:
                raise UserError(f"Line {number} of '{path}': {error}") from error
    return ImportReport(
        format, counts["pairs"], counts["picks"], counts["known"], counts["identical"]
    )


def _recognise(path: Path, row: Mapping[str, Any]) -> str:
    shapes = {
        "vertex-preference": {"input_text", "candidate_0", "candidate_1", "choice"},
        "openai-comparisons": {"info", "summaries", "choice"},
        "trl-explicit": {"prompt", "chosen", "rejected"},
    }
    for format, keys in shapes.items():
        if keys <= row.keys():
            return format
    if {"a", "b"} <= row.keys() or {"before", "after"} <= row.keys():
        return "pairs"
    raise UserError(
        f"The format of '{path}' is not known: give TRL rows with `prompt`, `chosen` and "
        "`rejected`, Vertex AI preferences, OpenAI comparisons, or pairs with `a` and `b`."
    )


def read_trl(row: Mapping[str, Any]) -> Comparison:
    """TRL's explicit prompt, standard or conversational. The order says nothing about sides."""
    prompt, chosen, rejected = (_content(row, key) for key in ("prompt", "chosen", "rejected"))
    gaps = [text[: len(text) - len(text.lstrip())] for text in (chosen, rejected)]
    if gaps[0] == gaps[1]:
        prompt += gaps[0]
    first_is_chosen = content_id(clean_text(chosen)) < content_id(clean_text(rejected))
    left, right = (chosen, rejected) if first_is_chosen else (rejected, chosen)
    return Comparison(prompt, left, right, "left" if first_is_chosen else "right")


def _content(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if isinstance(value, list) and value and all(isinstance(m, Mapping) for m in value):
        value = "\n".join(str(message.get("content") or "") for message in value)
    return _text(value, key)


def read_vertex(row: Mapping[str, Any]) -> Comparison:
    """Vertex AI preferences: candidate 0 counts as the left one."""
    left, right = (_text(row.get(f"candidate_{slot}"), f"candidate_{slot}") for slot in (0, 1))
    return Comparison(_text(row.get("input_text"), "input_text"), left, right, _side(row))


def read_openai(row: Mapping[str, Any]) -> Comparison:
    """OpenAI's summarize-from-feedback comparisons (``info.post`` or ``info.article``)."""
    info, summaries, extra = row.get("info"), row.get("summaries"), row.get("extra") or {}
    if not isinstance(info, Mapping) or not isinstance(extra, Mapping):
        raise UserError("`info` and `extra` must be objects.")
    if (
        not isinstance(summaries, list)
        or len(summaries) != 2
        or not all(isinstance(summary, Mapping) for summary in summaries)
    ):
        raise UserError("`summaries` must be a list of two objects.")
    dialogue = _text(info.get("post") or info.get("article") or info.get("dialogue"), "info.post")
    left, right = (_text(summary.get("text"), "summaries.text") for summary in summaries)
    names = [str(summary.get("policy") or UNKNOWN_POLICY) for summary in summaries]
    strength = extra.get("strength")
    return Comparison(
        prompt=_text(info.get("prompt") or dialogue, "info.prompt"),
        left=left,
        right=right,
        choice=_side(row),
        dialogue=dialogue,
        policies=(names[0], names[1]),
        worker=str(row["worker"]) if row.get("worker") else None,
        batch=str(row["batch"]) if row.get("batch") else None,
        # Their validation splits are `valid1` and `valid2`.
        split=str(row["split"]).rstrip("012") if row.get("split") else None,
        topic=str(info["topic"]) if info.get("topic") else None,
        strength=strength if strength in STRENGTHS else None,
        note=clean_text(str(extra.get("note") or "")),
    )


def _side(row: Mapping[str, Any]) -> str:
    choice = row.get("choice")
    if choice not in (0, 1) or not isinstance(choice, int):
        raise UserError("`choice` must be 0 or 1.")
    return "left" if choice == 0 else "right"


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"`{key}` must be a text that is not empty.")
    return value


READERS: dict[str, Callable[[Mapping[str, Any]], Comparison]] = {
    "trl-explicit": read_trl,
    "vertex-preference": read_vertex,
    "openai-comparisons": read_openai,
}


class _Adder:
    """Adds comparisons in one transaction, remembering what the record held before it began."""

    def __init__(self, db: Database, batch: str, labeler: str) -> None:
        self.db, self.batch, self.labeler = db, batch, labeler_name(labeler) or LABELER
        # Picks that this import adds are not "already there" for its later rows.
        self.start = int(next(db.query("SELECT coalesce(max(seq), 0) AS n FROM picks"))["n"])
        self.prompts = {
            row["prompt"].rstrip(): row["id"] for row in db.query("SELECT id, prompt FROM prompts")
        }
        self.before: dict[tuple[str, str | None], Counter[str]] = {}
        self.seen: Counter[tuple[str, str | None, str]] = Counter()

    def add(self, row: Comparison) -> Counter[str]:
        """What adding ``row`` changed: ``pairs``, ``picks``, ``known``, ``identical``."""
        if clean_text(row.left) == clean_text(row.right):
            return Counter(identical=1)
        pair, new_pair = self._pair(row)
        left = "a" if pair["text_a"] == clean_text(row.left) else "b"
        outcome = left if row.choice == "left" else {"a": "b", "b": "a"}[left]
        worker = self._worker(row.worker)
        known = self._known(pair["id"], worker)
        self.seen[pair["id"], worker, outcome] += 1
        if self.seen[pair["id"], worker, outcome] <= known[outcome]:
            return Counter(known=1)
        self._pick(pair, row, left, worker)
        return Counter(pairs=int(new_pair), picks=1)

    def _worker(self, name: str | None) -> str | None:
        """The name of a labeler, who may be named by their pseudonym in this very project."""
        if name is None:
            return None
        rows = self.db.query("SELECT name FROM labelers WHERE pseudonym = ?", [name])
        return next((str(row["name"]) for row in rows), labeler_name(name)) or None

    def _known(self, pair_id: str, worker: str | None) -> Counter[str]:
        key = (pair_id, worker)
        if key not in self.before:
            rows = self.db.query(
                "SELECT outcome, count(*) AS n FROM preferences AS p"
                " JOIN labelers AS l ON l.id = p.labeler_id"
                " WHERE pair_id = ? AND seq <= ? AND (? IS NULL OR l.name = ?) GROUP BY outcome",
                [pair_id, self.start, worker, worker],
            )
            self.before[key] = Counter({row["outcome"]: row["n"] for row in rows})
        return self.before[key]

    def _pair(self, row: Comparison) -> tuple[dict[str, Any], bool]:
        """The stored pair with these two texts, added if there is none."""
        db, texts = self.db, (clean_text(row.left), clean_text(row.right))
        prompt_id = None if row.dialogue else self.prompts.get(storable(row.prompt).rstrip())
        if prompt_id is None:
            dialogue = row.dialogue or dialogue_of(row.prompt)
            prompt_id = add_prompt(db, dialogue, row.prompt, topic=row.topic, split=row.split)
            self.prompts.setdefault(storable(row.prompt).rstrip(), prompt_id)
        found = db.query(
            """
            SELECT p.id, p.candidate_a, p.candidate_b, a.text AS text_a, b.text AS text_b,
                pa.name AS policy_a, pb.name AS policy_b
            FROM pairs AS p
            JOIN candidates AS a ON a.id = p.candidate_a
            JOIN candidates AS b ON b.id = p.candidate_b
            JOIN policies AS pa ON pa.id = a.policy_id
            JOIN policies AS pb ON pb.id = b.policy_id
            WHERE p.prompt_id = ?
            """,
            [prompt_id],
        )
        for pair in found:
            stored = [(pair["text_a"], pair["policy_a"]), (pair["text_b"], pair["policy_b"])]
            wanted = list(zip(texts, row.policies or (None, None), strict=True))
            for order in (wanted, wanted[::-1]):
                if all(
                    text == other and name in (policy, None)
                    for (text, name), (other, policy) in zip(order, stored, strict=True)
                ):
                    return pair, False
        candidates = [
            add_candidate(db, prompt_id, add_policy(db, name), text)
            for text, name in zip(texts, row.policies or [UNKNOWN_POLICY] * 2, strict=True)
        ]
        batch = clean_text(row.batch or self.batch) or LABELER
        pair_id, _ = add_pair(db, prompt_id, candidates[0], candidates[1], batch)
        return {
            "id": pair_id,
            "candidate_a": candidates[0],
            "candidate_b": candidates[1],
            "text_a": texts[0],
            "text_b": texts[1],
        }, True

    def _pick(
        self, pair: Mapping[str, Any], row: Comparison, left: str, worker: str | None
    ) -> None:
        right = {"a": "b", "b": "a"}[left]
        name = worker
        if name is None:
            rows = self.db.query(
                "SELECT count(*) AS n FROM assignments AS a JOIN labelers AS l"
                " ON l.id = a.labeler_id WHERE a.pair_id = ?"
                " AND substr(l.name || ' ', 1, length(?) + 1) = ? || ' '",
                [pair["id"], self.labeler, self.labeler],
            )
            earlier = int(next(rows)["n"])
            name = f"{self.labeler} {earlier + 1}" if earlier else self.labeler
        labeler_id = add_labeler(self.db, name)
        judged = self.db.query(
            "SELECT 1 FROM assignments WHERE labeler_id = ? AND pair_id = ?",
            [labeler_id, pair["id"]],
        )
        assignment_id = add_assignment(
            self.db,
            pair["id"],
            labeler_id,
            pair[f"candidate_{left}"],
            pair[f"candidate_{right}"],
            kind="repeat" if next(judged, None) else "regular",
        )
        add_pick(
            self.db,
            {
                "uuid": str(uuids.uuid4()),
                "assignment_id": assignment_id,
                "choice": row.choice,
                "strength": row.strength,
                "note": row.note,
            },
        )
