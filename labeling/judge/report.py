"""How far a judge can be trusted: agreement with people, gold answers, position bias.

Of people's picks, regular ones that are no skips are compared with the judge's. A judge cannot
say that both are bad, so a tie and both bad are one label here: neither is better.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from detox.errors import UserError
from labeling.analysis.agreement import measure
from labeling.analysis.bootstrap import (
    CONFIDENCE,
    Clusters,
    Draws,
    cell_sums,
    cluster,
    clustered_interval,
    draw,
    percentiles,
    shares,
)
from labeling.analysis.frame import NONE, REGULAR, Ints, Person, frame
from labeling.analysis.judged import judged
from labeling.analysis.position import fair_coin
from labeling.analysis.selection import Picks, Selection, select
from labeling.analysis.win_rates import WinRate, matchup, matchups, win_rate_of
from labeling.store import Store

# Labels of outcomes `a b tie both_bad skip`: the first is better, the second, neither, no label.
LABELS = np.array([0, 1, 2, 2, NONE], dtype=np.int8)
_K = 3
_BETTER = (0, 1)


@dataclass(frozen=True)
class Estimate:
    """A share or a kappa of ``n`` things, with its 95 % interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class WithPeople:
    """The judge against every pick of people on pairs it judged.

    ``raw`` is the share of picks that say what the judge says, ``decided`` the same where both
    prefer a side, ``kappa`` Cohen's kappa between the judge and whoever made the pick.
    ``among_people`` is the share of two people's picks on these pairs that say the same: a judge
    that is as good as one of them reaches about that. Intervals are clustered by prompt and by
    person; that of ``among_people``, whose ``n`` is of pairs, draws pairs, as agreement in Results.
    """

    pairs: int
    people: int
    raw: Estimate
    decided: Estimate
    kappa: Estimate
    among_people: Estimate


@dataclass(frozen=True)
class PositionBias:
    """How a judge treats what stands first, over both orders of ``pairs`` pairs.

    ``first``, ``second`` and ``ties`` count answers to single orders. ``share`` is that of first
    among those that prefer one, with an interval clustered by prompt: one half without bias.
    ``p`` is an exact sign test over pairs. ``consistent`` is the share of pairs on which both
    orders say the same; its interval is clustered as well. ``lean`` is the mean of the log-odds
    for the first text over both orders, in nats, where likelihoods are known.
    """

    pairs: int
    first: int
    second: int
    ties: int
    share: Estimate
    p: float | None
    consistent: Estimate
    lean: float | None


@dataclass(frozen=True)
class JudgeReport:
    """One model that has judged; ``settings``, ``version`` and ``position`` are None for others.

    Others are models whose picks were imported. ``gold`` is the share of right answers on gold
    pairs, with an exact (Clopper–Pearson) interval; ``win_rates`` are by this judge alone.
    """

    judge: str
    pseudonym: str
    version: str | None
    settings: Mapping[str, Any] | None
    picks: int
    ties: int
    win_rates: tuple[WinRate, ...]
    with_people: WithPeople
    gold: Estimate
    position: PositionBias | None


def judge_reports(
    store: Store, batch: str | None = None, judge: str | None = None
) -> tuple[JudgeReport, ...]:
    """Every model that has judged, or the one of that name, most picks first.

    Raises ``UserError`` for an unknown batch or judge, and where no model has judged anything.
    """
    found = frame(store)
    known = _judges(store)
    by_models = select(found, Selection(batch=batch, labeler_kind="model", kinds=_BOTH))
    people = select(found, Selection(batch=batch)).judged
    reports = [
        _report(store, person, known.get(person.id), mine, people, batch)
        for place, person in enumerate(found.labelers)
        if person.kind == "model" and judge in (None, person.name, person.pseudonym)
        if len(mine := by_models.only(by_models.labeler == place))
    ]
    if not reports and judge is not None:
        raise UserError(f"No judge '{judge}' has judged a pair here: `labeling judge` makes one.")
    if not reports:
        raise UserError("No model has judged a pair here: run `labeling judge` with one first.")
    return tuple(sorted(reports, key=lambda report: (-report.picks, report.judge)))


