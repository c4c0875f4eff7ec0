"""The simulation of the whole loop, on tiny models: it runs, goes on, and tells no fairy tales."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.loop import curve, direct, front, rounds, world
from benchmarks.loop.__main__ import parts, simulate
from benchmarks.loop.careless import caught
from benchmarks.loop.crowd import CARELESS, Labeler, crowd, judge_texts
from benchmarks.loop.figures import tables, write_figures
from benchmarks.loop.pool import exam, graded, pool, right, unseen
from benchmarks.loop.taste import utility, win
from benchmarks.loop.world import World, interval, once
from detox import cli as detox_cli
from labeling import cli as labeling_cli
from tests import tiny

RUDE = "#Person1#: You idiot, you lost the keys.\n#Person2#: I am sorry."


@pytest.fixture(scope="module")
def tiny_world(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_causal: Path,
    tiny_t5: Path,
    tiny_classifier: Path,
    tiny_reward_model: Path,
) -> World:
    return World(
        tmp_path_factory.mktemp("loop"),
        before=str(tiny_causal),
        after=str(tiny_t5),
        classifier=str(tiny_classifier),
        base=str(tiny_reward_model),
        people=3,
        dialogues=32,
        unseen=12,
        test=8,
        samples=2,
        votes=2,
        sizes=(100, 130),
        rounds=2,
        start_picks=90,
        round_picks=40,
        round_dialogues=48,
        steps=1,
        tune_steps=1,
        front_shares="1",
        front_steps=1,
        front_dialogues=4,
        first=100,
        more=20,
        selected_from=60,
        repetitions=1,
        crowds=1,
        crowd_picks=60,
        reward=("--epochs", "1", "--lora-r", "2", "--held-out", "0.3"),
        ppo=tuple(
            shlex.split(
                "--batch-size 2 --mini-batch-size 2 --min-response-tokens 4 --lora-r 2 "
                "--max-response-tokens 6 --max-dialogue-chars 2000"
            )
        ),
        tune=tuple(
            shlex.split(
                "--lora-r 2 --batch-size 2 --max-prompt-tokens 4000 --max-response-tokens 4000"
            )
        ),
    )


VERSIONS: tuple[Callable[[str], str], ...] = (
    lambda text: text,
    lambda text: f"{text} #Person1# is an idiot.",
    lambda text: text.replace("#Person", "Somebody "),
    lambda text: f"{text} They go on about it for a long while" + ", and then some more" * 5,
)


@pytest.fixture(autouse=True)
def _words_that_can_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.write_what_can_be_judged(monkeypatch, VERSIONS)


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run here: importing the model libraries anew takes longer than all the rest."""
    mains: dict[str, Callable[[list[str]], int]] = {
        "detox": detox_cli.main,
        "labeling": labeling_cli.main,
    }

    def command(module: str, *argv: str) -> None:
        assert mains[module](list(argv)) == 0, (module, argv)

    for module in (world, rounds, direct, front):
        monkeypatch.setattr(module, "command", command)


def test_the_taste_is_not_the_classifiers() -> None:
    gentle = "#Person1# is upset about the keys and #Person2# apologizes."
    rude = "#Person1# says #Person2# is an idiot who lost the keys."
    nobody = "Somebody is upset about the keys."
    long = gentle + " They go on talking about it for a very long while" * 4
    assert utility(RUDE, gentle) > utility(RUDE, rude)
    assert utility(RUDE, gentle) > utility(RUDE, nobody)  # as gentle, but who did what is missing
    assert utility(RUDE, gentle) > utility(RUDE, long)
    assert (win(RUDE, gentle, rude), win(RUDE, rude, gentle), win(RUDE, rude, rude)) == (1, 0, 0.5)


@pytest.mark.parametrize("noise", [0.1, 0.25])
def test_labelers_err_and_lean_as_often_as_they_should(noise: float) -> None:
    gentle, rude = "#Person1# is upset with #Person2#.", "#Person1# calls #Person2# an idiot."
    rng = random.Random(0)

    def picks(labeler: Labeler, left: str, right: str) -> list[str]:
        return [judge_texts(labeler, RUDE, left, right, rng)[0] for _ in range(4_000)]

    leaning, plain, careless = crowd(noise)[0], crowd(noise)[-2], crowd(noise)[-1]
    assert careless.name == CARELESS
    wrong = picks(plain, gentle, rude).count("right") / 4_000
    assert wrong == pytest.approx(noise, abs=0.03)
    assert picks(careless, gentle, rude).count("left") / 4_000 == pytest.approx(0.5, abs=0.03)
    lefts = picks(leaning, rude, gentle).count("left") / 4_000
    assert lefts == pytest.approx(0.15 + 0.85 * noise, abs=0.03)
    assert set(picks(plain, gentle, gentle)) == {"tie"}


