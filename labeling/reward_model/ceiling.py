"""How well anybody could predict a single vote, given how far labelers agree.

A pair on which a share ``p`` of all labelers prefer one response is predicted best by what most
of them prefer, which is right with probability ``max(p, 1 - p)``: the *noise ceiling* is its mean
over pairs. ``p`` is unknown, but two labelers of a pair agree with probability
``a = p^2 + (1 - p)^2``, and

    A <= ceiling <= (1 + sqrt(2 A - 1)) / 2,

where ``A`` is the mean of ``a``. This is Cover and Hart's bound on the risk of the nearest
neighbour rule ("Nearest neighbor pattern classification", 1967, theorem 1): a second labeler is a
neighbour at distance 0. The right-hand side is reached where all pairs are equally hard.

Where pairs have more than two votes, others' majority gets closer to ``p`` from below, and what
most of the votes say, the vote itself included, from above (the two bounds of Nili et al., "A
Toolbox for Representational Similarity Analysis", 2014). The tighter of the upper bounds counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labeling.analysis.bootstrap import RESAMPLES

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ceiling:
    """Bounds of the best possible accuracy on single votes; shares from 0 to 1.

    ``agreement`` is how often two labelers of a pair agree, each pair weighted by its votes, with
    its 95 % interval. ``lower`` is what the majority of a vote's fellows gets right, ``upper`` the
    ceiling's upper bound with the interval ``low`` to ``high``.
    """

    pairs: int
    votes: int
    agreement: float
    agreement_low: float
    agreement_high: float
    lower: float
    upper: float
    low: float
    high: float


def noise_ceiling(
    votes: Iterable[tuple[Hashable, Hashable, Hashable]],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ceiling | None:
    """The ceiling that decided ``votes`` tell: (dialogue, pair, what was preferred) of each.

    Only pairs with two votes or more count. Intervals are from a bootstrap over dialogues. None
    where no pair has two votes.
    """
    counts: dict[tuple[Hashable, Hashable], Counter[Hashable]] = defaultdict(Counter)
    for dialogue, pair, preferred in votes:
        counts[dialogue, pair][preferred] += 1
    shared = {key: votes for key, votes in counts.items() if votes.total() > 1}
    if not shared:
        return None
    by_dialogue: dict[Hashable, Floats] = defaultdict(lambda: np.zeros(4))
    for (dialogue, _), cast in shared.items():
        by_dialogue[dialogue] += _sums(cast)
    sums = np.stack(list(by_dialogue.values()))
    rng = np.random.default_rng(seed)
    n = len(sums)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=resamples) @ sums
    agreement, lower, upper = (float(value[0]) for value in _bounds(sums.sum(axis=0)[None]))
    spread = _bounds(drawn)
    low, high = np.percentile(spread[2], [2.5, 97.5])
    agreed = np.percentile(spread[0], [2.5, 97.5])
    return Ceiling(
        pairs=len(shared),
        votes=sum(cast.total() for cast in shared.values()),
        agreement=agreement,
        agreement_low=float(agreed[0]),
        agreement_high=float(agreed[1]),
        lower=lower,
        upper=upper,
        low=float(low),
        high=float(high),
    )


def _sums(cast: Counter[Hashable]) -> Floats:
    """Of one pair: votes, votes times agreement, votes that their fellows foretell, and most."""
    k = cast.total()
    numbers = [*sorted(cast.values(), reverse=True), 0]
    most, other = numbers[0], numbers[1]
    agreeing = sum(count * (count - 1) for count in numbers) / (k - 1)

    def foretold(mine: int, against: int) -> float:
        return mine * (0.5 + 0.5 * float(np.sign(mine - 1 - against)))

    return np.array([k, agreeing, foretold(most, other) + foretold(other, most), most], float)


def _bounds(sums: Floats) -> tuple[Floats, Floats, Floats]:
    """Agreement, lower and upper bound of each row of summed ``_sums`` [r, 4]."""
    votes, agreeing, foretold, most = sums.T
    agreement = agreeing / votes
    cover_hart = (1 + np.sqrt(np.maximum(0.0, 2 * agreement - 1))) / 2
    upper = np.minimum(cover_hart, most / votes)
    # Both are estimates of the same few votes, and near unanimity they may cross by a hair.
    return agreement, np.minimum(foretold / votes, upper), upper
