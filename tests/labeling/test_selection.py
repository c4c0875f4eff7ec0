"""Which picks an analysis takes."""

from __future__ import annotations

import numpy as np
import pytest

from detox.errors import UserError
from labeling.analysis.frame import Frame, Person
from labeling.analysis.selection import Selection, select
from tests.labeling.frames import make_frame, make_pairs

PEOPLE = (
    Person(1, "Ann", "labeler-a", "person"),
    Person(2, "Ben", "labeler-b", "person"),
    Person(3, "judge", "labeler-c", "model"),
)


@pytest.fixture
def found() -> Frame:
    pairs = make_pairs(
        4,
        batch=[0, 0, 1, 1],
        split=[0, 1, 2, 0],
        policy_b=[1, 1, 2, 2],
        batches=("first", "second"),
        policies=("before", "after", "later"),
    )
    return make_frame(
        pair=[0, 1, 2, 3, 0, 1, 0, 2],
        labeler=[0, 0, 0, 0, 1, 1, 2, 1],
        outcome=["a", "b", "tie", "skip", "a", "a", "b", "b"],
        pairs=pairs,
        people=PEOPLE,
        kind=[0, 0, 0, 0, 1, 0, 0, 2],
        informed=[0, 1, 0, 0, 0, 0, 0, 0],
        # 2026-01-01T00:00:00 and then an hour each.
        picked_at=1_767_225_600_000_000 + np.arange(8) * 3_600_000_000,
    )


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        # Regular picks of people, unless asked otherwise.
        (Selection(), [1, 2, 3, 4, 6]),
        (Selection(kinds=("regular", "repeat", "gold")), [1, 2, 3, 4, 5, 6, 8]),
        (Selection(kinds=("gold",)), [8]),
        (Selection(labeler_kind="model"), [7]),
        (Selection(labeler_kind=None), [1, 2, 3, 4, 6, 7]),
        (Selection(batch="second"), [3, 4]),
        (Selection(split="validation"), [2, 6]),
        (Selection(policies=("later", "before")), [3, 4]),
        (Selection(without=("labeler-a",)), [6]),
        (Selection(without=(" Ben ",)), [1, 2, 3, 4]),
        (Selection(without=("Ann", "Ben", "judge")), []),
        (Selection(blind_only=True), [1, 3, 4, 6]),
        (Selection(since="2026-01-01T02:00"), [3, 4, 6]),
        (Selection(until="2026-01-01T02:00"), [1, 2]),
        (Selection(since="2026-01-01T03:00+02:00", until="2026-01-02"), [2, 3, 4, 6]),
    ],
)
def test_filters(found: Frame, selection: Selection, wanted: list[int]) -> None:
    picks = select(found, selection)
    assert (found.seq if picks.rows is None else found.seq[picks.rows]).tolist() == wanted
    assert len(picks) == len(wanted)


def test_columns_are_those_of_the_rows(found: Frame) -> None:
    picks = select(found, Selection(labeler_kind=None))
    assert picks.pair.tolist() == [0, 1, 2, 3, 1, 0]
    assert picks.labeler.tolist() == [0, 0, 0, 0, 1, 2]
    # The first candidate stood left in every other row, and a left pick is one of what stood there.
    assert picks.left.tolist() == [True, True, False, False, False, False]
    assert picks.decided.tolist() == [True, True, False, False, True, True]
    assert len(picks.judged) == 5


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        ({"split": "dev"}, "Unknown split 'dev': use one of train, validation, test"),
        ({"labeler_kind": "dog"}, "Unknown kind of labeler 'dog'"),
        ({"policies": ("a", "a")}, "cannot be compared with itself"),
        ({"kinds": ("odd",)}, "Unknown kind 'odd': use one of regular, repeat, gold"),
        ({"since": "yesterday"}, "'yesterday' is not a time: write it as 2026-01-31"),
    ],
)
def test_what_no_database_could_hold(known: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Selection(**known)


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        (Selection(batch="third"), "no batch 'third': use one of 'first', 'second'"),
        (Selection(policies=("best", "before")), "no policy 'best': use one of 'before'"),
        (Selection(without=("Zoe",)), "no labeler 'Zoe'"),
    ],
)
def test_what_this_database_does_not_hold(
    found: Frame, selection: Selection, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        select(found, selection)


def test_an_empty_database(found: Frame) -> None:
    empty = make_frame([], [], [], make_pairs(0, batches=()))
    assert len(select(empty)) == 0
    with pytest.raises(UserError, match="no batch 'x': load pairs first"):
        select(empty, Selection(batch="x"))
