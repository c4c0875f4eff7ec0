"""PPO runs on tiny models: exact at the first step, repeatable, guarded, and able to learn."""

from __future__ import annotations

import json
import math
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from detox.config import Lora, PpoConfig, Sampling
from detox.data import load_dialogues
from detox.errors import UserError
from detox.generation import generate
from detox.models import (
    LINEAGE,
    add_adapter,
    find_source,
    fingerprint,
    load_policies,
    load_policy,
    save_adapter,
)
from detox.ppo import trainer
from detox.ppo.checkpoint import CHECKPOINT
from detox.ppo.step import batch_of, ppo_step
from detox.ppo.trainer import train_ppo
from detox.rewards import MixedReward
from detox.runlog import read_metrics
from detox.tasks import SENTIMENT
from tests import tiny

Row = dict[str, Any]
WORDS = ["stupid", "tickets", "soup", "dinner", "walk", "river", "train", "sorry"]
# What each kind of tiny model learns well with: learning rate and steps.
LEARNING = {"t5": (3e-3, 15), "causal": (1.5e-2, 30)}


class Rule:
    """A reward that a few lines of Python can give; remembers what it was asked."""

    name = "rule"

    def __init__(self, rule: Callable[[str], float]) -> None:
        self.rule = rule
        self.seen: list[list[str]] = []

    def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
        self.seen.append(list(responses))
        return torch.tensor([self.rule(text) for text in responses], dtype=torch.float32)

    def describe(self) -> Row:
        return {"name": self.name}


def letters(text: str) -> float:
    """Share of letters among the characters of ``text``."""
    return sum(c.isalpha() and c.isascii() for c in text) / max(1, len(text))


class Cut(Exception):  # noqa: N818  nothing is wrong with the run
    """The machine goes off."""


def train(config: PpoConfig, cut_at: int = 0, **options: Any) -> Row:
    """A run that tells nobody; cut off once step ``cut_at`` is logged and before it is saved."""

    def tell(line: str) -> None:
        if line.startswith(f"step {cut_at}/"):
            raise Cut

    return train_ppo(config, **({"source": Rule(letters), "tell": tell} | options))


def metrics(config: PpoConfig) -> list[Row]:
    """The numbers of a run, except how long things took."""
    rows = read_metrics(Path(config.output))
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


def weights(config: PpoConfig) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(Path(config.output) / "adapter_model.safetensors")
    return tensors


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def untouched(tensors: dict[str, torch.Tensor]) -> bool:
    """Whether an adapter changes nothing: B is 0 everywhere."""
    return all(not x.any() for name, x in tensors.items() if "lora_B" in name)


