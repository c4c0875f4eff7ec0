"""A judge at work: pair after pair, each kept as it comes, until none is left or it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from detox.errors import UserError
from labeling.judge.record import record, waiting
from labeling.judge.verdict import Failure, Judge
from labeling.store import Store

# Failures in a row after which a judge is taken to be down, not unlucky.
MOST_FAILURES = 10
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Judged:
    """What became of the pairs that a run asked about.

    ``failed`` and ``unfit`` (too long to be asked about) have no pick; ``reasons`` counts why.
    """

    asked: int
    judged: int
    ties: int
    failed: int
    unfit: int
    reasons: dict[str, int]


def judge_pairs(
    store: Store,
    judge: Judge,
    batch: str | None = None,
    *,
    limit: int | None = None,
    voted: bool = False,
    most_failures: int = MOST_FAILURES,
    tell: Tell = lambda done, total: None,
) -> Judged:
    """Asks ``judge`` about the pairs it has not judged yet and records each verdict.

    ``limit`` bounds the pairs, ``voted`` takes those that people have judged, and gold. Run again,
    it goes on with what is left, failures included. ``tell`` hears how many pairs are done.

    Raises ``UserError`` after ``most_failures`` failures in a row, with what was judged kept, as
    the judge does where it cannot be asked at all, and for an unknown batch.
    """
    if limit is not None and limit < 1:
        raise UserError("The limit must be 1 or more.")
    if most_failures < 1:
        raise UserError("The number of failures to stop after must be 1 or more.")
    cases = waiting(store, judge.name, judge.settings, batch, limit=limit, voted=voted)
    reasons: Counter[str] = Counter()
    judged = ties = failed = unfit = in_a_row = 0
    # Closed whatever happens, so that no request goes on behind an error.
    with closing(judge.judge(cases)) as outcomes:
        for done, (case, outcome) in enumerate(outcomes, start=1):
            if isinstance(outcome, Failure):
                reasons[outcome.reason] += 1
                unfit += outcome.own
                failed += not outcome.own
                in_a_row += not outcome.own
                if in_a_row >= most_failures:
                    raise UserError(_stopped(in_a_row, outcome.reason, judged))
            else:
                in_a_row = 0
                if record(store, judge.name, judge.settings, case, outcome):
                    judged += 1
                    ties += outcome.choice == "tie"
            tell(done, len(cases))
    return Judged(len(cases), judged, ties, failed, unfit, dict(reasons))


def _stopped(failures: int, reason: str, judged: int) -> str:
    return (
        f"The judge failed on {failures} pairs in a row ({reason}); the {judged} that it judged "
        "are kept: run the same command again to go on."
    )
