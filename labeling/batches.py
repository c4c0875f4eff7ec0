"""Pairs into the project: texts generated beforehand, so that labeling never waits for a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.gold import write_gold
from labeling.records import add_candidate, add_pair, add_policy, add_prompt
from labeling.schema import OUTCOMES
from labeling.store import Store
from labeling.text import clean_text, dialogue_of

_SCORES = ("reward", "toxicity", "sampling", "fingerprint")


@dataclass(frozen=True)
class BatchReport:
    """What became of the rows of a batch."""

    added: int
    # Pairs the project already had, in this or another batch.
    known: int
    # Rows whose two texts are the same to a reader: nothing to choose.
    identical: int


@dataclass(frozen=True)
class PairRow:
    """One row, understood: a prompt and the two sides, each ``{"policy", "text", ...}``."""

    prompt: dict[str, str | None]
    a: Mapping[str, Any]
    b: Mapping[str, Any]
    gold: str | None = None


def add_pairs(store: Store, rows: Iterable[Mapping[str, Any]], batch: str) -> int:
    """``load_pairs``, returning only how many pairs were added."""
    return load_pairs(store, rows, batch).added


def load_pairs(store: Store, rows: Iterable[Mapping[str, Any]], batch: str) -> BatchReport:
    """Adds the pairs of ``rows`` as ``batch``, all or none of them.

    A row is what ``python -m detox evaluate`` writes to ``compare.jsonl``
    (``{"id", "dialogue", "prompt", "topic", "tone", "split", "before": {"policy", "text",
    "reward", "toxicity", "fingerprint"}, "after": {...}}``) or ``{"dialogue", "prompt", "a", "b",
    "policy_a", "policy_b", "reward_a", ...}``. A policy is a name or ``{"name", "base",
    "adapter", "fingerprint"}``. ``gold``, if given, is the right answer: ``a`` (the first, or
    before), ``b``, ``tie`` or ``both_bad``.

    Raises ``UserError`` naming the row that lacks a text, ``StoreError`` by the database.
    """
    batch = clean_text(batch)
    if not batch:
        raise UserError("Give the batch a name.")
    added = known = identical = 0
    with store.writing() as db:
        for number, row in enumerate(rows, start=1):
            try:
                pair = understand(row)
                if clean_text(pair.a["text"]) == clean_text(pair.b["text"]):
                    identical += 1
                elif _add(db, pair, batch):
                    added += 1
                else:
                    known += 1
            except UserError as error:
                raise UserError(f"Row {number}: {error}") from error
    return BatchReport(added, known, identical)


def understand(row: Mapping[str, Any]) -> PairRow:
    """``row`` in either of its two shapes; ``UserError`` says what is missing from it."""
    if isinstance(row.get("before"), Mapping) and isinstance(row.get("after"), Mapping):
        a = {"policy": "before", **row["before"]}
        b = {"policy": "after", **row["after"]}
    else:
        a, b = (
            {"text": row.get(side), "policy": row.get(f"policy_{side}") or "unknown"}
            | {name: row.get(f"{name}_{side}") for name in _SCORES}
            for side in ("a", "b")
        )
    for side in (a, b):
        if not isinstance(side.get("text"), str):
            raise UserError("a pair needs two texts, as `before` and `after` or as `a` and `b`.")
        if not isinstance(side["policy"], str | Mapping):
            raise UserError("a policy is a name or an object with a `name`.")
        if not isinstance(side.get("sampling") or {}, Mapping):
            raise UserError("`sampling` is an object of settings.")
    gold = row.get("gold")
    if gold not in (None, *OUTCOMES):
        raise UserError(f"`gold` must be one of {', '.join(OUTCOMES)}.")
    fields = {}
    for name in ("dialogue", "prompt", "topic", "tone", "split", "source", "id"):
        value = row.get(name)
        if value is not None and not isinstance(value, str | int):
            raise UserError(f"`{name}` must be text.")
        fields[name] = str(value) if value is not None else None
    prompt = fields["prompt"] or ""
    return PairRow(
        prompt={
            "dialogue": fields["dialogue"] or dialogue_of(prompt),
            "prompt": prompt,
            "topic": fields["topic"],
            "tone": fields["tone"],
            "split": fields["split"],
            "source": fields["source"] or fields["id"],
        },
        a=a,
        b=b,
        gold=gold,
    )


def _add(db: Database, pair: PairRow, batch: str) -> bool:
    fields = dict(pair.prompt)
    dialogue, prompt = fields.pop("dialogue") or "", fields.pop("prompt") or ""
    prompt_id = add_prompt(db, dialogue, prompt, **fields)
    candidates = [
        add_candidate(
            db,
            prompt_id,
            add_policy(db, _version(side)),
            side["text"],
            sampling=side.get("sampling"),
            reward=side.get("reward"),
            toxicity=side.get("toxicity"),
        )
        for side in (pair.a, pair.b)
    ]
    pair_id, new = add_pair(db, prompt_id, candidates[0], candidates[1], batch)
    if pair.gold is not None:
        stored = next(db.query("SELECT candidate_a FROM pairs WHERE id = ?", [pair_id]))
        swapped = stored["candidate_a"] != candidates[0]
        outcome = {"a": "b", "b": "a"}.get(pair.gold, pair.gold) if swapped else pair.gold
        write_gold(db, pair_id, outcome, source="file")
    return new


def _version(side: Mapping[str, Any]) -> Mapping[str, Any]:
    """The policy of a side: a name alone leaves it open which version of it spoke."""
    policy = side["policy"]
    if isinstance(policy, Mapping):
        return policy
    return {"name": policy} | {key: side.get(key) for key in ("base", "adapter", "fingerprint")}
