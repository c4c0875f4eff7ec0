"""Exports are what other tools take: `datasets` loads them, and TRL's trainer learns from them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import load_dataset
from transformers import PreTrainedTokenizerFast
from trl import RewardConfig, RewardTrainer

from labeling.export import SUFFIXES, Filters, export
from labeling.formats import RAW_COLUMNS
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store
from tests import tiny
from tests.labeling.conftest import Judge

TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture
def judged(store: Store, judge: Judge) -> Store:
    judge(store, "ann", ["after", "before", "tie", "both_bad", "after", "after"], seed=3)
    rng = random.Random(1)
    for strength in ("clearly", "slightly", None, "clearly"):
        task = next_pair(store, "ben", rng)
        assert task is not None
        submit(store, task.assignment_id, "left", labeler="ben", strength=strength, note="=x")
    return store


def _loaded(store: Store, tmp_path: Path, format: str, filters: Filters = Filters()) -> Any:
    out = tmp_path / f"export{SUFFIXES[format]}"
    export(store, format, out, filters)
    builder = {".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}.get(out.suffix)
    cache = str(tmp_path / "cache")
    if builder is None:
        return load_dataset(str(out), cache_dir=cache)
    return load_dataset(builder, data_files=str(out), cache_dir=cache)["train"]


@pytest.mark.parametrize(
    ("format", "columns"),
    [
        ("trl-explicit", {"prompt", "chosen", "rejected", "margin"}),
        ("trl-implicit", {"chosen", "rejected", "margin"}),
        ("trl-conversational", {"prompt", "chosen", "rejected", "margin"}),
        ("trl-unpaired", {"prompt", "completion", "label"}),
        ("vertex-preference", {"input_text", "candidate_0", "candidate_1", "choice"}),
        ("vertex-prompts", {"input_text"}),
        ("vertex-bulk-inference", {"inputs", "prediction"}),
        ("openai-comparisons", {"info", "summaries", "choice"}),
        ("csv", set(RAW_COLUMNS)),
        ("parquet", set(RAW_COLUMNS)),
    ],
)
def test_datasets_loads_each_format(
    judged: Store, tmp_path: Path, format: str, columns: set[str]
) -> None:
    rows = _loaded(judged, tmp_path, format, Filters(margin=True))
    assert columns <= set(rows.column_names)
    assert len(rows) > 0


def test_datasets_loads_a_folder_by_its_default(judged: Store, tmp_path: Path) -> None:
    splits = _loaded(judged, tmp_path, "folder", Filters(margin=True))
    assert set(splits) == {"train", "validation", "test"}
    assert splits["train"].column_names == ["prompt", "chosen", "rejected", "margin"]
    picks = load_dataset(str(tmp_path / "export"), "picks", cache_dir=str(tmp_path / "cache"))
    assert picks["train"].column_names == list(RAW_COLUMNS)
    assert picks["train"].features["reasons"].feature.dtype == "string"
    assert picks["train"].features["flagged"].dtype == "bool"


def _tokenizer(talks: bool) -> PreTrainedTokenizerFast:
    made = tiny.tokenizer("classifier")
    if talks:
        made.chat_template = TEMPLATE
    return made


@pytest.mark.parametrize(
    ("format", "margin"),
    [
        ("trl-explicit", False),
        ("trl-explicit", True),
        ("trl-implicit", True),
        ("trl-conversational", True),
        ("folder", True),
    ],
)
def test_reward_trainer_learns_from_an_export_as_it_is(
    judged: Store, tmp_path: Path, format: str, margin: bool
) -> None:
    rows = _loaded(judged, tmp_path, format, Filters(margin=margin))
    rows = rows["train"] if format == "folder" else rows
    model = tiny.classifier(None, outputs=1)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(
            output_dir=str(tmp_path / "run"),
            max_steps=2,
            per_device_train_batch_size=2,
            learning_rate=1e-2,
            max_length=512,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            bf16=False,
            use_cpu=True,
            logging_steps=1,
        ),
        train_dataset=rows,
        processing_class=_tokenizer(format == "trl-conversational"),
    )
    trainer.train()
    # Nothing was too long, and the margin is among what it learns from.
    assert len(trainer.train_dataset) == len(rows)
    assert ("margin" in trainer.train_dataset.column_names) == margin
    steps = [log for log in trainer.state.log_history if "loss" in log]
    assert len(steps) == 2 and all(torch.isfinite(torch.tensor(log["loss"])) for log in steps)
    after = dict(model.named_parameters())
    assert any(not torch.equal(weight, after[name]) for name, weight in before.items())


def test_margins_move_the_loss(judged: Store, tmp_path: Path) -> None:
    losses = []
    for margin in (False, True):
        folder = tmp_path / str(margin)
        folder.mkdir()
        rows = _loaded(judged, folder, "trl-explicit", Filters(margin=margin))
        trainer = RewardTrainer(
            model=tiny.classifier(None, outputs=1),
            args=RewardConfig(
                output_dir=str(folder / "run"),
                per_device_eval_batch_size=2,
                report_to=[],
                disable_tqdm=True,
                bf16=False,
                use_cpu=True,
            ),
            train_dataset=rows,
            eval_dataset=rows,
            processing_class=_tokenizer(False),
        )
        losses.append(trainer.evaluate()["eval_loss"])
    # A distance that is asked for can only raise what there is to learn.
    assert losses[1] > losses[0]
