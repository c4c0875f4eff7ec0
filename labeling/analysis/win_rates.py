"""How often one policy is preferred to another, for each two that were compared."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from detox.errors import UserError
from labeling.analysis.bootstrap import RESAMPLES, Floats, shares
from labeling.analysis.frame import BOTH_BAD, OUTCOME_NAMES, SKIP, TIE, A, B, Codes, Frame, frame
from labeling.analysis.judged import Judged, judged
from labeling.analysis.selection import Picks, Selection, select
from labeling.store import Store

SIDES = len(OUTCOME_NAMES)
# The score of each outcome for a pair's first candidate: a tie and both bad count half.
FIRST = np.array([1.0, 0.0, 0.5, 0.5, np.nan])


@dataclass(frozen=True)
class WinRate:
    """How often ``after`` was preferred to ``before``; shares between 0 and 1, None without picks.

    ``wins``, ``losses``, ``ties`` and ``both_bad`` are ``n`` picks; ``skips`` are left out of it.
    ``p`` is the two-sided bootstrap p-value against one half.
    """

    after: str
    before: str
    rate: float | None
    low: float | None
    high: float | None
    p: float | None
    verdict: str
    n: int
    wins: int
    losses: int
    ties: int
    both_bad: int
    skips: int
    prompts: int
    labelers: int


@dataclass(frozen=True, eq=False)
class Matchup:
    """Two policies and the judged picks between them.

    ``oriented`` says of each pair whether its first candidate is of ``after`` (1), of ``before``
    (0) or whether it is not a pair of the two (-1). ``scores`` has a place for each pick: 1 for
    ``after``, 0 for ``before``, 0.5 for neither.
    """

    after: str
    before: str
    oriented: Codes
    judged: Judged
    scores: Floats


def matchup(some: Judged, after: str, before: str) -> Matchup:
    """The picks among ``some`` that compare the two policies."""
    oriented = orientation(some.picks.frame, after, before)
    mine = some.only(oriented[some.picks.pair] >= 0)
    table = np.concatenate([1 - FIRST, FIRST])
    scores = table[oriented[mine.picks.pair] * np.int8(SIDES) + mine.picks.outcome]
    return Matchup(after, before, oriented, mine, scores)


def orientation(frame: Frame, after: str, before: str) -> Codes:
    """For each pair: 1 if its first candidate is of ``after``, 0 of ``before``, else -1.

    A pair is of the two policies when one candidate is of each.
    """
    pairs = frame.pairs
    place = {name: number for number, name in enumerate(pairs.policies)}
    first, second = place.get(after, -2), place.get(before, -2)
    forward = (pairs.policy_a == first) & (pairs.policy_b == second)
    backward = (pairs.policy_a == second) & (pairs.policy_b == first)
    return np.where(forward, 1, np.where(backward, 0, -1)).astype(np.int8)


def win_rate(
    store: Store,
    after: str = "after",
    before: str = "before",
    batch: str | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> WinRate:
    """Win rate of policy ``after`` against ``before`` over people's current picks.

    A tie and a both-bad count half, skips are left out; policies that never met have no rate.
    Raises ``UserError`` if both are the same, and for an unknown batch.
    """
    if after == before:
        raise UserError(f"A policy cannot be compared with itself ('{after}'): name two.")
    found = frame(store)
    picks = select(found, Selection(batch=batch))
    picks = picks.only(orientation(found, after, before)[picks.pair] >= 0)
    some = judged(picks, resamples=resamples, seed=seed)
    return win_rate_of(matchup(some, after, before), picks.only(picks.outcome == SKIP))


def win_rate_of(both: Matchup, skipped: Picks) -> WinRate:
    """The win rate of a matchup; ``skipped`` are skips, of which only their number is told."""
    picks = both.judged.picks
    share = shares(both.scores, both.judged.clusters, both.judged.draws)[0]
    tally = np.bincount(picks.outcome + SIDES * both.oriented[picks.pair], minlength=2 * SIDES)
    backward, forward = tally.reshape(2, SIDES).tolist()
    return WinRate(
        both.after,
        both.before,
        **asdict(share),
        wins=forward[A] + backward[B],
        losses=forward[B] + backward[A],
        ties=forward[TIE] + backward[TIE],
        both_bad=forward[BOTH_BAD] + backward[BOTH_BAD],
        skips=int((both.oriented[skipped.pair] >= 0).sum()),
    )


def matchups(picks: Picks) -> list[tuple[str, str]]:
    """``(after, before)`` names of the policies compared in ``picks``, most picks first.

    A pair's first candidate counts as before, unless the other one is called that.
    """
    pairs, k = picks.frame.pairs, len(picks.frame.pairs.policies)
    both = pairs.policy_a.astype(np.int64) * k + pairs.policy_b
    per_pair = np.bincount(picks.pair, minlength=len(pairs))
    counts = np.bincount(both, weights=per_pair, minlength=k * k).reshape(k, k)
    found: dict[frozenset[str], tuple[int, str, str]] = {}
    for i, j in np.argwhere(counts).tolist():
        if i == j:
            continue
        first, second = (i, j) if counts[i, j] >= counts[j, i] else (j, i)
        before, after = pairs.policies[first], pairs.policies[second]
        if after == "before" or before == "after":
            before, after = after, before
        n = int(counts[i, j] + counts[j, i])
        found[frozenset((i, j))] = (n, after, before)  # type: ignore[arg-type]
    return [(after, before) for n, after, before in sorted(found.values(), key=_most_picks)]


def _most_picks(matchup: tuple[int, str, str]) -> tuple[int, str, str]:
    n, after, before = matchup
    return -n, before, after
