"""All that Results tells, of one selection of picks."""

from __future__ import annotations

import threading
import weakref
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from labeling.analysis.adjudicated import Adjudicated, adjudicated
from labeling.analysis.agreement import Agreement, agreement_of
from labeling.analysis.bootstrap import Share
from labeling.analysis.breakdown import Slice, breakdown
from labeling.analysis.flags import flagged
from labeling.analysis.frame import BOTH_BAD, SKIP, TIE, Frame, frame
from labeling.analysis.judged import judged
from labeling.analysis.labelers import Reliability, reliability_of
from labeling.analysis.plan import Plan, plan, planned_picks, variance_parts
from labeling.analysis.position import Position, position
from labeling.analysis.ranking import Ranking, ranking
from labeling.analysis.rewards import RewardAgreement, reward_agreement
from labeling.analysis.selection import Picks, Selection, chosen, in_scope, select
from labeling.analysis.win_rates import Matchup, WinRate, matchup, matchups, win_rate_of
from labeling.store import Store

MARGINS = (0.10, 0.05)
# Policies can be compared two by two in many ways; a page shows those with most picks.
MATCHUPS_SHOWN = 3
# Reports of so many selections are kept while the picks stay as they are.
_REPORTS_KEPT = 8


@dataclass(frozen=True)
class Counts:
    """Pairs in the project or batch, and the selected picks by choice and who made them."""

    pairs: int
    labelers: int
    left: int
    right: int
    ties: int
    both_bad: int
    skips: int

    @property
    def picks(self) -> int:
        """All current picks, skips included."""
        return self.left + self.right + self.ties + self.both_bad + self.skips


@dataclass(frozen=True)
class Report:
    """All that Results shows.

    ``batches`` are those with a pick and ``couples`` the policies, two each, that were compared
    in any pick, whatever the selection. ``matchups`` are the two policies each that were compared
    most in the selection, or those asked for; ``plan`` and ``slices`` are of the first one.
    """

    selection: Selection
    batches: tuple[str, ...]
    couples: tuple[tuple[str, str], ...]
    counts: Counts
    matchups: tuple[WinRate, ...]
    plan: Plan | None
    slices: tuple[Slice, ...]
    ranking: Ranking
    agreement: Agreement
    position: Position
    rewards: RewardAgreement
    adjudicated: Adjudicated
    labelers: tuple[Reliability, ...]

    def answer(self) -> dict[str, Any]:
        """The report for programs, as JSON."""
        planned = {f"{margin:.2f}": planned_picks(margin) for margin in MARGINS}
        return asdict(self) | {"planned_picks": planned}

    @property
    def flagged(self) -> tuple[str, ...]:
        """The pseudonyms of labelers with a flag."""
        return tuple(row.labeler for row in self.labelers if row.flags)


def report(store: Store, selection: Selection = Selection()) -> Report:
    """The results as they stand. Without new picks the same selection is not computed again.

    Raises ``UserError`` for a batch, policy or labeler that is not in the database,
    ``StoreError`` by the database.
    """
    found = frame(store)
    # One at a time: a second visitor waits for the first one's report and gets the same.
    with _lock:
        kept = _reports.setdefault(found, {})
        if selection not in kept:
            # The products are small, and two threads that share busy cores wait for each other:
            # with one thread they take a sixth of the time there, and as long as ever elsewhere.
            with _products().limit(limits=1):
                made = report_of(found, selection)
            if len(kept) >= _REPORTS_KEPT:
                kept.pop(next(iter(kept)))
            kept[selection] = made
        return kept[selection]


_lock = threading.Lock()
_reports: weakref.WeakKeyDictionary[Frame, dict[Selection, Report]] = weakref.WeakKeyDictionary()


@cache
def _products() -> ThreadpoolController:
    """What numpy multiplies matrices with; other libraries keep their threads."""
    return ThreadpoolController().select(internal_api="openblas")


def report_of(found: Frame, selection: Selection) -> Report:
    """The results of the picks of a frame; raises ``UserError`` as ``report`` does."""
    scope = in_scope(found, selection)
    picks = chosen(scope, selection)
    some = judged(picks)
    couples = tuple(matchups(Picks(found, None)))
    compared = [selection.policies] if selection.policies else matchups(picks)[:MATCHUPS_SHOWN]
    made = [matchup(some, after, before) for after, before in compared]
    skipped = picks.only(picks.outcome == SKIP)
    rates = tuple(win_rate_of(both, skipped) for both in made)
    return Report(
        selection=selection,
        batches=_batches(found),
        couples=couples,
        counts=counts(picks, selection),
        matchups=rates,
        plan=_plan(made[0], rates[0]) if made else None,
        slices=breakdown(made[0]) if made else (),
        ranking=ranking(some),
        agreement=agreement_of(picks),
        position=position(some),
        rewards=reward_agreement(some),
        adjudicated=adjudicated(picks),
        labelers=flagged(reliability_of(scope, selection)),
    )


def _batches(found: Frame) -> tuple[str, ...]:
    judged = np.bincount(found.pair, minlength=len(found.pairs)) > 0
    places = np.unique(found.pairs.batch[judged])
    return tuple(found.pairs.batches[place] for place in places)


def count(store: Store) -> Counts:
    """Pairs, labelers with a current pick, and people's current picks by choice.

    Raises ``StoreError`` by the database.
    """
    selection = Selection()
    return counts(select(frame(store), selection), selection)


def counts(picks: Picks, selection: Selection) -> Counts:
    """How many ``picks`` of which choice there are, and pairs in their batch and split."""
    pairs = picks.frame.pairs
    inside = np.ones(len(pairs), dtype=np.bool_)
    if selection.batch is not None:
        inside &= pairs.batch == pairs.batches.index(selection.batch)
    if selection.split is not None:
        inside &= pairs.split == pairs.splits.index(selection.split)
    by_outcome = np.bincount(picks.outcome, minlength=SKIP + 1)
    left = int(picks.left.sum())
    return Counts(
        pairs=int(inside.sum()),
        labelers=int((np.bincount(picks.labeler) > 0).sum()) if len(picks) else 0,
        left=left,
        right=int(picks.decided.sum()) - left,
        ties=int(by_outcome[TIE]),
        both_bad=int(by_outcome[BOTH_BAD]),
        skips=int(by_outcome[SKIP]),
    )


def _plan(both: Matchup, rate: WinRate) -> Plan:
    share = Share(
        rate.rate, rate.low, rate.high, rate.p, rate.verdict, rate.n, rate.prompts, rate.labelers
    )
    return plan(share, variance_parts(both.scores, both.judged.clusters), MARGINS)
