"""Toxicity as a module of ``evaluate``: the hate classifier's probability of hate."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from detox.rewards import HateClassifier, load_classifier_reward


class Toxicity(evaluate.Measurement):
    """``compute(predictions=list[str])`` -> ``toxicity``, a share from 0 to 1 for each text.

    ``aggregation="mean"`` (or ``"maximum"``, ``"ratio"`` above ``threshold``) gives one number, as
    the hub's module of this name does. ``classifier`` is a hub name or folder, by default the
    embedded one.
    """

    def _info(self) -> evaluate.MeasurementInfo:
        return evaluate.MeasurementInfo(
            description="Probability of hate of each text.",
            citation="",
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def _compute(
        self,
        predictions: list[str],
        aggregation: str = "all",
        threshold: float = 0.5,
        classifier: str = "",
    ) -> dict[str, Any]:
        judge: HateClassifier = load_classifier_reward(classifier)
        shares = [float(share) for share in judge.rate(predictions).toxicity]
        if aggregation == "mean":
            return {"mean_toxicity": sum(shares) / len(shares)}
        if aggregation == "maximum":
            return {"max_toxicity": max(shares)}
        if aggregation == "ratio":
            return {"toxicity_ratio": sum(share > threshold for share in shares) / len(shares)}
        return {"toxicity": shares}
