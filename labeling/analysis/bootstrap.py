"""Means of picks with honest intervals: picks of one prompt, or of one labeler, hang together.

All intervals are percentile intervals of a bootstrap clustered both ways: prompts and labelers
are resampled independently and a pick counts as often as its prompt times as its labeler was
drawn (the pigeonhole bootstrap; Owen, "The pigeonhole bootstrap", Annals of Applied Statistics,
2007). It never understates the uncertainty of crossed data. With one labeler it says nothing
about other labelers, only about other prompts.

Up to ``EXACT_PROMPTS`` prompts and ``EXACT_LABELERS`` labelers each is drawn on its own. Where
there are more, they are dealt at random into ``PROMPT_GROUPS`` and ``LABELER_GROUPS`` groups of
equal size and the groups are drawn (the random groups method; Wolter, "Introduction to Variance
Estimation", 2007, chapter 2). The variance of a sum over independent prompts is the sum of their
variances however they are put together, so drawing G groups estimates the same variance as
drawing each prompt; only less precisely: the half-width has a relative standard error of about
``1 / sqrt(2 * (G - 1))``, 3 % for 500 groups, besides 1 % from 10,000 resamples. Slices of dealt
prompts take the first ``SLICE_RESAMPLES`` draws only: 2,500 add 2 % to those 3 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.analysis.frame import Ints, Longs

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Counts = NDArray[np.uint8]

RESAMPLES = 10_000
CONFIDENCE = 0.95
# Below six prompts not even unanimous picks pass a two-sided sign test at 5 % (2 * 0.5^5 > 0.05).
MIN_PROMPTS = 6
EXACT_PROMPTS, PROMPT_GROUPS = 1_000, 500
EXACT_LABELERS, LABELER_GROUPS = 200, 100
SLICE_RESAMPLES = 2_500
_CHUNK_CELLS = 4_000_000


@dataclass(frozen=True)
class Share:
    """A mean of ``n`` scores between 0 and 1, its 95 % interval and what it is based on.

    ``p`` is the two-sided bootstrap p-value against one half. All four are None without picks;
    ``verdict`` is ``higher`` or ``lower`` than one half, or ``inconclusive``.
    """

    rate: float | None
    low: float | None
    high: float | None
    p: float | None
    verdict: str
    n: int
    prompts: int
    labelers: int

    @property
    def half_width(self) -> float | None:
        """Half of the interval's length."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True, eq=False)
