"""A judge at work: its verdicts in the record, its failures not, and nothing told of policies."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from detox.errors import UserError
from labeling import cli
from labeling.analysis.frame import frame
from labeling.analysis.selection import Selection, select
from labeling.batches import add_pairs
from labeling.check import check_record
from labeling.export import Filters
from labeling.export import select as exported
from labeling.gold import mark_gold
from labeling.judge import (
    Answer,
    Case,
    Failure,
    Judged,
    Verdict,
    judge_pairs,
    record,
    version_of,
    waiting,
)
from labeling.judge.endpoint import Access, Endpoint
from labeling.judge.record import bounded
from labeling.judge.verdict import Outcome, Outcomes
from labeling.picks import NOTE_LENGTH
from labeling.store import Store
from tests.labeling.conftest import Judge, Rows
from tests.labeling.endpoint import Reply, Request, completion, prefers, said, serving

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Scripted:
    """A judge that gives outcomes by the number of the case, and remembers what it was asked."""

    def __init__(self, outcomes: Mapping[int, Outcome], name: str = "judge:s") -> None:
        self.name, self.settings = name, {"model": "s"}
        self.outcomes = outcomes
        self.asked: list[Case] = []
        self.closed = False

    def judge(self, cases: Sequence[Case]) -> Outcomes:
        try:
            for number, case in enumerate(cases):
                self.asked.append(case)
                yield case, self.outcomes.get(number, kinder(case))
        finally:
            self.closed = True


def kinder(case: Case) -> Verdict:
    """Prefers the text that says "disagree", as every `after` of the fixtures does."""
    left = "disagree" in case.left
    answers = (Answer("first"), Answer("second"))
    return Verdict("left" if left else "right", *(answers if left else answers[::-1]), "Kinder.")


def rows_of(store: Store, query: str) -> list[dict[str, Any]]:
    with store.reading() as db:
        return list(db.query(query))


def test_a_verdict_is_a_pick_of_a_model_with_the_sides_that_were_asked_first(
    store: Store,
) -> None:
    judge = Scripted({})
    assert judge_pairs(store, judge) == Judged(6, 6, 0, 0, 0, {})
    found = rows_of(store, "SELECT * FROM preferences ORDER BY seq")
    assert len(found) == 6
    for row, case in zip(found, judge.asked, strict=True):
        assert (row["labeler_kind"], row["kind"], row["note"]) == ("model", "regular", "Kinder.")
        assert (row["left_text"], row["right_text"]) == (case.left, case.right)
        assert row["chosen_policy"] == "after" and not row["informed"]
    assert {row["choice"] for row in found} == {"left", "right"}
    answers = rows_of(
        store,
        "SELECT x.answer, x.first_candidate = s.left_candidate AS forward, p.choice"
        " FROM judge_answers AS x JOIN picks AS p ON p.uuid = x.pick"
        " JOIN assignments AS s ON s.id = p.assignment_id",
    )
    assert len(answers) == 12
    for row in answers:
        of_left = row["answer"] == ("first" if row["forward"] else "second")
        assert of_left == (row["choice"] == "left")
    (judged,) = rows_of(store, "SELECT * FROM judges")
    assert json.loads(judged["settings"]) == judge.settings
    assert judged["version"] == version_of(judge.settings)
    assert check_record(store).problems == ()


def test_sides_are_about_even_and_belong_to_the_judge(fresh_store: Store, rows: Rows) -> None:
    add_pairs(fresh_store, rows(200), "b")
    one, two = waiting(fresh_store, "one", {}), waiting(fresh_store, "two", {})
    after = [["disagree" in case.left for case in cases] for cases in (one, two)]
    # Four standard deviations of 200 throws of a fair coin are 28.
    assert all(72 < sum(sides) < 128 for sides in after)
    assert 72 < sum(a == b for a, b in zip(*after, strict=True)) < 128
    assert waiting(fresh_store, "one", {}) == one


def test_a_case_holds_only_what_a_labeler_may_see(fresh_store: Store, rows: Rows) -> None:
    (row,) = rows(1)
    row["dialogue"] = f"<|im_start|>{row['dialogue']}"
    row["before"] |= {"policy": "secret-base", "text": "<pad>Plan A is dumb.</s>", "reward": -7.25}
    row["after"] |= {"policy": "secret-ppo", "text": "They talk.", "toxicity": 0.125}
    add_pairs(fresh_store, [row], "secret-batch")
    with serving(lambda _: said("A")) as server:
        judge_pairs(fresh_store, Endpoint(Access(server.url, "m")))
    assert len(server.requests) == 2
    for request in server.requests:
        sent = json.dumps(request.body) + json.dumps(request.headers)
        assert "Plan A is dumb." in sent and "They talk." in sent
        for secret in ("secret", "7.25", "0.125", "im_start", "<pad>", "</s>"):
            assert secret not in sent


def test_gold_pairs_are_judged_as_gold(store: Store) -> None:
    gold = rows_of(store, "SELECT id FROM pairs ORDER BY id")[0]["id"]
    mark_gold(store, gold, "b")
    judge_pairs(store, Scripted({}))
    kinds = rows_of(store, "SELECT pair_id, kind FROM assignments")
    assert {row["pair_id"] for row in kinds if row["kind"] == "gold"} == {gold}
    assert len(kinds) == 6


def test_failures_are_no_picks_and_the_next_run_goes_on_with_them(store: Store) -> None:
    failure, unfit = Failure("it answered 503"), Failure("too long", own=True)
    first = Scripted({1: failure, 3: failure, 4: unfit})
    heard: list[tuple[int, int]] = []
    done = judge_pairs(store, first, tell=lambda *state: heard.append(state))
    assert done == Judged(6, 3, 0, 2, 1, {"it answered 503": 2, "too long": 1})
    assert heard == [(n, 6) for n in range(1, 7)]
    assert len(rows_of(store, "SELECT * FROM picks")) == 3
    assert len(rows_of(store, "SELECT * FROM assignments")) == 3
    again = Scripted({})
    assert judge_pairs(store, again).judged == 3
    assert {case.pair_id for case in again.asked} == {first.asked[n].pair_id for n in (1, 3, 4)}
    assert judge_pairs(store, Scripted({})) == Judged(0, 0, 0, 0, 0, {})


def test_after_too_many_failures_it_stops_and_keeps_what_is_there(store: Store) -> None:
    down = Failure("it answered 503")
    judge = Scripted({1: down, 3: down, 4: down})
    with pytest.raises(UserError, match=r"failed on 2 pairs in a row \(it answered 503\); the 2"):
        judge_pairs(store, judge, most_failures=2)
    assert judge.closed and len(judge.asked) == 5
    assert len(rows_of(store, "SELECT * FROM picks")) == 2
    # A pair that cannot be asked about says nothing of the judge.
    long = {n: Failure("too long", own=True) for n in range(4)}
    assert judge_pairs(store, Scripted(long), most_failures=1).unfit == 4


def test_a_judge_that_breaks_is_closed(store: Store) -> None:
    judge = Scripted({})

    def full(done: int, total: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        judge_pairs(store, judge, tell=full)
    assert judge.closed and len(rows_of(store, "SELECT * FROM picks")) == 1


def test_only_some_pairs_are_asked_about(store: Store, judge: Judge, rows: Rows) -> None:
    add_pairs(store, rows(3, start=6), "second")
    assert judge_pairs(store, Scripted({}), "second", limit=2).judged == 2
    assert judge_pairs(store, Scripted({}), "second").judged == 1
    judge(store, "ann", ["after", "skip", "before"])
    unseen = rows_of(store, "SELECT id FROM pairs WHERE batch = 'first' AND votes = 0 ORDER BY id")
    mark_gold(store, unseen[0]["id"], "a")
    # Two votes and a gold pair; a skip is no vote.
    assert judge_pairs(store, Scripted({}), voted=True).judged == 3
    for given, sentence in (
        ({"batch": "none"}, "no batch 'none'"),
        ({"limit": 0}, "limit must be 1"),
        ({"most_failures": 0}, "stop after must be 1"),
    ):
        with pytest.raises(UserError, match=sentence):
            judge_pairs(store, Scripted({}), **given)  # type: ignore[arg-type]


def test_another_prompt_needs_another_name(store: Store) -> None:
    judge_pairs(store, Scripted({}), limit=1)
    other = Scripted({})
    other.settings = {"model": "s", "question": "another"}
    with pytest.raises(UserError, match="judged with another model or prompt"):
        judge_pairs(store, other)
    other.name = "judge:other"
    assert judge_pairs(store, other).judged == 6


def test_two_programs_do_not_record_one_pair_twice(store: Store) -> None:
    (case, *_) = waiting(store, "judge:s", {})
    assert record(store, "judge:s", {}, case, kinder(case))
    assert not record(store, "judge:s", {}, case, kinder(case))
    assert len(rows_of(store, "SELECT * FROM picks")) == 1


def test_an_explanation_is_bounded_and_clean(store: Store) -> None:
    assert bounded(" kind\x1b[2J<pad> ") == "kind[2J"
    assert bounded("x" * NOTE_LENGTH) == "x" * NOTE_LENGTH
    assert len(bounded("x" * (NOTE_LENGTH + 1))) == NOTE_LENGTH
    with serving(lambda _: said("A", "y" * 90_000)) as server:
        # What a server writes behind all bounds holds no answer at its end: it is cut from there.
        done = judge_pairs(store, Endpoint(Access(server.url, "m", attempts=1)), limit=1)
    assert done.failed == 1 and rows_of(store, "SELECT * FROM picks") == []


def test_analyses_leave_models_out_unless_asked(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["before", "tie"])
    judge_pairs(store, Scripted({}))
    found = frame(store)
    assert len(select(found, Selection())) == 2
    assert len(select(found, Selection(labeler_kind="model"))) == 6
    assert len(select(found, Selection(labeler_kind=None))) == 8


def test_exports_can_leave_models_out_or_take_them_alone(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["before", "tie"])
    judge_pairs(store, Scripted({}))
    with store.reading() as db:
        kinds = {
            kind: {row["labeler_kind"] for row in exported(db, Filters(labeler_kind=kind))}
            for kind in ("person", "model")
        }
    assert kinds == {"person": {"person"}, "model": {"model"}}


def test_preferences_are_exported_of_people_alone_unless_asked(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["before", "tie"])
    judge_pairs(store, Scripted({}))
    with store.reading() as db:
        assert {row["labeler_kind"] for row in exported(db)} == {"person"}


# From here on: the command, against a server.


def run(store: Store, *argv: str) -> int:
    return cli.main(["judge", *argv, "--db", str(store.path)])


def test_an_endpoint_judges_from_the_command_line_and_is_gone_on_with(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-5ecret")
    healthy = 5

    def answer(request: Request) -> Reply:
        return prefers("disagree")(request) if request.number < healthy else Reply(401)

    options = ["some/model", "--key-env", "JUDGE_KEY", "--concurrency", "1", "--explain"]
    with serving(answer) as server:
        assert run(store, *options, "--url", server.url) == 2
        said_now = capsys.readouterr()
        assert "refused the key" in said_now.err and "Traceback" not in said_now.err
        # Two questions a pair, one after the other: the fifth question is of a third pair.
        assert len(rows_of(store, "SELECT * FROM picks")) == 2
        healthy = 1_000
        assert run(store, *options, "--url", server.url) == 0
    said_now = capsys.readouterr()
    assert "4 pairs judged, 0 of them ties." in said_now.out and "4 of 4 pairs" in said_now.err
    found = rows_of(store, "SELECT * FROM preferences")
    assert len(found) == 6 and {row["chosen_policy"] for row in found} == {"after"}
    assert {row["note"] for row in found} == {"It is kinder."}
    with sqlite3.connect(store.path) as db:
        assert "sk-5ecret" not in "\n".join(db.iterdump())
    assert b"sk-5ecret" not in store.path.read_bytes()


def test_an_endpoint_that_is_down_stops_the_command_with_one_sentence(
    store: Store, capsys: Capture
) -> None:
    with serving(lambda _: completion("no")) as server:
        options = ["m", "--url", server.url, "--attempts", "1", "--max-failures", "3"]
        assert run(store, *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "failed on 3 pairs in a row" in error
    assert rows_of(store, "SELECT * FROM labelers WHERE kind = 'model'") == []


def test_failures_that_pass_are_told_at_the_end(store: Store, capsys: Capture) -> None:
    def answer(request: Request) -> Reply:
        return Reply(503) if request.number == 0 else prefers("disagree")(request)

    with serving(answer) as server:
        options = ["m", "--url", server.url, "--attempts", "1", "--concurrency", "1"]
        assert run(store, *options) == 0
    said_now = capsys.readouterr().out
    assert "5 pairs judged" in said_now
    assert "1 pairs have no verdict: it answered 503, asked once (1). Run the same" in said_now


def test_a_local_model_judges_from_the_command_line(
    store: Store, tiny_causal: Path, capsys: Capture
) -> None:
    options = [str(tiny_causal), "--tie-margin", "0", "--batch-size", "4", "--name", "tiny"]
    assert run(store, *options, "--limit", "4", "--no-chat") == 0
    assert "tiny judges." in capsys.readouterr().out
    odds = rows_of(store, "SELECT log_odds FROM judge_answers")
    assert len(odds) == 8 and all(row["log_odds"] is not None for row in odds)
    assert run(store, *options, "--no-chat") == 0
    assert "2 pairs judged" in capsys.readouterr().out
    assert run(store, *options, "--no-chat") == 0
    assert "judged by this judge already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Name the model"),
        (["m", "--url", "nowhere"], "begins with http"),
        (["m", "--url", "http://h/v1", "--key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY is not set"),
        (["m", "--url", "http://h/v1", "--body", "{"], "--body must be JSON"),
        (["m", "--url", "http://h/v1", "--body", "[1]"], "must be a JSON object"),
        (["m", "--url", "http://h/v1", "--tie-margin", "0.1"], "--tie-margin is for a model"),
        (["m", "--timeout", "3"], "--timeout is for an endpoint"),
        (["m", "--question", "none.txt"], "cannot be read as a text"),
        (["/no/such/model"], "/no/such/model"),
        (["--report"], "No model has judged a pair here"),
        (["--report", "--name", "x"], "No judge 'x'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    store: Store, capsys: Capture, options: list[str], sentence: str
) -> None:
    assert run(store, *options) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.startswith("labeling: ") and error.count("\n") == 1
