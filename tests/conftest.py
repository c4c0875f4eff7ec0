"""Fixtures for every test: a world without network, and tiny models in folders.

``tiny_t5``, ``tiny_causal``, ``tiny_classifier``, ``tiny_classifier_swapped``,
``tiny_classifier_unlabelled`` and ``tiny_reward_model`` are paths, to be named wherever a hub
name could stand; ``dialogues_file`` writes dialogues in DialogSum's format. A test that needs
the embedded policy takes ``converted_weights``.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import tests.world  # noqa: F401  is made by being imported, before the model libraries are
from detox.config import cache_dir

# Fixtures import the model libraries: the process that hands the tests out does without.

# Converting the embedded weights takes half a minute, so tests read this machine's own cache.
MACHINE_CACHE = cache_dir()

# A busy machine is no bug: examples may take as long as they need. Nights have time for more.
settings.register_profile(
    "arena",
    deadline=None,
    max_examples=int(os.environ.get("DETOX_EXAMPLES", 30)),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("arena")

# As in ``detox.terminal``: tests import as much as any command, and make as little garbage.
gc.set_threshold(10_000)

WriteDialogues = Callable[..., Path]

# Files that take longest, the longest first: begun last, one would keep a single worker busy.
LONGEST = ("test_train_tab", "test_reward_fit", "test_loop", "test_processes", "test_sft")
LONGEST += ("test_preference_run", "test_label_tab", "test_label_outbox", "test_hostile")
LONGEST += ("test_manage_tab", "test_pipeline", "test_cli_tune", "test_jobs", "test_ppo_trainer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; the order within a file stays.

    In CI, whose machines are shared, a test that drives a browser has a second try, which the
    summary counts as a rerun. Elsewhere it fails at once.
    """
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))
    if os.environ.get("CI"):
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish() -> None:
    """Keeps the garbage collector from what the model libraries made: a third of all work."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny models spend more time on handing work to a second thread than on the work."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a test does reaches the state of the person who runs it."""
    state = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("DETOX_CACHE", str(state / "cache"))
    monkeypatch.setenv("DETOX_DB", str(state / "picks.db"))


@pytest.fixture
def converted_weights(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this machine, where the embedded policy is converted once and for all."""
    monkeypatch.setenv("DETOX_CACHE", str(MACHINE_CACHE))
    return MACHINE_CACHE


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 with gated GELU, dropout 0.1 and an untied head, as FLAN-T5."""
    from tests import tiny

    return tiny.save(tiny.t5(), tmp_path_factory.mktemp("t5"), "seq2seq")


@pytest.fixture(scope="session")
def tiny_causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama-type causal model, as SmolLM2, whose tokenizer pads on the left."""
    from tests import tiny

    return tiny.save(tiny.causal(), tmp_path_factory.mktemp("causal"), "causal")


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RoBERTa classifier with the labels {0: nothate, 1: hate}."""
    from tests import tiny

    model = tiny.classifier(["nothate", "hate"])
    return tiny.save(model, tmp_path_factory.mktemp("classifier"), "classifier")


@pytest.fixture(scope="session")
def tiny_classifier_swapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny_classifier`` with {0: hate, 1: nothate}: other positions, the same judgement."""
    from tests import tiny

    model = tiny.swapped(tiny.classifier(["nothate", "hate"]))
    return tiny.save(model, tmp_path_factory.mktemp("swapped"), "classifier")


@pytest.fixture(scope="session")
def tiny_classifier_unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny_classifier`` with outputs called LABEL_0 and LABEL_1."""
    from tests import tiny

    model = tiny.classifier(None)
    return tiny.save(model, tmp_path_factory.mktemp("unlabelled"), "classifier")


@pytest.fixture(scope="session")
def tiny_reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RoBERTa with one output, as a Bradley–Terry reward model has."""
    from tests import tiny

    model = tiny.classifier(None, outputs=1)
    return tiny.save(model, tmp_path_factory.mktemp("reward"), "classifier")


@pytest.fixture
def dialogues_file(tmp_path: Path) -> WriteDialogues:
    """``dialogues_file(suffix=".jsonl", rows=None)`` writes a file and returns its path.

    ``suffix`` is .jsonl, .csv or .parquet; ``rows`` defaults to ``tiny.dialogsum_rows()``.
    """

    import pandas as pd

    from tests import tiny

    def write(suffix: str = ".jsonl", rows: list[dict[str, Any]] | None = None) -> Path:
        rows = tiny.dialogsum_rows() if rows is None else rows
        path = tmp_path / f"dialogsum{suffix}"
        if suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        elif suffix == ".csv":
            pd.DataFrame(rows).to_csv(path, index=False)
        else:
            pd.DataFrame(rows).to_parquet(path)
        return path

    return write
