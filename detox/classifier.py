"""Training of the embedded hate classifier: an adapter and a head on a sentence encoder."""

from __future__ import annotations

import hashlib
import html
import json
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, roc_auc_score
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

from detox.config import ClassifierConfig, recorded
from detox.data import is_rude, load_dialogues
from detox.errors import UserError
from detox.models import new_classifier, parameter_counts, save_adapter
from detox.rewards import HateClassifier

SENTENCES = Path(__file__).parent / "embedded" / "sentences.jsonl"
LABELS = ("nothate", "hate")


@dataclass(frozen=True)
class Labelled:
    """A text and whether it is hateful or insulting."""

    text: str
    hate: bool


def train_classifier(
    config: ClassifierConfig, tell: Callable[[str], None] = print
) -> dict[str, Any]:
    """Trains the classifier and writes adapter, head and figures on unseen data.

    The training data are tweets (``config.data``; hate and offensive count as hate), the
    project's own sentences and the references of the embedded training dialogues. Returns the
    lineage with the figures; raises ``UserError`` for missing or wrong data.
    """
    folder = Path(config.output)
    started = time.perf_counter()
    tweets = read_tweets(Path(config.data)) if config.data else {"train": [], "test": []}
    own = read_sentences(SENTENCES)
    summaries = {split: reference_pairs(split) for split in ("train", "test")}
    train = _balanced(tweets["train"], config.max_tweets // 2, config.seed)
    train += (own["train"] + summaries["train"]) * config.own_repeats
    tell(f"{len(train)} texts to learn from, {sum(t.hate for t in train)} of them hate")
    model, tokenizer = new_classifier(config.base, LABELS)
    torch.manual_seed(config.seed)
    model = get_peft_model(
        model,
        LoraConfig(
            r=config.lora_r,
            lora_alpha=config.lora_alpha,
            target_modules="all-linear",
            task_type="SEQ_CLS",
        ),
    )
    total, trainable = parameter_counts(model)
    tell(f"{total:,} parameters, {trainable:,} of them trainable ({trainable / total:.2%})")
    encoded = Dataset.from_dict(
        {
            "input_ids": tokenizer(
                [t.text for t in train], truncation=True, max_length=config.max_tokens
            ).input_ids,
            "labels": [int(t.hate) for t in train],
        }
    )
    encoded = encoded.map(lambda row: {"length": len(row["input_ids"])})
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.lr,
        warmup_steps=20,
        logging_steps=20,
        save_strategy="no",
        seed=config.seed,
        report_to=[],
        disable_tqdm=True,
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=encoded,
        data_collator=DataCollatorWithPadding(tokenizer),
    )
    trainer.train()
    for row in trainer.state.log_history:
        if "loss" in row:
            tell(f"step {row['step']}  loss {float(row['loss']):.3f}")
    judge = HateClassifier(model, tokenizer, str(folder))
    figures = {
        "tweets": measure(judge, tweets["test"]),
        "sentences": measure(judge, own["test"]),
        "references": measure(judge, summaries["test"]),
        "lab_pair": lab_pair(judge),
    }
    lineage = {
        "kind": "classifier",
        "base": config.base,
        "parent": None,
        "labels": list(LABELS),
        "config": recorded(config),
        "seed": config.seed,
        "examples": len(train),
        "parameters": {"all": total, "trainable": trainable},
        "figures": figures,
        "seconds": round(time.perf_counter() - started),
    }
    save_adapter(model, folder, lineage)
    tell(json.dumps(figures, indent=2))
    return lineage


def measure(judge: HateClassifier, texts: Sequence[Labelled]) -> dict[str, float]:
    """Accuracy, macro F1, AUC, Brier score and expected calibration error (10 bins)."""
    if not texts:
        return {}
    truth = np.array([t.hate for t in texts])
    chance = judge.rate([t.text for t in texts]).toxicity.numpy()
    figures = {
        "n": len(texts),
        "accuracy": float(accuracy_score(truth, chance > 0.5)),
        "f1_macro": f1_score(truth, chance > 0.5, average="macro"),
        "auc": roc_auc_score(truth, chance),
        "brier": brier_score_loss(truth, chance),
        "ece": calibration_error(truth, chance),
    }
    return {key: round(value, 4) for key, value in figures.items()}


def calibration_error(truth: np.ndarray, chance: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error of P(hate) (Naeini et al. 2015): mean gap, weighted by bin."""
    which = np.minimum((chance * bins).astype(int), bins - 1)
    gaps = [
        (which == b).mean() * abs(truth[which == b].mean() - chance[which == b].mean())
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))


def lab_pair(judge: HateClassifier) -> dict[str, float]:
    """Toxicity of the two sentences with which the FLAN-T5 lab introduces its classifier."""
    start = "#Person 1# tells Tommy that "
    mild = f"{start}he didn't like the movie."
    harsh = f"{start}the movie was terrible, dumb and stupid."
    toxicity = judge.rate([mild, harsh]).toxicity
    return {"mild": round(float(toxicity[0]), 4), "harsh": round(float(toxicity[1]), 4)}


def read_tweets(path: Path) -> dict[str, list[Labelled]]:
    """Davidson et al.'s labelled tweets, a tenth of them kept for testing by a hash of the text.

    Raises ``UserError`` when the file is missing or has other columns.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as CSV: check the path.") from error
    if not {"tweet", "class"} <= set(table.columns):
        raise UserError(f"{path.name} needs the columns 'tweet' and 'class'.")
    splits: dict[str, list[Labelled]] = {"train": [], "test": []}
    for tweet, label in zip(table["tweet"], table["class"], strict=True):
        text = clean_tweet(str(tweet))
        place = hashlib.sha256(text.encode()).digest()[0]
        splits["test" if place < 26 else "train"].append(Labelled(text, int(label) < 2))
    return splits


def clean_tweet(text: str) -> str:
    """``text`` without retweet marks, mentions, links and HTML entities."""
    text = html.unescape(html.unescape(text))
    text = re.sub(r"https?://\S+|\bRT\b|@\w+:?|&#\d+;", " ", text)
    return re.sub(r"\s+", " ", text).strip(" !:\"'")


def read_sentences(path: Path) -> dict[str, list[Labelled]]:
    """The project's own sentences by split."""
    splits: dict[str, list[Labelled]] = {"train": [], "test": []}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        splits[row["split"]].append(Labelled(row["text"], row["label"] == "hate"))
    return splits


def reference_pairs(split: str) -> list[Labelled]:
    """References of the embedded dialogues: verbatim ones of rude dialogues count as hate."""
    texts = []
    for row in load_dialogues(split=split):
        texts.append(Labelled(row["gentle"], False))
        if is_rude(row):
            texts.append(Labelled(row["verbatim"], True))
    return texts


def _balanced(texts: Sequence[Labelled], each: int, seed: int) -> list[Labelled]:
    """The same number of texts of both labels, at most ``each``."""
    rng = random.Random(seed)
    hate, fine = [t for t in texts if t.hate], [t for t in texts if not t.hate]
    size = min(len(hate), len(fine), each)
    return rng.sample(hate, size) + rng.sample(fine, size)