class Clusters:
    """How ``n`` picks hang together: by the prompt of their pair, and by their labeler.

    ``pair`` and ``labeler`` ``[n]`` are codes. ``prompt_of`` has the prompt of each pair, a code
    from 0 without gaps, and ``prompt_group`` the group in which each prompt was dealt;
    ``labeler_group`` has the group of each labeler. Where there are few, each has a group of its
    own.
    """

    pair: Ints
    labeler: Ints
    prompt_of: Ints
    prompt_group: Ints
    labeler_group: Ints

    @property
    def shape(self) -> tuple[int, int]:
        """How many groups of prompts and of labelers there are."""
        return (
            int(self.prompt_group.max(initial=-1)) + 1,
            int(self.labeler_group.max(initial=-1)) + 1,
        )

    @cached_property
    def judged(self) -> Longs:
        """The pairs that have a pick."""
        return np.flatnonzero(np.bincount(self.pair, minlength=len(self.prompt_of)))

    @property
    def exact(self) -> bool:
        """Whether each prompt has a group of its own."""
        return self.shape[0] == len(self.prompt_group)

    @cached_property
    def cells(self) -> Ints:
        """Each pick's place in a table of groups of prompts by groups of labelers."""
        if len(self.pair) == 0:
            return self.pair
        row = (self.prompt_group * np.int32(self.shape[1]))[self.prompt_of]
        return row[self.pair] + self.labeler_group[self.labeler]

    def of(self, pair: Ints, labeler: Ints) -> Clusters:
        """The clusters of some of the picks, in the same groups."""
        return replace(self, pair=pair, labeler=labeler)


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each group of prompts ``[P, r]`` and of labelers ``[L, r]`` was drawn."""

    prompts: Singles
    labelers: Singles

    def first(self, resamples: int) -> Draws:
        """The first so many draws."""
        return Draws(self.prompts[:, :resamples], self.labelers[:, :resamples])

    def totals(self, cells: Floats) -> Floats:
        """The sums of every resample ``[..., r]`` of what tables of cells hold ``[..., P, L]``.

        Works in single precision, whose relative error of 1e-6 is far below that of resampling.
        """
        lead, (k, r) = cells.shape[:-2], self.labelers.shape
        tables = cells.reshape(math.prod(lead), *cells.shape[-2:])
        some = tables.any(axis=(0, 2))
        prompts = self.prompts if some.all() else self.prompts[some]
        by_labeler = tables[:, some].transpose(0, 2, 1).reshape(len(tables) * k, len(prompts))
        drawn = (by_labeler.astype(np.float32) @ prompts).reshape(len(tables), k, r)
        sums = np.einsum("mlr,lr->mr", drawn, self.labelers).astype(np.float64)
        return sums.reshape(*lead, r)

    def means(self, sums: Floats, counts: Floats) -> Floats:
        """The means of every resample ``[m, r]``, NaN where it drew no pick.

        ``sums`` and ``counts`` are of the scores in each cell of ``m`` tables ``[m, P, L]``.
        """
        total, count = np.split(self.totals(np.concatenate([sums, counts])), 2)
        return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def cluster(pair: Ints, labeler: Ints, prompt_of: Ints, seed: int = 0) -> Clusters:
    """The clusters of picks on pairs ``[n]`` by labelers ``[n]``, given each pair's prompt.

    All are codes from 0; prompts and labelers without a pick do not count.
    """
    used = np.bincount(pair, minlength=len(prompt_of)) > 0
    prompts, n_prompts = compact(prompt_of[used])
    known = np.zeros(len(prompt_of), dtype=np.int32)
    known[used] = prompts
    makers = np.bincount(labeler) > 0
    place = np.cumsum(makers, dtype=np.int32) - np.int32(1)
    groups = dealt(int(makers.sum()), EXACT_LABELERS, LABELER_GROUPS, seed)
    return Clusters(
        pair=pair,
        labeler=labeler,
        prompt_of=known,
        prompt_group=dealt(n_prompts, EXACT_PROMPTS, PROMPT_GROUPS, seed),
        labeler_group=groups[place] if len(groups) else groups,
    )


def compact(codes: NDArray) -> tuple[Ints, int]:
    """``codes`` renumbered so that none is unused, in their order, and how many there are."""
    if len(codes) == 0:
        return np.zeros(0, dtype=np.int32), 0
    used = np.bincount(codes) > 0
    places = np.cumsum(used, dtype=np.int32) - np.int32(1)
    return places[codes], int(places[-1]) + 1


def dealt(n: int, exact: int, groups: int, seed: int = 0) -> Ints:
    """The group of each of ``n`` clusters: its own, or one of ``groups`` above ``exact``."""
    if n <= exact:
        return np.arange(n, dtype=np.int32)
    return (np.random.default_rng(seed).permutation(n) % groups).astype(np.int32)


def draw(shape: tuple[int, int], resamples: int = RESAMPLES, seed: int = 0) -> Draws:
    """``resamples`` draws with replacement of as many prompts and labelers as there are."""
    prompts, labelers = (
        drawn(k, resamples, seed, side).astype(np.float32) for side, k in enumerate(shape)
    )
    return Draws(prompts, labelers)


# Pages ask for the same draws again and again; each takes 10 MB at most.
@lru_cache(maxsize=8)
def drawn(k: int, resamples: int = RESAMPLES, seed: int = 0, side: int = 0) -> Counts:
    """How often each of ``k`` was among ``k`` draws with replacement, ``[k, resamples]``.

    ``side`` tells draws apart that must not depend on each other.
    """
    rng = np.random.default_rng([seed, side])
    counts = np.empty((resamples, k), dtype=np.uint8)
    chunk = max(1, _CHUNK_CELLS // max(k, 1))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        places = rng.integers(0, max(k, 1), size=(size, k), dtype=np.int32)
        places += (np.arange(size, dtype=np.int32) * np.int32(k))[:, None]
        # Of 256 or more, none is drawn 256 times: the count is Poisson with mean 1.
        counts[start : start + size] = np.bincount(places.ravel(), minlength=size * k).reshape(
            size, k
        )
    return np.ascontiguousarray(counts.T)


def shares(
    scores: NDArray,
    clusters: Clusters,
    draws: Draws,
    slices: Ints | None = None,
    k: int = 1,
) -> list[Share]:
    """The mean of ``scores[n]`` in each of ``k`` slices, each with its interval.

    ``slices`` says which slice each pair is in, below 0 for none; None is one slice of all. A
    slice's interval is that of a domain: how many of its prompts are drawn varies, as it would
    from sample to sample. Where every cell has the same mean (all picks agree), resampling cannot
    vary; then ``unanimous`` bounds the mean.
    """
    if slices is not None and not clusters.exact:
        draws = draws.first(SLICE_RESAMPLES)
    sums, counts = cell_sums(scores, clusters, slices, k)
    prompts = _prompts(clusters, slices, k)
    labelers = _labelers(clusters, counts, slices, k)
    n, total = counts.sum(axis=(1, 2)), sums.sum(axis=(1, 2))
    rates = np.divide(total, n, out=np.zeros(k), where=n > 0)
    same = (np.abs(sums - rates[:, None, None] * counts) < 1e-9).all(axis=(1, 2))
    # Slices of few prompts share no rows, so each is a small product of its own; slices of dealt
    # prompts all have a part in every group, and one large product is faster.
    size = 2 * draws.labelers.size
    step = 1 if clusters.exact else max(1, _CHUNK_CELLS // size)
    varying = np.flatnonzero(~same)
    means: dict[int, Floats] = {}
    for start in range(0, len(varying), step):
        now = varying[start : start + step]
        means |= zip(now.tolist(), draws.means(sums[now], counts[now]), strict=True)
    return [
        _share(
            float(rates[place]), int(n[place]), means.get(place), prompts[place], labelers[place]
        )
        for place in range(k)
    ]


def _share(rate: float, n: int, means: Floats | None, prompts: int, labelers: int) -> Share:
    """A share, given its mean in every resample, or None where these cannot vary."""
    if n == 0:
        return Share(None, None, None, None, "inconclusive", 0, 0, 0)
    if means is None:
        interval, p = unanimous(rate, prompts)
    else:
        interval, p = percentiles(means), p_value(means)
    return Share(rate, *interval, p, verdict(interval, prompts), n, prompts, labelers)


def cell_sums(
    scores: NDArray, clusters: Clusters, slices: Ints | None = None, k: int = 1
) -> tuple[Floats, Floats]:
    """Sums of scores and numbers of picks in every cell of every slice, both ``[k, P, L]``."""
    shape = (k, *clusters.shape)
    size = math.prod(shape)
    cells: NDArray[Any] = clusters.cells
    if slices is not None:
        # Pairs of no slice fall into one more slice in front, which is cut off.
        first = (slices.astype(np.int64) + 1) * math.prod(clusters.shape)
        cells = first[clusters.pair] + cells
    skipped = math.prod(clusters.shape) if slices is not None else 0
    counts = np.bincount(cells, minlength=skipped + size)[skipped:].astype(np.float64)
    sums = np.bincount(cells, weights=scores, minlength=skipped + size)[skipped:]
    return sums.astype(np.float64, copy=False).reshape(shape), counts.reshape(shape)


def _prompts(clusters: Clusters, slices: Ints | None, k: int) -> list[int]:
    """How many prompts have a pick in each of ``k`` slices."""
    where = 0 if slices is None else slices[clusters.judged]
    seen = np.zeros((k + 1, len(clusters.prompt_group)), dtype=np.bool_)
    seen[where, clusters.prompt_of[clusters.judged]] = True
    return [int(count) for count in seen[:k].sum(axis=1)]


def _labelers(clusters: Clusters, counts: Floats, slices: Ints | None, k: int) -> list[int]:
    """How many labelers have a pick in each of ``k`` slices."""
    n = len(clusters.labeler_group)
    if n <= EXACT_LABELERS:
        # Each labeler is a column of the cells.
        return [int(count) for count in counts.any(axis=1).sum(axis=1)]
    where = 0 if slices is None else slices[clusters.pair]
    seen = np.zeros((k + 1, n), dtype=np.bool_)
    seen[where, clusters.labeler] = True
    return [int(count) for count in seen[:k].sum(axis=1)]


def _distinct(codes: Ints, n: int, slices: NDArray | None, k: int) -> list[int]:
    """How many of the ``n`` codes each of ``k`` slices has."""
    seen = np.zeros((k, n), dtype=np.bool_)
    seen[0 if slices is None else slices, codes] = True
    return [int(count) for count in seen.sum(axis=1)]


def unanimous(rate: float, prompts: int) -> tuple[tuple[float, float], float]:
    """95 % interval, and p-value against one half, where every prompt says ``rate``.

    With probability 95 % (and 2.5 % on either side) the share of prompts that would say anything
    else, unseen among so many, is below ``u = 1 - 0.025^(1 / prompts)``; the mean is then within
    ``rate * (1 - u)`` and that plus ``u``. For all wins that is the Clopper–Pearson interval over
    prompts, and ``p`` is that of their sign test.
    """
    unseen = 1 - ((1 - CONFIDENCE) / 2) ** (1 / prompts)
    low = rate * (1 - unseen)
    return (low, low + unseen), min(1.0, 2 * (0.5 / max(rate, 1 - rate)) ** prompts)


def percentiles(means: Floats) -> tuple[float, float]:
    """The 95 % percentile interval of resampled means; those that are NaN do not count."""
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means[~np.isnan(means)], [tail, 100 - tail])
    return float(low), float(high)


def p_value(means: Floats, null: float = 0.5) -> float:
    """Two-sided: twice the smaller share of resampled means on either side of ``null``.

    One is added to both counts, so that a p-value is never 0 (Davison and Hinkley, "Bootstrap
    Methods and their Application", 1997, chapter 4).
    """
    known = means[~np.isnan(means)]
    fewer = min(int((known <= null).sum()), int((known >= null).sum()))
    return min(1.0, 2 * (1 + fewer) / (1 + len(known)))


def verdict(interval: tuple[float, float] | None, prompts: int, null: float = 0.5) -> str:
    """``higher`` or ``lower`` if the interval lies on one side of ``null``, else ``inconclusive``.

    Fewer than ``MIN_PROMPTS`` prompts are always inconclusive: a percentile interval of so few
    is too narrow.
    """
    if interval is None or prompts < MIN_PROMPTS:
        return "inconclusive"
    low, high = interval
    return "higher" if low > null else "lower" if high < null else "inconclusive"


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for their number, in their order; None stays None and is not counted.

    Holm, "A simple sequentially rejective multiple test procedure" (1979): the chance that any
    true null hypothesis is rejected stays below the level.
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = highest
    return adjusted


def clustered_interval(
    scores: Floats,
    prompts: NDArray,
    labelers: NDArray,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """95 % interval of the mean of ``scores[n]`` in [0, 1]; None without scores.

    ``prompts[n]`` and ``labelers[n]`` are codes from 0.
    """
    if len(scores) == 0:
        return None
    clusters = cluster(prompts, labelers, np.arange(prompts.max() + 1), seed)
    share = shares(scores, clusters, draw(clusters.shape, resamples, seed))[0]
    return None if share.low is None or share.high is None else (share.low, share.high)
