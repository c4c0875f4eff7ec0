"""Learning from all but those whom the results flag."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import pytest

from detox.workbench import Workbench
from labeling import cli
from labeling.analysis.suspects import left_out, suspects
from labeling.batches import add_pairs
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.recipes import preference_recipe, reward_recipe
from labeling.reward_model import command
from labeling.store import Store


@pytest.fixture
def judged(fresh_store: Store) -> Store:
    """Thirty pairs, by two who read them and one who does not."""
    words = "They talk at length about the keys that somebody lost on the way home."
    add_pairs(
        fresh_store,
        [
            {"dialogue": f"#Person1#: {i}?", "a": f"{words} {i}", "b": f"No {words} {i}"}
            | {"policy_a": "after", "policy_b": "before"}
            for i in range(30)
        ],
        "first",
    )
    for labeler, seconds in (("ada", 12.0), ("ben", 15.0), ("hasty", 0.4)):
        rng = random.Random(labeler)
        while task := next_pair(fresh_store, labeler, rng):
            side = "left" if task.left.startswith("They") else "right"
            submit(fresh_store, task.assignment_id, side, labeler=labeler, seconds=seconds)
    return fresh_store


def pseudonym(store: Store, name: str) -> str:
    with store.reading() as db:
        row = next(db.query("SELECT pseudonym FROM labelers WHERE name = ?", [name]))
    return str(row["pseudonym"])


def test_only_who_does_not_read_is_suspect(judged: Store) -> None:
    found = suspects(judged)
    assert [row.labeler for row in found] == [pseudonym(judged, "hasty")]
    assert "faster than the two summaries can be read" in found[0].flags[0]


def test_the_flagged_join_those_left_out_by_name(judged: Store) -> None:
    hasty = pseudonym(judged, "hasty")
    assert left_out(judged, ("ben",), asked=False) == ("ben",)
    assert left_out(judged, ("ben",), asked=True) == ("ben", hasty)
    assert left_out(judged, (hasty,), asked=True) == (hasty,)


def test_a_reward_model_may_learn_from_the_others(judged: Store) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--db")
    command.add_arguments(parser)
    for argv, expected in (([], ()), (["--without-flagged"], (pseudonym(judged, "hasty"),))):
        filters = command._filters(judged, parser.parse_args(argv))
        assert filters.without == expected


@pytest.mark.parametrize("name", ["reward", "tune"])
def test_the_commands_say_so(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    assert "--without-flagged" in capsys.readouterr().out


def test_the_train_tab_asks_whose_picks_count(
    judged: Store, tmp_path: Path, tiny_causal: Path
) -> None:
    bench = Workbench({"before": str(tiny_causal)})
    for recipe in (reward_recipe(judged.path), preference_recipe(bench, judged.path)):
        assert "--without-flagged" not in recipe.job({}, tmp_path / "run").argv
        job = recipe.job({"people": "unflagged"}, tmp_path / "run")
        assert "--without-flagged" in job.argv
        assert ("Picks by", "all but those Results flags") in job.facts