@pytest.fixture(scope="module")
def befores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An adapter on each kind of model, as supervised training would leave it."""
    folders = {}
    for kind, model, style in (
        ("t5", tiny.t5(), "seq2seq"),
        ("causal", tiny.causal(), "causal"),
    ):
        if kind == "t5":
            model.lm_head.weight.data *= 5  # as it is drawn, its opinions are too faint to change
        base = tiny.save(model, tmp_path_factory.mktemp(kind), style)
        task = "SEQ_2_SEQ_LM" if kind == "t5" else "CAUSAL_LM"
        adapted = add_adapter(load_policy(str(base)).model, Lora(r=4, alpha=8), task, 0)
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.normal_(0, 0.05)
        folders[kind] = tmp_path_factory.mktemp(kind) / "sft"
        save_adapter(adapted, folders[kind], {"base": str(base), "parent": None})
    return folders


@pytest.fixture(params=["t5", "causal"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of model in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def four_steps(
    befores: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, PpoConfig]:
    """Four steps of eight short responses on each kind of model, run from end to end."""
    folder = tmp_path_factory.mktemp("whole")
    data = folder / "dialogues.jsonl"
    data.write_text(
        "".join(json.dumps({"dialogue": f"#Person1#: {word}"}) + "\n" for word in WORDS[:6]),
        encoding="utf-8",
    )
    configs = {
        kind: PpoConfig(
            policy=str(before),
            data=str(data),
            output=str(folder / kind),
            steps=4,
            batch_size=8,
            mini_batch_size=4,
            lr=1e-2,
            lora_r=4,
            lora_alpha=8,
            min_response_tokens=3,
            max_response_tokens=6,
            min_dialogue_chars=1,
            save_every=2,
        )
        for kind, before in befores.items()
    }
    for config in configs.values():
        train(config)
    return configs


@pytest.fixture
def whole(four_steps: dict[str, PpoConfig]) -> PpoConfig:
    """The run on the causal model, to be read and not run again."""
    return four_steps["causal"]


@pytest.fixture
def config(whole: PpoConfig, tmp_path: Path) -> PpoConfig:
    """The same run, not begun, in a folder of its own."""
    return replace(whole, output=str(tmp_path / "ppo"))


@pytest.fixture
def each_whole(four_steps: dict[str, PpoConfig], kind: str) -> PpoConfig:
    """``whole`` for each kind of model in turn."""
    return four_steps[kind]


@pytest.fixture
def each_config(each_whole: PpoConfig, tmp_path: Path) -> PpoConfig:
    """``config`` for each kind of model in turn."""
    return replace(each_whole, output=str(tmp_path / "ppo"))


# exactness


def test_the_first_kl_is_exactly_0_and_every_first_ratio_exactly_1(each_whole: PpoConfig) -> None:
    settings = load_policy(each_whole.policy).model.config
    assert getattr(settings, "dropout_rate", None) or settings.attention_dropout  # and yet:
    rows = metrics(each_whole)
    assert rows[0]["objective/kl"] == 0.0
    assert [row["ppo/ratio_first"] for row in rows] == [1.0] * 4
    assert rows[-1]["objective/kl"] != 0.0


def test_products_in_bfloat16_leave_the_first_kl_0_and_first_ratios_1(
    each_config: PpoConfig, each_whole: PpoConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "check_bfloat16", lambda: None)  # tiny models may be emulated
    mixed = replace(each_config, mixed_precision="bf16")
    train(mixed)
    rows, exact = metrics(mixed), metrics(each_whole)
    assert rows[0]["objective/kl"] == 0.0
    assert [row["ppo/ratio_first"] for row in rows] == [1.0] * 4
    # responses are drawn in float32, and what is thought of them is rounded
    assert rows[0]["env/reward_mean"] == exact[0]["env/reward_mean"]
    assert rows[0]["objective/entropy"] != exact[0]["objective/entropy"]
    assert rows[0]["objective/entropy"] == pytest.approx(exact[0]["objective/entropy"], rel=0.02)


def test_bfloat16_is_refused_where_it_would_be_emulated(
    config: PpoConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False})
    with pytest.raises(UserError, match="does not compute in bfloat16"):
        train(replace(config, mixed_precision="bf16"))


def test_a_run_that_collapses_stops_and_keeps_its_last_checkpoint(config: PpoConfig) -> None:
    # every response is as long as it may be, so the limits that are drawn decide when
    drawn = replace(config, steps=30, save_every=4, collapse_stop=0.98)
    told: list[str] = []
    lineage = train(drawn, tell=told.append)
    assert "responses shrank from" in lineage["stopped"]
    assert 8 <= lineage["steps"] < 30 and lineage["steps"] % 4 == 0
    assert told[-1] == f"stopped: {lineage['stopped']}"
    assert train(replace(drawn, steps=10, collapse_stop=0))["stopped"] == ""


def test_rouge_keeps_to_the_references_of_each_prompt(config: PpoConfig, tmp_path: Path) -> None:
    data = tmp_path / "with-references.jsonl"
    rows = [{"dialogue": f"#Person1#: {word}", "summary": word} for word in WORDS[:6]]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lineage = train(replace(config, data=str(data), reward="rouge", steps=2), source=None)
    assert lineage["reward"] == {"name": "rouge", "prompts": 6}
    with pytest.raises(UserError, match="needs dialogues with references"):
        train(replace(config, reward="rouge"), source=None)


def test_log_probabilities_from_generation_spare_a_pass_and_change_nothing_else(
    each_config: PpoConfig, each_whole: PpoConfig
) -> None:
    train(replace(each_config, logprobs="generation"))
    first = metrics(each_config)[0]
    assert first["objective/kl"] == pytest.approx(0, abs=1e-5)
    assert first["ppo/ratio_first"] == pytest.approx(1, abs=1e-5)
    for row, expected in zip(metrics(each_config), metrics(each_whole), strict=True):
        assert row == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("kind", ["t5"])
def test_an_adapter_in_the_decoder_leaves_the_encoder_alone(
    each_config: PpoConfig, kind: str
) -> None:
    decoder = replace(each_config, lora_placement="decoder")
    train(decoder)
    rows = metrics(decoder)
    assert rows[0]["objective/kl"] == 0.0
    assert [row["ppo/ratio_first"] for row in rows] == [1.0] * 4
    assert rows[-1]["objective/kl"] > 0.0
    found = weights(decoder)
    assert found and not any("encoder." in name for name in found)
    assert any("EncDecAttention" in name for name in found)


def test_micro_batches_add_up_to_the_mini_batch(
    each_config: PpoConfig, each_whole: PpoConfig
) -> None:
    train(replace(each_config, micro_batch_size=2))
    for row, expected in zip(metrics(each_config), metrics(each_whole), strict=True):
        assert row == pytest.approx(expected, abs=1e-3)
    assert metrics(each_config)[0]["ppo/ratio_first"] == 1.0


def test_a_response_of_one_token_is_trained(each_config: PpoConfig) -> None:
    one = replace(each_config, min_response_tokens=1, max_response_tokens=1, steps=2)
    train(one)
    rows = metrics(one)
    assert [row["tokens/response_mean"] for row in rows] == [1.0, 1.0]
    assert all(row["ppo/grad_norm"] > 0 for row in rows)
    assert rows[1]["objective/kl"] != 0.0


def test_all_of_the_adapter_and_the_value_head_move_and_nothing_else(
    each_config: PpoConfig,
) -> None:
    told: list[str] = []
    state, tokenizer = trainer._start(each_config, told.append)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    head = {name: p.detach().clone() for name, p in state.head.named_parameters()}
    for state.step in range(3):
        ppo_step(state, tokenizer, Rule(letters), [f"#Person1#: {w}" for w in WORDS], each_config)
    moved = {n for n, p in state.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {name for name in before if "lora_" in name}
    assert all(not torch.equal(p, head[n]) for n, p in state.head.named_parameters())
    count = sum(before[name].numel() for name in moved)
    assert f"{count:,} of them trainable (+ 33 in the value head)" in told[0]


def test_the_numbers_of_a_step_are_told(config: PpoConfig) -> None:
    rule = Rule(letters)
    train(replace(config, steps=2), source=rule)
    for row, seen in zip(metrics(config), rule.seen, strict=True):
        scores = [letters(text) for text in seen]
        assert row["env/reward_mean"] == pytest.approx(statistics.mean(scores), abs=1e-6)
        assert row["env/reward_std"] == pytest.approx(statistics.stdev(scores), abs=1e-6)
        assert 1 <= row["tokens/response_mean"] <= 6
        assert row["objective/entropy"] > 0
        assert row["ppo/policy/advantages_mean"] == pytest.approx(0, abs=1e-5)
        assert all(math.isfinite(value) for value in row.values())
    assert metrics(config)[0]["objective/kl_coef"] == 0.05
    # a KL of 0 lies below the target of 4: the leash is let out by a fifth of 8 / 1000
    assert metrics(config)[1]["objective/kl_coef"] == pytest.approx(0.05 * (1 - 0.2 * 8 / 1000))


# repeatability


def test_a_seed_decides_everything(config: PpoConfig, whole: PpoConfig, tmp_path: Path) -> None:
    other = replace(config, output=str(tmp_path / "other"), seed=1)
    torch.manual_seed(2)
    train(config)
    train(other)
    assert metrics(config) == metrics(whole) and same(weights(config), weights(whole))
    assert metrics(other) != metrics(whole) and not same(weights(other), weights(whole))


def test_a_resumed_run_equals_an_uninterrupted_one(
    each_config: PpoConfig, each_whole: PpoConfig
) -> None:
    with pytest.raises(Cut):
        train(each_config, cut_at=3)
    lineage = train(each_config, resume=True)
    assert metrics(each_config) == metrics(each_whole)
    assert [row["step"] for row in metrics(each_config)] == [1, 2, 3, 4]
    assert same(weights(each_config), weights(each_whole))
    assert lineage["steps"] == 4 and lineage["stopped"] == ""


def test_a_run_that_is_over_may_be_prolonged(config: PpoConfig, whole: PpoConfig) -> None:
    train(replace(config, steps=1))
    train(config, resume=True)
    assert metrics(config) == metrics(whole) and same(weights(config), weights(whole))


def test_a_run_that_was_cut_off_at_once_can_be_resumed(config: PpoConfig, whole: PpoConfig) -> None:
    with pytest.raises(Cut):
        train(config, cut_at=1)
    train(config, resume=True)
    assert metrics(config) == metrics(whole) and same(weights(config), weights(whole))


def test_every_query_comes_once_before_any_comes_again(config: PpoConfig) -> None:
    five = replace(config, batch_size=4)
    drawn = [query for step in range(6) for query in batch_of(WORDS, step, five)]
    epochs = [drawn[i : i + 8] for i in range(0, 24, 8)]
    assert all(sorted(epoch) == sorted(WORDS) for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert batch_of(WORDS, 0, replace(five, seed=1)) != batch_of(WORDS, 0, five)


# learning


def learned(config: PpoConfig, kind: str, sign: float = 1.0, **changes: Any) -> list[Row]:
    """A run that learns to write more letters, or fewer, without a leash."""
    lr, steps = LEARNING[kind]
    long = replace(
        config,
        steps=steps,
        batch_size=32,
        mini_batch_size=32,
        lr=lr,
        max_response_tokens=3,
        save_every=steps,
        **{"kl_coef": 0.0, "kl_horizon": 0} | changes,
    )
    train(long, source=Rule(lambda text: sign * letters(text)))
    return metrics(long)


def gain(rows: list[Row]) -> float:
    """Mean reward of the last five steps minus the first five, in standard errors."""
    ends = rows[:5], rows[-5:]
    means = [statistics.mean(row["env/reward_mean"] for row in end) for end in ends]
    variances = [statistics.mean(row["env/reward_std"] ** 2 for row in end) for end in ends]
    return (means[1] - means[0]) / math.sqrt(sum(variance / (5 * 32) for variance in variances))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_reward_is_learned_whatever_its_sign(
    each_config: PpoConfig, kind: str, sign: float
) -> None:
    rows = learned(each_config, kind, sign)
    # the reward is sign * letters: with -1 it rises because letters get rarer
    assert gain(rows) > 3


def test_a_tight_leash_keeps_the_policy_where_it_is(each_config: PpoConfig, kind: str) -> None:
    rows = learned(each_config, kind, kl_coef=30.0)
    assert abs(gain(rows)) < 3
    assert statistics.mean(row["objective/kl"] for row in rows[-5:]) < 0.5


# guards


def test_a_score_that_is_no_number_ends_the_run_with_its_last_good_step(
    config: PpoConfig, tmp_path: Path
) -> None:
    two = replace(config, steps=2, output=str(tmp_path / "two"))
    train(two)
    rule = Rule(letters)
    rule.rule = lambda text: letters(text) if len(rule.seen) < 4 else math.nan
    lineage = train(config, source=rule)
    assert lineage["stopped"] == "the reward source gave a number that is not finite"
    assert lineage["steps"] == 2
    assert same(weights(config), weights(two))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_run_that_goes_wrong_at_once_keeps_the_reference(
    config: PpoConfig, whole: PpoConfig, value: float
) -> None:
    # what an earlier run left in the folder is no state to go back to
    shutil.copytree(whole.output, config.output)
    assert not untouched(weights(config))
    lineage = train(config, source=Rule(lambda text: value))
    assert lineage["steps"] == 0
    assert untouched(weights(config))
    assert metrics(config) == []


def test_a_loss_that_is_no_number_is_taken_back(config: PpoConfig) -> None:
    # the square of this error is more than float32 holds
    lineage = train(config, source=Rule(lambda text: 1e30))
    assert lineage["stopped"] == "the loss is not finite" and lineage["steps"] == 0
    assert untouched(weights(config))


def test_a_policy_that_strays_too_far_is_taken_back(config: PpoConfig, tmp_path: Path) -> None:
    wild = replace(config, lr=0.05, kl_stop=0.05, save_every=1)
    one = replace(config, lr=0.05, steps=1, output=str(tmp_path / "one"))
    lineage = train(wild)
    # the second step finds what the first one did
    rows = metrics(wild)
    assert [row["objective/kl"] > 0.05 for row in rows] == [False, True]
    assert lineage["stopped"] == f"KL {rows[1]['objective/kl']:.1f} passed kl_stop 0.05"
    assert lineage["steps"] == 1
    train(one)
    assert same(weights(wild), weights(one))
    content = torch.load(Path(wild.output) / CHECKPOINT, weights_only=True)
    assert content["step"] == 1


def test_rewards_of_0_teach_nothing(each_config: PpoConfig) -> None:
    lineage = train(each_config, source=Rule(lambda text: 0.0))
    assert lineage["stopped"] == ""
    assert [row["objective/kl"] for row in metrics(each_config)] == [0.0] * 4
    assert untouched(weights(each_config))


def test_rewards_that_are_all_the_same_do_no_harm(config: PpoConfig) -> None:
    lineage = train(config, source=Rule(lambda text: 5.0))
    assert lineage["stopped"] == "" and lineage["steps"] == 4
    assert all(math.isfinite(value) for row in metrics(config) for value in row.values())


def test_a_mini_batch_with_too_large_a_ratio_is_skipped(config: PpoConfig) -> None:
    train(replace(config, ratio_threshold=0.5))  # even a ratio of 1 is too large then
    assert [row["ppo/skipped"] for row in metrics(config)] == [1.0] * 4
    assert untouched(weights(config))


def test_a_source_that_fails_fails_the_run_and_its_checkpoint_stays(
    config: PpoConfig, whole: PpoConfig
) -> None:
    rule = Rule(letters)

    def fail(text: str) -> float:
        if len(rule.seen) == 4:
            raise UserError("The judge has gone home.")
        return letters(text)

    rule.rule = fail
    with pytest.raises(UserError, match=r"^The judge has gone home\.$"):
        train(config, source=rule)
    train(config, resume=True)
    assert same(weights(config), weights(whole))


def test_a_run_stops_when_it_is_asked_to(config: PpoConfig) -> None:
    rule = Rule(letters)
    lineage = train(config, source=rule, should_stop=lambda: len(rule.seen) == 3)
    assert lineage["stopped"] == "asked to stop" and lineage["steps"] == 3
    assert len(metrics(config)) == 3 and not untouched(weights(config))


# resuming what cannot be resumed


def test_nothing_to_resume(config: PpoConfig) -> None:
    with pytest.raises(UserError, match=r"There is no checkpoint in .*ppo to resume from: start"):
        train(config, resume=True)


@pytest.mark.parametrize("changes", [{"lr": 1.0}, {"seed": 3}, {"lora_r": 1}, {"policy": "causal"}])
def test_other_settings_than_the_run_began_with(
    config: PpoConfig, befores: dict[str, Path], changes: Row
) -> None:
    train(replace(config, steps=1))
    if "policy" in changes:
        changes = {"policy": find_source(str(befores["causal"])).base}
    with pytest.raises(UserError, match=rf"started with other settings \({next(iter(changes))}\)"):
        train(replace(config, **changes), resume=True)


def test_another_kind_of_reward_than_the_run_began_with(config: PpoConfig) -> None:
    train(replace(config, steps=1))
    mixed = MixedReward([Rule(letters)], [1.0])
    with pytest.raises(UserError, match="does not belong to this policy and adapter"):
        train(config, resume=True, source=mixed)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint(config: PpoConfig, content: bytes | None) -> None:
    train(replace(config, steps=1))
    path = Path(config.output) / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-2000] if content is None else content)
    with pytest.raises(UserError, match=rf"{CHECKPOINT} is damaged: start anew\.$"):
        train(config, resume=True)


def test_a_full_disk(config: PpoConfig) -> None:
    train(replace(config, steps=1))
    size = (Path(config.output) / CHECKPOINT).stat().st_size
    with (
        tiny.disk_of(size // 2),
        pytest.raises(UserError, match=r"The checkpoint cannot be written to .*: free some disk"),
    ):
        train(config, resume=True)
    assert not list(Path(config.output).glob("*.partial"))
    train(config, resume=True)  # the checkpoint of before is still whole


# mixed rewards


def test_a_mixture_is_standardised_on_the_reference_and_keeps_its_numbers(
    config: PpoConfig, tmp_path: Path
) -> None:
    def mixture() -> MixedReward:
        return MixedReward([Rule(letters), Rule(len)], [0.7, 0.3])

    mixed = mixture()
    whole = replace(config, output=str(tmp_path / "whole"))
    lineage = train(whole, source=mixed)
    for rule, mean, std in zip(mixed.sources, mixed.means, mixed.stds, strict=True):
        assert isinstance(rule, Rule)
        # sixteen responses before the first step, then eight a step
        assert [len(seen) for seen in rule.seen] == [16, 8, 8, 8, 8]
        scores = [rule.rule(text) for text in rule.seen[0]]
        assert mean == pytest.approx(statistics.mean(scores), rel=1e-5)
        assert std == pytest.approx(statistics.stdev(scores), rel=1e-5)
    numbers = {"means": mixed.means, "stds": mixed.stds}
    assert {key: lineage["reward"][key] for key in numbers} == numbers
    content = torch.load(Path(whole.output) / CHECKPOINT, weights_only=True)
    assert content["standardised"] == numbers
    # a resumed run goes on with the numbers of the run, not with its own
    with pytest.raises(Cut):
        train(config, cut_at=3, source=mixture())
    resumed = mixture()
    train(config, resume=True, source=resumed)
    assert {"means": resumed.means, "stds": resumed.stds} == numbers
    assert metrics(config) == metrics(whole) and same(weights(config), weights(whole))


# what is left behind


def test_the_adapter_works_beside_the_policy_it_was_tuned_from(
    each_config: PpoConfig, tmp_path: Path
) -> None:
    base = find_source(each_config.policy).base
    train(replace(each_config, lr=0.05))
    policies = load_policies({"before": each_config.policy, "after": each_config.output})
    assert policies["before"].model is policies["after"].model
    prompts = [f"#Person1#: {word}" for word in WORDS]
    greedy = Sampling(temperature=0, max_new_tokens=12)
    before, after = (generate(policies[name], prompts, greedy) for name in ("before", "after"))
    assert before != after
    assert generate(load_policy(each_config.policy), prompts, greedy) == before
    assert generate(load_policy(base), prompts, greedy) != before


def test_the_adapter_that_is_saved_is_the_policy_that_was_trained(each_config: PpoConfig) -> None:
    state, tokenizer = trainer._start(each_config, lambda line: None)
    for state.step in range(3):
        ppo_step(state, tokenizer, Rule(letters), WORDS, each_config)
    folder = Path(each_config.output)
    source = find_source(each_config.policy)
    save_adapter(
        state.model, folder, {"base": source.base, "parent": str(source.adapters[0].resolve())}
    )
    policy = load_policy(str(folder))
    ids = {key: tokenizer("#Person1#: soup", return_tensors="pt")[key] for key in ("input_ids",)}
    if policy.is_encoder_decoder:
        ids["decoder_input_ids"] = torch.tensor([[tiny.PAD, 40, 41]])
    with torch.inference_mode():
        trained, loaded = state.model(**ids).logits, policy.model(**ids).logits
        with state.model.disable_adapter():
            reference = state.model(**ids).logits
    assert (trained - reference).abs().max() > 0.1
    assert_close(loaded, trained, atol=0.02, rtol=0)  # it is stored in half precision


def test_an_adapter_says_where_it_comes_from(config: PpoConfig) -> None:
    lineage = train(config)
    folder = Path(config.output)
    assert json.loads((folder / LINEAGE).read_text()) == lineage
    source = find_source(config.policy)
    assert lineage["kind"] == "ppo" and lineage["base"] == source.base
    assert (folder / lineage["parent"]).resolve() == Path(config.policy).resolve()
    assert lineage["reference_fingerprint"] == fingerprint(source)
    assert lineage["reward"] == {"name": "rule"}
    assert lineage["seed"] == 0 and lineage["steps"] == 4 and lineage["stopped"] == ""
    assert lineage["config"]["lr"] == 1e-2
    assert find_source(config.output).adapters == (Path(config.policy).resolve(), folder)


def test_a_policy_without_adapters_is_its_own_reference(
    config: PpoConfig, befores: dict[str, Path]
) -> None:
    base = find_source(str(befores["causal"])).base
    lineage = train(replace(config, policy=base, steps=1))
    assert lineage["parent"] is None and lineage["reference"] is None
    assert metrics(config)[0]["objective/kl"] == 0.0
    assert find_source(config.output).base == base


def test_a_run_never_overwrites_the_policy_it_starts_from(
    config: PpoConfig, befores: dict[str, Path]
) -> None:
    before = befores["causal"]
    kept = (before / "adapter_model.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"would overwrite the policy it starts from: choose ano"):
        train(replace(config, output=f"{before}/../{before.name}"))
    assert (before / "adapter_model.safetensors").read_bytes() == kept
    assert not (before / "metrics.jsonl").exists()


def test_dialogues_of_other_lengths_are_left_out(config: PpoConfig) -> None:
    with pytest.raises(UserError, match="No dialogue has between 500 and 1000 characters"):
        train(replace(config, min_dialogue_chars=500))


# --- another task --------------------------------------------------------------------------------


def test_a_policy_can_be_tuned_on_another_task(tiny_causal: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    class Listener(Rule):
        def score(self, prompts: Sequence[str], responses: Sequence[str]) -> torch.Tensor:
            asked.extend(prompts)
            return super().score(prompts, responses)

    config = PpoConfig(
        policy=str(tiny_causal),
        task="sentiment",
        output=str(tmp_path),
        steps=1,
        batch_size=2,
        mini_batch_size=2,
        min_response_tokens=2,
        max_response_tokens=2,
        min_dialogue_chars=0,
    )
    train(config, source=Listener(letters))
    posts = load_dialogues(split="train", task=SENTIMENT)["dialogue"]
    assert len(asked) == 2
    assert all(prompt in [SENTIMENT.prompt(post) for post in posts] for prompt in asked)