# Repeats, which judges do not make, would count a pair twice.
_BOTH = ("regular", "gold")


def _judges(store: Store) -> dict[int, Mapping[str, Any]]:
    with store.reading() as db:
        return {int(row["labeler_id"]): row for row in db.query("SELECT * FROM judges")}


def _report(
    store: Store,
    person: Person,
    known: Mapping[str, Any] | None,
    mine: Picks,
    people: Picks,
    batch: str | None,
) -> JudgeReport:
    regular = mine.only(mine.kind == REGULAR)
    some = judged(regular)
    skipped = regular.only(LABELS[regular.outcome] == NONE)
    return JudgeReport(
        judge=person.name,
        pseudonym=person.pseudonym,
        version=known["version"] if known else None,
        settings=json.loads(known["settings"]) if known else None,
        picks=len(mine),
        ties=int((LABELS[mine.outcome] == 2).sum()),
        win_rates=tuple(
            win_rate_of(matchup(some, after, before), skipped)
            for after, before in matchups(regular)
        ),
        with_people=with_people(regular, people),
        gold=gold_share(mine),
        position=position_bias(store, person.id, batch) if known else None,
    )


def with_people(judge: Picks, people: Picks) -> WithPeople:
    """The agreement of one judge's picks with people's, which are no skips.

    ``judge`` holds one pick a pair; both are picks of the same frame.
    """
    said = _labels_by_pair(judge)
    shared = people.only(said[people.pair] != NONE)
    pair, person = shared.pair, shared.labeler
    theirs, its = LABELS[shared.outcome], said[pair]
    clusters = cluster(pair, person, people.frame.pairs.prompt)
    draws = draw(clusters.shape)
    both = np.isin(theirs, _BETTER) & np.isin(its, _BETTER)
    among = measure(zip(pair.tolist(), person.tolist(), theirs.tolist(), strict=True))
    low, high = among.raw_interval or (None, None)
    return WithPeople(
        pairs=len(np.unique(pair)),
        people=len(np.unique(person)),
        raw=_share(theirs == its, clusters, draws),
        decided=_share((theirs == its)[both], clusters.of(pair[both], person[both]), draws),
        kappa=_kappa(its, theirs, clusters, draws),
        among_people=Estimate(among.raw, low, high, among.pairs),
    )


def _labels_by_pair(picks: Picks) -> NDArray[np.int8]:
    """The label of each pair of the frame, ``NONE`` for one without a pick."""
    labels = np.full(len(picks.frame.pairs), NONE, dtype=np.int8)
    labels[picks.pair] = LABELS[picks.outcome]
    return labels


def _share(scores: NDArray, clusters: Clusters, draws: Draws) -> Estimate:
    share = shares(scores.astype(np.float64), clusters, draws)[0]
    return Estimate(share.rate, share.low, share.high, share.n)


def _kappa(
    one: NDArray[np.int8], other: NDArray[np.int8], clusters: Clusters, draws: Draws
) -> Estimate:
    """Cohen's kappa of two columns of labels, with an interval from the clustered resamples.

    ``(p_o - p_e) / (1 - p_e)``; Cohen, "A coefficient of agreement for nominal scales" (1960).
    Every resample has its own marginals. The interval is None where no resample differs.
    """
    columns = [one == other]
    columns += [column == label for column in (one, other) for label in range(_K)]
    n = len(one)
    if n == 0:
        return Estimate(None, None, None, 0)
    whole = np.array([float(column.sum()) for column in columns])[:, None]
    value = float(_kappas(whole, np.array([float(n)]))[0])
    if np.isnan(value):
        return Estimate(None, None, None, n)
    cells = [cell_sums(column.astype(np.float64), clusters) for column in columns]
    resampled = _kappas(
        np.stack([draws.totals(sums[0]) for sums, _ in cells]), draws.totals(cells[0][1][0])
    )
    usable = resampled[~np.isnan(resampled)]
    if len(usable) == 0 or np.ptp(usable) < 1e-6:
        return Estimate(value, None, None, n)
    low, high = percentiles(usable)
    return Estimate(value, low, high, n)


