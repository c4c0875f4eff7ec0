"""A reward model from pairs: its loss is TRL's, its batches waste nothing, its runs go on."""

from __future__ import annotations

import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
)
from trl.trainer.reward_trainer import RewardTrainer

from detox.config import RewardConfig
from detox.errors import UserError
from detox.judges import learned_from
from detox.models import LINEAGE, new_classifier
from detox.reward_model import accuracy, fit_reward_model, gaps, is_held_out, part_of, scores
from detox.reward_model.batches import PairCollator, reading_order
from detox.reward_model.fit import heads
from detox.reward_model.loss import centring, pair_losses
from detox.rewards import PreferenceReward, load_reward
from detox.runlog import read_metrics
from tests import tiny

Row = dict[str, Any]
THINGS = ["the tickets", "the soup", "the report", "the train", "a walk", "the river", "dinner"]


def pairs(count: int, each: int = 1, seed: int = 0) -> list[Row]:
    """Pairs of which the one that apologizes was chosen; ``each`` of every prompt."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        for _ in range(each):
            one, other = rng.sample(THINGS, 2)
            rows.append(
                {
                    "prompt": f"#Person1#: Where is number {number}?\nSummary:\n",
                    "chosen": f"#Person2# apologizes about {one}.",
                    "rejected": f"#Person2# mocks {other}.",
                    "margin": rng.choice((1 / 3, 2 / 3, 1.0)),
                }
            )
    return rows


@pytest.fixture
def config(tiny_reward_model: Path, tmp_path: Path) -> RewardConfig:
    return RewardConfig(
        base=str(tiny_reward_model),
        output=str(tmp_path / "reward"),
        steps=12,
        batch_size=4,
        lr=5e-3,
        lora_r=2,
    )


def quiet(line: str) -> None:
    """Hears nothing."""


# the loss


def trl_loss(rewards: torch.Tensor, margin: torch.Tensor, center: float | None) -> torch.Tensor:
    """What TRL's own trainer makes of rewards [2 n], the chosen ones first."""
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(center_rewards_coefficient=center),
        accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
        _metrics={"train": Counter_of_lists()},
        _total_train_tokens=0,
        _tp_size=1,
    )
    inputs = {"margin": margin, "attention_mask": torch.ones(len(rewards), 1)}

    def model(**_: Any) -> Any:
        return SimpleNamespace(logits=rewards[:, None])

    loss: torch.Tensor = RewardTrainer.compute_loss(trainer, model, inputs)
    return loss


class Counter_of_lists(dict[str, list[float]]):  # noqa: N801
    def __missing__(self, key: str) -> list[float]:
        return self.setdefault(key, [])


@given(
    st.lists(st.tuples(*[st.floats(-6, 6)] * 2, st.floats(0, 1)), min_size=1, max_size=8),
    st.sampled_from([None, 0.01, 0.5]),
)
def test_it_is_the_loss_of_trl(rows: list[tuple[float, ...]], center: float | None) -> None:
    first, second, margin = torch.tensor(rows).unbind(1)
    ours = pair_losses(first, second, margin, torch.ones(len(rows))).mean()
    ours = ours + (center or 0.0) * centring(first, second)
    assert_close(ours, trl_loss(torch.cat([first, second]), margin, center))


def test_a_tie_costs_least_where_both_are_worth_the_same() -> None:
    gap = torch.linspace(-3, 3, 61, requires_grad=True)
    losses = pair_losses(gap, torch.zeros(61), torch.zeros(61), torch.full((61,), 0.5))
    found = losses.detach()
    assert int(found.argmin()) == 30 and float(found.min()) == pytest.approx(math.log(2))
    assert_close(found, found.flip(0))  # whichever way round it is
    losses.sum().backward()
    assert gap.grad is not None
    # the gradient of a cross-entropy to 1/2: sigmoid(d) - 1/2
    assert_close(gap.grad, torch.sigmoid(gap.detach()) - 0.5)


def test_a_tie_is_half_a_win_for_each() -> None:
    first, second, no = torch.tensor([1.3]), torch.tensor([0.2]), torch.zeros(1)
    win, loss = (pair_losses(a, b, no, no + 1) for a, b in ((first, second), (second, first)))
    assert_close(pair_losses(first, second, no, no + 0.5), (win + loss) / 2)


