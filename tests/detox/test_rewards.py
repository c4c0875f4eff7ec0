"""Reward sources: the right label, whatever its place; the same score, whatever the company."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from detox.errors import UserError
from detox.models import load_classifier
from detox.rewards import (
    HateClassifier,
    MixedReward,
    PreferenceReward,
    gentle_index,
    load_classifier_reward,
    load_reward,
)

PROMPTS = ["\n#Person1#: You useless fool.\n\nSummary:\n", "Hello.", "#Person2#: I am sorry.", ""]
RESPONSES = [
    "#Person1# is upset about the tickets.",
    "idiot",
    "#Person1# tells #Person2# that the movie was terrible, dumb and stupid. " * 3,
    "",
]


class Fixed:
    """A source that gives the number written in each response."""

    def __init__(self, name: str = "fixed", factor: float = 1.0) -> None:
        self.name, self.factor = name, factor

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        return tensor([self.factor * float(text) for text in responses])

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}


def logits_of(folder: Path, text: str) -> torch.Tensor:
    """The classifier's logits for one text by itself, without our code around it."""
    model, tokenizer = load_classifier(str(folder))
    with torch.inference_mode():
        return model(**tokenizer(text, return_tensors="pt")).logits[0]


# the label


@pytest.mark.parametrize(
    "label",
    ["nothate", "not-hate", "NOT_HATE", "no hate", "Non-Toxic", "non-hate", "not offensive"],
)
def test_the_gentle_label_is_found_by_name(label: str) -> None:
    assert gentle_index({0: "hate", 1: label}, "m") == 1
    assert gentle_index({0: label, 1: "hate"}, "m") == 0
    assert gentle_index({0: "toxic", 1: "insult", 2: label}, "m") == 2


