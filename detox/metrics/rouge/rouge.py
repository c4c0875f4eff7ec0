"""ROUGE as a module of ``evaluate``: the mean over the references of each text."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

from detox.results import ROUGE
from detox.rouge import rouge

_CITATION = """\
@inproceedings{lin-2004-rouge, title = "{ROUGE}: A Package for Automatic Evaluation of Summaries",
author = "Lin, Chin-Yew", booktitle = "Text Summarization Branches Out", year = "2004"}"""


class Rouge(evaluate.Metric):
    """``compute(predictions=list[str], references=list[list[str]])`` -> dict, each 0 to 100."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description="ROUGE-1, -2 and -L F-measures, stemmed, mean over references and texts.",
            citation=_CITATION,
            features=datasets.Features(
                {"predictions": text, "references": datasets.Sequence(text)}
            ),
        )

    def _compute(self, predictions: list[str], references: list[list[str]]) -> dict[str, Any]:
        rows = [rouge(text, known) for text, known in zip(predictions, references, strict=True)]
        return {
            key: float(np.mean([row[key] for row in rows if row[key] is not None])) for key in ROUGE
        }
