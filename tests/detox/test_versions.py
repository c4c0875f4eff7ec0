"""Versions that trainings make: written down once, and taken in by an app that is in use."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detox import models
from detox.config import Lora, Sampling
from detox.errors import UserError
from detox.generation import generate
from detox.models import (
    add_adapter,
    add_policy,
    find_source,
    fingerprint,
    load_beside,
    load_policies,
    load_policy,
    save_adapter,
)
from detox.versions import REGISTRY, enter_version, follow, read_versions
from detox.workbench import Workbench
from tests import tiny

GREEDY = Sampling(temperature=0, max_new_tokens=8)
PROMPTS = ["#Person1#: You forgot the tickets.\n", "#Person2#: I am sorry!\n"]


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base, the adapter ``sft`` on it, ``one`` and ``two`` on that, and ``three`` on ``one``."""
    root = tmp_path_factory.mktemp("family")
    base = tiny.save(tiny.causal(), root / "base", "causal")
    for seed, (name, parent) in enumerate(
        [("sft", None), ("one", "sft"), ("two", "sft"), ("three", "one")]
    ):
        adapted = add_adapter(load_policy(str(base)).model, Lora(r=2, alpha=8), "CAUSAL_LM", seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.normal_(0, 0.3, generator=generator)
        lineage = {
            "kind": "ppo",
            "base": str(base),
            "parent": parent and f"../{parent}",
            "reference_fingerprint": "abc",
            "reward": {"name": "classifier"},
            "steps": 3,
            "seed": seed,
        }
        save_adapter(adapted, root / name, lineage)
    return {path.name: path for path in root.iterdir()}


@pytest.fixture
def bench(family: dict[str, Path], tiny_classifier: Path) -> Workbench:
    specs = {"before": str(family["sft"]), "after": str(family["one"])}
    return Workbench(specs, str(tiny_classifier))


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.01)


# weights beside those that are there


@pytest.mark.parametrize("first", [("base",), ("sft",), ("sft", "one"), ("base", "one")])
@pytest.mark.parametrize("late", ["base", "sft", "two", "three"])
def test_a_policy_that_comes_later_writes_what_it_would_have_written(
    family: dict[str, Path], first: tuple[str, ...], late: str
) -> None:
    specs = {f"{name}-v": str(family[name]) for name in first}
    policies = load_policies(specs)
    beside = load_beside(policies, str(family[late]))
    policies = add_policy(policies, "late", beside)
    together = load_policies(specs | {"late": str(family[late])})
    assert list(policies) == list(together)
    for name, policy in policies.items():
        assert policy.fingerprint == together[name].fingerprint
        expected = generate(
            load_policy((specs | {"late": str(family[late])})[name]), PROMPTS, GREEDY
        )
        assert generate(policy, PROMPTS, GREEDY) == expected


def test_memory_is_shared_with_what_is_there(family: dict[str, Path]) -> None:
    policies = load_policies({"before": str(family["sft"]), "after": str(family["one"])})
    policies = add_policy(policies, "after-2", load_beside(policies, str(family["two"])))
    assert len({id(policy.model) for policy in policies.values()}) == 1
    policies = add_policy(policies, "again", load_beside(policies, str(family["sft"])))
    assert policies["again"].model is policies["after"].model
    # what was tuned from "after" has a reference of its own, as in load_policies
    policies = add_policy(policies, "after-3", load_beside(policies, str(family["three"])))
    assert policies["after-3"].model is not policies["after"].model


def test_sharers_of_bare_weights_learn_that_these_are_wrapped(family: dict[str, Path]) -> None:
    policies = load_policies({"base": str(family["base"])})
    alone = generate(policies["base"], PROMPTS, GREEDY)
    policies = add_policy(policies, "sft", load_beside(policies, str(family["sft"])))
    assert policies["base"].model is policies["sft"].model
    assert generate(policies["base"], PROMPTS, GREEDY) == alone
    assert generate(policies["sft"], PROMPTS, GREEDY) != alone


