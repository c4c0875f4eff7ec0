"""What a judge said to both orders of a pair, and the one pick that it comes to.

Judges prefer what stands first, or what stands last, whatever it says (Wang et al., "Large
Language Models are not Fair Evaluators", 2023). So each pair is asked both ways round.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from detox.errors import UserError
from labeling.judge.question import Case
from labeling.records import NAME_LENGTH

# How far from one half a likelihood must be to prefer a side.
TIE_MARGIN = 0.05
_SIDES = {"first": "left", "second": "right", "tie": "tie"}
_MIRRORED = {"left": "right", "right": "left", "tie": "tie"}


@dataclass(frozen=True)
class Answer:
    """What was said to one order: ``first``, ``second`` or ``tie``.

    ``log_odds`` is log P(A) - log P(B), natural logarithm, where the likelihoods are known.
    """

    answer: str
    log_odds: float | None = None
    explanation: str = ""


@dataclass(frozen=True)
class Verdict:
    """Both answers, and the pick: ``left``, ``right`` or ``tie``.

    ``forward`` answers with the left text first, ``backward`` with the right text first.
    ``seconds`` is how long both took together.
    """

    choice: str
    forward: Answer
    backward: Answer
    explanation: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Failure:
    """A pair without a verdict, for the ``reason`` that completes "the judge failed: …".

    ``own`` says that the pair itself cannot be judged (it is too long): asking again is no use,
    and it says nothing about the judge's health.
    """

    reason: str
    own: bool = False


Outcome = Verdict | Failure
Outcomes = Generator[tuple[Case, Outcome], None, None]


class Judge(Protocol):
    """Whoever can be asked. ``settings`` hold all that decides its answers, as JSON."""

    name: str
    settings: Mapping[str, Any]

    def judge(self, cases: Sequence[Case]) -> Outcomes:
        """An outcome for every case, in any order, as they come; ends early when closed."""
        ...


def by_odds(log_odds: float, margin: float = TIE_MARGIN) -> str:
    """``first``, ``second``, or ``tie`` where P(first) is within ``margin`` of one half."""
    chance = _sigmoid(log_odds)
    if abs(chance - 0.5) <= margin:
        return "tie"
    return "first" if chance > 0.5 else "second"


def combine(forward: Answer, backward: Answer, margin: float = TIE_MARGIN) -> str:
    """The average of both orders, on the sides of the first: ``left``, ``right`` or ``tie``.

    With likelihoods it is the mean of the log-odds for the left text, ``(f - b) / 2``: a liking
    for a position adds the same to ``f`` and ``b`` and cancels out. Without, both orders must
    prefer the same text, else it is a tie (Zheng et al., "Judging LLM-as-a-Judge with MT-Bench
    and Chatbot Arena", 2023, section 3.4).
    """
    if forward.log_odds is not None and backward.log_odds is not None:
        return _SIDES[by_odds((forward.log_odds - backward.log_odds) / 2, margin)]
    left = _SIDES[forward.answer]
    return left if left == _MIRRORED[_SIDES[backward.answer]] else "tie"


def version_of(settings: Mapping[str, Any]) -> str:
    """A short hash of all that decides a judge's answers: another prompt is another judge."""
    text = json.dumps(dict(settings), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def judge_name(model: str, settings: Mapping[str, Any], given: str | None = None) -> str:
    """The labeler's name: ``given``, or ``judge:MODEL@VERSION``.

    Raises ``UserError`` for a given name that is too long.
    """
    if given is not None:
        if not 0 < len(given) <= NAME_LENGTH:
            raise UserError(f"Give the judge a name of 1 to {NAME_LENGTH} characters.")
        return given
    version = version_of(settings)
    return f"judge:{model[: NAME_LENGTH - len(version) - len('judge:@')]}@{version}"


def _sigmoid(x: float) -> float:
    # Beyond these the result is 0 or 1 in floating point, and `exp` would overflow.
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, x))))
