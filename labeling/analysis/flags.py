"""Which labelers should be looked at before their picks are believed, and why.

A flag is a hint with a reason, never a verdict: nothing is deleted, and ``Selection.without``
leaves a labeler out of an analysis. Each flag needs ``MIN_PICKS`` picks of its sort (or
``MIN_CHECKS`` gold pairs or repeats), an effect large enough to matter, and an exact test that
holds at ``FLAG_LEVEL`` after Holm's adjustment for all labelers: among careful labelers, one of
these tests flags anybody in less than one project of a hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from scipy.special import bdtr, bdtrc

from labeling.analysis.bootstrap import holm
from labeling.analysis.labelers import Reliability

FLAG_LEVEL = 0.01
MIN_PICKS = 20
# Gold pairs and repeats are a few in a hundred picks: fewer must do.
MIN_CHECKS = 8
# A side that wins 40 to 60 % of the decided picks does little harm, however sure the test is.
SIDE_SHARE = 0.1
# Some picks are too fast by accident: an undo and the same answer again, a pair seen before.
FAST_SHARE = 0.2
# Gold pairs have clear answers, and careful people give nine of ten; three of four is lenient.
GOLD_SHARE = 0.75
# What somebody reaches who picks sides without reading: sides are drawn at random.
COIN = 0.5

Rows = Sequence[Reliability]
# For each labeler the p-value of one test, None where it cannot be made, and the sentence.
Test = Callable[[Rows], tuple[list[float | None], Callable[[Reliability], str]]]


def flagged(rows: Rows) -> tuple[Reliability, ...]:
    """``rows`` with the flags that the tests give them, in their order."""
    sentences: list[list[str]] = [[] for _ in rows]
    for test in (_side, _run, _speed, _gold, _agreement, _consistency):
        p_values, sentence = test(rows)
        for place, p in enumerate(holm(p_values)):
            if p is not None and p < FLAG_LEVEL:
                sentences[place].append(sentence(rows[place]))
    return tuple(replace(row, flags=tuple(said)) for row, said in zip(rows, sentences, strict=True))


def _side(rows: Rows) -> tuple[list[float | None], Callable[[Reliability], str]]:
    def p(row: Reliability) -> float | None:
        if row.left is None or row.decided < MIN_PICKS:
            return None
        if abs(row.left - COIN) < SIDE_SHARE:
            return 1.0
        fewer = min(_part(row.left, row.decided), row.decided - _part(row.left, row.decided))
        return min(1.0, 2 * float(bdtr(fewer, row.decided, COIN)))

    def sentence(row: Reliability) -> str:
        side, share = (
            ("left", row.left) if (row.left or 0) > COIN else ("right", 1 - (row.left or 0))
        )
        return (
            f"Picks the {side} side in {_percent(share)} of {row.decided:,} decided picks; sides "
            "are drawn at random, so about half is expected."
        )

    return [p(row) for row in rows], sentence


def _run(rows: Rows) -> tuple[list[float | None], Callable[[Reliability], str]]:
    def p(row: Reliability) -> float | None:
        if row.decided < MIN_PICKS:
            return None
        return run_p_value(row.longest_run, row.decided)

    def sentence(row: Reliability) -> str:
        return (
            f"Picked the same side {row.longest_run} times in a row; in {row.decided:,} picks of "
            "sides drawn at random that hardly ever happens."
        )

    return [p(row) for row in rows], sentence


def run_p_value(longest: int, n: int) -> float:
    """At most the chance that ``n`` throws of a fair coin have a run of ``longest`` or more.

    A run begins at the first throw, or at a later one that differs from the throw before it; the
    sum of the chances of all beginnings bounds the chance of any (Boole's inequality):
    ``2^(1 - r) + (n - r) 2^(-r)``.
    """
    if longest > n:
        return 0.0
    return min(1.0, 2.0 ** (1 - longest) + (n - longest) * 2.0**-longest)


def _speed(rows: Rows) -> tuple[list[float | None], Callable[[Reliability], str]]:
    def p(row: Reliability) -> float | None:
        # A model reads as fast as it computes.
        if row.fast is None or row.timed < MIN_PICKS or row.kind != "person":
            return None
        # The chance of as many or more where a fifth of the picks may be too fast.
        return float(bdtrc(_part(row.fast, row.timed) - 1, row.timed, FAST_SHARE))

    def sentence(row: Reliability) -> str:
        return (
            f"{_percent(row.fast)} of {row.timed:,} timed picks were faster than the two "
            f"summaries can be read; the median is {row.median_seconds:.1f} s."
        )

    return [p(row) for row in rows], sentence


def _gold(rows: Rows) -> tuple[list[float | None], Callable[[Reliability], str]]:
    others = _Others(rows, "gold", "gold_pairs")

    def p(row: Reliability) -> float | None:
        if row.gold is None or row.gold_pairs < MIN_CHECKS:
            return None
        # Where the others fail as well, the answers are in doubt and not the people.
        if (others.share(row) or 1.0) < GOLD_SHARE:
            return None
        return float(bdtr(_part(row.gold, row.gold_pairs), row.gold_pairs, GOLD_SHARE))

    def sentence(row: Reliability) -> str:
        return (
            f"Gave the known answer on {_percent(row.gold)} of {row.gold_pairs:,} gold pairs; "
            f"{_percent(GOLD_SHARE)} is the least that careful people reach."
        )

    return [p(row) for row in rows], sentence


def _agreement(rows: Rows) -> tuple[list[float | None], Callable[[Reliability], str]]:
    others = _Others(rows, "agreement", "compared")

    def sentence(row: Reliability) -> str:
        return (
            f"Agrees with the majority of the others on {_percent(row.agreement)} of "
            f"{row.compared:,} pairs, nearer to a coin than to the "
            f"{_percent(others.share(row))} that the others reach."
        )

    return others.nearer_a_coin(MIN_PICKS), sentence


def _consistency(rows: Rows) -> tuple[list[float | None], Callable[[Reliability], str]]:
    others = _Others(rows, "consistency", "repeats")

    def sentence(row: Reliability) -> str:
        return (
            f"Said the same again on {_percent(row.consistency)} of {row.repeats:,} repeated "
            f"pairs, nearer to a coin than to the {_percent(others.share(row))} that the others "
            "reach."
        )

    return others.nearer_a_coin(MIN_CHECKS), sentence


class _Others:
    """What share all labelers but one reach together; ``share`` and ``of`` are names of fields."""

    def __init__(self, rows: Rows, share: str, of: str) -> None:
        self._rows, self._share, self._of = rows, share, of
        self._cases = sum(getattr(row, of) for row in rows)
        self._good = sum(self._part(row) for row in rows)

    def _part(self, row: Reliability) -> int:
        return _part(getattr(row, self._share) or 0.0, getattr(row, self._of))

    def share(self, row: Reliability) -> float | None:
        """The share of the others of ``row``; None of fewer than ``MIN_PICKS`` cases."""
        n = self._cases - getattr(row, self._of)
        return (self._good - self._part(row)) / n if n >= MIN_PICKS else None

    def nearer_a_coin(self, least: int) -> list[float | None]:
        """Each one's chance of so low a share, were theirs half-way between the others' and a coin.

        None for fewer than ``least`` cases, and where the others are no better than a coin: then
        the pairs are hard, and nobody is to blame.
        """
        found: list[float | None] = []
        for row in self._rows:
            n, others = getattr(row, self._of), self.share(row)
            if n < least or others is None or others <= COIN:
                found.append(None)
            else:
                found.append(float(bdtr(self._part(row), n, (COIN + others) / 2)))
        return found


def _part(share: float, whole: int) -> int:
    return round(share * whole)


def _percent(share: float | None) -> str:
    return f"{100 * (share or 0):.0f} %"