@pytest.mark.parametrize("labels", [["hate", "offensive"], ["LABEL_0", "LABEL_1"], ["hot", "hate"]])
def test_without_a_gentle_label_the_sentence_lists_the_labels(labels: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        gentle_index(dict(enumerate(labels)), "some/model")
    assert "'some/model' has no label that means not-hate" in str(refused.value)
    assert f"(its labels: {', '.join(labels)})" in str(refused.value)


def test_a_label_may_be_named() -> None:
    assert gentle_index({0: "LABEL_0", 1: "LABEL_1"}, "m", "LABEL_1") == 1
    assert gentle_index({0: "hate", 1: "nothate"}, "m", "hate") == 0  # even against its name
    with pytest.raises(UserError, match=r"'m' has no label 'LABEL_2': choose one of LABEL_0, LAB"):
        gentle_index({0: "LABEL_0", 1: "LABEL_1"}, "m", "LABEL_2")


def test_the_reward_is_the_logit_of_the_gentle_label(tiny_classifier: Path) -> None:
    judge = load_classifier_reward(str(tiny_classifier))
    scores = judge.rate(RESPONSES)
    assert scores.reward.dtype == scores.toxicity.dtype == torch.float32
    for text, reward, toxicity in zip(RESPONSES, scores.reward, scores.toxicity, strict=True):
        nothate, hate = logits_of(tiny_classifier, text)
        assert_close(reward, nothate, atol=1e-5, rtol=0)
        # P(hate) of two labels is the logistic function of their difference
        assert_close(toxicity, torch.sigmoid(hate - nothate), atol=1e-5, rtol=0)
    assert_close(judge.score([""] * 4, RESPONSES), scores.reward, rtol=0, atol=0)


def test_swapped_labels_give_the_same_rewards(
    tiny_classifier: Path, tiny_classifier_swapped: Path
) -> None:
    one, other = (
        load_classifier_reward(str(folder)) for folder in (tiny_classifier, tiny_classifier_swapped)
    )
    assert (one.gentle, other.gentle) == (0, 1)
    assert_close(one.rate(RESPONSES).reward, other.rate(RESPONSES).reward)
    assert_close(one.rate(RESPONSES).toxicity, other.rate(RESPONSES).toxicity)


def test_an_unlabelled_classifier_needs_a_choice(
    tiny_classifier: Path, tiny_classifier_unlabelled: Path
) -> None:
    with pytest.raises(UserError, match=r"no label that means not-hate \(its labels: LABEL_0, LAB"):
        load_classifier_reward(str(tiny_classifier_unlabelled))
    chosen = load_classifier_reward(str(tiny_classifier_unlabelled), gentle_label="LABEL_0")
    named = load_classifier_reward(str(tiny_classifier))
    assert_close(chosen.rate(RESPONSES).reward, named.rate(RESPONSES).reward, rtol=0, atol=0)
    assert chosen.describe()["label"] == "LABEL_0"
    other = load_classifier_reward(str(tiny_classifier_unlabelled), gentle_label="LABEL_1")
    assert_close(other.rate(RESPONSES).toxicity, 1 - chosen.rate(RESPONSES).toxicity)


def test_toxicity_is_the_probability_of_every_other_label(tmp_path: Path) -> None:
    from tests import tiny

    labels = ["insult", "threat", "non-toxic"]
    folder = tiny.save(tiny.classifier(labels, outputs=3), tmp_path, "classifier")
    scores = load_classifier_reward(str(folder)).rate(RESPONSES[:1])
    expected = logits_of(folder, RESPONSES[0]).softmax(-1)
    assert_close(scores.toxicity[0], expected[0] + expected[1], atol=1e-5, rtol=0)


# scope


def test_scope(tiny_classifier: Path) -> None:
    alone = load_classifier_reward(str(tiny_classifier), "response")
    pair = load_classifier_reward(str(tiny_classifier), "pair")
    assert_close(alone.score(PROMPTS, RESPONSES), alone.rate(RESPONSES).reward, rtol=0, atol=0)
    joined = [prompt + response for prompt, response in zip(PROMPTS, RESPONSES, strict=True)]
    assert_close(pair.score(PROMPTS, RESPONSES), alone.rate(joined).reward, atol=1e-6, rtol=0)
    assert not torch.allclose(pair.score(PROMPTS, RESPONSES)[:2], alone.rate(RESPONSES).reward[:2])
    assert (alone.describe()["scope"], pair.describe()["scope"]) == ("response", "pair")


def test_a_pair_that_is_too_long_keeps_its_response(tiny_classifier: Path) -> None:
    pair = load_classifier_reward(str(tiny_classifier), "pair")
    prompt = "#Person1#: Hurry up then, the train leaves in ten minutes. " * 100
    kind, rude = pair.score([prompt] * 2, ["Thank you for the lovely dinner.", "You idiot."])
    assert float(kind) != float(rude)


def test_a_response_that_is_too_long_is_cut_at_its_end(tiny_classifier: Path) -> None:
    alone = load_classifier_reward(str(tiny_classifier))
    long = "#Person1#: Hurry up then, the train leaves in ten minutes. " * 100
    rewards = alone.rate([long, long + "You idiot.", "You idiot. " + long]).reward
    assert float(rewards[0]) == pytest.approx(float(rewards[1]), abs=1e-6)
    assert float(rewards[0]) != pytest.approx(float(rewards[2]), abs=1e-6)


# company


def test_neither_order_nor_company_changes_a_score(tiny_classifier: Path) -> None:
    judge = load_classifier_reward(str(tiny_classifier))
    rng = random.Random(0)
    texts = [f"{rng.choice(RESPONSES)} {'so ' * rng.randrange(12)}{i}" for i in range(70)]
    together = judge.rate(texts).reward
    apart = torch.cat([judge.rate([text]).reward for text in texts[:20]])
    assert_close(together[:20], apart, atol=1e-5, rtol=0)
    order = rng.sample(range(70), 70)
    shuffled = judge.rate([texts[i] for i in order]).reward
    assert_close(shuffled, together[order], atol=1e-5, rtol=0)


def test_dropout_is_off(tiny_classifier: Path) -> None:
    model, tokenizer = load_classifier(str(tiny_classifier))
    judge = HateClassifier(model.train(), tokenizer, "m")
    assert_close(judge.rate(RESPONSES).reward, judge.rate(RESPONSES).reward, rtol=0, atol=0)


@pytest.mark.parametrize("scope", ["response", "pair"])
def test_nothing_to_score(tiny_classifier: Path, tiny_reward_model: Path, scope: str) -> None:
    assert load_classifier_reward(str(tiny_classifier), scope).score([], []).shape == (0,)
    assert load_classifier_reward(str(tiny_classifier)).rate([]).toxicity.shape == (0,)
    assert load_reward(f"preference:{tiny_reward_model}", scope).score([], []).shape == (0,)


# people's preferences


def test_a_preference_model_scores_query_and_response(tiny_reward_model: Path) -> None:
    source = load_reward(f"preference:{tiny_reward_model}")
    scores = source.score(PROMPTS, RESPONSES)
    for prompt, response, score in zip(PROMPTS, RESPONSES, scores, strict=True):
        assert_close(score, logits_of(tiny_reward_model, prompt + response)[0], atol=1e-5, rtol=0)
    assert source.describe() == {"name": str(tiny_reward_model), "scope": "pair"}


def test_a_preference_model_has_one_output(tiny_classifier: Path) -> None:
    with pytest.raises(UserError, match=r"has 2 outputs and a reward model has one: train one"):
        load_reward(f"preference:{tiny_classifier}")
    with pytest.raises(UserError, match="has 2 outputs"):
        PreferenceReward(*load_classifier(str(tiny_classifier)), name="m")


def test_a_preference_model_is_no_hate_classifier(tiny_reward_model: Path) -> None:
    with pytest.raises(UserError, match=r"no label that means not-hate \(its labels: LABEL_0\)"):
        load_reward(f"classifier:{tiny_reward_model}")


# mixtures


def test_a_mixture_by_hand() -> None:
    mixed = MixedReward([Fixed(), Fixed("tens", 10.0)], [0.25, 2.0])
    mixed.fit(["p"] * 3, ["1", "2", "6"])  # mean 3, standard deviation sqrt(7)
    assert mixed.means == [3.0, 30.0]
    assert mixed.stds == pytest.approx([7**0.5, 10 * 7**0.5])
    # both sources say the same in other units, so their weights add up
    expected = 2.25 * (tensor([3.0, 10.0]) - 3) / 7**0.5
    assert_close(mixed.score(["p"] * 2, ["3", "10"]), expected)


def test_a_mixture_of_opposites_cancels_out() -> None:
    mixed = MixedReward([Fixed(), Fixed("minus", -3.0)], [1.0, 1.0])
    mixed.fit(["p"] * 3, ["1", "2", "6"])
    assert_close(mixed.score(["p"] * 2, ["4", "-9"]), torch.zeros(2), atol=1e-5, rtol=0)


def test_a_weight_below_0_punishes() -> None:
    mixed = MixedReward([Fixed()], [-1.0], means=[0.0], stds=[2.0])
    assert_close(mixed.score(["p"], ["4"]), tensor([-2.0]))


def test_a_mixture_needs_reference_responses_first() -> None:
    with pytest.raises(RuntimeError, match="fit must see reference responses"):
        MixedReward([Fixed()], [1.0]).score(["p"], ["1"])


@pytest.mark.parametrize("responses", [["3", "3", "3"], ["3"]])
def test_a_source_that_sees_no_difference_keeps_its_own_units(responses: list[str]) -> None:
    mixed = MixedReward([Fixed()], [1.0])
    mixed.fit(["p"] * len(responses), responses)
    # dividing by a spread of next to nothing would drown every other source
    assert_close(mixed.score(["p"] * 2, ["3", "3.5"]), tensor([0.0, 0.5]))


def test_a_mixture_describes_itself() -> None:
    mixed = MixedReward([Fixed("a"), Fixed("b")], [0.5, 0.5], means=[1.0, 2.0], stds=[3.0, 4.0])
    described = json.loads(json.dumps(mixed.describe()))
    assert described == {
        "name": "mixed",
        "sources": [{"name": "a"}, {"name": "b"}],
        "weights": [0.5, 0.5],
        "means": [1.0, 2.0],
        "stds": [3.0, 4.0],
    }


# the grammar


def test_a_mixture_by_name(tiny_classifier: Path, tiny_reward_model: Path) -> None:
    spec = f"mixed:classifier:{tiny_classifier}=0.75, preference:{tiny_reward_model}=-2"
    mixed = load_reward(spec, "pair")
    assert isinstance(mixed, MixedReward)
    judge, people = mixed.sources
    assert isinstance(judge, HateClassifier) and isinstance(people, PreferenceReward)
    assert mixed.weights == [0.75, -2.0]
    assert judge.scope == "pair"


def test_folders_may_hold_an_equals_sign(tiny_reward_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lr=0.1"
    shutil.copytree(tiny_reward_model, folder)
    mixed = load_reward(f"mixed:preference:{folder}=0.5")
    assert isinstance(mixed, MixedReward) and mixed.weights == [0.5]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("", "Unknown reward '': use classifier,"),
        ("roberta", "Unknown reward 'roberta': use classifier, classifier:MODEL, preference:FOLD"),
        ("preference", "Unknown reward 'preference'"),
        ("preference:", "Unknown reward 'preference:'"),
        ("preference:no/such/folder", "There is no reward model in no/such/folder: train one with"),
        ("classifier:no/such-model", "'no/such-model' is neither a local folder nor reachable"),
        ("mixed:", "Unknown reward 'mixed:'"),
        ("mixed:classifier", "'classifier' needs a weight: write it as classifier=0.5"),
        ("mixed:classifier=much", "'classifier=much' needs a weight"),
        ("mixed:classifier=nan", "'classifier=nan' needs a weight"),
        ("mixed:classifier=inf", "'classifier=inf' needs a weight"),
        ("mixed:classifier=0", "A mixed reward needs a weight that is not 0."),
        ("mixed:=0.5", "Unknown reward ''"),
        ("mixed:robot=0.5", "Unknown reward 'robot'"),
        ("mixed:classifier=0.5,,", "'' needs a weight"),
    ],
)
def test_what_is_no_reward(spec: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        load_reward(spec)
    assert sentence in str(refused.value)
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


def test_rouge_is_the_mean_of_three_over_the_references() -> None:
    source = load_reward("rouge", references={"p": ["Tom apologises.", "Ann goes home."]})
    exact, other, silent = source.score(["p"] * 3, ["Tom apologises.", "A bird sings.", ""])
    assert exact == pytest.approx(0.5)  # all of one reference, nothing of the other
    assert other == silent == 0
    assert source.describe() == {"name": "rouge", "prompts": 1}


@pytest.mark.parametrize("references", [None, {}, {"p": []}])
def test_rouge_needs_references(references: dict[str, list[str]] | None) -> None:
    with pytest.raises(UserError, match="needs dialogues with references"):
        load_reward("rouge", references=references)


def test_a_reward_model_reads_no_more_than_it_was_trained_on(
    tiny_reward_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "reward"
    shutil.copytree(tiny_reward_model, folder)
    whole = load_reward(f"preference:{folder}")
    (folder / "detox.json").write_text(json.dumps({"config": {"max_tokens": 6}}))
    cut = load_reward(f"preference:{folder}")
    prompts, responses = ["#Person1#: You are late again. "] * 2, ["Tom is late.", "soup"]
    ends = ["ignored start of the dialogue " + prompt for prompt in prompts]
    assert_close(cut.score(prompts, responses), cut.score(ends, responses))  # the end is read
    assert not torch.allclose(whole.score(prompts, responses), whole.score(ends, responses))
