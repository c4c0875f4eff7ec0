"""How reliable each labeler is, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.analysis.bootstrap import holm
from labeling.analysis.frame import NONE, OUTCOME_NAMES, REPEAT, SKIP, Bools, Frame
from labeling.analysis.position import fair_coin
from labeling.analysis.selection import Picks, Selection, in_scope, left_out

# People who read for the sense read about 240 words a minute (Brysbaert, "How many words do we
# read per minute?", 2019), and beyond 600 the sense is lost (Rayner et al., "So much to read, so
# little time", 2016). A pick that was faster than both summaries alone take at 1,000, or than two
# seconds, was made without reading them.
FASTEST_WORDS_PER_MINUTE = 1_000
FASTEST_SECONDS = 2.0
_LABELS = len(OUTCOME_NAMES) - 1
# What the others say of a pick: nothing (nobody else, or a tie), something else, the same.
UNKNOWN, OTHER, SAME = range(3)

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Reliability:
    """One labeler in numbers; shares are between 0 and 1, None where nothing is to be counted.

    ``picks`` are regular ones that are no skips, and what follows is of them unless it says
    otherwise. ``agreement`` is with the majority of the others, on ``compared`` pairs that have
    one. ``gold`` is the share of right answers on ``gold_pairs``; ``consistency`` that of equal
    answers on ``repeats``. ``left`` is the share of left among ``decided`` picks, ``left_p`` its
    exact p-value adjusted for all labelers (Holm), ``longest_run`` how often in a row one side
    was picked. ``fast`` is the share of ``timed`` picks that are too fast for reading.
    ``practice`` is the share of right first tries in the practice round, of ``practised``.
    ``flags`` are sentences (``labeling.analysis.flags`` gives them);
    ``left_out`` says that the analysis is without this labeler.
    """

    labeler: str
    kind: str
    picks: int
    skips: int
    median_seconds: float | None
    p05_seconds: float | None
    agreement: float | None
    compared: int
    gold: float | None
    gold_pairs: int
    consistency: float | None
    repeats: int
    left: float | None
    decided: int
    left_p: float | None
    longest_run: int
    fast: float | None
    timed: int
    practice: float | None
    practised: int
    left_out: bool
    flags: tuple[str, ...] = ()


def reliability(frame: Frame, selection: Selection = Selection()) -> tuple[Reliability, ...]:
    """Every labeler with a pick in ``selection``, also those it leaves out, most picks first.

    The majority is that of the labelers who are not left out. Raises ``UserError`` for an unknown
    batch, policy or labeler.
    """
    return reliability_of(in_scope(frame, selection), selection)


def reliability_of(scope: Picks, selection: Selection) -> tuple[Reliability, ...]:
    """As ``reliability``, of a scope that is known already."""
    frame = scope.frame
    k = len(frame.labelers)
    out = left_out(frame, selection)
    regular = scope.regular
    picks = regular.judged
    left, decided = _count(picks, k, picks.left), _count(picks, k, picks.decided)
    left_p = holm([float(p) for p in fair_coin(left, decided)])
    columns = {
        "picks": _count(picks, k),
        "skips": _count(regular, k, regular.outcome == SKIP),
        "left": left,
        "decided": decided,
        **_agreed(picks, out),
        **_checked(scope, k),
        **_repeated(scope, k),
        **_hurried(picks, k),
        **_in_order(picks, k),
    }
    seen = _count(scope, k) > 0
    rows = [
        _row(
            {name: column[place] for name, column in columns.items()},
            labeler=person.pseudonym,
            kind=person.kind,
            left_p=left_p[place] if decided[place] else None,
            practice=_share(*person.practice),
            practised=person.practice[1],
            left_out=bool(out[place]),
        )
        for place, person in enumerate(frame.labelers)
        if seen[place]
    ]
    return tuple(sorted(rows, key=lambda row: (-row.picks, row.labeler)))


def _row(counts: dict[str, Any], **known: Any) -> Reliability:
    shares = {
        "agreement": ("agreed", "compared"),
        "gold": ("right", "gold_pairs"),
        "consistency": ("same", "repeats"),
        "left": ("left", "decided"),
        "fast": ("fast", "timed"),
    }
    fields: dict[str, Any] = {
        name: _share(counts[above], counts[below]) for name, (above, below) in shares.items()
    }
    for _, below in shares.values():
        fields[below] = int(counts[below])
    for name in ("median_seconds", "p05_seconds"):
        fields[name] = None if np.isnan(counts[name]) else round(float(counts[name]), 2)
    for name in ("picks", "skips", "longest_run"):
        fields[name] = int(counts[name])
    return Reliability(**fields, **known)


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _count(picks: Picks, k: int, which: Bools | None = None) -> Counts:
    """How many picks, or those ``which`` are true, each of ``k`` labelers made."""
    labeler = picks.labeler if which is None else picks.labeler[which]
    return np.bincount(labeler, minlength=k)


def _agreed(picks: Picks, out: Bools) -> dict[str, Counts]:
    """How often each labeler said what most of the others said, of how many pairs."""
    said, k = said_by_others(picks, ~out[picks.labeler]), len(out)
    return {
        "agreed": _count(picks, k, said == SAME),
        "compared": _count(picks, k, said != UNKNOWN),
    }


def said_by_others(picks: Picks, counted: Bools) -> NDArray[np.int8]:
    """Whether most others said the ``SAME`` as each judged pick, another thing, or neither.

    The others are the picks of the same pair that are ``counted[n]``, without the pick itself.
    ``UNKNOWN`` where there is none, or no label has more votes than every other.
    """
    n, k = len(picks.frame.pairs), _LABELS
    cell = picks.outcome * np.int32(n) + picks.pair
    counts = np.bincount(cell[counted], minlength=n * k).reshape(k, n).astype(np.int32)
    with_own = _majority(counts, 1).ravel()[cell]
    if counted.all():
        return with_own
    return np.where(counted, with_own, _majority(counts, 0).ravel()[cell])


def _majority(counts: NDArray[np.int32], own: int) -> NDArray[np.int8]:
    """What the others say of each label of each pair, given votes, both ``[labels, pairs]``.

    ``own`` is 1 where the label's own vote is among ``counts`` and must be taken out first.
    """
    said = np.empty(counts.shape, dtype=np.int8)
    for label in range(len(counts)):
        mine = counts[label] - own
        rest = np.delete(counts, label, axis=0)
        most = rest.max(axis=0)
        alone = (rest == most).sum(axis=0, dtype=np.int8) == 1
        said[label] = np.where((most > mine) & alone, OTHER, UNKNOWN)
        said[label][mine > most] = SAME
    return said


def _checked(scope: Picks, k: int) -> dict[str, Counts]:
    """How often each labeler gave the known answer of a gold pair the first time, of how many."""
    gold = scope.frame.pairs.gold
    picks = scope.only((gold[scope.pair] != NONE) & (scope.kind != REPEAT)).judged
    right = picks.outcome == gold[picks.pair]
    return {"right": _count(picks, k, right), "gold_pairs": _count(picks, k)}


def _repeated(scope: Picks, k: int) -> dict[str, Counts]:
    """How often each labeler said the same again when a pair came back, of how often it did."""
    again = scope.only(scope.kind == REPEAT).judged
    # A table of the repeated pairs by labelers, and each pair's row in it.
    repeated = np.zeros(len(scope.frame.pairs), dtype=np.bool_)
    repeated[again.pair] = True
    row = np.cumsum(repeated) - 1
    first = np.full(int(repeated.sum()) * k, NONE, dtype=np.int8)
    before = scope.only(repeated[scope.pair] & (scope.kind != REPEAT)).judged
    first[row[before.pair] * k + before.labeler] = before.outcome
    earlier = first[row[again.pair] * k + again.labeler]
    return {
        "same": _count(again, k, again.outcome == earlier),
        "repeats": _count(again, k, earlier != NONE),
    }


def _hurried(picks: Picks, k: int) -> dict[str, Counts]:
    """How many of each labeler's picks were too fast for reading, of those that were timed."""
    pairs = picks.frame.pairs
    words = pairs.words_a + pairs.words_b
    limit = np.maximum(FASTEST_SECONDS, words * (60 / FASTEST_WORDS_PER_MINUTE))
    fast = picks.seconds < limit.astype(np.float32)[picks.pair]
    return {"fast": _count(picks, k, fast), "timed": _count(picks, k, ~np.isnan(picks.seconds))}


