"""Which picks an analysis is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np

from detox.errors import UserError
from labeling.analysis.frame import (
    KIND_NAMES,
    REGULAR,
    SKIP,
    A,
    B,
    Bools,
    Codes,
    Floats,
    Frame,
    Ints,
)
from labeling.records import labeler_name
from labeling.schema import SPLITS

LABELER_KINDS = ("person", "model")
_NAMES_TOLD = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Selection:
    """Filters of picks; the picks that are left out stay in the record.

    ``policies`` are two names, the one whose wins are counted first; None takes those that were
    compared most. ``without`` are names or pseudonyms of labelers. ``labeler_kind`` None takes
    people and models together. ``since`` and ``until`` are ISO 8601 times or dates, UTC unless
    they say otherwise: from ``since`` on, before ``until``. ``blind_only`` leaves out picks whose
    labeler could already know which policy was which. ``kinds`` are those of assignments:
    repeats and gold pairs measure labelers and are no votes.
    """

    batch: str | None = None
    split: str | None = None
    policies: tuple[str, str] | None = None
    without: tuple[str, ...] = ()
    labeler_kind: str | None = "person"
    since: str | None = None
    until: str | None = None
    blind_only: bool = False
    kinds: tuple[str, ...] = ("regular",)

    def __post_init__(self) -> None:
        """Raises ``UserError`` for what no database could hold."""
        if self.split is not None and self.split not in SPLITS:
            raise UserError(f"Unknown split '{self.split}': use one of {', '.join(SPLITS)}.")
        if self.labeler_kind not in (None, *LABELER_KINDS):
            raise UserError(f"Unknown kind of labeler '{self.labeler_kind}': person or model.")
        if self.policies is not None and self.policies[0] == self.policies[1]:
            raise UserError(
                f"A policy cannot be compared with itself ('{self.policies[0]}'): name two."
            )
        if unknown := [kind for kind in self.kinds if kind not in KIND_NAMES]:
            raise UserError(f"Unknown kind '{unknown[0]}': use one of {', '.join(KIND_NAMES)}.")
        for time in (self.since, self.until):
            if time is not None:
                _microseconds(time)


@dataclass(frozen=True, eq=False)
class Picks:
    """The picks of a frame that were selected, ``n`` places per array, in order.

    ``rows`` are their places in the frame; None for all of it.
    """

    frame: Frame
    rows: Ints | None

    def __len__(self) -> int:
        return len(self.frame) if self.rows is None else len(self.rows)

    def _column(self, name: str) -> Any:
        column = getattr(self.frame, name)
        return column if self.rows is None else column[self.rows]

    @cached_property
    def pair(self) -> Ints:
        """Places of the pairs in ``frame.pairs``."""
        return self._column("pair")

    @cached_property
    def labeler(self) -> Ints:
        """Places of the labelers in ``frame.labelers``."""
        return self._column("labeler")

    @cached_property
    def outcome(self) -> Codes:
        """Outcomes in terms of the pair's candidates."""
        return self._column("outcome")

    @cached_property
    def kind(self) -> Codes:
        """Kinds of assignments: ``REGULAR``, ``REPEAT``, ``GOLD``."""
        return self._column("kind")

    @cached_property
    def decided(self) -> Bools:
        """Whether one side was preferred."""
        return self.outcome <= B

    @cached_property
    def left(self) -> Bools:
        """Whether the left response was preferred; False for a tie, both bad and a skip."""
        return self.decided & ((self.outcome == A) == self._column("a_left"))

    @cached_property
    def seconds(self) -> Floats:
        """Seconds taken; NaN where they were not measured."""
        return self._column("seconds")

    def only(self, wanted: Bools) -> Picks:
        """Those of these picks where ``wanted`` is true."""
        if wanted.all():
            return self
        rows = np.flatnonzero(wanted).astype(np.int32)
        return Picks(self.frame, rows if self.rows is None else self.rows[rows])

    @cached_property
    def regular(self) -> Picks:
        """These picks without repeats and gold pairs, which are no votes."""
        return self.only(self.kind == REGULAR)

    @cached_property
    def judged(self) -> Picks:
        """These picks without the skips, which are no judgement."""
        return self.only(self.outcome != SKIP)


def in_scope(frame: Frame, selection: Selection) -> Picks:
    """The picks by anybody and of every kind that the other filters of ``selection`` take.

    Raises ``UserError`` for a batch or policy that is not in the database.
    """
    pairs = frame.pairs
    wanted = np.ones(len(frame), dtype=np.bool_)
    if selection.batch is not None:
        wanted &= (pairs.batch == _place(pairs.batches, selection.batch, "batch"))[frame.pair]
    if selection.split is not None:
        wanted &= (pairs.split == pairs.splits.index(selection.split))[frame.pair]
    if selection.policies is not None:
        first, second = (_place(pairs.policies, name, "policy") for name in selection.policies)
        both = (pairs.policy_a == first) & (pairs.policy_b == second)
        both |= (pairs.policy_a == second) & (pairs.policy_b == first)
        wanted &= both[frame.pair]
    if selection.labeler_kind is not None and frame.labelers:
        right = np.array([person.kind == selection.labeler_kind for person in frame.labelers])
        wanted &= right[frame.labeler]
    if selection.since is not None:
        wanted &= frame.picked_at >= _microseconds(selection.since)
    if selection.until is not None:
        wanted &= frame.picked_at < _microseconds(selection.until)
    if selection.blind_only:
        wanted &= ~frame.informed
    return Picks(frame, None).only(wanted)


def select(frame: Frame, selection: Selection = Selection()) -> Picks:
    """The picks of ``frame`` that ``selection`` takes.

    Raises ``UserError`` for a batch, policy or labeler that is not in the database.
    """
    return chosen(in_scope(frame, selection), selection)


def chosen(scope: Picks, selection: Selection) -> Picks:
    """Those picks of a ``scope`` that are of the right kind, and by nobody who is left out.

    Raises ``UserError`` for a labeler that is not in the database.
    """
    if selection.kinds == (KIND_NAMES[REGULAR],):
        picks = scope.regular
    else:
        wanted = [KIND_NAMES.index(kind) for kind in selection.kinds]
        picks = scope.only(np.isin(np.arange(len(KIND_NAMES)), wanted)[scope.kind])
    if not selection.without:
        return picks
    return picks.only(~left_out(scope.frame, selection)[picks.labeler])


def left_out(frame: Frame, selection: Selection) -> Bools:
    """Whether ``selection`` leaves out each labeler of ``frame``.

    Raises ``UserError`` for a name or pseudonym that is nobody's.
    """
    out = np.zeros(len(frame.labelers), dtype=np.bool_)
    for asked in selection.without:
        named = [
            place
            for place, person in enumerate(frame.labelers)
            if asked == person.pseudonym or labeler_name(asked) == person.name
        ]
        if not named:
            raise UserError(
                f"There is no labeler '{asked}': give a name or a pseudonym as Results shows them."
            )
        out[named] = True
    return out


def _place(names: tuple[str, ...], asked: str, what: str) -> int:
    if asked not in names:
        known = ", ".join(f"'{name}'" for name in names[:_NAMES_TOLD])
        told = f"use one of {known}" if known else "load pairs first with `labeling pairs`"
        raise UserError(f"There is no {what} '{asked}': {told}.")
    return names.index(asked)


def _microseconds(time: str) -> int:
    try:
        moment = datetime.fromisoformat(time)
    except ValueError as error:
        raise UserError(
            f"'{time}' is not a time: write it as 2026-01-31 or 2026-01-31T18:00."
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round((moment - _EPOCH) / timedelta(microseconds=1))
