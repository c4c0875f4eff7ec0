"""What the Label tab shows as HTML: blind before the pick, escaped always."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser

import pytest

from labeling.batches import add_pairs
from labeling.practice import examples, practise
from labeling.queue import Progress
from labeling.store import Store
from labeling.ui import session
from labeling.ui.guide import INTRO, KEYS
from labeling.ui.history import PAGE, history, history_page
from labeling.ui.session import Answer, Scope, Turn
from labeling.ui.shell import CHOICES, feedback_html, shell
from labeling.ui.stage import change_page, turn_page
from tests.labeling.conftest import Judge, Rows

NASTY = (
    """</p><script>alert('x')</script><img src=x onerror="alert(1)">${alert(2)}{{value}}`&amp;"""
)
SHELL = shell(asks_name=True)


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

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def scope() -> Scope:
    return Scope(random.Random(0))


def first_turn(store: Store, labeler: str = "ann") -> Turn:
    return session.sign_in(store, labeler, scope())


def judged(store: Store, turn: Turn, choice: str, labeler: str = "ann") -> Turn:
    assert turn.task is not None
    return session.judge(store, labeler, turn.task.assignment_id, Answer(choice), scope())


def secret_project(store: Store, rows: Rows, n: int = 3) -> list[str]:
    """A project of which nothing in the returned list may be told before the pick."""
    data = rows(n)
    for row in data:
        row["before"] |= {"policy": "secret-base", "reward": -7.25, "toxicity": 0.61}
        row["after"] |= {"policy": "secret-ppo", "reward": 6.75, "toxicity": 0.12}
    add_pairs(store, data, "secret-batch")
    with store.reading() as db:
        ids = [row["id"] for table in ("pairs", "candidates", "policies") for row in db[table].rows]
    return ["secret", "7.25", "6.75", "61\u00a0%", "0.61", "12\u00a0%", "0.12", *ids]


def test_two_pairs_are_carried_and_only_as_inert_templates(store: Store) -> None:
    turn = first_turn(store)
    assert turn.task is not None and turn.ahead is not None
    page = Elements(turn_page(turn))
    templates = [attrs for tag, attrs in page.found if tag == "template"]
    assert [attrs["data-assignment"] for attrs in templates] == [
        turn.task.assignment_id,
        turn.ahead.assignment_id,
    ]
    assert [attrs["data-place"] for attrs in templates] == ["1", "2"]
    for text in (turn.task.left, turn.task.right, turn.ahead.left, turn.ahead.right):
        assert text in page.text
    assert page.text.index(turn.task.left) < page.text.index(turn.task.right)
    assert "Person 1" in page.text and "#Person1#" not in page.text
    # Outside of the templates there is no text of a pair.
    outside = re.sub(r"<template.*?</template>", "", turn_page(turn), flags=re.DOTALL)
    assert "dumb" not in outside and "disagree" not in outside


def test_progress_tells_of_the_labeler_the_batch_and_the_project(
    store: Store, rows: Rows, judge: Judge
) -> None:
    add_pairs(store, rows(6, start=50), "second")
    judge(store, "ann", ["after"] * 3)
    page = Elements(turn_page(first_turn(store)))
    assert "You: 3 of 12" in page.text
    assert "Batch 50\u00a0%" in page.text and "Project 25\u00a0%" in page.text
    meters = [attrs for _, attrs in page.found if attrs.get("role") == "meter"]
    assert [(m["aria-valuenow"], m["aria-valuemax"]) for m in meters] == [
        ("3", "12"),
        ("3", "6"),
        ("3", "12"),
    ]
    assert all(meter["aria-label"] for meter in meters)


def test_keys_are_written_on_the_buttons_and_in_the_help() -> None:
    for choice, key, word in CHOICES:
        button = re.search(rf'<button[^>]*data-choice="{choice}".*?</button>', SHELL)
        assert button is not None
        assert word in button[0] and f">{key}</kbd>" in button[0]
        assert f'data-key="{key}"' in button[0]
    helped = {
        part
        for _, rows in KEYS
        for keys, _ in rows
        for group in keys.split(" or ")
        for part in group.split()
    }
    pressed = set(re.findall(r'data-key="([^"]+)"', SHELL))
    assert pressed <= helped
    assert helped - pressed == {"Ctrl+Z", "n"}


def test_the_shell_is_a_template_that_gradio_leaves_as_it_is() -> None:
    for active in ("`", "${", "{{", "\\"):
        assert active not in SHELL
    assert "Change name" in SHELL
    assert "Change name" not in shell(asks_name=False)
    ids = [attrs["id"] for _, attrs in Elements(SHELL).found if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_every_button_has_a_name_and_does_something() -> None:
    doing = ("data-choice", "data-action", "data-set", "data-skip")
    for tag, attrs in Elements(SHELL).found:
        if tag == "button":
            assert attrs["type"] == "button"
            assert sum(name in attrs for name in doing) == 1
    assert not re.search(r"<button[^>]*><span></span>", SHELL)


def test_the_page_is_blind_before_the_pick_and_tells_after_it(
    fresh_store: Store, rows: Rows
) -> None:
    secrets = secret_project(fresh_store, rows)
    turn = first_turn(fresh_store)
    for secret in [*secrets, "eward", "oxicity"]:
        assert secret not in turn_page(turn)
    assert turn.task is not None
    after = judged(fresh_store, turn, "right")
    told = Elements(turn_page(after)).words
    assert "Saved : you chose B." in told
    left, right = ("base", "ppo") if turn.task.right.startswith("They") else ("ppo", "base")
    assert f"A was secret-{left}" in told and f"B was secret-{right}" in told
    for number in ("−7.25", "+6.75", "61 %", "12 %"):
        assert number in told
    # What is told stands outside of the pairs that come next, and nothing else does.
    said = re.search(r'<div data-part="said">.*?</div>', turn_page(after))
    assert said is not None
    for secret in secrets:
        assert secret not in turn_page(after).replace(said[0], "")
    # Taken back, the pair is blind again.
    back = session.take_back(fresh_store, "ann", scope())
    for secret in secrets:
        assert secret not in turn_page(back)


def test_neither_the_history_nor_a_change_tells_the_sides(fresh_store: Store, rows: Rows) -> None:
    secrets = secret_project(fresh_store, rows)
    turn = first_turn(fresh_store)
    assert turn.task is not None
    judged(fresh_store, turn, "left")
    change = session.change(fresh_store, "ann", turn.task.assignment_id)
    pages = (history_page(history(fresh_store, "ann")), change_page(change))
    for secret in secrets:
        assert not any(secret in page for page in pages)


def test_where_the_batch_hides_the_sides_nothing_is_told(fresh_store: Store, rows: Rows) -> None:
    secrets = secret_project(fresh_store, rows)
    with fresh_store.writing() as db:
        db.execute("UPDATE batches SET reveal = 0")
    after = judged(fresh_store, first_turn(fresh_store), "left")
    assert "Saved : you chose A." in Elements(turn_page(after)).words
    for secret in secrets:
        assert secret not in turn_page(after)


def test_how_others_picked_is_told_on_the_labelers_own_sides(store: Store, judge: Judge) -> None:
    with store.writing() as db:
        db.execute("UPDATE batches SET votes_wanted = 9")
    for name, wanted in (("bob", "after"), ("cleo", "after"), ("dan", "both_bad")):
        judge(store, name, [wanted] * 6)
    turn = first_turn(store)
    assert turn.task is not None
    after = judged(store, turn, "tie")
    letter = "A" if turn.task.left.startswith("They") else "B"
    assert f"Others: 2 chose {letter}, 1 both bad." in Elements(turn_page(after)).text


def test_scores_that_are_unknown_are_left_out(fresh_store: Store, rows: Rows) -> None:
    row = rows(1)[0]
    for side in ("before", "after"):
        row[side] |= {"reward": None, "toxicity": None}
    add_pairs(fresh_store, [row], "b")
    told = Elements(turn_page(judged(fresh_store, first_turn(fresh_store), "tie"))).text
    assert "you called it a tie" in told
    assert "reward" not in told and "toxicity" not in told


def test_every_text_is_escaped(fresh_store: Store, rows: Rows) -> None:
    data = rows(2)
    for row in data:
        row["dialogue"] = f"#Person1#: {NASTY}\nBob <b>: {NASTY}\n{NASTY}{row['id']}"
        row["before"] |= {"text": NASTY, "policy": NASTY}
        row["after"] |= {"text": f"{NASTY} too"}
    add_pairs(fresh_store, data, NASTY)
    with fresh_store.writing() as db:
        db.execute("UPDATE batches SET guidelines = ?", [NASTY])
    turn = session.sign_in(fresh_store, NASTY, scope())
    assert turn.task is not None
    answer = Answer("left", note=NASTY, reasons=[NASTY[:50]], strength="clearly")
    after = session.judge(fresh_store, NASTY, turn.task.assignment_id, answer, scope())
    change = session.change(fresh_store, NASTY, turn.task.assignment_id)
    pages = turn_page(turn), turn_page(after), change_page(change)
    for page in (*pages, history_page(history(fresh_store, NASTY))):
        elements = Elements(page)
        assert "<script>alert('x')" in elements.text
        tags = {tag for tag, _ in elements.found}
        assert not tags & {"script", "img", "iframe"}
        assert not any(name.startswith("on") for _, attrs in elements.found for name in attrs)
    assert Elements(pages[2]).having("data-note")[NASTY]["data-choice"] == "left"


def test_a_change_carries_the_old_answer(store: Store) -> None:
    turn = first_turn(store)
    assert turn.task is not None
    answer = Answer("left", strength="slightly", reasons=["gentler", "more fluent"], flagged=True)
    session.judge(store, "ann", turn.task.assignment_id, answer, scope())
    change = session.change(store, "ann", turn.task.assignment_id)
    (attrs,) = Elements(change_page(change)).having("data-assignment").values()
    assert attrs["data-choice"] == "left" and attrs["data-strength"] == "slightly"
    assert attrs["data-reasons"] == "gentler\nmore fluent"
    assert "data-flagged" in attrs and "data-seen" in attrs


def test_a_long_conversation_is_shown_whole(fresh_store: Store, rows: Rows) -> None:
    row = rows(1)[0]
    row["dialogue"] = "\n".join(f"#Person{1 + i % 2}#: turn number {i}." for i in range(400))
    add_pairs(fresh_store, [row], "b")
    text = Elements(turn_page(first_turn(fresh_store))).text
    assert all(f"turn number {i}." in text for i in range(400))


def test_the_rules_of_a_batch_come_with_its_pairs(store: Store) -> None:
    with store.writing() as db:
        db.execute("UPDATE batches SET guidelines = 'Dates matter most.'")
    assert turn_page(first_turn(store)).count('<div class="lb-own-rules">Dates matter most.') == 2


def test_undo_waits_for_a_first_pick(store: Store, judge: Judge) -> None:
    assert "data-undo" not in turn_page(first_turn(store))
    judge(store, "ann", ["tie"])
    assert "data-undo" in turn_page(first_turn(store))


def test_the_end_is_designed(store: Store, judge: Judge) -> None:
    judge(store, "ann", ["after"] * 6)
    page = Elements(turn_page(first_turn(store)))
    assert "You have labelled every pair" in page.text
    assert "6 pairs judged. Thank you, ann" in page.text
    assert set(page.having("data-action")) == {"next", "undo"}
    assert not page.having("data-assignment")


def test_pairs_that_others_have_finished_are_not_called_the_labelers_own(
    store: Store, judge: Judge
) -> None:
    with store.writing() as db:
        db.execute("UPDATE batches SET votes_wanted = 1")
    judge(store, "bob", ["after"] * 6)
    page = Elements(turn_page(first_turn(store)))
    assert "There is nothing left for you to do" in page.text
    assert "every other pair has the picks it needs" in page.text


@pytest.mark.parametrize(
    ("status", "title"),
    [("paused", "Labelling is paused"), ("closed", "This project is closed")],
)
def test_a_pause_and_the_close_are_said(
    store: Store, judge: Judge, status: str, title: str
) -> None:
    judge(store, "ann", ["after"])
    with store.writing() as db:
        db.execute("UPDATE batches SET status = ?", [status])
    assert title in turn_page(first_turn(store))


def test_a_project_without_pairs_says_how_to_load_some(fresh_store: Store) -> None:
    page = Elements(turn_page(first_turn(fresh_store)))
    assert "There is nothing to label yet" in page.text
    assert "python -m labeling pairs FILE" in page.text
    assert set(page.having("data-action")) == {"next"}


def test_batches_are_offered_only_where_there_are_several(store: Store, rows: Rows) -> None:
    assert "<option" not in turn_page(first_turn(store))
    add_pairs(store, rows(2, start=50), "tuned-against-base")
    turn = first_turn(store)
    page = turn_page(turn)
    assert "tuned" not in page
    words = re.findall(r"<option[^>]*>(.*?)</option>", page)
    assert words[0] == "All open batches"
    assert re.fullmatch(r"Batch 2, \d{1,2} \w{3} \d{4}: 0 of 2 judged", words[2])
    narrow = session.look_again(store, "ann", Scope(random.Random(0), chosen=turn.batches[1].key))
    chosen = re.search(r"<option[^>]* selected>(.*?)</option>", turn_page(narrow))
    assert chosen is not None and chosen[1] == words[2]
    # A batch that is done, or closed meanwhile, leaves the way back to the others.
    with store.writing() as db:
        db.execute("UPDATE batches SET status = 'closed' WHERE name <> 'first'")
    closed = session.look_again(store, "ann", Scope(random.Random(0), chosen=turn.batches[1].key))
    assert "Show all open batches" in turn_page(closed)
    assert "A batch that is not open" in turn_page(closed)


def test_the_history_lists_what_was_picked_and_what_may_change(store: Store, rows: Rows) -> None:
    turn = first_turn(store)
    assert turn.task is not None
    answer = Answer("left", strength="clearly", reasons=["gentler"], note="nice", flagged=True)
    session.judge(store, "ann", turn.task.assignment_id, answer, scope())
    page = Elements(history_page(history(store, "ann")))
    assert "A is better clearly gentler flagged as broken “nice”" in page.words
    assert "Person 1: Your plan number" in page.text
    assert turn.task.assignment_id in page.having("data-assignment")
    assert page.having("datetime")
    with store.writing() as db:
        db.execute("UPDATE batches SET status = 'closed'")
    closed = Elements(history_page(history(store, "ann")))
    assert "Its batch is closed, so it can no longer change." in closed.text
    assert not closed.having("data-assignment")


def test_the_history_turns_pages(fresh_store: Store, rows: Rows, judge: Judge) -> None:
    assert "You have not picked anything yet." in history_page(history(fresh_store, "ann"))
    add_pairs(fresh_store, rows(PAGE + 1), "b")
    judge(fresh_store, "ann", ["after"] * (PAGE + 1))
    first = Elements(history_page(history(fresh_store, "ann", 0)))
    second = Elements(history_page(history(fresh_store, "ann", 1)))
    assert list(first.having("data-page")) == ["1"] and "Older picks" in first.text
    assert list(second.having("data-page")) == ["0"] and "Newer picks" in second.text


def test_practice_examples_come_without_their_answers(fresh_store: Store) -> None:
    page = Elements(SHELL)
    assert list(page.having("data-example")) == [example.id for example in examples()]
    for example in examples():
        assert example.left in page.text
        assert example.why not in page.text
        right = feedback_html(practise(fresh_store, "ann", example.id, example.expected[0]))
        assert "That is how we see it, too." in right
        assert example.why in Elements(right).text
    wrong = feedback_html(practise(fresh_store, "ann", "meeting", "tie"))
    assert "We would say: B is better or Both bad." in wrong


def test_notes_of_the_turn_are_escaped() -> None:
    turn = Turn("ann", None, Progress(1, 1), note="<b>This pair is gone.", rest="finished")
    assert "&lt;b&gt;This pair is gone." in turn_page(turn)


@pytest.mark.parametrize("page", [INTRO, SHELL])
def test_guidelines_ask_the_question_and_warn(page: str) -> None:
    text = Elements(page).words
    assert "Which summary is gentler, and still tells what happened?" in text
    assert "insults" in text and "on purpose" in text
