"""The figures of the embedded hate classifier on data it has not seen.

    python benchmarks/classifier.py                                # the project's own test data
    python benchmarks/classifier.py --tweets labeled_data.csv      # and Davidson et al.'s tweets

Prints JSON: accuracy, macro F1, AUC, Brier score and expected calibration error, the lab's
pair of sentences, and texts scored a second.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from detox.classifier import (
    SENTENCES,
    lab_pair,
    measure,
    read_sentences,
    read_tweets,
    reference_pairs,
)
from detox.rewards import load_classifier_reward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tweets", type=Path, help="CSV with columns 'tweet' and 'class'")
    parser.add_argument("--classifier", default="", help="hub name or folder")
    arguments = parser.parse_args()
    judge = load_classifier_reward(arguments.classifier)
    references = reference_pairs("test")
    figures = {
        "references": measure(judge, references),
        "sentences": measure(judge, read_sentences(SENTENCES)["test"]),
        "lab_pair": lab_pair(judge),
    }
    if arguments.tweets:
        figures["tweets"] = measure(judge, read_tweets(arguments.tweets)["test"])
    started = time.perf_counter()
    judge.rate([text.text for text in references])
    speed = len(references) / (time.perf_counter() - started)
    print(json.dumps(figures | {"texts_per_second": round(speed)}, indent=2))


if __name__ == "__main__":
    main()
