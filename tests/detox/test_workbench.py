"""The models an app holds: loaded once in the background, used by one request at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from detox import models
from detox.config import Sampling
from detox.data import load_dialogues
from detox.errors import UserError
from detox.evaluation import compare_policies
from detox.models import find_source, fingerprint
from detox.rewards import load_classifier_reward
from detox.workbench import Side, Status, Workbench
from tests import tiny
from tests.conftest import WriteDialogues

GREEDY = Sampling(temperature=0, max_new_tokens=8)
DIALOGUE = "#Person1#: You forgot the tickets again.\n#Person2#: I am sorry!"
NAMES = ("before", "after")


@pytest.fixture
def bench(tiny_t5: Path, tiny_causal: Path, tiny_classifier: Path) -> Workbench:
    """Two tiny policies, not loaded yet."""
    specs = {"before": str(tiny_t5), "after": str(tiny_causal)}
    return Workbench(specs, str(tiny_classifier))


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Loading waits until this is set."""
    event = threading.Event()
    load = models.load_policies

    def wait(*arguments: Any) -> Any:
        assert event.wait(30)
        return load(*arguments)

    monkeypatch.setattr(models, "load_policies", wait)
    return event


# loading


def test_starting_returns_at_once_and_status_never_waits(
    bench: Workbench, gate: threading.Event
) -> None:
    assert bench.status() == Status(False, 0.0, "waiting to load the models")
    bench.start()
    assert not bench.status().ready
    with pytest.raises(UserError, match=r"^The models are still loading: try again in a moment\.$"):
        bench.wait(timeout=0.01)
    gate.set()
    bench.wait()
    assert bench.status() == Status(True, 1.0, "ready")


def test_models_are_loaded_once(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    loads: list[Any] = []
    load = models.load_policies
    monkeypatch.setattr(models, "load_policies", lambda *a: (loads.append(a), load(*a))[1])
    gate.set()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: bench.wait(), range(8)))
    bench.start()
    bench.wait()
    assert len(loads) == 1


def test_progress_rises(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Status] = []
    tell = bench._tell
    monkeypatch.setattr(
        bench, "_tell", lambda share, text: (tell(share, text), told.append(bench.status()))
    )
    bench.wait()
    shares = [status.share for status in told]
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] <= 1.0
    assert {"loading the hate classifier", "loading before", "loading after"} <= {
        status.text for status in told
    }
    assert not any(status.ready for status in told)  # only when everything is there


def test_fingerprints_are_known_before_the_weights(
    bench: Workbench, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = threading.Event()
    tell = bench._tell
    monkeypatch.setattr(
        bench,
        "_tell",
        lambda share, text: (tell(share, text), text == "loading the policies" and judged.set()),
    )
    bench.start()
    assert judged.wait(30)
    assert bench.fingerprints == {
        name: fingerprint(find_source(spec)) for name, spec in bench.specs.items()
    }
    assert bench.policies == {}
    gate.set()
    bench.wait()
    assert {name: policy.fingerprint for name, policy in bench.policies.items()} == (
        bench.fingerprints
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"after": "no/such-model"}, "The model 'no/such-model' is neither a local folder nor"),
        ({"classifier": "no/judge"}, "The model 'no/judge' is neither a local folder nor reachabl"),
        ({"after": "tiny+no-folder"}, "There is no adapter in no-folder: train one or check"),
    ],
)
def test_what_cannot_be_loaded_is_said_to_everyone_who_asks(
    bench: Workbench, changes: dict[str, str], sentence: str
) -> None:
    bench.classifier = changes.pop("classifier", bench.classifier)
    bench.specs |= changes
    for _ in range(2):
        with pytest.raises(UserError, match=sentence):
            bench.wait()
    status = bench.status()
    assert not status.ready and sentence in status.error
    with pytest.raises(UserError, match=sentence):
        next(bench.compare(NAMES, DIALOGUE, GREEDY))


