"""Several votes on a pair as one: what most of them say, or what a lead said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from labeling.export.filters import votes_of
from labeling.formats import Row

_OTHER = {"a": "b", "b": "a"}


@dataclass(frozen=True)
class Verdict:
    """What a pair's votes come to: ``a b tie both_bad``, and by how much."""

    outcome: str
    margin: float


def majority(votes: Counter[str]) -> str | None:
    """The outcome with more votes than any other, if there is one."""
    first = votes.most_common(2)
    if not first or (len(first) > 1 and first[0][1] == first[1][1]):
        return None
    return first[0][0]


def vote_margin(votes: Counter[str], outcome: str) -> float:
    """``max(0, (votes for outcome - votes for the other response) / all votes)``, from 0 to 1.

    It estimates how much more often than the rejected response people prefer the chosen one, and
    lies on the scale of single picks (1 for a clear preference): unanimous votes give 1, ties and
    contrary votes lessen it. Where a lead overruled the votes, or there were none, it is 0, which
    leaves the loss of Bradley and Terry as it is.
    """
    if not votes.total():
        return 0.0
    return max(0.0, (votes[outcome] - votes[_OTHER.get(outcome, "")]) / votes.total())


def verdicts(
    picks: Iterable[Mapping[str, Any]], decided: Mapping[str, str] | None = None
) -> tuple[dict[str, Verdict], Counter[str]]:
    """What each pair of ``picks`` comes to, and how many pairs come to nothing, by reason.

    ``decided`` holds outcomes given by leads, which count before the votes. Reasons are
    ``no_votes`` (only skips, repeats or gold) and ``no_majority``. Pairs come in the order of
    their first picks.
    """
    picks = list(picks)
    votes, decided = votes_of(picks), decided or {}
    found: dict[str, Verdict] = {}
    left_out: Counter[str] = Counter()
    for pair in dict.fromkeys(str(pick["pair_id"]) for pick in picks):
        cast = votes.get(pair, Counter())
        outcome = decided.get(pair) or majority(cast)
        if outcome is None:
            left_out["no_majority" if cast else "no_votes"] += 1
        else:
            found[pair] = Verdict(outcome, vote_margin(cast, outcome))
    return found, left_out


_PAIRS = """
    SELECT pair.id AS pair_id, pair.batch, pair.prompt_id, r.dialogue_id, r.dialogue, r.prompt,
        r.topic, r.tone, r.source, r.split, ca.text AS text_a, cb.text AS text_b,
        pa.name AS policy_a, pb.name AS policy_b
    FROM pairs AS pair JOIN prompts AS r ON r.id = pair.prompt_id
    JOIN candidates AS ca ON ca.id = pair.candidate_a
    JOIN candidates AS cb ON cb.id = pair.candidate_b
    JOIN policies AS pa ON pa.id = ca.policy_id
    JOIN policies AS pb ON pb.id = cb.policy_id
    WHERE pair.id = ?
"""


def preference(db: Database, pair_id: str, verdict: Verdict) -> Row:
    """A pair with its verdict in the shape of one pick, by no labeler.

    The sides follow the pair's id, which is a hash, so that they tell nothing.
    """
    pair: Row = next(db.query(_PAIRS, [pair_id]))
    left, right = ("a", "b") if int(pair_id[:1] or "0", 16) % 2 else ("b", "a")
    side = {left: "left", right: "right"}
    winner = verdict.outcome if verdict.outcome in _OTHER else None
    return pair | {
        "choice": side.get(verdict.outcome, verdict.outcome),
        "left_text": pair[f"text_{left}"],
        "right_text": pair[f"text_{right}"],
        "left_policy": pair[f"policy_{left}"],
        "right_policy": pair[f"policy_{right}"],
        "chosen": pair[f"text_{winner}"] if winner else None,
        "rejected": pair[f"text_{_OTHER[winner]}"] if winner else None,
        "labeler": None,
        "strength": None,
        "note": "",
        "margin": verdict.margin,
    }