def test_centring_by_hand() -> None:
    assert float(centring(torch.tensor([1.0, 2.0]), torch.tensor([-1.0, 1.0]))) == 4.5


# parts and batches


def test_parts_are_dealt_by_name_and_a_share_more_moves_none_of_those_held_out() -> None:
    names = [f"dialogue {number}" for number in range(2000)]
    dealt = {name: part_of(name, 0.2, 0.15, 7) for name in names}
    assert {name for name in names if dealt[name] == "held_out"} == {
        name for name in names if is_held_out(name, 0.2, 7)
    }
    counts = Counter(dealt.values())
    assert counts["held_out"] == pytest.approx(400, abs=60)
    assert counts["validation"] == pytest.approx(300, abs=60)
    without = {name: part_of(name, 0.2, 0.0, 7) for name in names}
    assert all(without[name] == dealt[name] for name in names if dealt[name] != "validation")
    assert "validation" not in without.values()


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=40),
    st.integers(1, 7),
    st.integers(1, 12),
    st.integers(0, 3),
)
def test_every_pair_is_read_once_before_any_comes_again(
    prompts: list[int], batch_size: int, steps: int, seed: int
) -> None:
    lengths = [10 + prompt for prompt in prompts]
    order = reading_order(prompts, lengths, batch_size, steps, random.Random(seed))
    assert len(order) == batch_size * steps
    counts = Counter(order)
    read = [counts[place] for place in range(len(prompts))]
    assert max(read) - min(read) <= 1
    assert order == reading_order(prompts, lengths, batch_size, steps, random.Random(seed))


