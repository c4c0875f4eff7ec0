"""Where a preference holds: win rates by topic, tone, length difference, split and batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labeling.analysis.bootstrap import MIN_PROMPTS, Share, holm, shares
from labeling.analysis.frame import Frame
from labeling.analysis.win_rates import Matchup

# A summary is called shorter or longer when its words differ by more than this share.
LENGTH_SHARE = 0.2
LENGTHS = ("shorter", "similar", "longer")
LEVEL = 0.05
# Slices of a dimension that are told apart; the smaller ones are put together.
SLICES_SHOWN = 12
OTHER, UNKNOWN = "all others", "not given"

Codes = NDArray[np.int32]


@dataclass(frozen=True)
class Slice:
    """The win rate in one part of the picks.

    ``adjusted`` is its p-value adjusted for the number of slices (Holm), and ``verdict`` says
    ``higher`` or ``lower`` only if the interval leaves out one half and ``adjusted`` is below
    ``LEVEL``: of many slices some would look clear by luck.
    """

    dimension: str
    name: str
    share: Share
    adjusted: float | None
    verdict: str


def breakdown(both: Matchup) -> tuple[Slice, ...]:
    """Win rates of a matchup in every slice that has picks.

    Dimensions of which only one slice has picks are left out: they repeat the whole.
    """
    some = both.judged
    frame = some.picks.frame
    judged = np.bincount(some.picks.pair, minlength=len(frame.pairs))
    found: list[tuple[str, str, Share]] = []
    for dimension, all_names, codes in _dimensions(frame, both.oriented):
        slices, names = _largest(codes, judged, all_names)
        if len(names) > 1:
            made = shares(both.scores, some.clusters, some.draws, slices, len(names))
            found += [(dimension, name, share) for name, share in zip(names, made, strict=True)]
    adjusted = holm([_tested(share) for _, _, share in found])
    return tuple(
        Slice(dimension, name, share, p, _verdict(share, p))
        for (dimension, name, share), p in zip(found, adjusted, strict=True)
    )


def _tested(share: Share) -> float | None:
    return share.p if share.prompts >= MIN_PROMPTS else None


def _verdict(share: Share, adjusted: float | None) -> str:
    return share.verdict if adjusted is not None and adjusted < LEVEL else "inconclusive"


def _dimensions(
    frame: Frame, oriented: NDArray[np.int8]
) -> list[tuple[str, tuple[str, ...], Codes]]:
    """Each dimension's name, its slices' names, and the slice of each pair, -1 for none."""
    pairs = frame.pairs
    return [
        ("topic", pairs.topics, pairs.topic),
        ("tone", pairs.tones, pairs.tone),
        ("length", LENGTHS, length_codes(frame, oriented)),
        ("split", pairs.splits, pairs.split),
        ("batch", pairs.batches, pairs.batch),
    ]


def length_codes(frame: Frame, oriented: NDArray[np.int8]) -> Codes:
    """Of each pair, whether the summary of ``after`` is shorter (0), similar (1) or longer (2).

    Similar is within ``LENGTH_SHARE`` of the other one's words.
    """
    pairs = frame.pairs
    after = np.where(oriented == 1, pairs.words_a, pairs.words_b)
    before = np.where(oriented == 1, pairs.words_b, pairs.words_a)
    gap, limit = after - before, LENGTH_SHARE * before
    return np.where(gap < -limit, 0, np.where(gap > limit, 2, 1)).astype(np.int32)


def _largest(
    codes: Codes, judged: NDArray[np.int64], names: Sequence[str]
) -> tuple[Codes, list[str]]:
    """The slice of each pair, and the slices' names: those with picks, the smallest ones as one.

    ``judged`` counts the picks of each pair.
    """
    counts = np.bincount(codes + 1, weights=judged, minlength=len(names) + 1)
    by_size = [place for place in np.argsort(-counts[1:], kind="stable") if counts[place + 1]]
    kept = sorted(by_size if len(by_size) <= SLICES_SHOWN else by_size[: SLICES_SHOWN - 1])
    shown = [names[place] for place in kept]
    # The last place of the table is that of code -1.
    place_of = np.full(len(names) + 1, -1, dtype=np.int32)
    place_of[kept] = np.arange(len(kept))
    if len(kept) < len(by_size):
        place_of[by_size[len(kept) :]] = len(shown)
        shown.append(OTHER)
    if counts[0] and shown:
        place_of[-1] = len(shown)
        shown.append(UNKNOWN)
    return place_of[codes], shown
