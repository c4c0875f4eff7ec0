import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn.functional import log_softmax

from detox import sft
from detox.config import SftConfig
from detox.data import load_dialogues
from detox.errors import UserError
from detox.examples import IGNORED, Collator, encode, reading_order
from detox.models import LINEAGE, load_base, load_policy, parameter_counts
from detox.runlog import read_metrics
from detox.sft import train_sft
from tests import tiny

Row = dict[str, Any]


@pytest.fixture(scope="module", params=["t5", "causal"])
def base(request: pytest.FixtureRequest) -> Path:
    """Each kind of base model in turn."""
    folder: Path = request.getfixturevalue(f"tiny_{request.param}")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve dialogues."""
    path = tmp_path_factory.mktemp("data") / "dialogsum.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in tiny.dialogsum_rows()))
    return str(path)


def short_run(base: Path, data: str, output: Path) -> SftConfig:
    """Six steps of four of twelve dialogues, with dropout: two passes over the data."""
    return SftConfig(
        base=str(base),
        data=data,
        output=str(output),
        steps=6,
        batch_size=4,
        save_every=2,
        lora_r=4,
        lora_alpha=8,
        lora_dropout=0.1,
    )


@pytest.fixture
def config(tiny_causal: Path, data: str, tmp_path: Path) -> SftConfig:
    """A run on the causal model, where the kind of model makes no difference."""
    return short_run(tiny_causal, data, tmp_path / "run")


@pytest.fixture(scope="module")
def finished(data: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], SftConfig]:
    """Short runs that were never cut off, one for each base, to be looked at only."""
    runs: dict[Path, SftConfig] = {}

    def run(base: Path) -> SftConfig:
        if base not in runs:
            runs[base] = short_run(base, data, tmp_path_factory.mktemp("finished"))
            train(runs[base])
        return runs[base]

    return run


@pytest.fixture
def whole(finished: Callable[[Path], SftConfig], tiny_causal: Path) -> SftConfig:
    """A finished run on the causal model, where the kind of model makes no difference."""
    return finished(tiny_causal)


@pytest.fixture
def each_whole(finished: Callable[[Path], SftConfig], base: Path) -> SftConfig:
    """A finished run on each kind of model in turn."""
    return finished(base)


class Cut(Exception):  # noqa: N818  nothing is wrong with the run
    """The machine goes off."""


def train(config: SftConfig, resume: bool = False, cut_at: int = 0) -> Row:
    """A run that tells nobody; cut off once step ``cut_at`` is logged and before it is saved."""

    def tell(line: str) -> None:
        if line.startswith(f"step {cut_at}/"):
            raise Cut

    return train_sft(config, resume, tell)


def weights(config: SftConfig) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(Path(config.output) / "adapter_model.safetensors")
    return tensors


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# --- what is learned from ------------------------------------------------------------------------


def encoded(folder: Path, **changes: Any) -> tuple[Dataset, Any, list[str]]:
    """Two dialogues as token ids, the tokenizer, and what was told."""
    model, tokenizer = load_base(str(folder))
    rows = [
        {"id": "a", "dialogue": "One.", "verbatim": "You fool. ", "gentle": "", "references": []},
        {"id": "b", "dialogue": "Two. " * 40, "verbatim": "", "gentle": "", "references": ["I."]},
    ]
    told: list[str] = []
    seq2seq = model.config.is_encoder_decoder
    examples = encode(
        Dataset.from_list(rows), tokenizer, SftConfig(**changes), seq2seq, told.append
    )
    return examples, tokenizer, told


def test_prompts_and_summaries_as_tokens(tiny_causal: Path) -> None:
    examples, tokenizer, told = encoded(tiny_causal)
    prompt = "\nSummarize the following conversation.\n\nOne.\n\nSummary:\n"
    assert tokenizer.decode(examples[0]["prompt"]) == prompt
    assert tokenizer.decode(examples[0]["target"]) == "You fool.</s>"
    assert tokenizer.decode(examples[1]["target"]) == "I.</s>"
    assert examples[0]["length"] == len(examples[0]["prompt"]) + len(examples[0]["target"])
    assert told == ["2 examples to learn from, 0 texts left out as too long"]


def test_the_prompt_of_an_encoder_is_marked_as_its_tokenizer_does(tiny_t5: Path) -> None:
    examples, tokenizer, _ = encoded(tiny_t5)
    assert examples[0]["prompt"][-1] == tokenizer.eos_token_id
    assert examples[0]["target"].count(tokenizer.eos_token_id) == 1


def test_long_prompts_are_left_out_and_counted(tiny_causal: Path) -> None:
    examples, _, told = encoded(tiny_causal, max_prompt_tokens=60)
    assert len(examples) == 1
    assert told == ["1 examples to learn from, 1 texts left out as too long"]
    with pytest.raises(UserError, match=r"^No dialogue fits max_prompt_tokens: raise it or give"):
        encoded(tiny_causal, max_prompt_tokens=3)


def test_long_summaries_are_cut_and_still_end(tiny_causal: Path) -> None:
    whole = encoded(tiny_causal)[0][0]["target"]
    cut = encoded(tiny_causal, max_summary_tokens=3)[0][0]["target"]
    assert cut == [*whole[:2], tiny.EOS]


# --- the batch and its loss ----------------------------------------------------------------------

tokens = st.integers(tiny.EOS + 1, 300)
rows_of_tokens = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": st.lists(tokens, min_size=1, max_size=12),
            "target": st.lists(tokens, max_size=6).map(lambda ids: [*ids, tiny.EOS]),
        }
    ),
    min_size=1,
    max_size=4,
)


@given(rows_of_tokens)
def test_a_causal_batch(rows: list[Row]) -> None:
    batch = Collator(tiny.tokenizer("causal"), seq2seq=False)(rows)
    width = max(len(row["prompt"] + row["target"]) for row in rows)
    keep = batch["logits_to_keep"]
    assert keep == max(len(row["target"]) for row in rows) + 1
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (len(rows), width)
    assert batch["labels"].shape == (len(rows), keep)
    for i, row in enumerate(rows):
        joined = row["prompt"] + row["target"]
        mask = batch["attention_mask"][i].bool()
        assert batch["input_ids"][i][mask].tolist() == joined
        assert batch["position_ids"][i][mask].tolist() == list(range(len(joined)))
        assert mask.tolist() == [False] * (width - len(joined)) + [True] * len(joined)
        labels = batch["labels"][i]
        assert labels[labels != IGNORED].tolist() == row["target"]  # and nothing of the prompt
        # each label stands where its token stands among the last positions
        assert batch["input_ids"][i][-keep:][labels != IGNORED].tolist() == row["target"]


@given(rows_of_tokens)
def test_a_seq2seq_batch(rows: list[Row]) -> None:
    batch = Collator(tiny.tokenizer("seq2seq"), seq2seq=True)(rows)
    assert set(batch) == {"input_ids", "attention_mask", "labels"}
    for i, row in enumerate(rows):
        mask = batch["attention_mask"][i].bool()
        assert batch["input_ids"][i][mask].tolist() == row["prompt"]
        assert batch["input_ids"][i][~mask].unique().tolist() in ([], [tiny.PAD])
        labels = batch["labels"][i]
        assert labels[labels != IGNORED].tolist() == row["target"]
        assert (labels[: len(row["target"])] != IGNORED).all()


ROWS: list[Row] = [
    {"prompt": [20, 21, 22, 23, 24, 25, 26], "target": [30, 31, tiny.EOS]},
    {"prompt": [40, 41], "target": [50, 51, 52, 53, tiny.EOS]},
    {"prompt": [60, 61, 62, 63], "target": [tiny.EOS]},
]


def nll_by_hand(model: Any, row: Row) -> torch.Tensor:
    """-log p of each target token, one row alone: no padding, no labels, no logits_to_keep."""
    prompt, target = torch.tensor([row["prompt"]]), torch.tensor(row["target"])
    if model.config.is_encoder_decoder:
        start = torch.tensor([[model.config.decoder_start_token_id, *row["target"][:-1]]])
        logits = model(input_ids=prompt, decoder_input_ids=start).logits[0]
    else:
        joined = torch.cat([prompt, target[None]], 1)
        positions = torch.arange(joined.shape[1])[None]
        logits = model(input_ids=joined, position_ids=positions).logits[0]
        logits = logits[prompt.shape[1] - 1 : -1]
    return -log_softmax(logits, -1)[torch.arange(len(target)), target]


def batch_loss(model: Any, tokenizer: Any, rows: list[Row]) -> torch.Tensor:
    collate = Collator(tokenizer, model.config.is_encoder_decoder)
    loss: torch.Tensor = model(**collate(rows)).loss
    return loss


def test_the_loss_is_the_mean_over_summary_tokens(base: Path) -> None:
    model, tokenizer = load_base(str(base))
    expected = torch.cat([nll_by_hand(model, row) for row in ROWS])
    assert len(expected) == 3 + 5 + 1
    torch.testing.assert_close(
        batch_loss(model, tokenizer, ROWS), expected.mean(), rtol=0, atol=1e-5
    )


def test_padding_does_not_change_the_loss(base: Path) -> None:
    model, tokenizer = load_base(str(base))
    longer = {"prompt": list(range(100, 160)), "target": list(range(200, 230))}
    alone = batch_loss(model, tokenizer, ROWS[:1]) * 3
    padded = batch_loss(model, tokenizer, [ROWS[0], longer]) * 33
    padded -= batch_loss(model, tokenizer, [longer]) * 30
    torch.testing.assert_close(padded, alone, rtol=0, atol=1e-3)


def test_keeping_the_last_logits_changes_nothing(tiny_causal: Path) -> None:
    model, tokenizer = load_base(str(tiny_causal))
    batch = Collator(tokenizer, seq2seq=False)(ROWS)
    keep = batch.pop("logits_to_keep")
    width = batch["input_ids"].shape[1]
    assert keep < width
    labels = torch.full((len(ROWS), width), IGNORED)
    labels[:, width - keep :] = batch.pop("labels")
    everything = model(**batch, labels=labels)
    kept = model(**Collator(tokenizer, seq2seq=False)(ROWS))
    assert (everything.logits.shape[1], kept.logits.shape[1]) == (width, keep)
    torch.testing.assert_close(kept.loss, everything.loss, rtol=0, atol=1e-6)


def test_nothing_is_learned_from_writing_the_prompt(tiny_causal: Path) -> None:
    # what the model would say instead of the prompt's tokens must have no gradient
    model, tokenizer = load_base(str(tiny_causal))
    batch = Collator(tokenizer, seq2seq=False)(ROWS)
    outputs = model(**batch)
    outputs.logits.retain_grad()
    outputs.loss.backward()
    learned = outputs.logits.grad.abs().sum(-1) > 0
    expected = torch.zeros_like(learned)
    for i, row in enumerate(ROWS):  # the position before each summary token predicts it
        expected[i, -len(row["target"]) - 1 : -1] = True
    assert torch.equal(learned, expected)


# --- the order of the data -----------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=60),
    st.integers(1, 8),
    st.integers(1, 30),
    st.integers(),
)
def test_reading_order(lengths: list[int], batch_size: int, steps: int, seed: int) -> None:
    order = reading_order(lengths, batch_size, steps, random.Random(seed))
    assert len(order) == batch_size * steps
    counts = [order.count(i) for i in range(len(lengths))]
    assert max(counts) - min(counts) <= 1  # all are read once before any comes again
    assert order == reading_order(lengths, batch_size, steps, random.Random(seed))


def test_rows_of_a_batch_are_about_as_long() -> None:
    rng = random.Random(0)
    lengths = [rng.randrange(50, 500) for _ in range(2000)]

    def computed(order: list[int]) -> int:
        batches = [order[i : i + 8] for i in range(0, len(order), 8)]
        return sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)

    grouped = computed(reading_order(lengths, 8, 250, random.Random(1)))
    assert grouped < 1.1 * sum(lengths)
    assert computed(rng.sample(range(2000), 2000)) > 1.5 * sum(lengths)


def test_short_batches_do_not_come_first() -> None:
    lengths = list(range(800))
    starts = [reading_order(lengths, 8, 100, random.Random(seed))[:40] for seed in range(50)]
    assert sum(map(sum, starts)) / (50 * 40) == pytest.approx(400, rel=0.1)


# --- a run ---------------------------------------------------------------------------------------


def test_the_loss_falls_and_the_saved_adapter_has_learned(
    base: Path, data: str, tmp_path: Path
) -> None:
    config = replace(
        short_run(base, data, tmp_path), steps=30, lr=2e-2, save_every=100, lora_dropout=0.0
    )
    train(config)
    losses = [row["loss"] for row in read_metrics(tmp_path)]
    assert len(losses) == 30
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    dialogues = load_dialogues(data)

    def loss(spec: str) -> float:
        policy = load_policy(spec)
        seq2seq = policy.is_encoder_decoder
        examples = encode(dialogues, policy.tokenizer, config, seq2seq, lambda line: None)
        batch = Collator(policy.tokenizer, seq2seq)(list(examples))
        with torch.inference_mode():
            return float(policy.model(**batch).loss)

    assert loss(config.base) == pytest.approx(losses[0], rel=0.1)
    assert loss(config.output) == pytest.approx(losses[-1], rel=0.1)


def test_only_adapter_weights_move_and_all_of_them(
    base: Path, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = short_run(base, data, tmp_path)
    seen: dict[str, Any] = {}
    start = sft.add_adapter

    def add_adapter(*arguments: Any) -> Any:
        seen["model"] = start(*arguments)
        seen["before"] = {k: v.detach().clone() for k, v in seen["model"].named_parameters()}
        return seen["model"]

    monkeypatch.setattr(sft, "add_adapter", add_adapter)
    train(config)
    moved = {
        k for k, v in seen["model"].named_parameters() if not torch.equal(v, seen["before"][k])
    }
    assert moved == {name for name in seen["before"] if "lora_" in name}
    assert len(moved) == len(weights(config))


def test_the_lineage_says_where_the_adapter_comes_from(each_whole: SftConfig) -> None:
    whole = each_whole
    told = json.loads((Path(whole.output) / LINEAGE).read_text())
    assert (told["kind"], told["base"], told["parent"]) == ("sft", whole.base, None)
    assert SftConfig(**told["config"]) == replace(whole, data="dialogsum.jsonl")
    assert (told["seed"], told["examples"]) == (0, 12)
    policy = load_policy(whole.output)
    assert told["parameters"]["all"] == parameter_counts(policy.model)[0]
    assert told["parameters"]["trainable"] == sum(v.numel() for v in weights(whole).values())
    losses = [row["loss"] for row in read_metrics(Path(whole.output))]
    assert told["train_loss"] == pytest.approx(sum(losses) / 6, abs=1e-4)
    assert told["base_fingerprint"] == load_policy(whole.base).fingerprint


def test_the_learning_rate_warms_up_and_decays(whole: SftConfig) -> None:
    rates = [row["learning_rate"] / whole.lr for row in read_metrics(Path(whole.output))]
    assert rates == pytest.approx([0, 1, 0.8, 0.6, 0.4, 0.2])


def test_progress_is_told_once(config: SftConfig, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    lineage = train_sft(config, tell=lines.append)
    assert lines[0].endswith("%)") and "of them trainable" in lines[0]
    assert lines[1] == "12 examples to learn from, 0 texts left out as too long"
    steps = [line.split("  ")[0] for line in lines if line.startswith("step")]
    assert steps == [f"step {i}/6" for i in range(1, 7)]
    assert lines[-1] == f"saved the adapter to {config.output}"
    assert capsys.readouterr().out == ""
    assert lineage == json.loads((Path(config.output) / LINEAGE).read_text())


def test_a_seed_is_a_run(whole: SftConfig, tmp_path: Path) -> None:
    again = replace(whole, output=str(tmp_path / "again"))
    other = replace(whole, output=str(tmp_path / "other"), seed=1)
    train(again)
    train(other)
    assert same(weights(whole), weights(again))
    assert not same(weights(whole), weights(other))


def test_all_weights_can_be_trained(base: Path, data: str, tmp_path: Path) -> None:
    config = replace(short_run(base, data, tmp_path), method="full", lr=2e-3, weight_decay=0.1)
    lineage = train(config)
    policy = load_policy(str(tmp_path))
    before = load_policy(str(base))
    total = parameter_counts(before.model)[0]
    assert lineage["parameters"] == {"all": total, "trainable": total}
    assert policy.adapter is None and parameter_counts(policy.model)[0] == total
    old = dict(before.model.named_parameters())
    still = [k for k, v in policy.model.named_parameters() if torch.equal(v, old[k].half().float())]
    assert still == []
    assert lineage["peak_memory"] > 1e6
    assert policy.fingerprint != load_policy(str(base)).fingerprint
    assert str(tmp_path) not in (tmp_path / "config.json").read_text()


def test_a_model_in_the_place_of_an_adapter(whole: SftConfig, tmp_path: Path) -> None:
    shutil.copytree(whole.output, tmp_path, dirs_exist_ok=True)
    train(replace(whole, output=str(tmp_path), method="full"))
    assert load_policy(str(tmp_path)).adapter is None


def test_every_reference_is_an_example(tiny_causal: Path) -> None:
    _, tokenizer = load_base(str(tiny_causal))
    row = {"id": "a", "dialogue": "One.", "verbatim": "", "gentle": "", "references": ["I.", "J."]}
    dialogues = Dataset.from_list([row])
    config = SftConfig(references="all")
    examples = encode(dialogues, tokenizer, config, False, lambda line: None)
    assert [tokenizer.decode(ids) for ids in examples["target"]] == ["I.</s>", "J.</s>"]
    assert examples[0]["prompt"] == examples[1]["prompt"]


# --- validation ----------------------------------------------------------------------------------


def validated(config: SftConfig, **changes: Any) -> SftConfig:
    """``config`` with a third of its data held out, which steps this large soon unlearn."""
    settings = {"hold_out": 0.35, "validate_every": 2, "lr": 1.0, "steps": 12}
    return replace(config, **(settings | changes))


def test_the_best_weights_on_validation_are_kept(config: SftConfig) -> None:
    config = validated(config)
    lineage = train(config)
    found = {
        row["step"]: row["validation_loss"]
        for row in read_metrics(Path(config.output))
        if "validation_loss" in row
    }
    assert sorted(found) == [2, 4, 6, 8, 10, 12]
    best = min(found, key=found.__getitem__)
    assert (lineage["best_step"], lineage["validation_loss"]) == (best, round(found[best], 4))

    policy = load_policy(config.output)
    texts = load_dialogues(config.data, "validation", hold_out=config.hold_out)
    examples = encode(texts, policy.tokenizer, config, False, lambda line: None)
    rows = list(examples)
    with torch.inference_mode():
        losses = [float(batch_loss(policy.model, policy.tokenizer, [row])) for row in rows]
    tokens = [len(row["target"]) for row in rows]
    by_hand = sum(a * b for a, b in zip(losses, tokens, strict=True)) / sum(tokens)
    assert by_hand == pytest.approx(found[best], rel=0.02)  # the trainer averages batches


def test_patience_ends_a_run_that_no_longer_learns(config: SftConfig) -> None:
    config = validated(config, patience=2, steps=60)
    lineage = train(config)
    steps = [row["step"] for row in read_metrics(Path(config.output))]
    assert steps[-1] == lineage["best_step"] + 4 < 60


def test_patience_survives_a_cut(config: SftConfig, tmp_path: Path) -> None:
    whole = validated(config, patience=2, steps=60, output=str(tmp_path / "whole"))
    train(whole)
    last = read_metrics(tmp_path / "whole")[-1]["step"]
    cut = replace(whole, output=str(tmp_path / "cut"))
    with pytest.raises(Cut):
        train(cut, cut_at=last - 1)
    train(cut, resume=True)
    assert read_metrics(tmp_path / "cut")[-1]["step"] == last
    assert same(weights(cut), weights(whole))


def test_what_is_learned_is_no_validation(config: SftConfig) -> None:
    with pytest.raises(UserError, match=r"^Texts to validate on are also learned from: give them"):
        train(validated(config, hold_out=0.0))


# --- a run that is cut off -----------------------------------------------------------------------


@pytest.mark.parametrize("cut_at", [3, 5])  # in the first and in the second pass over the data
def test_a_resumed_run_equals_an_uninterrupted_one(
    each_whole: SftConfig, tmp_path: Path, cut_at: int
) -> None:
    whole = each_whole
    cut = replace(whole, output=str(tmp_path))
    with pytest.raises(Cut):
        train(cut, cut_at=cut_at)
    assert not (tmp_path / LINEAGE).exists()
    resumed = train(cut, resume=True)

    assert same(weights(cut), weights(whole))
    timeless = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(Path(c.output))]
        for c in (whole, cut)
    ]
    assert timeless[0] == timeless[1]
    lineage = json.loads((Path(whole.output) / LINEAGE).read_text())
    assert {key for key in lineage if lineage[key] != resumed[key]} <= {
        "seconds",
        "peak_memory",
        "config",
    }


def test_a_checkpoint_that_was_cut_off_is_passed_over(
    whole: SftConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = replace(whole, output=str(tmp_path))
    with monkeypatch.context() as patch:
        saved = sft.Trainer._save_rng_state

        def save(self: Any, folder: str) -> None:
            if folder.endswith("-4"):
                raise Cut
            saved(self, folder)

        patch.setattr(sft.Trainer, "_save_rng_state", save)
        with pytest.raises(Cut):
            train(cut)
    checkpoints = sorted(path.name for path in (tmp_path / "checkpoints").glob("*-*"))
    assert checkpoints == ["checkpoint-2", "checkpoint-4"]
    train(cut, resume=True)
    assert same(weights(cut), weights(whole))


def test_a_finished_run_resumes_to_itself(whole: SftConfig, tmp_path: Path) -> None:
    copy = replace(whole, output=str(tmp_path))
    shutil.copytree(whole.output, tmp_path, dirs_exist_ok=True)
    lineage = json.loads((tmp_path / LINEAGE).read_text())
    assert train(copy, resume=True)["train_loss"] == lineage["train_loss"]
    assert same(weights(copy), weights(whole))


def test_nothing_to_resume(config: SftConfig) -> None:
    with pytest.raises(UserError, match=r"^There is no checkpoint in .*run to resume from: start"):
        train(config, resume=True)


def test_a_run_is_resumed_with_its_own_settings(whole: SftConfig) -> None:
    for changes, named in (
        ({"lora_r": 8}, "lora_r"),
        ({"lr": 1e-5, "steps": 9}, "steps, lr"),
        ({"seed": 1}, "seed"),
    ):
        other = replace(whole, **changes)
        sentence = rf"^The run in .* was started with other settings \({named}\): resume it with"
        with pytest.raises(UserError, match=sentence):
            train(other, resume=True)


def test_a_run_may_be_moved_before_it_is_resumed(whole: SftConfig, tmp_path: Path) -> None:
    shutil.copytree(whole.output, tmp_path, dirs_exist_ok=True)
    moved = replace(whole, output=str(tmp_path), save_every=3)
    assert train(moved, resume=True)["config"]["output"] == str(tmp_path)


def test_a_fresh_run_is_not_resumed_from_an_older_one(whole: SftConfig, tmp_path: Path) -> None:
    shutil.copytree(whole.output, tmp_path, dirs_exist_ok=True)
    fresh = replace(whole, output=str(tmp_path), seed=1)
    with pytest.raises(Cut):
        train(fresh, cut_at=1)  # before its first checkpoint
    with pytest.raises(UserError, match=r"^There is no checkpoint in .* to resume from: start wi"):
        train(fresh, resume=True)


# --- what stops a run ----------------------------------------------------------------------------


def test_missing_data_stops_a_run_and_spoils_nothing(whole: SftConfig, tmp_path: Path) -> None:
    shutil.copytree(whole.output, tmp_path, dirs_exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"^There is no file nowhere\.jsonl: check the path\.$"):
        train(replace(whole, output=str(tmp_path), data="nowhere.jsonl"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_base(config: SftConfig) -> None:
    with pytest.raises(UserError, match=r"^The model 'nobody/nothing' is neither"):
        train(replace(config, base="nobody/nothing"))


def test_an_output_that_is_no_folder(config: SftConfig) -> None:
    with pytest.raises(UserError, match=r"^The run cannot be logged in .*: Not a directory\.$"):
        train(replace(config, output=f"{config.data}/run"))


@pytest.mark.parametrize("size", [200, 5_000, 30_000])  # full at the log, a checkpoint, its parts
def test_a_full_disk(config: SftConfig, size: int) -> None:
    sentence = r"^The (run cannot be logged|checkpoint cannot be written) (in|to) .*run: .*\.$"
    with tiny.disk_of(size), pytest.raises(UserError, match=sentence):
        train(config)
