"""Reward sources: what a response is worth, by a hate classifier, by people's picks, or both."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import PreTrainedTokenizerBase

from detox.errors import UserError
from detox.models import EMBEDDED_FOLDER, load_classifier, read_lineage
from detox.rouge import rouge

EMBEDDED_CLASSIFIER = EMBEDDED_FOLDER / "classifier"
# Spellings of "this text is fine" with everything but letters removed.
GENTLE_LABELS = frozenset({"nothate", "nohate", "nonhate", "nottoxic", "nontoxic", "notoffensive"})
BATCH = 32


class RewardSource(Protocol):
    """Anything that can say how good responses are."""

    name: str

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        """Rewards, float32 [n]: one a response, higher is better, unbounded."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a reader needs to get the same scores again; JSON types only."""
        ...


@dataclass(frozen=True)
class Scores:
    """What a hate classifier says of n texts."""

    reward: torch.Tensor
    """float32 [n]: logit of the not-hate label."""
    toxicity: torch.Tensor
    """float32 [n]: probability of every other label together, 0 to 1."""


def gentle_index(labels: dict[int, str], name: str, choice: str | None = None) -> int:
    """Index of the label that means "not hate", by name and never by position.

    ``choice`` names the label of a model whose labels say nothing (``LABEL_0``). Raises
    ``UserError`` that lists the labels when none fits.
    """
    listed = ", ".join(labels.values())
    if choice is not None:
        found = [index for index, label in labels.items() if label == choice]
        if not found:
            raise UserError(f"'{name}' has no label '{choice}': choose one of {listed}.")
        return found[0]
    for index, label in labels.items():
        if "".join(filter(str.isalpha, label.lower())) in GENTLE_LABELS:
            return int(index)
    raise UserError(
        f"'{name}' has no label that means not-hate (its labels: {listed}): choose another "
        "classifier, or name the label to reward."
    )


class HateClassifier:
    """The logit of "not hate" as reward, and the probability of hate as toxicity.

    Texts are scored in evaluation mode, in batches of similar length; pad marks are masked, so
    that neither order nor company changes a score by more than float rounding.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        scope: str = "response",
        gentle_label: str | None = None,
    ) -> None:
        self.model, self.tokenizer, self.name, self.scope = model.eval(), tokenizer, name, scope
        self.labels = {int(index): str(label) for index, label in model.config.id2label.items()}
        self.gentle = gentle_index(self.labels, name, gentle_label)
        # the response stands at the end of a pair, and must survive when a pair is cut
        self.tokenizer.truncation_side = "left" if scope == "pair" else "right"

    def rate(self, texts: Sequence[str]) -> Scores:
        """Reward and toxicity of each text by itself; an empty text is scored like any other."""
        logits = class_logits(self.model, self.tokenizer, texts)
        toxicity = 1 - logits.softmax(-1)[:, self.gentle]
        return Scores(logits[:, self.gentle], toxicity)

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        """Logit of the not-hate label, float32 [n], of the response or of query + response."""
        return self.rate(in_scope(prompts, responses, self.scope)).reward

    def describe(self) -> dict[str, Any]:
        """Name, scope and the label that is rewarded."""
        return {"name": self.name, "scope": self.scope, "label": self.labels[self.gentle]}


class PreferenceReward:
    """The one output of a Bradley–Terry reward model trained on people's picks."""

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> None:
        """``max_tokens`` is where training cut its texts; the model's own limit if None.

        ``temperature`` makes its chances honest (``detox.calibration``); None if nobody fitted it.
        """
        if model.config.num_labels != 1:
            raise UserError(
                f"'{name}' has {model.config.num_labels} outputs and a reward model has one: "
                "train one with 'python -m labeling reward'."
            )
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self.max_tokens, self.temperature = max_tokens, temperature
        self.tokenizer.truncation_side = "left"

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        """The model's output for query + response, float32 [n]."""
        texts = in_scope(prompts, responses, "pair")
        return class_logits(self.model, self.tokenizer, texts, self.max_tokens)[:, 0]

    def chance(self, gaps: torch.Tensor) -> torch.Tensor:
        """The chance, float32 [n] from 0 to 1, that people prefer what scores higher by ``gaps``.

        ``sigmoid(gap / temperature)``: Bradley and Terry's, calibrated where a temperature is
        known.
        """
        return torch.sigmoid(gaps / (self.temperature or 1.0))

    def win_probability(
        self, prompts: Sequence[str], responses: Sequence[str], others: Sequence[str]
    ) -> torch.Tensor:
        """The chance that people prefer each of ``responses`` to the one of ``others``, [n]."""
        return self.chance(self.score(prompts, responses) - self.score(prompts, others))

    def describe(self) -> dict[str, Any]:
        """Name, scope, and the temperature where one is known."""
        known = {} if self.temperature is None else {"temperature": self.temperature}
        return {"name": self.name, "scope": "pair", **known}


