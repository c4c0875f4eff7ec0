"""Runs of direct preference tuning on tiny models: exact at first, able to learn, and resumable."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, tensor
from torch.testing import assert_close

from detox import cli
from detox.config import DpoConfig, Lora, Sampling
from detox.errors import UserError
from detox.generation import generate
from detox.interpolate import interpolate
from detox.judges import PREFERENCE, tuned_on
from detox.lean import row_adapters
from detox.learning import is_learning
from detox.models import (
    LINEAGE,
    add_adapter,
    find_source,
    fingerprint,
    load_policies,
    load_policy,
    save_adapter,
)
from detox.preference import train_dpo
from detox.preference.pairs import dialogue_of, encode, read_pairs, split
from detox.preference.trainers import CausalTrainer, PairTrainer, Seq2SeqTrainer, build_trainer
from detox.runlog import read_metrics
from detox.runs import find_runs, run_page
from detox.tasks import SUMMARIZE
from tests import tiny

Row = dict[str, Any]
SORRY = "\n#Person2# is sorry about the {}."
RUDE = "\n#Person1# says that #Person2# is a stupid fool."
# What each kind of tiny model learns well with.
LEARNING = {"t5": 1e-2, "causal": 5e-3}


def preferences(count: int = 24, **more: Any) -> list[Row]:
    """Pairs as exports hold them: a polite summary is preferred to a rude one."""
    return [
        {
            "prompt": SUMMARIZE.prompt(f"{row['dialogue']}\n#Person1#: Take {i}.").rstrip(),
            "chosen": SORRY.format(row["topic"]),
            "rejected": RUDE,
        }
        | more
        for i, row in enumerate(tiny.dialogsum_rows(count))
    ]


def written(path: Path, rows: list[Row]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


class Cut(Exception):  # noqa: N818  nothing is wrong with the run
    """The machine goes off."""


def train(config: DpoConfig, cut_at: int = 0, **options: Any) -> Row:
    """A run that tells nobody; cut off once step ``cut_at`` is logged and before it is saved."""

    def tell(line: str) -> None:
        if line.startswith(f"step {cut_at}/"):
            raise Cut

    return train_dpo(config, **({"tell": tell} | options))


def metrics(folder: Path) -> list[Row]:
    """The numbers of a run, except how long things took."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder)]


def weights(config: DpoConfig) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = load_file(Path(config.output) / "adapter_model.safetensors")
    return tensors


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


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
def finished(
    befores: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, DpoConfig]:
    """Two passes over 24 pairs, of which some are held out, on each kind of model."""
    folder = tmp_path_factory.mktemp("finished")
    data = written(folder / "picks.jsonl", preferences())
    configs = {
        kind: DpoConfig(
            policy=str(before),
            data=data,
            output=str(folder / kind),
            epochs=2,
            batch_size=4,
            micro_batch_size=0,
            lr=LEARNING[kind],
            lora_r=4,
            lora_alpha=8,
            hold_out=0.3,
            validate_every=2,
            seed=2,
        )
        for kind, before in befores.items()
    }
    for config in configs.values():
        train(config)
    return configs


@pytest.fixture
def whole(finished: dict[str, DpoConfig]) -> DpoConfig:
    """The run on the causal model, to be read and not run again."""
    return finished["causal"]


@pytest.fixture
def config(whole: DpoConfig, tmp_path: Path) -> DpoConfig:
    """The same run, not begun, in a folder of its own."""
    return replace(whole, output=str(tmp_path / "dpo"))


@pytest.fixture
def each_whole(finished: dict[str, DpoConfig], kind: str) -> DpoConfig:
    """``whole`` for each kind of model in turn."""
    return finished[kind]


@pytest.fixture
def each_config(each_whole: DpoConfig, tmp_path: Path) -> DpoConfig:
    """``config`` for each kind of model in turn."""
    return replace(each_whole, output=str(tmp_path / "dpo"))


def lineage_of(config: DpoConfig) -> Row:
    found: Row = json.loads((Path(config.output) / LINEAGE).read_text(encoding="utf-8"))
    return found


# exactness


