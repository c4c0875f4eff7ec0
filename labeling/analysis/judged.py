"""Picks that are no skips, with what every interval over them is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from labeling.analysis.bootstrap import RESAMPLES, Clusters, Draws, cluster, draw
from labeling.analysis.frame import Bools
from labeling.analysis.selection import Picks


@dataclass(frozen=True, eq=False)
class Judged:
    """``n`` picks without skips, the clusters they hang together in, and the draws of these.

    All analyses of one report share the draws, which take longer than what is done with them.
    """

    picks: Picks
    clusters: Clusters
    draws: Draws

    def __len__(self) -> int:
        return len(self.picks)

    @cached_property
    def decided(self) -> Judged:
        """Those of the picks that prefer a side."""
        return self.only(self.picks.decided)

    def only(self, wanted: Bools) -> Judged:
        """Those of the picks where ``wanted[n]`` is true, in the same clusters and draws."""
        if wanted.all():
            return self
        picks = self.picks.only(wanted)
        return Judged(picks, self.clusters.of(picks.pair, picks.labeler), self.draws)


def judged(picks: Picks, *, resamples: int = RESAMPLES, seed: int = 0) -> Judged:
    """``picks`` without the skips, clustered by prompt and by labeler."""
    some = picks.judged
    clusters = cluster(some.pair, some.labeler, some.frame.pairs.prompt, seed)
    return Judged(some, clusters, draw(clusters.shape, resamples, seed))
