"""The table of a fine-tuning, and the measures behind it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from rouge_score import rouge_scorer
from sklearn.metrics import accuracy_score, f1_score

from detox import cli, metrics, quality
from detox.config import Sampling, SftConfig
from detox.data import load_dialogues
from detox.errors import UserError
from detox.quality import as_markdown, measure_quality, write_quality
from detox.rewards import load_classifier_reward
from detox.rouge import rouge
from detox.sft import train_sft
from detox.tasks import SENTIMENT, SUMMARIZE
from tests import tiny
from tests.conftest import WriteDialogues

GREEDY = Sampling(temperature=0, max_new_tokens=8)
SAID = ["#Person1# is upset about the soup.", "Nothing."]
KNOWN = [["#Person1# is upset.", "The soup is bad."], ["#Person2# agrees."]]


# measures, as the evaluate library calls them


def test_rouge_is_what_rouge_score_says() -> None:
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    expected = [scorer.score(reference, SAID[0]) for reference in KNOWN[0]]
    found = rouge(SAID[0], KNOWN[0])
    for key, value in found.items():
        mean = sum(score[key].fmeasure for score in expected) / 2
        assert value == pytest.approx(100 * mean, abs=0.006)
    assert set(rouge("x", []).values()) == {None}


def test_the_rouge_module_is_the_mean() -> None:
    found = metrics.load("rouge").compute(predictions=SAID, references=KNOWN)
    each = [rouge(text, known) for text, known in zip(SAID, KNOWN, strict=True)]
    for key, value in found.items():
        assert value == pytest.approx(sum(float(row[key] or 0) for row in each) / 2)


def test_the_toxicity_module(tiny_classifier: Path) -> None:
    module = metrics.load("toxicity")
    shares = load_classifier_reward(str(tiny_classifier)).rate(SAID).toxicity.tolist()
    where = {"predictions": SAID, "classifier": str(tiny_classifier)}
    assert module.compute(**where)["toxicity"] == pytest.approx(shares)
    mean = module.compute(**where, aggregation="mean")["mean_toxicity"]
    assert mean == pytest.approx(sum(shares) / 2)
    most = module.compute(**where, aggregation="maximum")["max_toxicity"]
    assert most == pytest.approx(max(shares))
    ratio = module.compute(**where, aggregation="ratio", threshold=0)["toxicity_ratio"]
    assert ratio == 1


def test_an_unknown_measure() -> None:
    with pytest.raises(UserError, match=r"^Unknown measure 'bleu': choose one of rouge, toxicity"):
        metrics.load("bleu")


# the table


@pytest.fixture
def dialogues(dialogues_file: WriteDialogues) -> Dataset:
    return load_dialogues(str(dialogues_file(rows=tiny.dialogsum_rows(4))))


def test_a_row_for_each_policy(
    tiny_causal: Path, dialogues_file: WriteDialogues, dialogues: Dataset, tmp_path: Path
) -> None:
    data = str(dialogues_file(rows=tiny.dialogsum_rows(4)))
    runs = {}
    for method in ("full", "lora"):
        runs[method] = str(tmp_path / method)
        train_sft(
            SftConfig(base=str(tiny_causal), data=data, output=runs[method], method=method, steps=2)
        )
    rows = measure_quality(
        [str(tiny_causal), *runs.values()], dialogues, SUMMARIZE, GREEDY, lambda line: None
    )
    assert [row["policy"] for row in rows] == [str(tiny_causal), *runs.values()]
    whole, full, lora = rows
    assert whole["training"] == {}
    assert full["training"]["parameters"]["trainable"] == whole["parameters"]
    assert 0 < lora["training"]["parameters"]["trainable"] < whole["parameters"]
    assert lora["training"]["peak_memory"] > 0 and lora["training"]["seconds"] >= 0
    assert lora["bytes"] == (tmp_path / "lora" / "adapter_model.safetensors").stat().st_size
    assert full["bytes"] > lora["bytes"]
    for row in rows:
        each = [
            rouge(text, known)
            for text, known in zip(row["texts"], dialogues["references"], strict=True)
        ]
        mean = sum(float(one["rouge1"] or 0) for one in each) / 4
        assert row["scores"]["rouge1"] == pytest.approx(mean, abs=0.01)
    assert whole["gains"]["rouge1"]["difference"] == 0

    write_quality(tmp_path / "table", rows, {"task": "summarize"})
    kept = json.loads((tmp_path / "table" / "quality.json").read_text())
    assert kept["policies"][2]["scores"] == lora["scores"] and "texts" not in kept["policies"][2]
    with (tmp_path / "table" / "quality.csv").open() as lines:
        flat = list(csv.DictReader(lines))
    assert float(flat[1]["scores_rouge1"]) == full["scores"]["rouge1"]
    lines = as_markdown(rows).splitlines()
    assert len(lines) == 5 and len({line.count("|") for line in lines}) == 1


def test_labels_are_counted(monkeypatch: pytest.MonkeyPatch, tiny_causal: Path) -> None:
    posts = load_dialogues(split="test", task=SENTIMENT)
    right = [known[0] for known in posts["references"]]
    said = ["Positive!" if i % 3 else "dunno" for i in range(len(posts))]
    monkeypatch.setattr(quality, "generate", lambda *_: said)
    (row,) = measure_quality([str(tiny_causal)], posts, SENTIMENT, GREEDY, lambda line: None)
    labels = ["positive" if i % 3 else "" for i in range(len(posts))]
    assert row["scores"]["accuracy"] == pytest.approx(100 * accuracy_score(right, labels), abs=0.01)
    expected = f1_score(right, labels, labels=list(SENTIMENT.labels), average="macro")
    assert row["scores"]["macro_f1"] == pytest.approx(100 * expected, abs=0.01)


def test_references_are_needed(tiny_causal: Path, dialogues_file: WriteDialogues) -> None:
    bare = load_dialogues(str(dialogues_file(rows=[{"dialogue": "#Person1#: Hello."}])))
    with pytest.raises(UserError, match=r"^Every text needs a reference to be measured against"):
        measure_quality([str(tiny_causal)], bare, SUMMARIZE, GREEDY)


def test_from_the_command_line(
    tiny_causal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learned: dict[str, Any] = {"task": "sentiment", "steps": "2", "batch_size": "2"}
    options = [f"--{key.replace('_', '-')}={value}" for key, value in learned.items()]
    run = str(tmp_path / "run")
    assert cli.main(["sft", "--base", str(tiny_causal), "--output", run, *options]) == 0
    asked = ["quality", str(tiny_causal), run, "--task", "sentiment", "--max-new-tokens", "4"]
    assert cli.main([*asked, "--limit", "6", "--output", str(tmp_path / "table")]) == 0
    assert "| macro_f1 |" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "table" / "quality.json").read_text())["policies"]) == 2