def test_a_torn_adapter_is_refused_before_it_touches_the_others(
    family: dict[str, Path], tmp_path: Path
) -> None:
    torn = tmp_path / "torn"
    torn.mkdir()
    for path in family["two"].iterdir():
        (torn / path.name).write_bytes(path.read_bytes()[:500])
    (torn / "adapter_config.json").write_bytes((family["two"] / "adapter_config.json").read_bytes())
    (torn / "detox.json").write_text(json.dumps({"base": str(family["base"])}))
    policies = load_policies({"base": str(family["base"])})
    with pytest.raises(UserError, match="torn cannot be read: check its files"):
        load_beside(policies, str(torn))
    assert not hasattr(policies["base"].model, "peft_config")


def test_an_adapter_that_does_not_fit_leaves_the_others_as_they_were(
    family: dict[str, Path], tiny_t5: Path, tmp_path: Path
) -> None:
    other = add_adapter(
        load_policy(str(tiny_t5)).model, Lora(r=2, targets="q,v"), "SEQ_2_SEQ_LM", 0
    )
    lineage = {"base": str(family["base"]), "parent": str(family["sft"])}
    save_adapter(other, tmp_path / "alien", lineage)
    policies = load_policies({"before": str(family["sft"]), "after": str(family["one"])})
    texts = {name: generate(policy, PROMPTS, GREEDY) for name, policy in policies.items()}
    with pytest.raises(UserError, match="does not fit this base model"):
        add_policy(policies, "alien", load_beside(policies, str(tmp_path / "alien")))
    assert {name: generate(policy, PROMPTS, GREEDY) for name, policy in policies.items()} == texts
    policies = add_policy(policies, "after-2", load_beside(policies, str(family["two"])))
    assert generate(policies["after-2"], PROMPTS, GREEDY) == generate(
        load_policy(str(family["two"])), PROMPTS, GREEDY
    )


# an app that learns


