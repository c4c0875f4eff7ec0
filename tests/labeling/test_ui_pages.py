"""What the Label tab shows as HTML: blind before the pick, escaped always."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser

import pytest

from labeling.batches import add_pairs
from labeling.queue import Progress
from labeling.store import Store
from labeling.ui import session
from labeling.ui.session import Turn
from labeling.ui.stage import CHOICES, GUIDE, INTRO, stage, who
from tests.labeling.conftest import Judge, Rows

NASTY = (
    """</p><script>alert('x')</script><img src=x onerror="alert(1)">${alert(2)}{{value}}`&amp;"""
)


class Elements(HTMLParser):
    """Every element of a page with its attributes, and all of its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "

    def having(self, name: str) -> dict[str, dict[str, str | None]]:
        return {str(attrs[name]): attrs for _, attrs in self.found if name in attrs}


def first_turn(store: Store, labeler: str = "ann") -> Turn:
    return session.sign_in(store, labeler, random.Random(0))


def test_a_pair_is_shown_with_both_texts_and_every_button(store: Store) -> None:
    turn = first_turn(store)
    assert turn.task is not None
    page = Elements(stage(turn))
    assert turn.task.left in page.text and turn.task.right in page.text
    assert page.text.index(turn.task.left) < page.text.index(turn.task.right)
    assert "Person 1" in page.text and "#Person1#" not in page.text
    assert list(page.having("data-choice")) == ["left", "right", "tie", "both_bad", "skip"]
    assert list(page.having("data-key")) == ["1", "2", "3", "4", "s", "u"]
    assert list(page.having("data-assignment")) == [turn.task.assignment_id]
    assert page.having("aria-valuenow")["0"]["aria-valuemax"] == "6"
    assert "0 of 6" in page.text


def test_keys_are_written_on_the_buttons(store: Store) -> None:
    page = stage(first_turn(store))
    for choice, key, word in CHOICES:
        button = re.search(rf'<button[^>]*data-choice="{choice}".*?</button>', page)
        assert button is not None
        assert word in button[0] and f">{key}</kbd>" in button[0]


def test_the_page_is_blind_before_the_pick_and_tells_after_it(
    fresh_store: Store, rows: Rows
) -> None:
    data = rows(2)
    for row in data:
        row["before"] |= {"policy": "secret-base", "reward": -7.25, "toxicity": 0.61}
        row["after"] |= {"policy": "secret-ppo", "reward": 6.75, "toxicity": 0.12}
    add_pairs(fresh_store, data, "secret-batch")
    turn = first_turn(fresh_store)
    with fresh_store.reading() as db:
        ids = [row["id"] for table in ("pairs", "candidates", "policies") for row in db[table].rows]
    for secret in ["secret", "7.25", "6.75", "61 %", "12 %", "eward", "oxicity", *ids]:
        assert secret not in stage(turn)
    assert turn.task is not None
    after = session.judge(
        fresh_store, "ann", turn.task.assignment_id, "right", 2.0, random.Random(0)
    )
    told = " ".join(Elements(stage(after)).text.split())
    assert "Last pair: you chose B." in told
    left, right = ("base", "ppo") if turn.task.right.startswith("They") else ("ppo", "base")
    assert f"A was secret-{left}" in told and f"B was secret-{right}" in told
    for number in ("−7.25", "+6.75", "61 %", "12 %"):
        assert number in told
    # Taken back, the pair is blind again.
    back = session.take_back(fresh_store, "ann", random.Random(0))
    assert "secret" not in stage(back)


def test_scores_that_are_unknown_are_left_out(fresh_store: Store, rows: Rows) -> None:
    row = rows(1)[0]
    for side in ("before", "after"):
        row[side] |= {"reward": None, "toxicity": None}
    add_pairs(fresh_store, [row], "b")
    turn = first_turn(fresh_store)
    assert turn.task is not None
    end = session.judge(fresh_store, "ann", turn.task.assignment_id, "tie", None, random.Random(0))
    told = Elements(stage(end)).text
    assert "you called it a tie" in told
    assert "reward" not in told and "toxicity" not in told


def test_every_text_is_escaped(fresh_store: Store, rows: Rows) -> None:
    row = rows(1)[0]
    row["dialogue"] = f"#Person1#: {NASTY}\nBob <b>: {NASTY}\n{NASTY}"
    row["before"] |= {"text": NASTY, "policy": NASTY}
    row["after"] |= {"text": f"{NASTY} too"}
    add_pairs(fresh_store, [row], NASTY)
    turn = session.sign_in(fresh_store, NASTY, random.Random(0))
    assert turn.task is not None
    end = session.judge(fresh_store, NASTY, turn.task.assignment_id, "left", None, random.Random(0))
    for page in (stage(turn), stage(end), who(NASTY)):
        elements = Elements(page)
        assert NASTY in elements.text
        tags = {tag for tag, _ in elements.found}
        assert not tags & {"script", "img", "iframe"}
        assert not any(name.startswith("on") for _, attrs in elements.found for name in attrs)


def test_a_long_conversation_is_shown_whole(fresh_store: Store, rows: Rows) -> None:
    row = rows(1)[0]
    row["dialogue"] = "\n".join(f"#Person{1 + i % 2}#: turn number {i}." for i in range(400))
    add_pairs(fresh_store, [row], "b")
    text = Elements(stage(first_turn(fresh_store))).text
    assert all(f"turn number {i}." in text for i in range(400))


def test_undo_waits_for_a_first_pick(store: Store, judge: Judge) -> None:
    assert "disabled" in Elements(stage(first_turn(store))).having("data-action")["undo"]
    judge(store, "ann", ["tie"])
    assert "disabled" not in Elements(stage(first_turn(store))).having("data-action")["undo"]


def test_the_end_is_designed(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 6)
    page = Elements(stage(first_turn(store)))
    assert "You have labelled every pair" in page.text
    assert "6 pairs judged. Thank you, ann" in page.text
    assert set(page.having("data-action")) == {"next", "undo"}
    assert not page.having("data-assignment")


def test_a_project_without_pairs_says_how_to_load_some(fresh_store: Store) -> None:
    page = Elements(stage(first_turn(fresh_store)))
    assert "There is nothing to label yet" in page.text
    assert "python -m labeling pairs FILE" in page.text
    assert set(page.having("data-action")) == {"next"}


def test_notes_are_shown_where_a_screen_reader_hears_them(store: Store) -> None:
    turn = Turn("ann", None, Progress(1, 1), note="<b>This pair is gone.")
    page = stage(turn)
    assert 'role="status"' in page and "&lt;b&gt;This pair is gone." in page


@pytest.mark.parametrize("page", [INTRO, GUIDE])
def test_guidelines_ask_the_question_and_warn(page: str) -> None:
    text = " ".join(Elements(page).text.split())
    assert "Which summary is gentler, and still tells what happened?" in text
    assert "Content note" in text and "insults" in text
