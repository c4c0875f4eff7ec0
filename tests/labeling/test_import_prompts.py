"""Where the prompt ends in TRL's implicit rows, and which ratings belong together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trl.data_utils import extract_prompt

from detox.errors import UserError
from detox.tasks import SENTIMENT, SUMMARIZE
from labeling.imports import import_file
from labeling.imports.prompts import Known, common_prompt
from labeling.store import Store, open_store

NONE = Known()


def _file(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "prefs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _picks(store: Store) -> list[tuple[str, str, str, str]]:
    with store.reading() as db:
        return [
            (row["prompt"].strip(), row["choice"], row["left_text"], row["right_text"])
            for row in db.query("SELECT * FROM preferences ORDER BY seq")
        ]


@pytest.mark.parametrize(
    ("chosen", "rejected", "end"),
    [
        # The texts' own beginning is no part of the prompt.
        ("Human: Hi\n\nAssistant: They are", "Human: Hi\n\nAssistant: They were", "Assistant:"),
        ("A post.\nTL;DR: good", "A post.\nTL;DR: bad", "TL;DR:"),
        ("A post.\nWhat is it?\nIt is a", "A post.\nWhat is it?\nIt is b", "What is it?"),
        ("One line: yes", "One line: no", "One line:"),
        ("Question\nyes", "Question no", "Question"),
    ],
)
def test_an_unknown_prompt_ends_before_the_line_that_differs(
    chosen: str, rejected: str, end: str
) -> None:
    prompt, first, second = common_prompt(chosen, rejected, NONE)
    assert prompt.endswith(end)
    assert (prompt + first, prompt + second) == (chosen, rejected)


@pytest.mark.parametrize("task", [SUMMARIZE, SENTIMENT])
@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text(min_size=1).filter(str.strip), min_size=3, max_size=3))
def test_a_template_tells_where_its_prompt_ends(task: Any, texts: list[str]) -> None:
    text, chosen, rejected = (t.replace("\r", "\n").replace("\x00", "") for t in texts)
    if not (text.strip() and chosen.strip() and rejected.strip()):
        return
    for name in task.templates:
        prompt = task.prompt(text, name)
        found = common_prompt(prompt + chosen, prompt + "Beg. " + rejected, NONE)[0]
        assert found == prompt.rstrip()


def test_a_known_prompt_is_found_however_the_texts_begin() -> None:
    known = Known([("1", "Tell me\n\nwhat: you know "), ("2", "Tell me")])
    prompt, chosen, rejected = common_prompt(
        "Tell me\n\nwhat: you know The same\nline: x", "Tell me\n\nwhat: you know The same y", known
    )
    assert prompt == "Tell me\n\nwhat: you know"
    assert (chosen, rejected) == (" The same\nline: x", " The same y")
    # The longer of two that fit, but none that would leave an answer empty.
    assert common_prompt("Tell me\n\nwhat: you know", "Tell me no", known)[0] == "Tell me"


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text())
def test_known_prompts_are_those_a_text_begins_with(prompt: str, rest: str) -> None:
    text = prompt.replace("\x00", "").replace("\r", "\n") + " " + rest
    known = Known([("1", prompt)])
    bare = text[: len(text) - len(rest) - 1].rstrip()
    assert list(known.ends(text)) == ([len(bare)] if bare else [])


def test_the_whole_is_split_as_trl_splits_it_or_earlier() -> None:
    pairs = [
        ("Q: one\nA: The cat sat", "Q: one\nA: The dog ran"),
        ("The sky is blue", "The sky is green"),
    ]
    for chosen, rejected in pairs:
        trl = extract_prompt({"chosen": chosen, "rejected": rejected})
        prompt = common_prompt(chosen, rejected, NONE)[0]
        assert trl["prompt"].startswith(prompt)


@pytest.mark.parametrize(
    ("chosen", "rejected"), [("yes", "no"), ("x yes", "y no"), ("same", "same more"), ("a", "a")]
)
def test_texts_without_a_prompt_in_front_are_refused(
    fresh_store: Store, tmp_path: Path, chosen: str, rejected: str
) -> None:
    with pytest.raises(UserError, match=r"Line 1 of .* no common prompt in front"):
        import_file(fresh_store, _file(tmp_path, {"chosen": chosen, "rejected": rejected}))


def test_implicit_messages_share_their_first_turns(fresh_store: Store, tmp_path: Path) -> None:
    asked = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ]
    row = {
        "chosen": [*asked, {"role": "assistant", "content": "Hello."}],
        "rejected": [*asked, {"role": "assistant", "content": "What?"}],
    }
    assert import_file(fresh_store, _file(tmp_path, row)).format == "trl-implicit"
    ((prompt, _, left, right),) = _picks(fresh_store)
    assert prompt == "System: Be kind.\nUser: Hi"
    assert {left, right} == {"Hello.", "What?"}


@pytest.mark.parametrize("prompt", ["Hi", [{"role": "user", "content": "Hi"}]])
def test_messages_may_repeat_the_prompt_they_come_with(
    fresh_store: Store, tmp_path: Path, prompt: Any
) -> None:
    asked = {"role": "user", "content": "Hi"}
    row = {
        "prompt": prompt,
        "chosen": [asked, {"role": "assistant", "content": "Hello."}],
        "rejected": [asked, {"role": "assistant", "content": "What?"}],
    }
    import_file(fresh_store, _file(tmp_path, row))
    ((found, _, left, right),) = _picks(fresh_store)
    assert (found, {left, right}) == ("Hi", {"Hello.", "What?"})


@pytest.mark.parametrize(
    "content", [None, 7, [{"type": "image"}], [{"type": "text", "text": 1}], ["text"]]
)
def test_messages_without_text_are_refused(
    fresh_store: Store, tmp_path: Path, content: Any
) -> None:
    row = {
        "prompt": [{"role": "user", "content": content}],
        "chosen": [{"role": "assistant", "content": "a"}],
        "rejected": [{"role": "assistant", "content": "b"}],
    }
    with pytest.raises(UserError, match=r"Line 1 of .*`prompt` must be a list of messages"):
        import_file(fresh_store, _file(tmp_path, row))


def _rated(prompt: str, text: str, label: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completion": " " + text, "label": label}


def test_ratings_of_one_prompt_become_judgements(fresh_store: Store, tmp_path: Path) -> None:
    rows = [
        _rated("p", "good", True),
        _rated("p", "bad", False),
        _rated("q", "bad 1", False),
        _rated("q", "bad 2", 0),
        _rated("r", "bad", False),
        _rated("s", "good", True),
        _rated("r", "good", 1),
    ]
    report = import_file(fresh_store, _file(tmp_path, *rows))
    assert (report.format, report.picks, report.alone) == ("trl-unpaired", 3, 1)
    assert _picks(fresh_store) == [
        ("p", "left", "good", "bad"),
        ("q", "both_bad", "bad 1", "bad 2"),
        ("r", "left", "good", "bad"),
    ]


def test_nothing_is_made_of_ratings_without_a_partner(fresh_store: Store, tmp_path: Path) -> None:
    rows = [
        _rated("p", "good 1", True),
        _rated("p", "good 2", True),
        _rated("q", "bad", False),
        _rated("r", "same", True),
        _rated("r", "same", False),
    ]
    report = import_file(fresh_store, _file(tmp_path, *rows))
    assert (report.picks, report.alone) == (0, 5)
    with fresh_store.reading() as db:
        assert next(db.query("SELECT count(*) AS n FROM pairs"))["n"] == 0


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("pq"), st.sampled_from("abcd"), st.booleans()), max_size=12
    )
)
def test_every_rating_is_used_once_or_counted(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, bool]]
) -> None:
    if not rows:
        return
    folder = tmp_path_factory.mktemp("rated")
    store = open_store(folder / "labels.db")
    report = import_file(store, _file(folder, *(_rated(*row) for row in rows)))
    assert 2 * report.picks + report.alone == report.rows == len(rows)
    picks = _picks(store)
    assert len(picks) == report.picks
    for prompt, choice, left, right in picks:
        labels = {"left": (True, False), "right": (False, True), "both_bad": (False, False)}
        first, second = labels[choice]
        assert (prompt, left, first) in rows and (prompt, right, second) in rows


@pytest.mark.parametrize("label", [None, "good", 2, 0.5])
def test_a_label_is_true_or_false(fresh_store: Store, tmp_path: Path, label: Any) -> None:
    with pytest.raises(UserError, match=r"Line 1 of .*`label` must be true or false"):
        import_file(fresh_store, _file(tmp_path, _rated("p", "x", label)))


def test_predictions_need_to_be_somebodys(fresh_store: Store, tmp_path: Path) -> None:
    row = {"inputs": {"inputs_pretokenized": "Tell: x"}, "prediction": "A."}
    path = _file(tmp_path, row, row | {"prediction": "B."}, row)
    with pytest.raises(UserError, match=r"Line 1 of .*Say with --policy whose"):
        import_file(fresh_store, path)
    report = import_file(fresh_store, path, policy="after")
    assert (report.prompts, report.candidates, report.known) == (1, 2, 1)
    with fresh_store.reading() as db:
        names = [row["name"] for row in db.query("SELECT name FROM policies")]
    assert names == ["after"]
    bad = _file(tmp_path, row | {"inputs": "x"})
    with pytest.raises(UserError, match="`inputs` must be an object"):
        import_file(fresh_store, bad, policy="after")


def test_prompts_are_added_once(fresh_store: Store, tmp_path: Path) -> None:
    path = _file(tmp_path, {"input_text": "Tell: x"}, {"input_text": "Tell: x\n"})
    report = import_file(fresh_store, path)
    assert (report.prompts, report.known, report.picks) == (1, 1, 0)