def _kappas(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kappa ``[r]`` of sums ``[1 + 2 k, r]`` over ``counts[r]`` picks; NaN where undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        observed, marginals = sums[0] / counts, sums[1:] / counts
        expected = (marginals[:_K] * marginals[_K:]).sum(axis=0)
        kappas: NDArray[np.float64] = (observed - expected) / (1 - expected)
    return np.where(expected < 1 - 1e-12, kappas, np.nan)


def gold_share(judge: Picks) -> Estimate:
    """The share of a judge's picks on gold pairs that are right; a skip is not."""
    gold = judge.frame.pairs.gold[judge.pair]
    on_gold = gold != NONE
    right = int((LABELS[judge.outcome] == LABELS[gold])[on_gold].sum())
    n = int(on_gold.sum())
    if n == 0:
        return Estimate(None, None, None, 0)
    interval = binomtest(right, n).proportion_ci(CONFIDENCE, method="exact")
    return Estimate(right / n, float(interval.low), float(interval.high), n)


_ANSWERS = """
SELECT p.id, p.prompt_id, x.first_candidate = s.left_candidate AS forward, x.answer, x.log_odds
FROM judge_answers AS x JOIN current_picks AS c ON c.uuid = x.pick
JOIN assignments AS s ON s.id = c.assignment_id JOIN pairs AS p ON p.id = s.pair_id
WHERE s.labeler_id = :labeler AND (:batch IS NULL OR p.batch = :batch)
ORDER BY p.id, forward
"""


def position_bias(store: Store, labeler_id: int, batch: str | None = None) -> PositionBias:
    """The position bias of a judge, from what it said to either order of each pair.

    Answers to the two orders of one pair are no independent throws: an unbiased judge says first
    once and second once. So ``p`` tests pairs, by the sign of (firsts - seconds) among the two
    answers, against a fair coin; pairs where that is 0 do not count (the exact sign test, which
    for pairs without ties is McNemar's). It takes pairs of one prompt to be independent.
    """
    with store.reading() as db:
        rows = list(db.query(_ANSWERS, {"labeler": labeler_id, "batch": batch}))
    places: dict[str, int] = {}
    prompt = np.array(
        [places.setdefault(row["prompt_id"], len(places)) for row in rows], dtype=np.int32
    )
    signs = {"first": 1, "second": -1, "tie": 0}
    sign = np.array([signs[row["answer"]] for row in rows], dtype=np.int8)
    # Two rows a pair, the backward order before the forward one.
    backward, forward = sign[0::2], sign[1::2]
    of_pair, toward_first = prompt[0::2], forward + backward
    odds = [row["log_odds"] for row in rows]
    leaning, moved = int((toward_first > 0).sum()), int((toward_first != 0).sum())
    decided = sign != 0
    return PositionBias(
        pairs=len(forward),
        first=int((sign > 0).sum()),
        second=int((sign < 0).sum()),
        ties=int((~decided).sum()),
        share=_by_prompt(sign[decided] > 0, prompt[decided]),
        p=float(fair_coin(leaning, moved)) if len(forward) else None,
        consistent=_by_prompt(toward_first == 0, of_pair),
        lean=float(np.mean(odds)) if odds and None not in odds else None,
    )


def _by_prompt(scores: NDArray, prompts: Ints) -> Estimate:
    """A mean with an interval clustered by prompt."""
    if len(scores) == 0:
        return Estimate(None, None, None, 0)
    interval = clustered_interval(scores.astype(np.float64), prompts, np.zeros_like(prompts))
    low, high = interval or (None, None)
    return Estimate(float(scores.mean()), low, high, len(scores))
