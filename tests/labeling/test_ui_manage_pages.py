"""The Manage tab's pages as HTML: what they say, and that no text of others can act."""

from __future__ import annotations

import csv
import random
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detox.errors import UserError
from labeling.adjudication import Conflict, Decision, Vote, adjudicate, decisions, look_at
from labeling.check import Health
from labeling.gold import Gold, mark_gold
from labeling.history import pair_history
from labeling.people import Account, Person
from labeling.picks import submit, undo
from labeling.plans import Plan, save_plan
from labeling.queue import next_pair
from labeling.store import Store
from labeling.ui.identity import Entrance, leads_only
from labeling.ui.manage.batches import overview
from labeling.ui.manage.conflicts import conflict_html, decided_html, write_decisions
from labeling.ui.manage.gold import gold_html
from labeling.ui.manage.people import people_html
from labeling.ui.manage.plan_form import read_plan, shown, summary
from labeling.ui.manage.record import health_html, history_html
from labeling.ui.manage.script import sent
from labeling.ui.manage.tab import WHAT

HOSTILE = """<img src=x onerror="alert(1)">'"&"""
TAGS = re.compile(r"<img|onerror=\"")
DECISION = Decision(
    *("u", "p" * 32, HOSTILE, HOSTILE, "a", "b", HOSTILE, "after"),
    *(2, 1, 0, 1, "labeler-1", "a", "=cmd()", "2026-01-02T03:04:05.000000+00:00", False),
)


