"""Before against after: the same prompts, two policies, paired statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from datasets import Dataset
from rouge_score import rouge_scorer

from detox.config import Sampling
from detox.data import is_rude, prompts
from detox.generation import Done, generate
from detox.models import Policy
from detox.results import ROUGE, Row
from detox.rewards import HateClassifier


def compare_policies(
    before: Policy,
    after: Policy,
    dialogues: Dataset,
    judge: HateClassifier,
    sampling: Sampling,
    done: Done = lambda finished, total: None,
) -> list[Row]:
    """One row a dialogue: both responses with reward, toxicity, length and ROUGE.

    ROUGE (0 to 100, F-measure, stemmed) is the mean over the dialogue's references, or null
    where it has none.
    """
    queries = prompts(dialogues)
    total = 2 * len(queries)
    texts = [
        generate(before, queries, sampling, done=lambda k, _: done(k, total)),
        generate(after, queries, sampling, done=lambda k, _: done(len(queries) + k, total)),
    ]
    sides = [
        _side(policy, side, dialogues, judge)
        for policy, side in zip((before, after), texts, strict=True)
    ]
    return [
        {
            "id": item["id"],
            "dialogue": item["dialogue"],
            "prompt": query,
            "topic": item["topic"],
            "tone": item["tone"],
            "rude": is_rude(item),
            "split": item["split"],
            "before": first,
            "after": second,
            "reward_diff": round(second["reward"] - first["reward"], 4),
        }
        for item, query, first, second in zip(dialogues, queries, *sides, strict=True)
    ]


def _side(
    policy: Policy, texts: Sequence[str], dialogues: Dataset, judge: HateClassifier
) -> list[Row]:
    scores = judge.rate(texts)
    scorer = rouge_scorer.RougeScorer(list(ROUGE), use_stemmer=True)
    return [
        {
            "policy": policy.name,
            "fingerprint": policy.fingerprint,
            "text": text,
            "reward": round(float(reward), 4),
            "toxicity": round(float(toxicity), 4),
            "words": len(text.split()),
            **_rouge(scorer, text, references),
        }
        for text, reward, toxicity, references in zip(
            texts, scores.reward, scores.toxicity, dialogues["references"], strict=True
        )
    ]


def _rouge(scorer: Any, text: str, references: Sequence[str]) -> dict[str, float | None]:
    if not references:
        return dict.fromkeys(ROUGE)
    scores = [scorer.score(reference, text) for reference in references]
    return {
        key: round(100 * float(np.mean([score[key].fmeasure for score in scores])), 2)
        for key in ROUGE
    }


def about(
    before: Policy, after: Policy, judge: HateClassifier, sampling: Sampling, data: str, split: str
) -> dict[str, Any]:
    """Where results come from: policies with fingerprints, judge, sampling and data."""
    return {
        "before": {"policy": before.name, "fingerprint": before.fingerprint},
        "after": {"policy": after.name, "fingerprint": after.fingerprint},
        "judge": judge.describe(),
        "sampling": asdict(sampling),
        "data": data,
        "split": split,
    }