class RougeReward:
    """ROUGE against human references: keeps a policy saying what happened, at some length.

    A hate classifier alone is content with silence; mixed with this it is not.
    """

    name = "rouge"

    def __init__(self, references: Mapping[str, Sequence[str]]) -> None:
        if not references or not all(references.values()):
            raise UserError(
                "The reward 'rouge' needs dialogues with references to learn from: add them, or "
                "leave it out."
            )
        self.references = references

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        """Mean of ROUGE-1, 2 and L (0 to 1) over the references of the prompt, float32 [n]."""
        scores = []
        for prompt, response in zip(prompts, responses, strict=True):
            found = rouge(response, self.references[prompt])
            scores.append(sum(float(value or 0) for value in found.values()) / len(found) / 100)
        return torch.tensor(scores)

    def describe(self) -> dict[str, Any]:
        """Name and how many prompts have references."""
        return {"name": self.name, "prompts": len(self.references)}


@dataclass
class MixedReward:
    """A weighted sum of sources, each standardised on a fixed batch of reference responses."""

    sources: Sequence[RewardSource]
    weights: Sequence[float]
    means: list[float] = field(default_factory=list)
    stds: list[float] = field(default_factory=list)
    name: str = "mixed"

    def fit(self, prompts: Sequence[str], responses: Sequence[str]) -> None:
        """Measures each source's mean and standard deviation on reference-policy responses."""
        scores = [source.score(prompts, responses) for source in self.sources]
        self.means = [float(s.mean()) for s in scores]
        spreads = [float(s.std()) if len(s) > 1 else 0.0 for s in scores]
        # a source that cannot tell these responses apart must not drown the others later
        self.stds = [spread if spread > 1e-6 else 1.0 for spread in spreads]

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        """Weighted sum of the standardised scores, float32 [n]; ``fit`` comes first."""
        if not self.means:
            raise RuntimeError("MixedReward.fit must see reference responses before score")
        total = torch.zeros(len(responses))
        parts = zip(self.sources, self.weights, self.means, self.stds, strict=True)
        for source, weight, mean, std in parts:
            total += weight * (source.score(prompts, responses) - mean) / std
        return total

    def describe(self) -> dict[str, Any]:
        """Each source with its weight and the statistics it is standardised by."""
        return {
            "name": self.name,
            "sources": [source.describe() for source in self.sources],
            "weights": list(self.weights),
            "means": self.means,
            "stds": self.stds,
        }


def in_scope(prompts: Sequence[str], responses: Sequence[str], scope: str) -> list[str]:
    """The texts to score: responses alone, or each after its query."""
    if scope == "response":
        return list(responses)
    return [prompt + response for prompt, response in zip(prompts, responses, strict=True)]


def class_logits(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_tokens: int | None = None,
) -> torch.Tensor:
    """Logits, float32 [n, labels], of a sequence classifier, in the order of ``texts``.

    Texts are cut at ``max_tokens``, and where the model ends.
    """
    if not texts:
        return torch.zeros(0, model.config.num_labels)
    limit = token_limit(model, tokenizer, max_tokens)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    logits = torch.empty(len(texts), model.config.num_labels)
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            inputs = tokenizer(
                [texts[i] for i in chosen],
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=limit,
            ).to(model.device)
            logits[chosen] = model(**inputs).logits.float().cpu()
    return logits


