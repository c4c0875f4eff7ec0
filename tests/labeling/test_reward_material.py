"""Which picks a reward model learns from: filters, joined votes, ties, doubts, and the record."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from detox.config import RewardConfig
from detox.errors import UserError
from detox.report import read_report
from detox.reward_model import part_of
from detox.runs import find_run, run_page
from labeling import cli
from labeling.adjudication import adjudicate
from labeling.batches import add_pairs
from labeling.export import Filters, select, snapshot_hash
from labeling.picks import reveal, submit
from labeling.queue import next_pair
from labeling.reward_model import PEOPLE, train_reward_model
from labeling.reward_model.material import Material, doubts, gather, parts
from labeling.store import Store

Row = dict[str, Any]


def pairs(count: int, batch: str = "first") -> list[Row]:
    """One pair a dialogue; the better response says so."""
    return [
        {
            "dialogue": f"#Person1#: Where is {batch} {number}?",
            "prompt": f"#Person1#: Where is {batch} {number}?\nSummary:\n",
            "a": f"good {number}",
            "b": f"bad {number}",
            "policy_a": "after",
            "policy_b": "before",
        }
        for number in range(count)
    ]


def judge(
    store: Store, labeler: str, answer: Callable[[int], str], batch: str | None = None, **more: Any
) -> int:
    """``labeler`` judges all pairs; ``answer(n)`` is good, bad, tie, both_bad or skip."""
    rng, count = random.Random(labeler), 0
    while task := next_pair(store, labeler, rng, batch):
        said = answer(int(task.left.split()[1]))
        if said in ("good", "bad"):
            said = "left" if task.left.startswith(said) else "right"
        submit(store, task.assignment_id, said, labeler=labeler, **more)
        count += 1
    return count


def always(said: str) -> Callable[[int], str]:
    return lambda number: said


@pytest.fixture
def voted(fresh_store: Store) -> Store:
    """Thirty pairs with three votes each: on every third the last labeler says the opposite."""
    add_pairs(fresh_store, pairs(30), "first")
    for labeler in ("ann", "ben"):
        judge(fresh_store, labeler, always("good"))
    judge(fresh_store, "cleo", lambda number: "good" if number % 3 else "bad")
    return fresh_store


# every pick


def test_a_row_a_pick(voted: Store) -> None:
    found = gather(voted)
    assert (len(found.rows), len(found.votes), found.labelers, found.ties) == (90, 90, 3, 0)
    good = [row for row in found.rows if row["chosen"].startswith("good")]
    assert len(good) == 80
    assert {row["margin"] for row in found.rows} == {2 / 3}  # strength not said
    with voted.reading() as db:
        assert found.snapshot == snapshot_hash(select(db, PEOPLE))
    assert found.filters["aggregation"] == "every" and found.filters["labeler_kind"] == "person"
    json.dumps(found.filters)


@pytest.mark.parametrize(("strength", "margin"), [("slightly", 1 / 3), ("clearly", 1.0)])
def test_strength_is_the_margin(fresh_store: Store, strength: str, margin: float) -> None:
    add_pairs(fresh_store, pairs(3), "first")
    judge(fresh_store, "ann", always("good"), strength=strength)
    assert [row["margin"] for row in gather(fresh_store).rows] == [margin] * 3


def test_filters(voted: Store) -> None:
    add_pairs(voted, pairs(4, "second"), "second")
    judge(voted, "ann", always("bad"), batch="second")
    assert len(gather(voted, replace(PEOPLE, batch="second")).rows) == 4
    assert len(gather(voted, replace(PEOPLE, batch="first")).rows) == 90
    assert gather(voted, replace(PEOPLE, without=("ann",))).labelers == 2
    assert len(gather(voted, replace(PEOPLE, labelers=("ann",))).rows) == 34
    with pytest.raises(UserError, match="There is no labeler 'nobody'"):
        gather(voted, replace(PEOPLE, without=("nobody",)))
    with pytest.raises(UserError, match="There is no batch 'nothing'"):
        gather(voted, replace(PEOPLE, batch="nothing"))


def test_what_was_judged_after_looking_behind_can_be_left_out(fresh_store: Store) -> None:
    add_pairs(fresh_store, pairs(6), "first")
    rng = random.Random(0)
    for number in range(6):
        task = next_pair(fresh_store, "ann", rng)
        assert task is not None
        pick = submit(fresh_store, task.assignment_id, "left", labeler="ann")
        if number < 2:  # looks, and then thinks otherwise
            reveal(fresh_store, pick)
            submit(fresh_store, task.assignment_id, "right", labeler="ann")
    assert len(gather(fresh_store).rows) == 6
    assert len(gather(fresh_store, replace(PEOPLE, blind_only=True)).rows) == 4


def test_repeats_and_gold_are_no_votes(voted: Store) -> None:
    with voted.writing() as db:
        db.execute("DROP TRIGGER assignments_no_update")
        ids = [row["id"] for row in db.query("SELECT id FROM assignments ORDER BY rowid LIMIT 2")]
        db.execute("UPDATE assignments SET kind = 'gold' WHERE id = ?", ids[:1])
        db.execute("UPDATE assignments SET kind = 'repeat' WHERE id = ?", ids[1:])
    assert len(gather(voted).rows) == 88
    assert len(gather(voted, replace(PEOPLE, kinds=("gold", "repeat"))).rows) == 88


def test_ai_feedback_counts_only_when_asked(voted: Store) -> None:
    with voted.writing() as db:
        db.execute("UPDATE labelers SET kind = 'model' WHERE name = 'cleo'")
    assert gather(voted).labelers == 2
    assert gather(voted, Filters(labeler_kind="all")).labelers == 3


# joined votes


def test_a_majority_is_one_row_with_the_margin_of_its_votes(voted: Store) -> None:
    found = gather(voted, replace(PEOPLE, aggregation="majority"))
    assert (len(found.rows), len(found.votes)) == (30, 90)
    assert all(row["chosen"].startswith("good") for row in found.rows)
    margins = {int(row["chosen"].split()[1]): row["margin"] for row in found.rows}
    assert all(
        margin == pytest.approx(1.0 if number % 3 else 1 / 3) for number, margin in margins.items()
    )
    assert {row["labeler"] for row in found.rows} == {None}
    # the snapshot is of all votes, not of the pairs
    fewer = gather(voted, replace(PEOPLE, aggregation="majority", without=("cleo",)))
    assert fewer.snapshot != found.snapshot and len(fewer.rows) == 30


def test_what_a_lead_said_counts_first(voted: Store) -> None:
    with voted.reading() as db:
        (pair,) = db.query(
            "SELECT p.id, p.candidate_a FROM pairs AS p JOIN candidates AS c"
            " ON c.id = p.candidate_a WHERE c.text = 'good 1'"
        )
    adjudicate(voted, "lea", pair["id"], "right", pair["candidate_a"])
    found = gather(voted, replace(PEOPLE, aggregation="adjudicated"))
    bad = [row for row in found.rows if row["chosen"].startswith("bad")]
    assert [(row["chosen"], row["margin"]) for row in bad] == [("bad 1", 0.0)]
    assert len(gather(voted, replace(PEOPLE, aggregation="majority")).rows) == 30


def test_votes_without_a_majority_are_counted_and_left_out(fresh_store: Store) -> None:
    add_pairs(fresh_store, pairs(4), "first")
    judge(fresh_store, "ann", always("good"))
    judge(fresh_store, "ben", lambda number: "bad" if number < 3 else "good")
    found = gather(fresh_store, replace(PEOPLE, aggregation="majority"))
    assert (len(found.rows), found.left_out) == (1, {"no_majority": 3})


# ties


def test_ties_are_dropped_or_become_soft_labels(fresh_store: Store) -> None:
    add_pairs(fresh_store, pairs(8), "first")
    answers = ["good", "tie", "both_bad", "skip"] * 2
    judge(fresh_store, "ann", lambda number: answers[number])
    dropped = gather(fresh_store)
    assert dropped.left_out == {"both_bad": 2, "skip": 2, "tie": 2}
    assert (dropped.decided, dropped.ties, len(dropped.rows)) == (2, 0, 2)
    soft = gather(fresh_store, ties="soft")
    assert (soft.decided, soft.ties, soft.left_out) == (2, 4, {"skip": 2})
    even = [row for row in soft.rows if row["target"] == 0.5]
    assert len(even) == 4 and {row["margin"] for row in even} == {0.0}
    assert {row["chosen"] != row["rejected"] for row in even} == {True}
    assert len(soft.dialogues) == 2 and len(soft.votes) == 2
    assert soft.snapshot != dropped.snapshot


def test_joined_ties_become_soft_labels_too(fresh_store: Store) -> None:
    add_pairs(fresh_store, pairs(4), "first")
    for labeler in ("ann", "ben"):
        judge(fresh_store, labeler, lambda number: "tie" if number < 3 else "good")
    majority = replace(PEOPLE, aggregation="majority")
    assert gather(fresh_store, majority).left_out == {"tie": 3}
    soft = gather(fresh_store, majority, "soft")
    assert (soft.decided, soft.ties, soft.left_out) == (1, 3, {})


# doubts


def material(votes: list[Row], **more: Any) -> Material:
    rows = tuple(vote | {"target": 1.0} for vote in votes)
    known = {"ties": 0, "left_out": {}, "snapshot": "", "filters": {"aggregation": "every"}}
    labelers = len({vote["labeler"] for vote in votes})
    return Material(rows=rows, votes=rows, labelers=labelers, **(known | more))


def vote(pair: int, labeler: str) -> Row:
    return {"pair": pair, "labeler": labeler, "dialogue": f"d{pair}"}


def test_enough_picks_by_enough_people_raise_no_doubt() -> None:
    assert doubts(material([vote(n, who) for n in range(96) for who in ("ann", "ben")])) == []


def test_doubts_name_the_number_that_is_missing() -> None:
    few = doubts(material([vote(n, "ann") for n in range(23)]))
    assert few[0].endswith("50 or more are advised. Label 27 more.")
    assert "All picks are by one labeler" in few[1] and "about 96 of the same pairs" in few[1]
    apart = [vote(n, "ann") for n in range(60)] + [vote(n, "ben") for n in range(40, 90)]
    (said,) = doubts(material(apart))
    assert said.startswith("Pairs that two people judged: 20.") and said.endswith(
        "96 are advised, 76 more."
    )


def test_parts_are_dealt_by_dialogue(voted: Store) -> None:
    config = RewardConfig(held_out=0.3, validation=0.2, seed=4)
    dealt = parts(gather(voted), config)
    for name, rows in dealt.items():
        assert rows and len(rows) % 3 == 0  # all votes of a pair are on one side
        assert all(part_of(row["dialogue"], 0.3, 0.2, 4) == name for row in rows)


# the whole, and what it leaves behind


@pytest.fixture
def config(tiny_reward_model: Path, tmp_path: Path) -> RewardConfig:
    return RewardConfig(
        base=str(tiny_reward_model),
        output=str(tmp_path / "runs" / "people|1"),
        epochs=2,
        lr=5e-3,
        lora_r=2,
        held_out=0.3,
        validation=0.25,
    )


def test_the_card_and_the_report_say_where_the_model_comes_from_and_what_it_is_worth(
    voted: Store, config: RewardConfig
) -> None:
    told: list[str] = []
    filters = replace(PEOPLE, aggregation="majority", without=("cleo",))
    lineage = train_reward_model(voted, config, told.append, filters)
    folder = Path(config.output)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\n") and "reward-model" in card
    for part in (
        lineage["snapshot"],
        lineage["filters"]["without"][0],
        "Noise ceiling",
        "**Mind:**",
    ):
        assert part in card
    accuracy = lineage["figures"]["accuracy"]
    spread = f"{100 * accuracy['rate']:.1f} % [{100 * accuracy['low']:.1f}, "
    assert spread in card and "The same on single votes" in card
    for plot in ("calibration.svg", "margin.svg"):
        assert f"({plot})" in card and (folder / plot).read_text().startswith("<svg")
    assert "cleo" not in card  # pseudonyms only
    # the page that the Evaluate tab lists among the runs
    run = find_run(folder.parent, "people|1")
    assert run.kind == "report"
    page = run_page(run)
    assert page == read_report(folder)
    assert lineage["snapshot"] in page and spread in page and page.count("<svg") >= 3
    assert told[-1].startswith(f"held-out accuracy {spread}")
    assert json.loads((folder / "detox.json").read_text()) == lineage


def test_a_report_of_an_earlier_run_does_not_outlive_it(voted: Store, config: RewardConfig) -> None:
    train_reward_model(voted, config, lambda line: None)
    folder = Path(config.output)

    def look(line: str) -> None:
        if line.startswith("step"):
            assert not (folder / "report.html").exists()
            assert find_run(folder.parent, folder.name).kind == "training"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_reward_model(voted, config, look)


def test_a_run_goes_on_with_the_picks_it_began_with(voted: Store, config: RewardConfig) -> None:
    def stop(line: str) -> None:
        if line.startswith("step 2/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_reward_model(voted, replace(config, validate_every=1), stop)
    began = gather(voted)
    add_pairs(voted, pairs(6, "second"), "second")
    judge(voted, "ann", always("bad"), batch="second")
    again = replace(config, validate_every=1)
    with pytest.raises(UserError, match=r"was started with other picks \(batch\): resume it"):
        train_reward_model(voted, again, resume=True, filters=replace(PEOPLE, batch="first"))
    lineage = train_reward_model(voted, again, lambda line: None, resume=True)
    assert (lineage["picks"], lineage["snapshot"]) == (90, began.snapshot)
    assert not (Path(config.output) / "picks.json").exists()  # it has ended
    assert train_reward_model(voted, config, lambda line: None)["picks"] == 96


def test_the_command_chooses_picks_and_resumes(
    voted: Store, config: RewardConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["reward", "--db", str(voted.path), "--base", config.base, "--output", config.output]
    options += ["--epochs", "1", "--lora-r", "2", "--held-out", "0.3", "--ties", "soft"]
    picks = ["--batch", "first", "--without", "cleo", "--blind-only", "--aggregation", "majority"]
    assert cli.main([*options, *picks]) == 0
    told = json.loads((Path(config.output) / "detox.json").read_text())["filters"]
    assert (told["batch"], told["blind_only"], told["aggregation"]) == ("first", True, "majority")
    assert told["kinds"] == ["regular"] and told["labeler_kind"] == "person"
    assert cli.main([*options, "--resume"]) == 2
    assert "There is no checkpoint" in capsys.readouterr().err
    assert cli.main([*options, "--with-models", "--labeler", "ann", "--labeler", "ben"]) == 0
    told = json.loads((Path(config.output) / "detox.json").read_text())["filters"]
    assert told["labeler_kind"] == "all" and len(told["labelers"]) == 2
