"""Runs that several processes share: real ones, over gloo, held to a run in a single process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from detox import processes
from detox.config import PpoConfig, SftConfig
from detox.errors import UserError
from detox.ppo.checkpoint import CHECKPOINT
from detox.ppo.step import own_rows
from detox.ppo.trainer import train_ppo
from detox.runlog import read_metrics
from detox.sft import train_sft
from tests import tiny
from tests.detox import together

ROOT = Path(__file__).parents[2]
KINDS, EARLY = ["t5", "causal"], "early"
Job = dict[str, Any]


def job_in(folder: Path, bases: dict[str, Path]) -> Job:
    """Two PPO steps on each kind of model, two supervised ones, and greedy responses.

    And four PPO steps of one row a process whose responses may end early. The summaries are of
    one length: for encoder-decoders the trainer of transformers takes the mean of the processes'
    mean losses.
    """
    data = folder / "dialogues.jsonl"
    words = ["stupid", "tickets", "soup", "dinner", "walk", "river"]
    data.write_text(
        "".join(
            json.dumps({"dialogue": f"#Person1#: {word} " * i, "summary": "the train"}) + "\n"
            for i, word in enumerate(words, 1)
        ),
        encoding="utf-8",
    )
    ppo = {
        "data": str(data),
        "steps": 2,
        "batch_size": 8,
        "mini_batch_size": 4,
        "ppo_epochs": 2,
        "lr": 1e-2,
        "lora_r": 4,
        "min_response_tokens": 3,
        "max_response_tokens": 6,
        "min_dialogue_chars": 1,
    }
    sft = {"data": str(data), "steps": 2, "batch_size": 4, "lr": 1e-2, "lora_r": 4}
    early = {"batch_size": 2, "mini_batch_size": 2, "steps": 4, "logprobs": "generation"}
    early |= {"min_response_tokens": 12, "max_response_tokens": 12}
    return {
        "ppo": [
            ppo | more | {"policy": str(bases[kind]), "output": str(folder / f"ppo-{kind}")}
            for kind, more in (("t5", {}), ("causal", {}), (EARLY, early))
        ],
        "sft": [
            sft | {"base": str(bases[kind]), "output": str(folder / f"sft-{kind}")}
            for kind in KINDS
        ],
        "generate": [str(bases[kind]) for kind in KINDS],
    }


def launch(job: Job, folder: Path, **environment: str) -> list[Job]:
    """Runs ``job`` in two processes; what each of them saw."""
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "tests.detox.together", str(path)]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [json.loads((folder / f"job.json.{rank}").read_text()) for rank in (0, 1)]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models with opinions, and without dropout: each process has chances of its own."""
    t5, causal = tiny.t5(), tiny.causal()
    t5.lm_head.weight.data *= 5
    t5.config.dropout_rate = causal.config.attention_dropout = 0.0
    models = {"t5": (t5, "seq2seq"), "causal": (causal, "causal")}
    found = {
        kind: tiny.save(model, tmp_path_factory.mktemp(kind), style)
        for kind, (model, style) in models.items()
    }
    t5.lm_head.weight.data[tiny.EOS] *= -5  # some states now end at once, the others never
    return found | {EARLY: tiny.save(t5, tmp_path_factory.mktemp(EARLY), "seq2seq")}


@pytest.fixture(scope="module")
def alone(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job]:
    """The job as one process does it: its folder, and what was seen."""
    folder = tmp_path_factory.mktemp("alone")
    return folder, together.run(job_in(folder, bases))


@pytest.fixture(scope="module", params=["copied", "sharded"])
def shared(
    request: pytest.FixtureRequest,
    bases: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[Job], bool]:
    """The job as two processes do it, each with all the weights or with half of them."""
    sharded = request.param == "sharded"
    folder = tmp_path_factory.mktemp(request.param)
    job = job_in(folder, bases)
    if sharded:
        job |= {"sft": [], "generate": []}
    return folder, launch(job, folder, ACCELERATE_USE_FSDP=str(sharded).lower()), sharded