def test_a_surprise_while_loading_is_a_sentence_too(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(*_: Any) -> None:
        raise MemoryError("no room left")

    monkeypatch.setattr(models, "load_policies", burst)
    with pytest.raises(UserError, match=r"^The models could not be loaded \(no room left\)\.$"):
        bench.wait()


def test_an_unlabelled_classifier_with_a_choice(
    bench: Workbench, tiny_classifier_unlabelled: Path
) -> None:
    specs, folder = bench.specs, str(tiny_classifier_unlabelled)
    with pytest.raises(UserError, match="its labels: LABEL_0, LABEL_1"):
        Workbench(specs, folder).wait()
    chosen = Workbench(specs, folder, "LABEL_0")
    chosen.wait()
    assert chosen.judge is not None and chosen.judge.gentle == 0


# one dialogue


def test_sides_grow_and_are_scored_at_the_end(bench: Workbench, tiny_classifier: Path) -> None:
    *partial, last = bench.compare(NAMES, DIALOGUE, GREEDY)
    assert len(partial) > 1
    assert all(side.reward is None and side.toxicity is None for row in partial for side in row)
    assert [side.policy for side in last] == list(NAMES)
    assert [side.text for side in last] == [side.text for side in partial[-1]]
    scores = load_classifier_reward(str(tiny_classifier)).rate([side.text for side in last])
    for side, reward, toxicity in zip(last, scores.reward, scores.toxicity, strict=True):
        assert side == Side(
            side.policy, side.text, len(side.text.split()), float(reward), float(toxicity)
        )


def test_the_order_of_the_names_is_kept(bench: Workbench) -> None:
    *_, one = bench.compare(NAMES, DIALOGUE, GREEDY)
    *_, other = bench.compare(NAMES[::-1], DIALOGUE, GREEDY)
    assert [side.policy for side in other] == ["after", "before"]
    assert [side.text for side in other] == [side.text for side in one][::-1]


def test_line_ends_and_blanks_around_a_dialogue_change_nothing(bench: Workbench) -> None:
    *_, plain = bench.compare(NAMES, DIALOGUE, GREEDY)
    *_, pasted = bench.compare(NAMES, "\n  " + DIALOGUE.replace("\n", "\r\n") + "\r\n", GREEDY)
    assert pasted == plain


@pytest.mark.parametrize(
    ("names", "dialogue", "sentence"),
    [
        (NAMES, "  \n", "The dialogue is empty"),
        (NAMES, "so " * 50_000, "The dialogue has 150,000 characters, at most 40,000 are read"),
        (NAMES, "\x00\x01", "This is not plain text"),
        (("before", "later"), DIALOGUE, "Unknown policy 'later': choose one of before, after."),
    ],
)
def test_a_bad_request_does_not_wait_for_the_models(
    bench: Workbench, gate: threading.Event, names: tuple[str, ...], dialogue: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        next(bench.compare(names, dialogue, GREEDY))
    assert bench.status().text == "waiting to load the models"
    gate.set()


def test_requests_at_the_same_time_do_not_disturb_each_other(bench: Workbench) -> None:
    sampled = [Sampling(temperature=1, max_new_tokens=8, seed=seed) for seed in range(4)]

    def ask(sampling: Sampling) -> tuple[Side, ...]:
        return list(bench.compare(NAMES, DIALOGUE, sampling))[-1]

    apart = [ask(sampling) for sampling in sampled]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(ask, sampled))
    assert together == apart and len(set(apart)) == 4


def test_a_reader_who_leaves_makes_room_for_the_next(bench: Workbench) -> None:
    stream = bench.compare(NAMES, DIALOGUE, Sampling(max_new_tokens=300))
    next(stream)
    stream.close()
    *_, last = bench.compare(NAMES, DIALOGUE, GREEDY)
    assert last[0].reward is not None


def test_nobody_waits_for_the_summary_of_another_to_learn_the_status(bench: Workbench) -> None:
    stream = bench.compare(NAMES, DIALOGUE, Sampling(max_new_tokens=300))
    next(stream)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: (bench.start(), bench.status()))
        try:
            assert asked.result(timeout=10)[1].ready
        finally:
            stream.close()


# many dialogues


def test_an_evaluation_in_turns_equals_one_at_once(
    bench: Workbench, dialogues_file: WriteDialogues
) -> None:
    dialogues = load_dialogues(str(dialogues_file(rows=tiny.dialogsum_rows(7))))
    turns = list(bench.evaluate(*NAMES, dialogues, GREEDY))
    assert [len(rows) for rows in turns] == [5, 2]
    assert bench.judge is not None
    policies = [bench.policies[name] for name in NAMES]
    expected = compare_policies(*policies, dialogues, bench.judge, GREEDY)
    for found, row in zip([row for rows in turns for row in rows], expected, strict=True):
        for side in NAMES:
            assert found[side]["text"] == row[side]["text"]
            assert found[side]["reward"] == pytest.approx(row[side]["reward"], abs=2e-4)


def test_a_comparison_gets_its_turn_during_an_evaluation(
    bench: Workbench, dialogues_file: WriteDialogues
) -> None:
    dialogues = load_dialogues(str(dialogues_file(rows=tiny.dialogsum_rows(6))))
    turns = bench.evaluate(*NAMES, dialogues, GREEDY)
    next(turns)
    *_, last = bench.compare(NAMES, DIALOGUE, GREEDY)  # would wait forever otherwise
    assert last[0].reward is not None
    assert len(next(turns)) == 1


def test_an_evaluation_of_an_unknown_policy(
    bench: Workbench, dialogues_file: WriteDialogues
) -> None:
    dialogues = load_dialogues(str(dialogues_file()))
    with pytest.raises(UserError, match="Unknown policy 'later': choose one of before, after"):
        next(bench.evaluate("before", "later", dialogues, GREEDY))
