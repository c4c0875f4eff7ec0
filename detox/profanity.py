"""A second opinion on toxicity, by a model that no policy here was ever tuned against.

``alt-profanity-check`` is a linear classifier on character n-grams, trained on other data
(tweets and Wikipedia comments) than ours: it shares neither architecture nor examples.
"""

from __future__ import annotations

from collections.abc import Sequence


def profanity(texts: Sequence[str]) -> list[float]:
    """Probability of profane or offensive language for each text, 0 to 1."""
    if not texts:
        return []
    from profanity_check import predict_prob  # reads its model from disk when imported

    return [float(share) for share in predict_prob(list(texts))]