def rows(folder: Path) -> list[Job]:
    """The numbers of a run, except how long things took."""
    timed = ("time/", "seconds")
    return [
        {key: value for key, value in row.items() if not key.startswith(timed)}
        for row in read_metrics(folder)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_learn_what_one_does(
    kind: str, shared: tuple[Path, list[Job], bool], alone: tuple[Path, Job]
) -> None:
    mine, other = (
        torch.load(folder / f"ppo-{kind}" / CHECKPOINT, weights_only=True)
        for folder in (shared[0], alone[0])
    )
    for part in ("adapter", "head"):
        for name, value in mine[part].items():
            assert_close(value, other[part][name], atol=1e-5, rtol=0)
    assert mine["kl_coef"] == pytest.approx(other["kl_coef"], abs=1e-9)
    pairs = zip(rows(shared[0] / f"ppo-{kind}"), rows(alone[0] / f"ppo-{kind}"), strict=True)
    for row, expected in pairs:
        assert row == pytest.approx(expected, abs=1e-5, rel=1e-5)
    # the second step saw a policy that had moved
    assert rows(alone[0] / f"ppo-{kind}")[1]["objective/kl"] > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_the_adapter_is_written_once_and_whole(
    kind: str, shared: tuple[Path, list[Job], bool], alone: tuple[Path, Job]
) -> None:
    mine, other = (
        load_file(folder / f"ppo-{kind}" / "adapter_model.safetensors")
        for folder in (shared[0], alone[0])
    )
    assert mine.keys() == other.keys()
    for name, value in mine.items():
        assert_close(value.float(), other[name].float(), atol=1e-3, rtol=1e-2)  # stored in float16


def test_one_process_talks_and_both_take_part(shared: tuple[Path, list[Job], bool]) -> None:
    first, second = shared[1]
    assert [seen["count"] for seen in shared[1]] == [2, 2]
    assert any(line.startswith("step 2/2") for line in first["told"])
    assert not any(line.startswith(("step", "saved")) for line in second["told"])


def test_frozen_weights_are_dealt_out_where_asked_for(
    shared: tuple[Path, list[Job], bool], alone: tuple[Path, Job]
) -> None:
    whole = alone[1]["held"]
    for seen in shared[1]:
        assert bool(seen["dealt_out"]) == shared[2]
        assert (seen["held"] < whole) == shared[2]


def test_a_process_whose_responses_end_early_waits_for_the_others(
    shared: tuple[Path, list[Job], bool], alone: tuple[Path, Job]
) -> None:
    found, expected = (rows(folder / f"ppo-{EARLY}") for folder in (shared[0], alone[0]))
    # one row a process, so that a response that ends is a process that is done
    lengths = [row["tokens/response_mean"] for row in expected]
    assert any(1 < length < 12 for length in lengths), lengths
    for row, other in zip(found, expected, strict=True):
        assert row == pytest.approx(other, abs=1e-4, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_supervised_training_and_responses_are_shared_too(
    kind: str,
    shared: tuple[Path, list[Job], bool],
    alone: tuple[Path, Job],
    bases: dict[str, Path],
) -> None:
    if shared[2]:
        pytest.skip("left to the trainer of transformers")
    found, expected = (folder / f"sft-{kind}" for folder in (shared[0], alone[0]))
    for row, other in zip(rows(found), rows(expected), strict=True):
        assert row == pytest.approx(other, abs=1e-3)
    mine, theirs = (load_file(f / "adapter_model.safetensors") for f in (found, expected))
    for name, value in mine.items():
        assert_close(value.float(), theirs[name].float(), atol=2e-3, rtol=1e-2)
    for seen in shared[1]:
        assert seen[str(bases[kind])] == alone[1][str(bases[kind])]


def test_rows_are_dealt_out_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "count", lambda: 2)
    seen = []
    for rank in (0, 1):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        seen.append(own_rows(8, 4))
    # half of each mini-batch 0-3 and 4-7
    assert seen == [[0, 1, 4, 5], [2, 3, 6, 7]]


def test_a_batch_that_cannot_be_shared_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "count", lambda: 3)
    with pytest.raises(UserError, match="mini_batch_size must be a multiple of the 3 processes"):
        train_ppo(PpoConfig(output=str(tmp_path)))
    with pytest.raises(UserError, match="batch_size must be a multiple of the 3 processes"):
        train_sft(SftConfig(output=str(tmp_path)))


def test_alone_everything_stays_as_it_is() -> None:
    assert (processes.count(), processes.rank(), processes.is_main()) == (1, 0, True)
    assert processes.gather([1, 2]) == [1, 2]
    assert processes.agreed(True) and not processes.agreed(False)
    scores, table = processes.gather_rows(torch.ones(2), torch.zeros(2, 3))
    assert scores.tolist() == [1, 1] and table.shape == (2, 3)
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.full((2,), 3.0)
    processes.sum_gradients([parameter])
    assert parameter.grad.tolist() == [3, 3]