def test_the_first_loss_is_log_2(each_whole: DpoConfig) -> None:
    settings = load_policy(each_whole.policy).model.config
    assert getattr(settings, "dropout_rate", None) or settings.attention_dropout  # and yet:
    first = metrics(Path(each_whole.output))[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["reward_margin"] == pytest.approx(0, abs=1e-5)
    assert first["grad_norm"] > 0


def test_a_margin_is_asked_for_from_the_first_step(each_config: DpoConfig, tmp_path: Path) -> None:
    data = written(tmp_path / "clear.jsonl", preferences(12, margin=0.5))
    config = replace(each_config, data=data, steps=1, hold_out=0.0, margin=2.0)
    train(config)
    first = metrics(Path(config.output))[0]
    assert first["loss"] == pytest.approx(math.log(1 + math.e), abs=1e-5)
    assert first["reward_margin"] == pytest.approx(0, abs=1e-5)  # what it has, not what is asked


def logprob_by_hand(policy: Any, prompt: str, response: str) -> float:
    """Log-probability of a response and its end, alone, by a policy as everybody loads it."""
    tokenizer, model = policy.tokenizer, policy.model
    query = tokenizer(prompt).input_ids
    target = [*tokenizer(response, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    with torch.inference_mode(), row_adapters(model, [policy.adapter]) as how:
        if model.config.is_encoder_decoder:
            start = tensor([[model.config.decoder_start_token_id, *target[:-1]]])
            logits = model(input_ids=tensor([query]), decoder_input_ids=start, **how).logits[0]
        else:
            logits = model(input_ids=tensor([query + target]), **how).logits[0]
            logits = logits[len(query) - 1 : -1]
        table = logits.float().log_softmax(-1)
    return float(table[torch.arange(len(target)), tensor(target)].sum())


def test_the_reference_is_the_policy_that_the_run_starts_from(each_whole: DpoConfig) -> None:
    policy = load_policy(each_whole.policy)
    assert policy.adapter is not None  # an adapter of its own, which must not be lost
    checkpoints = Path(each_whole.output) / "checkpoints"
    known = json.loads((checkpoints / "reference.json").read_text(encoding="utf-8"))
    pairs = read_pairs(each_whole.data)
    expected = [
        tuple(round(logprob_by_hand(policy, p.prompt, text), 2) for text in (p.chosen, p.rejected))
        for p in pairs
    ]
    found = {(round(chosen, 2), round(rejected, 2)) for chosen, rejected in known}
    assert len(known) == len(pairs)

    def near(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return all(abs(a - b) < 0.03 for a, b in zip(one, other, strict=True))

    assert all(any(near(pair, other) for other in found) for pair in expected)


def test_a_prompt_is_read_once_for_both_responses(finished: dict[str, DpoConfig]) -> None:
    model, trainer, rows = prepared(finished["t5"])
    assert isinstance(trainer, Seq2SeqTrainer)
    calls: list[int] = []
    hook = model.get_encoder().register_forward_hook(lambda *_: calls.append(1))
    found = trainer.think(rows[:4], lambda done: None)
    hook.remove()
    assert len(calls) == 1
    for row, numbers in zip(rows[:4], found, strict=True):
        for key, number in zip(("chosen_ids", "rejected_ids"), numbers, strict=True):
            start = tensor([[model.config.decoder_start_token_id, *row[key][:-1]]])
            with torch.no_grad(), model.disable_adapter():
                logits = model(input_ids=tensor([row["prompt_ids"]]), decoder_input_ids=start)
            table = logits.logits[0].log_softmax(-1)
            alone = table[torch.arange(len(row[key])), tensor(row[key])].sum()
            assert number == pytest.approx(float(alone), abs=1e-3)


def prepared(config: DpoConfig) -> tuple[Any, PairTrainer, list[Row]]:
    """A model with a fresh adapter, its trainer, and the pairs as tokens."""
    base = load_policy(config.policy)
    task = "SEQ_2_SEQ_LM" if base.is_encoder_decoder else "CAUSAL_LM"
    model = add_adapter(base.model.merge_and_unload(), config.lora, task, 0)
    rows = encode(read_pairs(config.data), base.tokenizer, config, lambda text: None)
    arguments = {
        "output_dir": str(Path(config.output).with_name("unused")),
        "per_device_train_batch_size": 4,
        "report_to": [],
        "use_cpu": True,
        "bf16": False,
    }
    return model, build_trainer(model, base.tokenizer, config, rows, [], arguments), rows


def test_each_kind_of_model_has_its_trainer(each_whole: DpoConfig, kind: str) -> None:
    model, trainer, _ = prepared(each_whole)
    assert isinstance(trainer, {"t5": Seq2SeqTrainer, "causal": CausalTrainer}[kind])
    # the reference costs no weights of its own
    assert list(model.peft_config) == ["default"]
    assert getattr(trainer, "ref_model", None) is None


def test_dropout_is_off_in_training(each_whole: DpoConfig) -> None:
    model, trainer, rows = prepared(each_whole)
    known = [row | {"ref_chosen_logps": 0.0, "ref_rejected_logps": 0.0} for row in rows[:3]]
    batch = trainer._prepare_inputs(trainer.data_collator(known))
    model.train()
    first, second = (trainer.compute_loss(model, dict(batch)).item() for _ in range(2))
    assert first == second


# learning


def gaps(spec: str, reference: str, config: DpoConfig) -> list[float]:
    """By how much ``spec`` tells chosen from rejected better than ``reference``, in nats."""
    policies = load_policies({"new": spec, "old": reference})
    texts = [(p.prompt, p.chosen, p.rejected) for p in read_pairs(config.data)[:6]]

    def prefers(name: str, prompt: str, chosen: str, rejected: str) -> float:
        policy = policies[name]
        return logprob_by_hand(policy, prompt, chosen) - logprob_by_hand(policy, prompt, rejected)

    return [prefers("new", *pair) - prefers("old", *pair) for pair in texts]


def test_it_learns_what_people_prefer(each_whole: DpoConfig) -> None:
    rows = metrics(Path(each_whole.output))
    steps = [row for row in rows if "loss" in row]
    assert steps[-1]["loss"] < 0.45 < math.log(2)
    assert steps[-1]["accuracy"] == 1.0
    # chosen responses become likelier relative to rejected ones
    risen = [row["reward_chosen"] - row["reward_rejected"] for row in steps]
    assert risen[-1] > 0.5 and risen[-1] == pytest.approx(steps[-1]["reward_margin"])
    # and on dialogues that were never learned from
    assert lineage_of(each_whole)["held_out"]["accuracy"] == 1.0


def test_the_saved_adapter_has_learned_it(each_whole: DpoConfig) -> None:
    assert min(gaps(each_whole.output, each_whole.policy, each_whole)) > 5


@pytest.mark.parametrize("loss", ["cdpo", "robust", "ipo"])
def test_other_losses_learn_it_too(each_config: DpoConfig, loss: str) -> None:
    beta = 0.5 if loss == "ipo" else 0.1
    lineage = train(replace(each_config, loss=loss, beta=beta, steps=5, validate_every=5))
    assert lineage["held_out"]["accuracy"] == 1.0
    assert lineage["validation_loss"] < 0.9 * lineage["validation_loss_before"]
    start = {"cdpo": math.log(2), "robust": math.log(2), "ipo": 1.0}[loss]
    assert lineage["validation_loss_before"] == pytest.approx(start, abs=1e-4)


def test_the_opposite_preference_gives_the_opposite_policy(
    config: DpoConfig, tmp_path: Path
) -> None:
    turned = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in preferences()]
    train(replace(config, data=written(tmp_path / "turned.jsonl", turned)))
    assert max(gaps(config.output, config.policy, config)) < -5


def test_every_matrix_of_the_adapter_moves(each_whole: DpoConfig) -> None:
    assert all(bool(values.any()) for values in weights(each_whole).values())


def test_the_policy_it_started_from_is_served_unchanged_beside_it(each_whole: DpoConfig) -> None:
    pair = read_pairs(each_whole.data)[0]
    alone = load_policy(each_whole.policy)
    beside = load_policies({"new": each_whole.output, "old": each_whole.policy})
    numbers = [
        logprob_by_hand(policy, pair.prompt, pair.chosen)
        for policy in (alone, beside["old"], beside["new"])
    ]
    assert numbers[1] == pytest.approx(numbers[0], abs=1e-3)
    assert numbers[2] != pytest.approx(numbers[0], abs=0.1)


def test_what_does_not_hold_on_other_dialogues_is_said(config: DpoConfig, tmp_path: Path) -> None:
    held = {pair.dialogue for pair in split(read_pairs(config.data), config)[1]}
    # those held out are of the opposite opinion
    rows = [
        row | {"chosen": row["rejected"], "rejected": row["chosen"]}
        if dialogue_of(row["prompt"]) in held
        else row
        for row in preferences()
    ]
    told: list[str] = []
    data = written(tmp_path / "split.jsonl", rows)
    impatient = replace(config, data=data, validate_every=1, patience=2)
    lineage = train(impatient, tell=told.append)
    assert lineage["held_out"]["accuracy"] == 0.0
    assert lineage["validation_loss"] > lineage["validation_loss_before"]
    assert "Nothing was learned that holds on other pairs: label more, or lower lr." in told
    assert lineage["stopped"] == "no lower validation loss in 2 validations"
    assert lineage["best_step"] == 1 and lineage["steps"] == 3
    rows = metrics(Path(config.output))
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3]
    losses = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert losses == sorted(losses)
    assert lineage["validation_loss"] == pytest.approx(losses[0], abs=1e-4)
    # the weights of the lowest validation loss are kept
    checkpoint = Path(config.output) / "checkpoints" / "checkpoint-1"
    best: dict[str, Tensor] = load_file(checkpoint / "adapter_model.safetensors")
    assert same(weights(config), {name: values.half() for name, values in best.items()})


def test_parts_of_a_batch_add_up_to_it(each_config: DpoConfig, tmp_path: Path) -> None:
    runs = []
    for size in (0, 1):
        config = replace(each_config, output=str(tmp_path / str(size)), micro_batch_size=size)
        train(replace(config, steps=3, hold_out=0.0))
        runs.append((weights(config), metrics(Path(config.output))))
    for name, values in runs[0][0].items():
        assert_close(values, runs[1][0][name], rtol=0, atol=2e-3)
    # policy and reference are the same at first, and rounding decides which response is ahead
    assert [runs[place][1][0].pop("accuracy") >= 0 for place in (0, 1)] == [True, True]
    for one, other in zip(runs[0][1], runs[1][1], strict=True):
        assert one == pytest.approx(other, abs=2e-3, rel=1e-3)


def test_an_encoder_can_be_left_as_it_is(finished: dict[str, DpoConfig], tmp_path: Path) -> None:
    config = replace(
        finished["t5"], output=str(tmp_path), lora_placement="decoder", steps=1, hold_out=0.0
    )
    train(config)
    assert not any(".encoder." in name for name in weights(config))


# validation


def test_held_out_pairs_are_never_learned_from(each_whole: DpoConfig) -> None:
    lineage = lineage_of(each_whole)
    assert lineage["examples"] + lineage["held_out"]["pairs"] == 24
    assert lineage["held_out"]["dialogues"] == lineage["held_out"]["pairs"] > 3
    assert 0 <= lineage["held_out"]["low"] <= lineage["held_out"]["high"] <= 1


def test_without_a_held_out_part_the_last_weights_are_kept(config: DpoConfig) -> None:
    lineage = train(replace(config, hold_out=0.0, steps=3, save_every=2))
    assert "validation_loss" not in lineage and lineage["examples"] == 24
    assert [row["step"] for row in metrics(Path(config.output))] == [1, 2, 3]


# cut off, stopped, resumed


def test_a_resumed_run_equals_an_uninterrupted_one(
    each_whole: DpoConfig, each_config: DpoConfig
) -> None:
    with pytest.raises(Cut):
        train(each_config, cut_at=6)
    assert not (Path(each_config.output) / LINEAGE).exists()
    asked: list[str] = []
    lineage = train(each_config, resume=True, tell=asked.append)
    assert not any(line.startswith("what the reference thinks") for line in asked)
    assert same(weights(each_config), weights(each_whole))
    assert metrics(Path(each_config.output)) == metrics(Path(each_whole.output))
    varying = ("seconds", "peak_memory", "config", "parent")
    whole = lineage_of(each_whole)
    assert {k: v for k, v in lineage.items() if k not in varying} == {
        k: v for k, v in whole.items() if k not in varying
    }


def test_a_resumed_run_counts_its_patience_on(config: DpoConfig, tmp_path: Path) -> None:
    impatient = replace(config, lr=0.3, patience=2, validate_every=1, epochs=4)
    whole = replace(impatient, output=str(tmp_path / "whole"))
    last = train(whole)["steps"]
    with pytest.raises(Cut):
        train(impatient, cut_at=last)
    assert train(impatient, resume=True)["steps"] == last
    assert same(weights(impatient), weights(whole))


def test_a_seed_decides_the_policy(whole: DpoConfig, config: DpoConfig, tmp_path: Path) -> None:
    torch.manual_seed(99)
    train(config)
    assert same(weights(config), weights(whole))
    other = replace(config, output=str(tmp_path / "other"), seed=3, steps=1, hold_out=0.0)
    train(other)
    assert not same(weights(other), weights(whole))


def test_a_run_may_be_stopped_and_gone_on_with(whole: DpoConfig, config: DpoConfig) -> None:
    steps = iter([False, False, True])
    lineage = train(config, should_stop=lambda: next(steps))
    assert (lineage["stopped"], lineage["steps"]) == ("asked to stop", 3)
    assert lineage["best_step"] == 2
    assert load_policy(config.output).adapter is not None
    assert train(config, resume=True)["stopped"] == ""
    assert same(weights(config), weights(whole))


def test_a_run_that_is_stopped_at_once_has_been_validated(config: DpoConfig) -> None:
    lineage = train(config, should_stop=lambda: True)
    assert (lineage["steps"], lineage["best_step"]) == (1, 1)
    assert lineage["validation_loss"] == pytest.approx(math.log(2), abs=0.5)


def test_there_is_nothing_to_resume(config: DpoConfig) -> None:
    with pytest.raises(UserError, match=r"There is no checkpoint in .* to resume from: start"):
        train(config, resume=True)
    with pytest.raises(Cut):
        train(config, cut_at=1)
    with pytest.raises(UserError, match="There is no checkpoint in"):
        train(config, resume=True)


def test_other_settings_or_preferences_are_not_resumed(
    config: DpoConfig, whole: DpoConfig, tmp_path: Path
) -> None:
    shutil.copytree(whole.output, config.output)
    with pytest.raises(UserError, match=r"started with other settings \(beta, lr\): resume it"):
        train(replace(config, lr=1.0, beta=0.2), resume=True)
    other = written(tmp_path / "other.jsonl", preferences(20))
    with pytest.raises(UserError, match="was started with other preferences: resume it with those"):
        train(replace(config, data=other), resume=True)
    (Path(config.output) / "checkpoints" / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json is damaged: start anew"):
        train(config, resume=True)


def test_a_moved_run_is_resumed_and_mends_its_record_of_the_reference(
    whole: DpoConfig, config: DpoConfig, tmp_path: Path
) -> None:
    with pytest.raises(Cut):
        train(config, cut_at=5)
    moved = tmp_path / "moved"
    Path(config.output).rename(moved)
    data = shutil.copy(config.data, tmp_path / "elsewhere.jsonl")
    config = replace(config, output=str(moved), data=str(data), save_every=7)
    # what cannot be read is worked out again
    (moved / "checkpoints" / "reference.json").write_text("[[1.0")
    train(config, resume=True)
    assert same(weights(config), weights(whole))


def test_a_fresh_run_forgets_an_earlier_one(config: DpoConfig, whole: DpoConfig) -> None:
    shutil.copytree(whole.output, config.output)
    with pytest.raises(Cut):
        train(config, cut_at=1)
    with pytest.raises(UserError, match="There is no checkpoint in"):
        train(config, resume=True)


def test_a_full_disk_ends_a_run_with_a_sentence(config: DpoConfig) -> None:
    with tiny.disk_of(20_000), pytest.raises(UserError, match=r"cannot be .* (free|:)"):
        train(config)


def test_what_is_not_finite_ends_a_run(config: DpoConfig) -> None:
    fast = replace(config, lr=1e30, hold_out=0.0)
    with pytest.raises(UserError, match=r"The loss is not finite after step \d+: start anew with"):
        train(fast)
    with pytest.raises(UserError, match="The weights are not finite any more: start anew with"):
        train(replace(fast, lr=math.inf, steps=1))
    assert not (Path(config.output) / LINEAGE).exists()


# what is left behind


def test_the_adapter_says_where_it_comes_from(each_whole: DpoConfig) -> None:
    lineage = lineage_of(each_whole)
    folder = Path(each_whole.output)
    assert lineage["kind"] == "dpo" and lineage["seed"] == 2
    source = find_source(each_whole.policy)
    assert lineage["base"] == source.base
    assert (folder / lineage["parent"]).resolve() == Path(each_whole.policy).resolve()
    assert lineage["reference_fingerprint"] == fingerprint(source)
    assert tuned_on([lineage]) == {PREFERENCE}  # so that the classifier may judge it
    assert lineage["config"]["data"] == lineage["picks"]["file"] == "picks.jsonl"
    assert lineage["picks"]["rows"] == 24 and lineage["picks"]["snapshot"] is None
    assert lineage["steps"] == max(row["step"] for row in metrics(folder))
    assert lineage["parameters"]["trainable"] < lineage["parameters"]["all"]
    assert find_source(each_whole.output).adapters == (
        *[(folder / lineage["parent"]).resolve()],
        folder,
    )


def test_a_base_without_an_adapter_has_no_parent(config: DpoConfig, tiny_causal: Path) -> None:
    train(replace(config, policy=str(tiny_causal), steps=1, hold_out=0.0))
    lineage = lineage_of(config)
    assert (lineage["base"], lineage["parent"]) == (str(tiny_causal), None)
    assert find_source(config.output).adapters == (Path(config.output),)


def test_the_result_is_a_policy_everywhere(
    each_whole: DpoConfig, tiny_classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policies = load_policies({"before": each_whole.policy, "after": each_whole.output})
    prompts = [pair.prompt for pair in read_pairs(each_whole.data)[:2]]
    greedy = Sampling(temperature=0, max_new_tokens=4)
    assert len(generate(policies["after"], prompts, greedy)) == 2
    dialogues = written(tmp_path / "dialogues.jsonl", tiny.dialogsum_rows(3))
    options = ["--classifier", str(tiny_classifier), "--data", dialogues]
    sides = ["--before", each_whole.policy, "--after", each_whole.output]
    out = tmp_path / "evaluation"
    arguments = [*sides, *options, "--max-new-tokens", "4", "--output", str(out)]
    assert cli.main(["evaluate", *arguments]) == 0
    assert "toxicity" in capsys.readouterr().out
    about = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert about["after"]["fingerprint"] == fingerprint(find_source(each_whole.output))
    assert (out / "report.html").is_file()
    half = tmp_path / "half"
    interpolate(Path(each_whole.output), 0.5, half)
    assert max(gaps(str(half), each_whole.policy, each_whole)) > 0


def test_its_numbers_can_be_watched(whole: DpoConfig) -> None:
    root = Path(whole.output).parent
    (run,) = [run for run in find_runs(root) if run.name == "causal"]
    page = run_page(run)
    assert "accuracy of a batch" in page and "held-out accuracy" in page
    assert any(line.startswith("loss ") for line in is_learning(Path(whole.output)))


# the settings and the command line


@pytest.mark.parametrize(
    "values",
    [
        {"loss": "hinge"},
        {"beta": 0.0},
        {"label_smoothing": 0.5},
        {"margin": -1.0},
        {"epochs": 0},
        {"steps": -1},
        {"batch_size": 0},
        {"micro_batch_size": -1},
        {"lr": 0.0},
        {"lora_r": 0},
        {"hold_out": 1.0},
        {"validate_every": -1},
        {"patience": -1},
        {"save_every": 0},
        {"max_prompt_tokens": 0},
        {"max_response_tokens": 0},
        {"seed": -1},
    ],
)
def test_impossible_settings(values: Row) -> None:
    name = next(iter(values)).replace("lora_r", "lora r")
    with pytest.raises(UserError, match=rf"\b{name}\b"):
        DpoConfig(**values)


def test_parts_of_a_batch_are_equal() -> None:
    sizes = [(8, 2), (8, 0), (8, 3), (5, 2), (4, 9), (6, 4)]
    found = [DpoConfig(batch_size=whole, micro_batch_size=part).at_once for whole, part in sizes]
    assert found == [2, 8, 2, 1, 4, 3]


def test_a_run_must_not_overwrite_what_it_starts_from(config: DpoConfig) -> None:
    with pytest.raises(UserError, match="would overwrite the policy it starts from: choose"):
        train(replace(config, output=config.policy))


def test_the_head_of_a_causal_model_has_no_adapter(config: DpoConfig) -> None:
    with pytest.raises(UserError, match="An adapter on the language-model head is not trained"):
        train(replace(config, lora_targets="q_proj,lm_head"))


def test_several_processes_are_refused(config: DpoConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detox.processes.count", lambda: 2)
    with pytest.raises(UserError, match="runs in one process: start it without a launcher"):
        train(config)


def test_the_command(config: DpoConfig, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--policy", config.policy, "--data", config.data, "--output", config.output]
    numbers = ["--steps", "2", "--batch-size", "4", "--lora-r", "2", "--hold-out", "0.3"]
    assert cli.main(["dpo", *options, *numbers, "--seed", "2"]) == 0
    said = capsys.readouterr().out
    assert "to learn from: " in said and f"saved the adapter to {config.output}" in said
    assert "held out: " in said and "accuracy" in said
    assert cli.main(["dpo", *options[:2]]) == 2
    assert capsys.readouterr().err.startswith("detox: Name the preferences with --data")