def test_an_interval_draws_dialogues() -> None:
    one = interval([1.0, 0.0] * 50, [str(i) for i in range(100)])
    few = interval([1.0, 0.0] * 50, [str(i % 2) for i in range(100)])
    assert one["mean"] == few["mean"] == 0.5
    assert few["high"] - few["low"] == 1.0 > one["high"] - one["low"]


def test_what_is_done_is_kept_and_not_done_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def work() -> Any:
        calls.append(1)
        return {"n": len(calls)}

    assert once(tmp_path / "a" / "b.json", work) == once(tmp_path / "a" / "b.json", work)
    assert len(calls) == 1


def test_a_pool_pairs_what_differs(tiny_world: World) -> None:
    rows = pool(tiny_world)
    assert rows and all(row["a"] != row["b"] and row["split"] == "train" for row in rows)
    assert rows == pool(tiny_world)
    assert {row["id"] for row in rows}.isdisjoint(row["id"] for row in unseen(tiny_world))


def test_the_exam_is_passed_by_the_taste_and_failed_by_its_opposite(tiny_world: World) -> None:
    seen = exam(tiny_world, crowd(0.1))
    assert right(seen, seen.taste, seen.taste)["mean"] == 1.0
    assert right(seen, [-value for value in seen.taste], seen.taste)["mean"] == 0.0
    assert 0.5 < right(seen, seen.taste, seen.votes)["mean"] < 1.0


def test_a_curve_has_a_point_for_each_size(tiny_world: World) -> None:
    found = curve.curve(tiny_world, 0.1, tiny_world.folder / "curve-10")
    assert [point["picks"] for point in found["sizes"]] == list(tiny_world.sizes)
    for point in found["sizes"]:
        assert 0 <= point["votes"]["low"] <= point["votes"]["mean"] <= point["votes"]["high"] <= 1
        assert point["used"] <= point["picks"]
    # the model of the file is the one that is graded
    again = graded(
        exam(tiny_world, crowd(0.1, tiny_world.people)),
        str(tiny_world.folder / "curve-10" / f"reward-{tiny_world.sizes[-1]}"),
    )
    assert again["taste"] == found["sizes"][-1]["taste"]


def test_the_whole_simulation(tiny_world: World, tmp_path: Path) -> None:
    names = ["careless-10", "curve-10", "active", "rounds-10", "direct", "front"]
    assert set(names) < set(parts(tiny_world))
    found = simulate(tiny_world, names)
    assert list(found) == names
    loop = found["rounds-10"]["rounds"]
    assert [each["round"] for each in loop] == [1, 2]
    policies = [tiny_world.folder / "rounds-10" / f"round-{n}" / "ppo" for n in (1, 2)]
    lineages = [json.loads((p / "detox.json").read_text(encoding="utf-8")) for p in policies]
    assert str(policies[0]) in json.dumps(lineages[1]), "the second round goes on from the first"
    assert "round-2" in json.dumps(lineages[1]["reward"])
    assert 0 <= found["direct"]["dpo_against_ppo"]["win_rate"]["mean"] <= 1
    assert found["direct"]["first"]["win_rate"]["mean"] == 0.5
    gap = found["active"]["active_less_random"]
    accuracy = found["active"]["accuracy"]
    assert gap["mean"] == pytest.approx(
        accuracy["active"]["mean"] - accuracy["random"]["mean"], abs=2e-4
    )
    write_figures(found, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"accuracy.svg", "rounds.svg", "front.svg"}
    assert "| 100 |" in tables(found) and "| 1 |" in tables(found)
    assert [point["share"] for point in found["front"]["points"]] == [1.0]
    assert simulate(tiny_world, names) == found


def test_a_hasty_careless_labeler_is_caught(tiny_world: World) -> None:
    larger = replace(tiny_world, crowd_picks=160, crowds=2)
    found = caught(larger, 0.1, tiny_world.folder / "caught")
    assert found["hasty"]["caught"] == found["hasty"]["crowds"] == 2
    assert found["hasty"]["reasons"]
