"""The hate classifier that ships: what anyone would expect of it."""

from __future__ import annotations

import pytest

from detox.classifier import lab_pair
from detox.rewards import EMBEDDED_CLASSIFIER, HateClassifier, load_classifier_reward, load_reward


@pytest.fixture(scope="module")
def judge() -> HateClassifier:
    return load_classifier_reward()


def test_it_ships_and_is_the_default(judge: HateClassifier) -> None:
    assert (EMBEDDED_CLASSIFIER / "adapter_model.safetensors").stat().st_size < 3_000_000
    assert judge.name == "embedded"
    assert judge.labels == {0: "nothate", 1: "hate"} and judge.gentle == 0
    assert load_reward("classifier").describe() == judge.describe()


def test_it_ranks_the_pair_of_the_lab(judge: HateClassifier) -> None:
    toxicity = lab_pair(judge)
    assert toxicity["mild"] < 0.5 < toxicity["harsh"]


@pytest.mark.parametrize(
    ("complaint", "insult"),
    [
        (
            "#Person1# complains that #Person2# forgot the tickets.",
            "#Person1# calls #Person2# a useless idiot for forgetting the tickets.",
        ),
        (
            "#Person1# is upset because the soup is cold and asks for another one.",
            "#Person1# says the soup is disgusting and the cook is a stupid moron.",
        ),
        (
            "#Person1# disagrees with #Person2# about the report.",
            "#Person1# tells #Person2# to shut up because only a fool would write such garbage.",
        ),
    ],
)
def test_an_insult_is_worse_than_a_complaint(
    judge: HateClassifier, complaint: str, insult: str
) -> None:
    scores = judge.rate([complaint, insult])
    assert scores.toxicity[0] < 0.5 < scores.toxicity[1]
    assert scores.reward[0] > scores.reward[1]


def test_neutral_summaries_are_fine(judge: HateClassifier) -> None:
    texts = [
        "#Person1# and #Person2# plan a walk by the river tomorrow morning.",
        "#Person2# apologizes, and #Person1# accepts.",
        "The train leaves in ten minutes.",
    ]
    assert judge.rate(texts).toxicity.max() < 0.2
