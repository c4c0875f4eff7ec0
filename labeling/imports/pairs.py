"""Prompts, responses and pairs of a file into the record, each once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.batches import PairRow
from labeling.imports.prompts import Known
from labeling.imports.rows import LABELER, UNKNOWN_POLICY, Comparison, Side
from labeling.records import add_candidate, add_pair, add_policy, add_prompt
from labeling.text import clean_text, dialogue_of


@dataclass(frozen=True)
class StoredPair:
    """A stored pair, and which of its candidates stands on which side of a row."""

    id: str
    left: str
    right: str
    # In terms of the pair's own candidates: `a` or `b`.
    left_name: str
    new: bool

    def outcome(self, choice: str) -> str:
        """A choice of sides in terms of the pair's candidates."""
        right_name = "b" if self.left_name == "a" else "a"
        return {"left": self.left_name, "right": right_name}.get(choice, choice)


class Pairs:
    """Adds prompts, responses and pairs, remembering the prompts that the record knows.

    Each public method but ``of`` returns what it changed: ``pairs``, ``prompts``, ``candidates``,
    and ``known`` and ``identical`` for rows that changed nothing. ``policy`` is whose the responses
    of ``candidate`` are.
    """

    def __init__(self, db: Database, batch: str, policy: str | None = None) -> None:
        self.db, self.policy = db, policy
        self.batch = clean_text(batch) or LABELER
        rows = db.query("SELECT id, prompt FROM prompts")
        self.known = Known((row["id"], row["prompt"]) for row in rows)
        self._policies: dict[str, str] = {}

    def prompt(self, prompt: str) -> Counter[str]:
        """A prompt without responses."""
        if self.known.ids(prompt):
            return Counter(known=1)
        self._new_prompt(prompt)
        return Counter(prompts=1)

    def candidate(self, prompt: str, text: str) -> Counter[str]:
        """A response of the policy named for this import. Raises ``UserError`` without one."""
        if not self.policy:
            raise UserError("Say with --policy whose responses these are.")
        ids = self._prompt_ids(prompt)
        new_prompt = not ids
        prompt_id = ids[0] if ids else self._new_prompt(prompt)
        for known in ids:
            found = self.db.query(
                "SELECT 1 FROM candidates AS c JOIN policies AS p ON p.id = c.policy_id"
                " WHERE c.prompt_id = ? AND c.text = ? AND p.name = ?",
                [known, clean_text(text), self.policy],
            )
            if next(found, None):
                return Counter(known=1)
        add_candidate(self.db, prompt_id, self._policy({"name": self.policy}), text)
        return Counter(candidates=1, prompts=int(new_prompt))

    def pair(self, row: PairRow) -> Counter[str]:
        """A pair without a judgement."""
        if clean_text(row.a["text"]) == clean_text(row.b["text"]):
            return Counter(identical=1)
        fields = dict(row.prompt)
        dialogue, prompt = fields.pop("dialogue") or "", fields.pop("prompt") or ""
        prompt_id = add_prompt(self.db, dialogue, prompt, **fields)
        candidates = [
            add_candidate(
                self.db,
                prompt_id,
                add_policy(self.db, side["policy"]),
                side["text"],
                sampling=side.get("sampling"),
                reward=side.get("reward"),
                toxicity=side.get("toxicity"),
            )
            for side in (row.a, row.b)
        ]
        _, new = add_pair(self.db, prompt_id, candidates[0], candidates[1], self.batch)
        return Counter(pairs=1) if new else Counter(known=1)

    def of(self, row: Comparison) -> StoredPair:
        """The stored pair of two texts, added if there is none.

        A row that tells how its texts were sampled has one pair only; any other is content with a
        pair that reads the same.
        """
        told = row.left.sampling is not None and row.right.sampling is not None
        return (None if told else self._find_pair(row)) or self._add_pair(row)

    def _prompt_ids(self, prompt: str) -> list[str]:
        """Stored prompts that read like ``prompt``, one that equals it first."""
        ids = self.known.ids(prompt)
        if len(ids) > 1:
            query = "SELECT 1 FROM prompts WHERE id = ? AND prompt = ?"
            ids.sort(key=lambda known: next(self.db.query(query, [known, prompt]), None) is None)
        return ids

    def _new_prompt(self, prompt: str, row: Comparison | None = None) -> str:
        fields = (
            {"topic": row.topic, "tone": row.tone, "source": row.source, "split": row.split}
            if row
            else {}
        )
        dialogue = (row.dialogue if row else None) or dialogue_of(prompt)
        prompt_id = add_prompt(self.db, dialogue, prompt, **fields)
        self.known.add(prompt_id, prompt)
        return prompt_id

    def _find_pair(self, row: Comparison) -> StoredPair | None:
        """The stored pair with these two texts, by these policies where the row names them."""
        ids = [self._new_prompt(row.prompt, row)] if row.dialogue else self._prompt_ids(row.prompt)
        sides = [(clean_text(side.text), _name(side)) for side in (row.left, row.right)]
        for prompt_id in ids:
            found = self.db.query(
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
                for left, right in ("ab", "ba"):
                    stored = [(pair[f"text_{x}"], pair[f"policy_{x}"]) for x in (left, right)]
                    if all(
                        text == other and name in (policy, None)
                        for (text, name), (other, policy) in zip(sides, stored, strict=True)
                    ):
                        candidates = pair[f"candidate_{left}"], pair[f"candidate_{right}"]
                        return StoredPair(pair["id"], *candidates, left, new=False)
        return None

    def _add_pair(self, row: Comparison) -> StoredPair:
        ids = [] if row.dialogue else self._prompt_ids(row.prompt)
        prompt_id = ids[0] if ids else self._new_prompt(row.prompt, row)
        left, right = (
            add_candidate(
                self.db,
                prompt_id,
                self._policy(side.policy or {"name": UNKNOWN_POLICY}),
                side.text,
                sampling=side.sampling,
                reward=side.reward,
                toxicity=side.toxicity,
            )
            for side in (row.left, row.right)
        )
        batch = clean_text(row.batch or self.batch) or LABELER
        pair_id, new = add_pair(self.db, prompt_id, left, right, batch)
        if new:
            return StoredPair(pair_id, left, right, "a", new)
        stored = next(self.db.query("SELECT candidate_a FROM pairs WHERE id = ?", [pair_id]))
        return StoredPair(pair_id, left, right, "a" if stored["candidate_a"] == left else "b", new)

    def _policy(self, policy: Mapping[str, Any]) -> str:
        key = json.dumps(policy, sort_keys=True)
        if key not in self._policies:
            self._policies[key] = add_policy(self.db, policy)
        return self._policies[key]


def _name(side: Side) -> str | None:
    return str(side.policy["name"]) if side.policy else None