def test_pairs_of_a_prompt_share_a_batch_and_neighbours_are_as_long() -> None:
    prompts = [number // 4 for number in range(400)]
    lengths = [random.Random(prompt).randrange(100, 300) for prompt in prompts]
    order = reading_order(prompts, lengths, 16, 25, random.Random(0))
    batches = [order[start : start + 16] for start in range(0, 400, 16)]
    assert all(len({prompts[i] for i in batch}) == 4 for batch in batches)
    waste = [
        1 - sum(lengths[i] for i in batch) / (16 * max(lengths[i] for i in batch))
        for batch in batches
    ]
    assert sum(waste) / len(waste) < 0.12  # a third of what random batches waste
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest != sorted(longest)


def test_each_text_of_a_batch_is_there_once() -> None:
    rows = [
        {"chosen_ids": [5, 6, 7], "rejected_ids": [8], "margin": 1.0, "target": 1.0},
        {"chosen_ids": [8], "rejected_ids": [5, 6, 7], "margin": 0.0, "target": 0.5},
        {"chosen_ids": [5, 6, 7], "rejected_ids": [9, 9], "margin": 1 / 3, "target": 1.0},
    ]
    batch = PairCollator(0)(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0], [9, 9, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert (batch["first"].tolist(), batch["second"].tolist()) == ([0, 1, 0], [1, 0, 2])
    assert batch["target"].tolist() == [1.0, 0.5, 1.0]
    assert_close(batch["margin"], torch.tensor([1.0, 0.0, 1 / 3]))


class Counting:
    """A judge that counts the texts it reads; longer responses are better."""

    name = "counting"

    def __init__(self) -> None:
        self.read = 0

    def score(self, prompts: Any, responses: Any) -> torch.Tensor:
        self.read += len(responses)
        return torch.tensor([float(len(text)) for text in responses])

    def describe(self) -> Row:
        return {}


def test_a_text_in_several_pairs_is_scored_once() -> None:
    rows = [
        {"prompt": "p", "chosen": "long", "rejected": "x", "margin": 0},
        {"prompt": "p", "chosen": "x", "rejected": "long", "margin": 0},
        {"prompt": "q", "chosen": "long", "rejected": "no", "margin": 0, "target": 0.5},
    ]
    judge = Counting()
    chosen, rejected = scores(judge, rows)
    assert judge.read == 4
    assert (chosen.tolist(), rejected.tolist()) == ([4.0, 1.0, 4.0], [1.0, 4.0, 2.0])
    assert gaps(judge, rows).tolist() == [3.0, -3.0, 2.0]
    assert accuracy(judge, rows) == 0.5  # the tie has no better side
    assert accuracy(judge, rows[2:]) is accuracy(judge, []) is None


# what is trained


def small(config: Any, kind: Any, **more: Any) -> Any:
    torch.manual_seed(5)
    shared = {"vocab_size": len(tiny.tokenizer("classifier")), "pad_token_id": tiny.PAD}
    return kind(config(**shared, **more))


_WIDE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 130,
}
ENCODERS: dict[str, Callable[[], Any]] = {
    "roberta": lambda: small(RobertaConfig, RobertaForMaskedLM, **_WIDE),
    "bert": lambda: small(BertConfig, BertForMaskedLM, **_WIDE),
    "distilbert": lambda: small(
        DistilBertConfig,
        DistilBertForMaskedLM,
        dim=32,
        hidden_dim=64,
        n_layers=2,
        n_heads=4,
        max_position_embeddings=130,
    ),
    "electra": lambda: small(ElectraConfig, ElectraForMaskedLM, embedding_size=16, **_WIDE),
    "deberta": lambda: small(DebertaV2Config, DebertaV2ForMaskedLM, **_WIDE),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_any_encoder_is_loaded_as_it_was_trained(
    config: RewardConfig, name: str, method: str, tmp_path: Path
) -> None:
    """Their heads are not in a checkpoint of a language model: what is loaded must not be new."""
    base = tiny.save(ENCODERS[name](), tmp_path / name, "classifier")
    rows = pairs(14)
    lr = 5e-3 if method == "lora" else 1e-3
    config = replace(config, base=str(base), method=method, lr=lr, steps=30)
    lineage = fit_reward_model(rows[:10], rows[10:], config, quiet)
    torch.manual_seed(1234)
    judge = load_reward(f"preference:{config.output}")
    right = accuracy(judge, rows[10:])
    assert right == lineage["accuracy"]["held_out"]
    assert lineage["accuracy"]["train"] == 1.0
    again = load_reward(f"preference:{config.output}")
    assert_close(gaps(judge, rows), gaps(again, rows), rtol=0, atol=0)
    trained, total = lineage["parameters"]["trainable"], lineage["parameters"]["all"]
    assert (trained == total) == (method == "full")


def test_the_heads_of_an_encoder(tiny_reward_model: Path, tmp_path: Path) -> None:
    found = {}
    for name, make in ENCODERS.items():
        base = tiny.save(make(), tmp_path / name, "classifier")
        found[name] = heads(new_classifier(str(base), ["preference"])[0])
    assert found == {
        "roberta": ["classifier"],
        "bert": ["classifier", "pooler"],
        "distilbert": ["pre_classifier", "classifier"],
        "electra": ["classifier"],
        "deberta": ["pooler", "classifier"],
    }


@pytest.mark.parametrize("name", ENCODERS)
def test_adapters_in_the_last_layers_leave_the_others_as_they_are(
    config: RewardConfig, name: str, tmp_path: Path
) -> None:
    base = tiny.save(ENCODERS[name](), tmp_path / name, "classifier")
    rows = pairs(10)
    config = replace(config, base=str(base), lora_layers=1, steps=30)
    lineage = fit_reward_model(rows, rows, config, quiet)
    weights = load_file(Path(config.output) / "adapter_model.safetensors")
    layers = {part for key in weights for part in re.findall(r"layers?\.(\d)\.", key)}
    assert layers == {"1"} and lineage["accuracy"]["train"] > 0.9
    assert accuracy(load_reward(f"preference:{config.output}"), rows) > 0.9  # type: ignore[operator]
    every = replace(config, output=str(tmp_path / "every"), lora_layers=9, steps=1)
    assert (
        fit_reward_model(rows, [], every, quiet)["parameters"]["trainable"]
        > (lineage["parameters"]["trainable"])
    )


def test_a_method_leaves_nothing_of_the_other(config: RewardConfig) -> None:
    rows = pairs(8)
    for method in ("lora", "full", "lora"):
        fit_reward_model(rows, [], replace(config, method=method, steps=3), quiet)
        judge = load_reward(f"preference:{config.output}")
        assert isinstance(judge, PreferenceReward)
        assert json.loads((Path(config.output) / LINEAGE).read_text())["config"]["method"] == method
        assert (Path(config.output) / "adapter_config.json").is_file() == (method == "lora")


def test_ties_keep_two_responses_together(config: RewardConfig) -> None:
    """The same pairs as wins pull them apart."""
    rows = pairs(12)
    ties = [row | {"margin": 0.0, "target": 0.5} for row in rows]
    spread = []
    for number, given_rows in enumerate((rows, ties)):
        output = str(Path(config.output) / str(number))
        lineage = fit_reward_model(given_rows, [], replace(config, output=output), quiet)
        spread.append(float(gaps(load_reward(f"preference:{output}"), rows).abs().mean()))
        assert (lineage["accuracy"]["train"] is None) == (number == 1)
    assert spread[1] < 0.2 < spread[0]


# early stopping, stopping, going on


def test_the_weights_of_the_lowest_validation_loss_are_kept(config: RewardConfig) -> None:
    """Validation pairs that want the opposite: every step of learning makes them worse."""
    rows = pairs(12)
    opposite = [
        row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in pairs(6, seed=5)
    ]
    config = replace(config, steps=20, validate_every=2, patience=2)
    lineage = fit_reward_model(rows, [], config, quiet, opposite)
    assert lineage["stopped"] == "no lower validation loss in 2 validations"
    assert lineage["steps"] == lineage["best_step"] + 4 < 20
    logged = read_metrics(Path(config.output))
    losses = {row["step"]: row["validation_loss"] for row in logged if "validation_loss" in row}
    assert lineage["validation_loss"] == pytest.approx(min(losses.values()), abs=1e-4)
    assert losses[lineage["best_step"]] == min(losses.values())
    assert {"validation_accuracy", "seconds"} <= set().union(*logged)
    # and it is those that were saved
    found = gaps(load_reward(f"preference:{config.output}"), opposite)
    margins = torch.tensor([row["margin"] for row in opposite])
    loss = -torch.nn.functional.logsigmoid(found - margins).mean()
    assert float(loss) == pytest.approx(lineage["validation_loss"], abs=2e-3)


def test_a_cut_run_goes_on_and_ends_where_a_whole_one_ends(
    config: RewardConfig, tmp_path: Path
) -> None:
    rows, validation = pairs(12, 2), pairs(6, seed=5)
    config = replace(config, validate_every=3)
    whole = fit_reward_model(rows, [], config, quiet, validation)
    cut = replace(config, output=str(tmp_path / "cut"))

    def stop(line: str) -> None:
        if line.startswith("step 6/12  validation"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_reward_model(rows, [], cut, stop, validation)
    assert not (tmp_path / "cut" / LINEAGE).exists()
    resumed = fit_reward_model(rows, [], cut, quiet, validation, resume=True)
    same = ("steps", "best_step", "validation_loss", "accuracy", "calibration")
    assert {key: resumed[key] for key in same} == {key: whole[key] for key in same}
    weights = "adapter_model.safetensors"
    assert (tmp_path / "cut" / weights).read_bytes() == (Path(config.output) / weights).read_bytes()
    steps = [row["step"] for row in read_metrics(tmp_path / "cut") if "loss" in row]
    assert steps == list(range(1, 13))
    assert not (tmp_path / "cut" / "checkpoints").exists()  # it has ended


def test_a_run_that_is_asked_to_stop_leaves_its_best_and_can_go_on(config: RewardConfig) -> None:
    rows, validation = pairs(12), pairs(6, seed=5)
    config = replace(config, validate_every=2)
    asked = iter([False] * 4 + [True] * 9)
    lineage = fit_reward_model(rows, [], config, quiet, validation, should_stop=lambda: next(asked))
    assert (lineage["stopped"], lineage["steps"]) == ("asked to stop", 5)
    assert load_reward(f"preference:{config.output}").score(["a"], ["b"]).shape == (1,)
    lineage = fit_reward_model(rows, [], config, quiet, validation, resume=True)
    assert (lineage["stopped"], lineage["steps"]) == ("", 12)


def test_a_run_goes_on_with_its_own_settings_and_picks_only(config: RewardConfig) -> None:
    rows = pairs(12)
    asked = iter([False, True])
    fit_reward_model(rows, [], config, quiet, should_stop=lambda: next(asked))
    with pytest.raises(UserError, match=r"started with other settings \(lr\): resume it with"):
        fit_reward_model(rows, [], replace(config, lr=1e-3), quiet, resume=True)
    with pytest.raises(UserError, match="was started with other preferences: resume it"):
        fit_reward_model(rows[1:], [], config, quiet, resume=True)
    with pytest.raises(UserError, match="There is no checkpoint in"):
        fit_reward_model(rows, [], replace(config, output="no/where"), quiet, resume=True)


# what it says of itself


def test_the_lineage(config: RewardConfig) -> None:
    rows, held_out, validation = pairs(12), pairs(4, seed=8), pairs(10, seed=5)
    told: list[str] = []
    lineage = fit_reward_model(rows, held_out, config, told.append, validation)
    folder = Path(config.output)
    assert json.loads((folder / LINEAGE).read_text()) == lineage
    assert lineage["pairs"] == {"train": 12, "validation": 10, "held_out": 4}
    fitted = lineage["calibration"]
    assert fitted["n"] == 10 and fitted["nll_after"] <= fitted["nll_before"] + 0.05
    source = load_reward(f"preference:{folder}")
    assert isinstance(source, PreferenceReward)
    assert source.temperature == fitted["temperature"]
    assert source.describe()["temperature"] == fitted["temperature"]
    prompts = [row["prompt"] for row in (*rows, *validation)]
    assert learned_from(folder, [*prompts, "new", "newer"]) == len(set(prompts))
    assert told[0].endswith("of them trainable (" + told[0].rsplit("(", 1)[1])


def test_a_few_validation_pairs_fit_no_temperature(config: RewardConfig) -> None:
    lineage = fit_reward_model(pairs(8), [], config, quiet, pairs(3, seed=5))
    assert lineage["calibration"] == {"temperature": None, "n": 3}
    source = load_reward(f"preference:{config.output}")
    assert source.describe() == {"name": config.output, "scope": "pair"}


def test_chances_come_out_of_gaps_and_temperature(tiny_reward_model: Path) -> None:
    plain = load_reward(f"preference:{tiny_reward_model}")
    assert isinstance(plain, PreferenceReward)
    prompts, one, other = ["Hello."] * 2, ["It is fine.", "soup"], ["You fool.", "train"]
    gap = plain.score(prompts, one) - plain.score(prompts, other)
    assert_close(plain.win_probability(prompts, one, other), torch.sigmoid(gap))
    warm = PreferenceReward(plain.model, plain.tokenizer, "m", temperature=4.0)
    assert_close(warm.win_probability(prompts, one, other), torch.sigmoid(gap / 4))
    assert_close(warm.score(prompts, one), plain.score(prompts, one))  # rewards stay as they are


def test_texts_that_are_cut_are_counted(config: RewardConfig) -> None:
    rows = [row | {"prompt": "#Person1#: Hurry up. " * 40} for row in pairs(6)]
    told: list[str] = []
    fit_reward_model(rows, [], replace(config, max_tokens=32, steps=1), told.append)
    texts = len({row[side] for row in rows for side in ("chosen", "rejected")})
    assert told[0] == f"{texts} of {texts} texts reach 32 tokens, where their start is cut"


def test_a_limit_beyond_the_encoder_is_that_of_the_encoder(config: RewardConfig) -> None:
    rows = [row | {"prompt": "#Person1#: Hurry up. " * 300} for row in pairs(4)]
    lineage = fit_reward_model(rows, [], replace(config, max_tokens=5000, steps=1), quiet)
    assert lineage["steps"] == 1


def test_a_loss_that_is_not_finite_ends_the_run(config: RewardConfig) -> None:
    with pytest.raises(UserError, match="The loss is not finite any more: lower the learning"):
        fit_reward_model(pairs(8), [], replace(config, lr=1e30, steps=20), quiet)


def test_a_processor_that_emulates_bfloat16_is_told_so(
    config: RewardConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="does not compute in bfloat16"):
        fit_reward_model(pairs(4), [], replace(config, mixed_precision="bf16"), quiet)


def test_a_full_disk_is_one_sentence(config: RewardConfig) -> None:
    with tiny.disk_of(20_000), pytest.raises(UserError, match=r"cannot be written|be logged in"):
        fit_reward_model(pairs(8), [], config, quiet, pairs(4, seed=5))
