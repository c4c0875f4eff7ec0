"""What a labeler does in the Label tab, without gradio."""

from __future__ import annotations

import json
import random
import uuid
from pathlib import Path

import pytest

import labeling.store
from detox.errors import UserError
from labeling.batches import add_pairs
from labeling.queue import progress
from labeling.store import Store, StoreError, open_store
from labeling.ui import session
from labeling.ui.history import PAGE, history
from labeling.ui.scope import batch_named
from labeling.ui.session import Answer, Scope, Turn
from tests.labeling.conftest import Judge, Rows


def scope(seed: int = 0, only: str | None = None, chosen: str = "") -> Scope:
    return Scope(random.Random(seed), only, chosen)


def picks(store: Store) -> list[tuple[str, int]]:
    with store.reading() as db:
        rows = db.query("SELECT choice, retracted FROM picks ORDER BY seq")
        return [(row["choice"], row["retracted"]) for row in rows]


def assignment(turn: Turn) -> str:
    assert turn.task is not None
    return turn.task.assignment_id


def test_signing_in_shows_the_first_pair_and_nothing_of_the_models(
    fresh_store: Store, rows: Rows
) -> None:
    row = rows(1)[0]
    row["before"] |= {"policy": "secret-base", "reward": -7.25, "toxicity": 0.625}
    row["after"] |= {"policy": "secret-ppo", "reward": 6.75, "toxicity": 0.125}
    add_pairs(fresh_store, [row], "secret-batch")
    turn = session.sign_in(fresh_store, "  Ada  Lovelace ", scope())
    assert turn.labeler == "Ada Lovelace"
    assert turn.last is None
    with fresh_store.reading() as db:
        ids = [row["id"] for table in ("pairs", "candidates", "policies") for row in db[table].rows]
    told = json.dumps(turn.answer())
    for secret in ["secret", "7.25", "6.75", "0.625", "0.125", *ids]:
        assert secret not in told


@pytest.mark.parametrize("name", ["", "   ", "x" * 101])
def test_a_name_is_needed(store: Store, name: str) -> None:
    with pytest.raises(UserError, match="Give a labeler name of 1 to 100 characters"):
        session.sign_in(store, name, scope())