def plain(page: str) -> str:
    """The words of a page, as a reader sees them."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_a_card_says_how_far_a_batch_is_and_what_may_be_done(store: Store) -> None:
    plan = Plan(HOSTILE, votes_wanted=3, gold_share=0.1, strategy="uncertainty", seed=5)
    save_plan(store, plan)
    told, page = overview(store)
    assert [each["plan"]["name"] for each in told] == ["first", HOSTILE]
    assert not TAGS.search(page)
    words = plain(page)
    assert "0 of 6 votes" in words and "6 pairs" in words and "Pause Close Change" in words
    assert "3 labelers per pair · alike scores first · held 30 min · 10 % gold" in words
    assert "It asks for gold pairs, and none is marked yet" in words
    assert "Open again" not in words


def test_without_a_batch_the_page_says_how_to_make_one(fresh_store: Store) -> None:
    told, page = overview(fresh_store)
    assert told == [] and "New batch" in page


@given(
    votes=st.one_of(st.none(), st.integers(1, 100)),
    repeats=st.integers(0, 49),
    gold=st.integers(0, 49),
    hold=st.floats(0.1, 1000),
    seed=st.integers(0, 2**32 - 1),
    strategy=st.sampled_from(["balanced", "uncertainty", "disagreement"]),
    reveal=st.booleans(),
)
def test_a_form_shows_the_plan_that_it_reads(
    votes: int | None,
    repeats: int,
    gold: int,
    hold: float,
    seed: int,
    strategy: str,
    reveal: bool,
) -> None:
    plan = Plan("b", votes, repeats / 100, gold / 100, strategy, hold, reveal, "Be kind.", seed)
    assert read_plan("b", shown(plan)) == plan
    assert read_plan(" b ", shown(plan)) == plan
    assert ("everybody judges all" in summary(plan)) is (votes is None)


def test_an_empty_field_is_said() -> None:
    values = shown(Plan("b"))
    for place in (0, 1, 2, 4, 7):
        with pytest.raises(UserError, match="Give a number"):
            read_plan("b", [None if n == place else value for n, value in enumerate(values)])


def test_a_conflict_shows_votes_by_side_and_nothing_that_acts() -> None:
    votes = (
        Vote("labeler-2", "tie", "clearly", "", False),
        Vote("labeler-1", "left", "clearly", HOSTILE, True),
    )
    conflict = Conflict("p1", HOSTILE, f"Ann: {HOSTILE}", HOSTILE, "right", "c1", votes, 1)
    page = conflict_html(conflict, 2, ["x", HOSTILE], HOSTILE, HOSTILE)
    assert not TAGS.search(page)
    words = plain(page)
    assert "2 pairs wait for a decision" in words
    assert words.index("clearly A labeler-1 flagged") < words.index("tie labeler-2")
    assert 'data-pair="p1"' in page and 'data-left="c1"' in page
    assert "One pair waits" in conflict_html(None, 1, ["x"], "")
    assert "No pair waits" in conflict_html(None, 0, ["x"], "")
    assert "<select" not in conflict_html(None, 0, ["x"], "")


def test_decisions_are_listed_and_written_without_running_anything(tmp_path: Path) -> None:
    page = decided_html([DECISION, replace(DECISION, outcome="both_bad", gold=True)])
    assert not TAGS.search(page)
    assert "both bad" in plain(page) and "Make it gold" in plain(page)
    assert decided_html([]) == ""
    write_decisions(tmp_path / "d.csv", [DECISION])
    with (tmp_path / "d.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert not row["note"].startswith("=") and row["note"].endswith("=cmd()")
    assert (row["policy"], row["outcome"], row["gold"]) == (HOSTILE, "a", "0")


def test_the_latest_decision_of_each_pair_counts_newest_first(store: Store) -> None:
    with store.reading() as db:
        pairs = list(db.query("SELECT id, candidate_a FROM pairs ORDER BY id LIMIT 3"))
    for pair in [*pairs, pairs[0]]:
        adjudicate(store, "Zoe", pair["id"], "left", pair["candidate_a"], note=pair["id"][:4])
    adjudicate(store, "Zoe", pairs[0]["id"], "tie", pairs[0]["candidate_a"])
    found = decisions(store)
    assert [each.pair_id for each in found] == [pairs[n]["id"] for n in (0, 2, 1)]
    assert found[0].outcome == "tie" and found[0].policy is None
    assert found[1].policy == found[1].policy_a
    assert [each.pair_id for each in decisions(store, limit=1)] == [pairs[0]["id"]]
    assert decisions(store, "another") == []
    mark_gold(store, pairs[1]["id"], "b")
    assert [each.gold for each in decisions(store)] == [False, False, False]
    mark_gold(store, pairs[1]["id"], "a")
    assert [each.gold for each in decisions(store)] == [False, False, True]


def test_a_decided_pair_can_be_looked_at_again(store: Store) -> None:
    with store.reading() as db:
        pair = next(db.query("SELECT id FROM pairs"))["id"]
    seen = {look_at(store, pair, random.Random(seed)).left for seed in range(10)}
    assert len(seen) == 2
    with pytest.raises(UserError, match="no longer in the project"):
        look_at(store, "gone", random.Random(0))


def test_gold_and_people_are_escaped() -> None:
    page = gold_html([Gold("p" * 32, HOSTILE, "both_bad", HOSTILE, HOSTILE, "2026-01-02")])
    assert not TAGS.search(page) and "1 gold pair" in page
    assert "No pair is gold" in gold_html([])
    found = [Account(HOSTILE, "lead", False, False, "2026"), Account("B", "viewer", True, True, "")]
    page = people_html(found, Entrance("accounts"))
    assert not TAGS.search(page)
    words = plain(page)
    assert "no password yet" in words and "not at all: disabled" in words
    assert "with Hugging Face" in plain(people_html(found, Entrance("huggingface")))
    assert "There is no account yet" in people_html([], Entrance())


def test_a_history_is_told_as_a_story(store: Store) -> None:
    task = next_pair(store, "Ada", random.Random(0))
    assert task is not None
    told = {"labeler": "Ada", "strength": "clearly", "seconds": 7.4}
    submit(store, task.assignment_id, "left", reasons=["gentler"], note=HOSTILE, **told)
    submit(store, task.assignment_id, "tie", labeler="Ada", flagged=True)
    undo(store, "Ada")
    with store.reading() as db:
        pair = next(
            db.query("SELECT p.* FROM pairs AS p JOIN assignments AS a ON a.pair_id = p.id")
        )
    adjudicate(store, "Zoe", pair["id"], "both_bad", pair["candidate_a"], note="No.", gold=True)
    page = history_html(pair_history(store, pair["id"]))
    assert not TAGS.search(page) and "Ada" not in page and "Zoe" not in page
    words = plain(page)
    for said in (
        "was shown it, with",
        "is better , clearly, gentler, in 7 s",
        "changed it to tie , flagged, after the versions were told",
        "took their pick back",
        "decided as lead: both bad",
        "gold: both bad",
        "toxicity 80 %",
    ):
        assert said in words.replace("\u00a0", " "), said


def test_problems_of_the_record_are_listed() -> None:
    assert "The record is whole" in health_html(Health(1, 2, 3, 4, ()))
    page = health_html(Health(1, 2, 3, 4, (HOSTILE,)))
    assert "The record has problems" in page and not TAGS.search(page)


def test_who_does_not_lead_hears_what_to_do() -> None:
    anonymous = Person("", "viewer")
    assert "DETOX_SIGN_IN=accounts" in leads_only(Entrance(public=True), anonymous, WHAT)
    assert "Sign in as somebody" in leads_only(Entrance("huggingface"), anonymous, WHAT)
    page = leads_only(Entrance("accounts"), Person(HOSTILE, "labeler"), WHAT)
    assert "labeler" in page and not TAGS.search(page)


def test_a_click_sends_what_it_was_about_and_the_rest_as_it_is() -> None:
    script = sent("place", {"pair": str, "gold": bool})
    assert "asked.pair || ''" in script and "asked.gold === 'true'" in script
    assert "inputs.slice(2)" in script and "#place [data-asked]" in script