def test_the_bench_learns_a_version_once_the_first_models_are_there(
    bench: Workbench, family: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.learn("after-2", str(family["two"]))
    with pytest.raises(UserError, match="'after-2' is still being loaded: try again in a moment"):
        bench.check_names(("before", "after-2"))
    assert list(bench.specs) == ["before", "after"] and list(bench.coming) == ["after-2"]
    bench.start()
    until(lambda: "after-2" in bench.specs)
    until(lambda: not bench.coming)
    assert list(bench.specs) == ["before", "after", "after-2"]
    assert bench.fingerprints["after-2"] == fingerprint(find_source(str(family["two"])))
    assert bench.policies["after-2"].model is bench.policies["before"].model
    *_, sides = bench.compare(("after-2", "after"), PROMPTS[0], GREEDY)
    assert [side.policy for side in sides] == ["after-2", "after"]
    monkeypatch.setattr(models, "load_beside", lambda *_: pytest.fail("it is known already"))
    bench.learn("after-2", str(family["two"]))
    assert not bench.coming


def test_versions_are_learned_in_order_and_a_bad_one_stops_none(
    bench: Workbench, family: dict[str, Path], tmp_path: Path
) -> None:
    bench.wait()
    bench.learn("gone", str(tmp_path / "gone"))
    for name in ("two", "three"):
        bench.learn(name, str(family[name]))
    until(lambda: not bench.coming)
    assert list(bench.specs) == ["before", "after", "two", "three"]
    assert "gone" in bench.refused["gone"] and "\n" not in bench.refused["gone"]
    with pytest.raises(UserError, match="Unknown policy 'gone': choose one of before, after, two,"):
        bench.check_names(("gone",))
    save = tmp_path / "gone"  # it is mended, and asked for again
    save.mkdir()
    for path in family["two"].iterdir():
        (save / path.name).write_bytes(path.read_bytes())
    (save / "detox.json").write_text(
        json.dumps({"base": str(family["base"]), "parent": str(family["sft"])})
    )
    bench.learn("gone", str(save))
    until(lambda: not bench.coming)
    assert "gone" in bench.specs and bench.refused == {}


def test_nobody_writes_while_weights_are_wrapped(bench: Workbench, family: dict[str, Path]) -> None:
    bench.wait()
    stream = bench.compare(("before", "after"), PROMPTS[0], Sampling(max_new_tokens=200))
    next(stream)
    bench.learn("after-2", str(family["two"]))
    time.sleep(0.3)
    assert "after-2" not in bench.specs and "after-2" not in bench.policies
    stream.close()
    until(lambda: "after-2" in bench.specs)


def test_what_is_written_meanwhile_is_the_same(bench: Workbench, family: dict[str, Path]) -> None:
    bench.wait()
    names = ("before", "after")
    *_, alone = bench.compare(names, PROMPTS[0], GREEDY)
    seen: list[Any] = []

    def ask() -> None:
        for _ in range(6):
            seen.append(list(bench.compare(names, PROMPTS[0], GREEDY))[-1])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for name in ("two", "three"):
        bench.learn(name, str(family[name]))
    for thread in threads:
        thread.join()
    until(lambda: not bench.coming)
    assert seen == [alone] * 12


def test_without_the_first_models_nothing_is_learned(
    family: dict[str, Path], tmp_path: Path, tiny_classifier: Path
) -> None:
    bench = Workbench({"a": str(tmp_path / "none"), "b": str(family["sft"])}, str(tiny_classifier))
    bench.learn("after-2", str(family["two"]))
    with pytest.raises(UserError):
        bench.wait()
    until(lambda: not bench.coming)
    assert bench.refused["after-2"] == bench.status().error != ""


# the registry


def test_a_version_is_entered_once_with_where_it_comes_from(family: dict[str, Path]) -> None:
    root = family["one"].parent
    (root / REGISTRY).unlink(missing_ok=True)
    assert read_versions(root) == []
    first = enter_version(family["one"])
    enter_version(family["two"])
    again = enter_version(family["one"])
    assert [version.name for version in read_versions(root)] == ["two", "one"]
    assert (first.fingerprint, first.parent, first.kind) == (again.fingerprint, "abc", "ppo")
    assert first.fingerprint == fingerprint(find_source(str(family["one"])))
    assert (first.steps, first.seed, first.reward) == (3, 1, {"name": "classifier"})
    (root / REGISTRY).unlink()


def test_what_has_learned_nothing_is_no_version(tmp_path: Path) -> None:
    folder = tmp_path / "after-2"
    folder.mkdir()
    (folder / "detox.json").write_text('{"steps": 0, "stopped": "KL 50 passed kl_stop 40"}')
    with pytest.raises(UserError, match=r"before it had learned anything \(KL 50 passed kl_stop 4"):
        enter_version(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="The training left no policy in"):
        enter_version(tmp_path / "empty")
    assert read_versions(tmp_path) == []


@given(content=st.one_of(st.text(), st.binary().map(lambda b: b.decode("latin1"))))
def test_a_damaged_registry_is_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: str
) -> None:
    root = tmp_path_factory.mktemp("damaged")
    (root / REGISTRY).write_text(f'{{"{content}', encoding="utf-8")
    with pytest.raises(UserError, match=r"versions\.json is damaged: delete it, and name its ver"):
        read_versions(root)


def test_an_app_takes_in_the_versions_there_are_and_those_to_come(
    bench: Workbench, family: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    root = family["one"].parent
    enter_version(family["two"])
    stop = follow(bench, root, pace=0.02)
    try:
        bench.start()
        until(lambda: "two" in bench.specs)
        assert bench.specs["two"] == str(root / "two")
        enter_version(family["three"])
        until(lambda: "three" in bench.specs)
        (root / REGISTRY).write_text("[")
        until(lambda: "versions.json is damaged" in caplog.text)
    finally:
        stop()
        (root / REGISTRY).unlink()


def test_following_ends_with_the_app(tmp_path: Path) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    bench = Workbench({"a": "x", "b": "y"})
    follow(bench, tmp_path, pace=0.01)
    (watcher,) = [
        thread
        for thread in threading.enumerate()
        if thread.ident not in before and thread.name == "version-watcher"
    ]
    del bench
    watcher.join(10)
    assert not watcher.is_alive()
