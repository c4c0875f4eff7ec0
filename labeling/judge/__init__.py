"""AI feedback: models as judges of pairs, kept apart from people.

``local`` (a causal model on this machine), ``endpoint`` (chat completions over HTTP) and
``report`` (how far judges agree with people) are imported where they are used: they take long to
load.
"""

from labeling.judge.question import QUESTION, Case, Question, read_question
from labeling.judge.record import record, waiting
from labeling.judge.run import MOST_FAILURES, Judged, judge_pairs
from labeling.judge.verdict import (
    TIE_MARGIN,
    Answer,
    Failure,
    Judge,
    Verdict,
    combine,
    judge_name,
    version_of,
)

__all__ = [
    "MOST_FAILURES",
    "QUESTION",
    "TIE_MARGIN",
    "Answer",
    "Case",
    "Failure",
    "Judge",
    "Judged",
    "Question",
    "Verdict",
    "combine",
    "judge_name",
    "judge_pairs",
    "read_question",
    "record",
    "version_of",
    "waiting",
]