def test_a_pick_is_recorded_and_then_revealed(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    turn = session.judge(store, "ann", assignment(first), Answer("left", seconds=3.5), scope())
    assert picks(store) == [("left", 0)]
    assert turn.progress.done == 1
    assert assignment(turn) != assignment(first)
    assert turn.last is not None and turn.last.choice == "left"
    assert first.task is not None
    left_is_after = first.task.left.startswith("They disagree")
    assert turn.last.reveal.left.policy == ("after" if left_is_after else "before")
    with store.reading() as db:
        assert next(db.query("SELECT seconds FROM picks"))["seconds"] == 3.5


def test_the_same_click_twice_is_kept_once(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    one = session.judge(store, "ann", assignment(first), Answer("tie"), scope())
    two = session.judge(store, "ann", assignment(first), Answer("tie"), scope(1))
    assert picks(store) == [("tie", 0)]
    assert one == two


def test_another_answer_to_a_judged_pair_changes_nothing_and_says_so(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    session.judge(store, "ann", assignment(first), Answer("left"), scope())
    stale = session.judge(store, "ann", assignment(first), Answer("right"), scope())
    assert picks(store) == [("left", 0)]
    assert stale.note == session.ALREADY
    assert stale.last is None


def test_undo_brings_the_pair_back_on_the_same_sides(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    session.judge(store, "ann", assignment(first), Answer("left"), scope())
    back = session.take_back(store, "ann", scope(9))
    assert back.task == first.task
    assert back.note == session.TAKEN_BACK
    assert back.last is None
    again = session.judge(store, "ann", assignment(back), Answer("right"), scope())
    assert again.last is not None
    assert picks(store) == [("left", 0), ("left", 1), ("right", 0)]


def test_undo_with_nothing_to_undo(store: Store) -> None:
    session.sign_in(store, "ann", scope())
    assert session.take_back(store, "ann", scope()).note == session.NOTHING_TO_UNDO
    assert picks(store) == []


def test_after_the_last_pair_there_is_none(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 5)
    last = session.look_again(store, "ann", scope())
    end = session.judge(store, "ann", assignment(last), Answer("skip"), scope())
    assert end.task is None
    assert (end.progress.done, end.progress.total) == (6, 6)
    assert end.last is not None
    assert session.take_back(store, "ann", scope()).task == last.task


def test_new_pairs_are_found(store: Store, judge: Judge, rows: Rows) -> None:
    judge(store, "ann", ["after"] * 6)
    assert session.look_again(store, "ann", scope()).task is None
    add_pairs(store, rows(1, start=50), "second")
    assert session.look_again(store, "ann", scope()).task is not None


def test_a_tab_can_be_limited_to_a_batch(store: Store, rows: Rows) -> None:
    add_pairs(store, rows(2, start=50), "second")
    turn = session.sign_in(store, "ann", scope(only="second"))
    assert turn.progress.total == 2
    with pytest.raises(UserError, match="There is no batch 'third'"):
        session.sign_in(store, "ann", scope(only="third"))


@pytest.mark.parametrize("labeler", ["", " "])
def test_nothing_is_judged_without_a_name(store: Store, labeler: str) -> None:
    first = session.sign_in(store, "ann", scope())
    with pytest.raises(UserError, match="Sign in first"):
        session.judge(store, labeler, assignment(first), Answer("left"), scope())
    with pytest.raises(UserError, match="Sign in first"):
        session.take_back(store, labeler, scope())
    with pytest.raises(UserError, match="Sign in first"):
        session.look_again(store, labeler, scope())
    assert picks(store) == []


def test_the_pair_of_another_labeler(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    with pytest.raises(UserError, match="given to another labeler"):
        session.judge(store, "bob", assignment(first), Answer("left"), scope())
    assert picks(store) == []


def test_an_unknown_choice(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    with pytest.raises(UserError, match="Unknown choice 'middle'"):
        session.judge(store, "ann", assignment(first), Answer("middle"), scope())


def test_a_pair_that_is_gone_leads_to_the_next_one(store: Store) -> None:
    session.sign_in(store, "ann", scope())
    turn = session.judge(store, "ann", "from-another-database", Answer("left"), scope())
    assert turn.note == "This pair is no longer in the project: go on to the next one."
    assert turn.task is not None and turn.last is None
    assert progress(store, "ann").done == 0


def test_a_database_that_is_read_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = session.sign_in(store, "ann", scope())
    connect = labeling.store._connect

    def read_only(path: Path, create: bool) -> object:
        connection = connect(path, create)
        connection.execute("PRAGMA query_only = ON")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(labeling.store, "_connect", read_only)
        with pytest.raises(StoreError, match="read-only and nothing was saved"):
            session.judge(store, "ann", assignment(first), Answer("left"), scope())
    assert picks(open_store(store.path)) == []


def sql(store: Store, statement: str, *values: object) -> None:
    with store.writing() as db:
        db.execute(statement, list(values))


def only_pick(store: Store) -> dict[str, object]:
    with store.reading() as db:
        (row,) = db.query("SELECT * FROM picks")
        return dict(row)


def test_the_pair_after_the_next_is_fetched_beforehand(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    assert first.ahead is not None
    second = session.judge(store, "ann", assignment(first), Answer("left"), scope(7))
    assert second.task is not None and second.ahead is not None
    assert second.task.assignment_id == first.ahead.assignment_id
    assert (second.task.left, second.task.right) == (first.ahead.left, first.ahead.right)
    # No more pairs are held for the labeler than are on the page.
    with store.reading() as db:
        (held,) = db.query("SELECT count(*) AS n FROM assignments WHERE state = 'open'")
    assert held["n"] == 2


def test_everything_said_of_a_pick_is_kept(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    answer = Answer(
        "right",
        seconds=2.5,
        strength="clearly",
        reasons=["gentler", "more faithful"],
        note=" B keeps the date ",
        flagged=True,
        uuid=str(uuid.uuid4()),
    )
    session.judge(store, "ann", assignment(first), answer, scope())
    row = only_pick(store)
    assert row["uuid"] == answer.uuid
    assert (row["choice"], row["strength"], row["seconds"]) == ("right", "clearly", 2.5)
    assert json.loads(str(row["reasons"])) == ["gentler", "more faithful"]
    assert (row["note"], row["flagged"]) == ("B keeps the date", 1)


def test_a_pick_sent_again_after_its_answer_was_lost_is_kept_once(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    answer = Answer("left", seconds=1.0, uuid=str(uuid.uuid4()))
    one = session.judge(store, "ann", assignment(first), answer, scope())
    two = session.judge(store, "ann", assignment(first), answer, scope(3))
    assert one == two
    assert picks(store) == [("left", 0)]


def test_a_change_replaces_the_earlier_answer_and_is_marked_as_not_blind(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    waiting = session.judge(store, "ann", assignment(first), Answer("left"), scope())
    found = session.change(store, "ann", assignment(first))
    assert found.seen
    assert found.earlier.pick.choice == "left"
    assert first.task is not None
    assert (found.earlier.task.left, found.earlier.task.right) == (
        first.task.left,
        first.task.right,
    )
    turn = session.judge(
        store, "ann", assignment(first), Answer("tie", strength=None, change=True), scope()
    )
    assert turn.last is not None and turn.last.change and turn.last.choice == "tie"
    assert turn.task == waiting.task
    (kept,) = history(store, "ann").picks
    assert (kept.pick.choice, kept.pick.informed) == ("tie", True)
    assert turn.progress.done == 1


def test_where_nothing_is_revealed_a_change_stays_blind(store: Store) -> None:
    sql(store, "UPDATE batches SET reveal = 0")
    first = session.sign_in(store, "ann", scope())
    turn = session.judge(store, "ann", assignment(first), Answer("left"), scope())
    assert turn.last is not None and turn.last.reveal is None
    assert not session.change(store, "ann", assignment(first)).seen
    session.judge(store, "ann", assignment(first), Answer("right", change=True), scope())
    (kept,) = history(store, "ann").picks
    assert (kept.pick.choice, kept.pick.informed) == ("right", False)


def test_nobody_changes_the_pick_of_another_or_in_a_closed_batch(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    session.judge(store, "ann", assignment(first), Answer("left"), scope())
    with pytest.raises(UserError, match="given to another labeler"):
        session.change(store, "bob", assignment(first))
    with pytest.raises(UserError, match="Sign in first"):
        session.change(store, " ", assignment(first))
    sql(store, "UPDATE batches SET status = 'closed'")
    with pytest.raises(UserError, match="closed, so the pick stays as it is"):
        session.change(store, "ann", assignment(first))
    (kept,) = history(store, "ann").picks
    assert kept.closed


def test_a_pick_of_a_closed_batch_cannot_be_taken_back(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    session.judge(store, "ann", assignment(first), Answer("left"), scope())
    sql(store, "UPDATE batches SET status = 'closed'")
    with pytest.raises(UserError) as refused:
        session.take_back(store, "ann", scope())
    # Without the batch's name, in which a model's may stand.
    assert str(refused.value) == session.CLOSED
    assert picks(store) == [("left", 0)]


def test_the_history_is_paged_newest_first(fresh_store: Store, rows: Rows, judge: Judge) -> None:
    add_pairs(fresh_store, rows(PAGE + 3), "b")
    made = judge(fresh_store, "ann", ["after"] * (PAGE + 3))
    first, second = history(fresh_store, "ann", 0), history(fresh_store, "ann", 1)
    assert [each.pick.uuid for each in (*first.picks, *second.picks)] == [
        pick.uuid for pick in reversed(made)
    ]
    assert (len(first.picks), first.more) == (PAGE, True)
    assert not second.more
    assert history(fresh_store, "ann", -4) == first
    assert history(fresh_store, "bob").picks == ()


@pytest.mark.parametrize(
    ("status", "rest"), [("open", "finished"), ("paused", "paused"), ("closed", "closed")]
)
def test_why_there_is_no_pair_is_said(store: Store, judge: Judge, status: str, rest: str) -> None:
    judge(store, "ann", ["after"] * 6)
    sql(store, "UPDATE batches SET status = ?", status)
    turn = session.look_again(store, "ann", scope())
    assert (turn.task, turn.rest) == (None, rest)


def test_an_empty_project_is_called_empty(fresh_store: Store) -> None:
    assert session.sign_in(fresh_store, "ann", scope()).rest == "empty"


def test_a_labeler_chooses_among_open_batches_without_reading_their_names(
    store: Store, rows: Rows
) -> None:
    add_pairs(store, rows(2, start=50), "ppo-against-base")
    add_pairs(store, rows(2, start=60), "over")
    sql(store, "UPDATE batches SET status = 'closed' WHERE name = 'over'")
    turn = session.sign_in(store, "ann", scope())
    assert [(batch.number, batch.pairs) for batch in turn.batches] == [(1, 6), (2, 2)]
    assert "ppo" not in json.dumps(turn.answer())
    chosen = turn.batches[1].key
    assert batch_named(store, chosen) == "ppo-against-base"
    narrowed = session.look_again(store, "ann", scope(chosen=chosen))
    assert narrowed.progress.total == 2
    assert narrowed.task is not None and "number 5" in narrowed.task.dialogue
    with pytest.raises(UserError, match="no longer in the project"):
        session.look_again(store, "ann", scope(chosen="0123456789ab"))


def test_a_tab_of_one_batch_leaves_no_choice(store: Store, rows: Rows) -> None:
    add_pairs(store, rows(2, start=50), "second")
    key = session.sign_in(store, "ann", scope()).batches[0].key
    turn = session.look_again(store, "ann", scope(only="second", chosen=key))
    assert turn.progress.total == 2
    assert len(turn.batches) == 1


def test_an_undone_pair_of_another_batch_waits_there(store: Store, rows: Rows) -> None:
    add_pairs(store, rows(2, start=50), "second")
    first = session.sign_in(store, "ann", scope())
    session.judge(store, "ann", assignment(first), Answer("left"), scope())
    other = first.batches[1].key
    back = session.take_back(store, "ann", scope(chosen=other))
    assert back.note == session.TAKEN_BACK_ELSEWHERE
    assert assignment(back) != assignment(first)
    assert assignment(session.look_again(store, "ann", scope())) == assignment(first)


def test_who_has_picked_before_is_not_new(store: Store) -> None:
    first = session.sign_in(store, "ann", scope())
    assert first.new
    after = session.judge(store, "ann", assignment(first), Answer("left"), scope())
    assert not after.new
    # Not even after taking it back.
    assert not session.take_back(store, "ann", scope()).new
