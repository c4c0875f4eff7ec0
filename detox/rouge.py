"""ROUGE against one or several references (Lin 2004; the ``rouge_score`` library)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rouge_score import rouge_scorer

from detox.results import ROUGE

_SCORER = rouge_scorer.RougeScorer(list(ROUGE), use_stemmer=True)


def rouge(text: str, references: Sequence[str]) -> dict[str, float | None]:
    """F-measures of ``text``, 0 to 100, stemmed: the mean over ``references``, None without any."""
    if not references:
        return dict.fromkeys(ROUGE)
    scores = [_SCORER.score(reference, text) for reference in references]
    return {
        key: round(100 * float(np.mean([score[key].fmeasure for score in scores])), 2)
        for key in ROUGE
    }