def token_limit(
    model: Any, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None = None
) -> int:
    """The most tokens of a text that a classifier is given: ``max_tokens`` and where it ends."""
    limit = min(int(tokenizer.model_max_length), _positions(model))
    return min(limit, max_tokens or limit)


def _positions(model: Any) -> int:
    # RoBERTa starts counting after its pad index, so two of its positions are never reached
    spare = 2 if model.config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
    return int(getattr(model.config, "max_position_embeddings", 512)) - spare


def load_classifier_reward(
    folder: str = "", scope: str = "response", gentle_label: str | None = None
) -> HateClassifier:
    """A hate classifier by hub name or folder; the embedded one by default.

    Raises ``UserError`` for unknown models and for classifiers without a not-hate label.
    """
    name = folder or str(EMBEDDED_CLASSIFIER)
    model, tokenizer = load_classifier(name)
    return HateClassifier(model, tokenizer, folder or "embedded", scope, gentle_label)


def load_preference_reward(folder: str) -> PreferenceReward:
    """The reward model in ``folder``, which reads no more of a text than training did.

    Raises ``UserError`` when there is none.
    """
    if not Path(folder).is_dir():
        raise UserError(
            f"There is no reward model in {folder}: train one with 'python -m labeling reward'."
        )
    lineage = read_lineage(Path(folder))
    return PreferenceReward(
        *load_classifier(folder),
        name=folder,
        max_tokens=lineage.get("config", {}).get("max_tokens"),
        temperature=lineage.get("calibration", {}).get("temperature"),
    )


def load_second_judge(spec: str) -> PreferenceReward | None:
    """The reward model that ``preference:FOLDER`` names, to judge beside the classifier.

    None for an empty ``spec``. Raises ``UserError`` for anything else and where there is none.
    """
    if not spec:
        return None
    kind, _, folder = spec.partition(":")
    if kind != "preference" or not folder:
        raise UserError(f"'{spec}' is no second judge: name a reward model as preference:FOLDER.")
    return load_preference_reward(folder)


def load_reward(
    spec: str, scope: str = "response", references: Mapping[str, Sequence[str]] | None = None
) -> RewardSource:
    """The source that ``spec`` names.

    ``classifier`` (embedded), ``classifier:MODEL``, ``preference:FOLDER``, ``rouge`` (against the
    ``references`` of each prompt), or ``mixed:SOURCE=WEIGHT,SOURCE=WEIGHT``. Raises ``UserError``
    for anything else.
    """
    kind, _, rest = spec.partition(":")
    if kind == "classifier":
        return load_classifier_reward(rest, scope)
    if kind == "preference" and rest:
        return load_preference_reward(rest)
    if spec == "rouge":
        return RougeReward(references or {})
    if kind == "mixed" and rest:
        parts = [_weighted(part) for part in rest.split(",")]
        if all(weight == 0 for _, weight in parts):
            raise UserError("A mixed reward needs a weight that is not 0.")
        sources = [load_reward(source, scope, references) for source, _ in parts]
        return MixedReward(sources, [weight for _, weight in parts])
    raise UserError(
        f"Unknown reward '{spec}': use classifier, classifier:MODEL, preference:FOLDER, rouge "
        "or mixed:classifier=0.5,preference:FOLDER=0.5."
    )


def _weighted(part: str) -> tuple[str, float]:
    source, _, weight = part.rpartition("=")
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"'{part}' needs a weight: write it as classifier=0.5 or preference:FOLDER=0.5."
        )
    return source.strip(), number


def describe_reward(source: RewardSource) -> str:
    """One line of JSON that identifies ``source``, for cards and logs."""
    return json.dumps(source.describe(), sort_keys=True)