def _in_order(picks: Picks, k: int) -> dict[str, NDArray[Any]]:
    """What needs each labeler's picks one after the other: quantiles of seconds, longest runs."""
    narrow = picks.labeler.astype(np.int16) if k < np.iinfo(np.int16).max else picks.labeler
    order = np.argsort(narrow, kind="stable")
    counts = _count(picks, k)
    ends = np.cumsum(counts)
    seconds = picks.seconds[order]
    quantiles = np.full((k, 2), np.nan)
    for place, (n, end) in enumerate(zip(counts, ends, strict=True)):
        timed = seconds[end - n : end]
        timed = timed[~np.isnan(timed)]
        if len(timed):
            quantiles[place] = np.percentile(timed, [5, 50])
    decided = order[picks.decided[order]]
    return {
        "p05_seconds": quantiles[:, 0],
        "median_seconds": quantiles[:, 1],
        "longest_run": _longest_runs(picks.left[decided], picks.labeler[decided], k),
    }


def _longest_runs(sides: Bools, labelers: NDArray[np.int32], k: int) -> Counts:
    """The most equal ``sides`` in a row of each of ``k`` labelers, whose picks stand together."""
    longest = np.zeros(k, dtype=np.int64)
    if len(sides):
        changed = (sides[1:] != sides[:-1]) | (labelers[1:] != labelers[:-1])
        starts = np.concatenate([[0], np.flatnonzero(changed) + 1])
        np.maximum.at(longest, labelers[starts], np.diff(starts, append=len(sides)))
    return longest
