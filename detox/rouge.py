"""ROUGE against one or several references (Lin 2004; the ``rouge_score`` library)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from detox.results import ROUGE


def rouge(text: str, references: Sequence[str]) -> dict[str, float | None]:
    """F-measures of ``text``, 0 to 100, stemmed: the mean over ``references``, None without any."""
    if not references:
        return dict.fromkeys(ROUGE)
    scores = [_scorer().score(reference, text) for reference in references]
    return {
        key: round(100 * float(np.mean([score[key].fmeasure for score in scores])), 2)
        for key in ROUGE
    }


@functools.cache
def _scorer() -> Any:
    # it brings nltk, as slow to import as it is rarely needed: only to score, not to load a reward
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(list(ROUGE), use_stemmer=True)
