"""Before against after: rows, their statistics, and the files that keep them."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from detox.config import Sampling
from detox.data import load_dialogues, prompts
from detox.errors import UserError
from detox.evaluation import about, add_kl, compare_policies
from detox.generation import generate
from detox.models import Policy, load_policies
from detox.results import TABLE, first_samples, read_results, summarise, table, write_results
from detox.rewards import HateClassifier, load_classifier_reward
from tests import tiny
from tests.conftest import WriteDialogues

Row = dict[str, Any]
GREEDY = Sampling(temperature=0, max_new_tokens=6)


@pytest.fixture
def policies(tiny_t5: Path, tiny_causal: Path) -> tuple[Policy, Policy]:
    loaded = load_policies({"first": str(tiny_t5), "second": str(tiny_causal)})
    return loaded["first"], loaded["second"]


@pytest.fixture
def judge(tiny_classifier: Path) -> HateClassifier:
    return load_classifier_reward(str(tiny_classifier))


@pytest.fixture
def dialogues(dialogues_file: WriteDialogues) -> Dataset:
    rows = tiny.dialogsum_rows(3)
    rows[1] |= {"tone": "insulting"}
    rows[2] |= {"summary": "", "summary1": "#Person1# is upset.", "summary2": "A bicycle breaks."}
    return load_dialogues(str(dialogues_file(rows=rows)))


def side(reward: float, toxicity: float, words: int = 5, rouge: float | None = 10.0) -> Row:
    keys = ("rouge1", "rouge2", "rougeL")
    return {
        "text": "text",
        "reward": reward,
        "toxicity": toxicity,
        "words": words,
        **dict.fromkeys(keys, rouge),
    }


def row(id: str, before: Row, after: Row, rude: bool = True) -> Row:
    gap = after["reward"] - before["reward"]
    return {
        "id": id,
        "dialogue": f"dialogue {id}",
        "rude": rude,
        "before": before,
        "after": after,
        "reward_diff": gap,
    }


# one row a dialogue


def test_a_row_holds_what_both_said_and_what_it_is_worth(
    policies: tuple[Policy, Policy], dialogues: Dataset, judge: HateClassifier
) -> None:
    rows = compare_policies(*policies, dialogues, judge, GREEDY)
    assert [r["id"] for r in rows] == ["train_0", "train_1", "train_2"]
    assert [r["rude"] for r in rows] == [False, True, False]
    queries = prompts(dialogues)
    for name, policy in zip(("before", "after"), policies, strict=True):
        texts = generate(policy, queries, GREEDY)
        assert [r[name]["text"] for r in rows] == texts
        scores = judge.rate(texts)
        assert [r[name]["reward"] for r in rows] == pytest.approx(scores.reward.tolist(), abs=1e-4)
        toxicity = scores.toxicity.tolist()
        assert [r[name]["toxicity"] for r in rows] == pytest.approx(toxicity, abs=1e-4)
        assert [r[name]["words"] for r in rows] == [len(text.split()) for text in texts]
        assert {r[name]["policy"] for r in rows} == {policy.name}
        assert {r[name]["fingerprint"] for r in rows} == {policy.fingerprint}
    for r, item, query in zip(rows, dialogues, queries, strict=True):
        assert (r["dialogue"], r["prompt"], r["topic"]) == (item["dialogue"], query, item["topic"])
        assert r["reward_diff"] == pytest.approx(
            r["after"]["reward"] - r["before"]["reward"], abs=1e-3
        )
    assert json.loads(json.dumps(rows)) == rows  # every program can read them


def test_samples_of_a_dialogue_stay_together(
    policies: tuple[Policy, Policy], dialogues: Dataset, judge: HateClassifier
) -> None:
    warm = replace(GREEDY, temperature=1)
    heard: list[tuple[int, int]] = []
    rows = compare_policies(*policies, dialogues, judge, warm, lambda *c: heard.append(c), 2)
    assert [(r["id"], r["sample"]) for r in rows] == [
        (f"train_{number}", sample) for sample in (0, 1) for number in range(3)
    ]
    assert heard == [(3, 12), (6, 12), (9, 12), (12, 12)]
    second = generate(policies[0], prompts(dialogues), replace(warm, seed=1))
    assert [r["before"]["text"] for r in rows[3:]] == second
    group = summarise(rows)["all"]
    assert (group["n"], group["dialogues"]) == (6, 3)
    assert first_samples(rows) == rows[:3]


def test_kl_is_measured_where_policies_share_their_tokens(
    policies: tuple[Policy, Policy], dialogues: Dataset, judge: HateClassifier
) -> None:
    rows = compare_policies(policies[0], policies[0], dialogues, judge, GREEDY)
    add_kl(rows, policies[0], policies[0])
    assert [r["after"]["kl"] for r in rows] == [0, 0, 0]
    assert summarise(rows)["all"]["kl"] == {"mean": 0, "std": 0}
    others = compare_policies(*policies, dialogues, judge, GREEDY)
    add_kl(others, *policies)
    assert "kl" not in others[0]["after"] and "kl" not in summarise(others)["all"]


def test_a_policy_against_itself_makes_no_difference(
    policies: tuple[Policy, Policy], dialogues: Dataset, judge: HateClassifier
) -> None:
    rows = compare_policies(policies[0], policies[0], dialogues, judge, GREEDY)
    assert all(r["before"] == r["after"] and r["reward_diff"] == 0 for r in rows)
    assert summarise(rows)["all"]["toxicity"]["verdict"] == "inconclusive"


def test_rouge_is_the_mean_over_the_references(
    monkeypatch: pytest.MonkeyPatch,
    policies: tuple[Policy, Policy],
    dialogues: Dataset,
    judge: HateClassifier,
) -> None:
    said = "A bicycle breaks down"
    monkeypatch.setattr("detox.evaluation.generate", lambda policy, queries, *_, **__: [said] * 3)
    before = compare_policies(*policies, dialogues, judge, GREEDY)[2]["before"]
    # against "#Person1# is upset." nothing; against "A bicycle breaks." three words of 4 and of 3
    # are shared (F = 6/7), and two pairs of words of 3 and of 2 (F = 4/5)
    assert before["rouge1"] == pytest.approx(100 * (0 + 6 / 7) / 2, abs=0.01)
    assert before["rouge2"] == pytest.approx(100 * (0 + 4 / 5) / 2, abs=0.01)
    assert before["rougeL"] == before["rouge1"]


def test_without_references_there_is_no_rouge(
    policies: tuple[Policy, Policy], dialogues_file: WriteDialogues, judge: HateClassifier
) -> None:
    bare = [{"dialogue": "#Person1#: Hello."}, {"dialogue": "#Person1#: Hurry up!"}]
    dialogues = load_dialogues(str(dialogues_file(rows=bare)))
    rows = compare_policies(*policies, dialogues, judge, GREEDY)
    assert [r["before"]["rouge1"] for r in rows] == [None, None]
    assert "rouge1" not in summarise(rows)["all"]
    assert "words" in summarise(rows)["all"]


def test_progress_counts_both_sides(
    policies: tuple[Policy, Policy], dialogues: Dataset, judge: HateClassifier
) -> None:
    heard: list[tuple[int, int]] = []
    compare_policies(*policies, dialogues, judge, GREEDY, lambda *counts: heard.append(counts))
    assert heard == [(3, 6), (6, 6)]


def test_results_say_where_they_come_from(
    policies: tuple[Policy, Policy], judge: HateClassifier
) -> None:
    origin = about(*policies, judge, GREEDY, "embedded", "test")
    assert origin == {
        "before": {"policy": "first", "fingerprint": policies[0].fingerprint},
        "after": {"policy": "second", "fingerprint": policies[1].fingerprint},
        "judge": judge.describe(),
        "sampling": asdict(GREEDY),
        "data": "embedded",
        "split": "test",
    }


# statistics


def test_groups_and_their_numbers_by_hand() -> None:
    rows = [
        row("a", side(1.0, 0.9), side(3.0, 0.2)),
        row("b", side(2.0, 0.8), side(4.5, 0.6)),
        row("c", side(5.0, 0.1), side(4.0, 0.1), rude=False),
    ]
    found = summarise(rows)
    assert [(name, group["n"]) for name, group in found.items()] == [
        ("all", 3),
        ("rude", 2),
        ("others", 1),
    ]
    toxicity = found["all"]["toxicity"]
    assert toxicity["before_mean"] == 0.6 and toxicity["after_mean"] == 0.3
    assert toxicity["before_std"] == pytest.approx(statistics.pstdev([0.9, 0.8, 0.1]), abs=1e-4)
    assert toxicity["difference"] == -0.3
    assert toxicity["before_above_half"] == 0.6667 and toxicity["after_above_half"] == 0.3333
    reward = found["rude"]["reward"]
    assert reward["difference"] == 2.25 and reward["verdict"] == "higher"
    assert 2.0 <= reward["low"] <= reward["high"] <= 2.5
    assert found["others"]["reward"]["verdict"] == "inconclusive"  # a single dialogue


def test_a_group_that_is_empty_is_left_out() -> None:
    assert list(summarise([row("a", side(1, 0.5), side(2, 0.4))])) == ["all", "rude"]


def test_samples_of_one_dialogue_count_once() -> None:
    one = [row("same", side(0, 0.5), side(1 + i / 9, 0.4)) for i in range(9)]
    assert summarise(one)["all"]["reward"]["verdict"] == "inconclusive"


def test_nothing_to_compare() -> None:
    with pytest.raises(UserError, match=r"^There is nothing to compare: give at least one dialog"):
        summarise([])


# files


@pytest.fixture
def rows() -> list[Row]:
    better = side(3.0, 0.2) | {"text": "=HYPERLINK('x')"}
    return [
        row("a", side(1.0, 0.9), side(1.5, 0.8)),
        row("b", side(1.0, 0.9) | {"text": 'said "no", twice\nand left — é'}, better),
        row("c", side(5.0, 0.1), side(4.0, 0.1), rude=False),
    ]


def test_what_is_written_can_be_read(rows: list[Row], tmp_path: Path) -> None:
    write_results(tmp_path / "deep" / "run", rows, {"split": "test"})
    found, summary = read_results(tmp_path / "deep" / "run")
    assert found == rows
    assert summary == {"split": "test", "groups": json.loads(json.dumps(summarise(rows)))}


def test_the_table_of_the_lab(rows: list[Row], tmp_path: Path) -> None:
    write_results(tmp_path, rows, {})
    with (tmp_path / "compare.csv").open(newline="", encoding="utf-8") as file:
        head, *body = list(csv.reader(file))
    assert tuple(head) == TABLE
    # the largest gain first, and no cell that a spreadsheet would run
    assert body == [
        ["dialogue b", 'said "no", twice\nand left — é', "'=HYPERLINK('x')", "1.0", "3.0", "2.0"],
        ["dialogue a", "text", "text", "1.0", "1.5", "0.5"],
        ["dialogue c", "text", "text", "5.0", "4.0", "-1.0"],
    ]
    assert [line[-1] for line in table(rows)] == [2.0, 0.5, -1.0]


def test_a_folder_that_cannot_be_written(rows: list[Row], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^The results cannot be written to .*file/run: Not a dir"):
        write_results(tmp_path / "file" / "run", rows, {})


@pytest.mark.parametrize("damage", ["compare.jsonl", "summary.json"])
def test_no_results(rows: list[Row], tmp_path: Path, damage: str) -> None:
    sentence = r"^There are no readable results in .*: run 'python -m detox evaluate' first\.$"
    with pytest.raises(UserError, match=sentence):
        read_results(tmp_path)
    write_results(tmp_path, rows, {})
    path = tmp_path / damage
    path.write_text(path.read_text(encoding="utf-8")[:-30], encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        read_results(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda row: row.pop("id"),
        lambda row: row.update(dialogue=None),
        lambda row: row.update(before=[]),
        lambda row: row["after"].pop("text"),
        lambda row: row["after"].update(reward="high"),
    ],
)
def test_results_without_what_every_reader_needs_are_none(
    rows: list[Row], tmp_path: Path, damage: Callable[[Row], object]
) -> None:
    write_results(tmp_path, rows, {})
    path = tmp_path / "compare.jsonl"
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    damage(found[-1])
    path.write_text("\n".join(map(json.dumps, found)), encoding="utf-8")
    with pytest.raises(UserError, match="no readable results"):
        read_results(tmp_path)
