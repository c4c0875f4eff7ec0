"""Preferences out of a file: what is read, what is refused, and the tokens they become."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from detox.config import DpoConfig
from detox.errors import UserError
from detox.preference.pairs import Pair, dialogue_of, encode, origin, read_pairs, split
from detox.tasks import SENTIMENT, SUMMARIZE, TASKS
from tests import tiny

Row = dict[str, Any]


def written(folder: Path, *lines: Row | str) -> str:
    path = folder / "picks.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return str(path)


def row(prompt: str = "Hi?", chosen: str = " Yes.", rejected: str = " No.", **more: Any) -> Row:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected} | more


def quiet(text: str) -> None:
    """Hears nothing."""


# reading


def test_rows_become_pairs(tmp_path: Path) -> None:
    path = written(tmp_path, row(), "", row("Why?", " So.", " Because.", margin=1), "  ")
    assert read_pairs(path) == [
        Pair("Hi?", " Yes.", " No."),
        Pair("Why?", " So.", " Because.", 1.0),
    ]


def test_the_line_break_between_prompt_and_response_goes_back_to_the_prompt(tmp_path: Path) -> None:
    prompt = SUMMARIZE.prompt("#Person1#: Hello.")
    path = written(tmp_path, row(prompt.rstrip(), "\nThey greet.\n", "\nNobody speaks. "))
    assert read_pairs(path) == [Pair(prompt, "They greet.", "Nobody speaks.")]


def test_blanks_and_unequal_line_breaks_stay_with_the_responses(tmp_path: Path) -> None:
    path = written(tmp_path, row("Q:", " A.", " B."), row("Q:", "\nA.", "\n\nB."))
    assert read_pairs(path) == [Pair("Q:", " A.", " B."), Pair("Q:", "\nA.", "\n\nB.")]


def test_separators_within_a_text_do_not_end_a_line(tmp_path: Path) -> None:
    text = json.dumps(row("One\u2028two\x85three?"), ensure_ascii=False)
    assert read_pairs(written(tmp_path, text))[0].prompt == "One\u2028two\x85three?"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["{"], "^Line 1 of picks.jsonl is not JSON: give a JSONL file with one pair a line"),
        ([row(), [1]], "^Line 2 of picks.jsonl has no texts 'prompt', 'chosen' and 'rejected'"),
        ([{"prompt": "a", "chosen": "b"}], "export the picks as trl-explicit"),
        ([row(prompt=[{"role": "user", "content": "Hi"}])], "export the picks as trl-explicit"),
        ([row(margin="1")], "has a margin that is no number: leave it out or mend it"),
        ([row(margin=True)], "has a margin that is no number"),
        ([row(margin=-1)], "has a margin of -1: it must be 0 or more"),
        ([row(margin=float("nan"))], "has a margin of nan: it must be 0 or more"),
        (["", " "], "picks.jsonl holds no preferences: give a file with one at least"),
    ],
)
def test_what_is_no_preference(tmp_path: Path, lines: list[Any], sentence: str) -> None:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    with pytest.raises(UserError, match=sentence):
        read_pairs(written(tmp_path, *lines))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^Name the preferences with --data: TRL explicit JSONL"):
        read_pairs("")
    with pytest.raises(UserError, match="cannot be read as UTF-8 text: check the path"):
        read_pairs(str(tmp_path / "none.jsonl"))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read as UTF-8 text"):
        read_pairs(str(tmp_path / "bytes"))


# dialogues, and the split


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_wording_of_a_task_asks_about_the_same_dialogue(task: Any) -> None:
    text = "#Person1#: Hello.\n#Person2#: Good bye."
    assert {dialogue_of(task.prompt(text, name)) for name in task.templates} == {text}
    assert dialogue_of(task.prompt(text).rstrip()) == text  # as TRL has it


def test_solved_examples_are_not_what_is_asked_about() -> None:
    examples = [("#Person1#: One.", "One is said."), ("#Person1#: Two.", "Two is said.")]
    assert dialogue_of(SUMMARIZE.prompt("#Person1#: Three.", examples=examples)) == (
        "#Person1#: Three."
    )
    assert dialogue_of(SENTIMENT.prompt("Fine!", examples=[("Bad.", "negative")])) == "Fine!"


def test_other_prompts_are_their_own_dialogue() -> None:
    assert dialogue_of(" Translate this. \n") == "Translate this."
    assert dialogue_of("Summary:") == "Summary:"


@given(st.integers(0, 99))
def test_a_dialogue_is_on_one_side_whatever_it_is_asked_with(seed: int) -> None:
    pairs = [
        Pair(SUMMARIZE.prompt(f"#Person1#: Number {i}.", wording), "a", "b")
        for i in range(40)
        for wording in ("default", "question", "bare")
    ]
    train, validation = split(pairs, DpoConfig(hold_out=0.5, seed=seed))
    assert len(train) + len(validation) == len(pairs)
    assert not {p.dialogue for p in train} & {p.dialogue for p in validation}
    fewer = split(pairs[:60], DpoConfig(hold_out=0.5, seed=seed))[1]
    assert fewer == [pair for pair in pairs[:60] if pair in validation]  # more pairs move none


def test_splits_that_leave_nothing() -> None:
    pairs = [Pair("One?", "a", "b")]
    assert split(pairs, DpoConfig(hold_out=0)) == (pairs, [])
    with pytest.raises(UserError, match="leaves no dialogue to validate on: raise it, label more"):
        split(pairs, DpoConfig(hold_out=0.0001))
    with pytest.raises(UserError, match="leaves no dialogue to learn from: lower it or label more"):
        split(pairs, DpoConfig(hold_out=0.9999))


# tokens


PAIRS = [
    Pair("Summarize.\n\nOne.\n\nSummary:\n", "You fool.", "I am sorry.", 0.5),
    Pair("Two. " * 40, " Yes.", " No, it is not so.", 1.0),
]


@pytest.mark.parametrize("style", ["causal", "seq2seq"])
def test_prompts_and_responses_as_tokens(style: str) -> None:
    tokenizer = tiny.tokenizer(style)
    told: list[str] = []
    rows = encode(PAIRS, tokenizer, DpoConfig(margin=2.0), told.append)
    assert told == ["2 pairs, 0 left out as too long, 0 as twice the same response"]
    assert rows[0]["prompt_ids"] == tokenizer(PAIRS[0].prompt).input_ids
    assert tokenizer.decode(rows[0]["chosen_ids"]) == "You fool.</s>"
    assert tokenizer.decode(rows[1]["rejected_ids"]) == " No, it is not so.</s>"
    assert [row["margin"] for row in rows] == [1.0, 2.0]
    assert rows[0]["dialogue"] == PAIRS[0].dialogue
    longest = max(len(rows[1]["chosen_ids"]), len(rows[1]["rejected_ids"]))
    assert rows[1]["length"] == len(rows[1]["prompt_ids"]) + longest


def test_what_is_left_out_is_counted() -> None:
    tokenizer, told = tiny.tokenizer("causal"), []
    same = Pair("Three.", "Yes.", "Yes.")
    rows = encode([*PAIRS, same], tokenizer, DpoConfig(max_prompt_tokens=60), told.append)
    assert len(rows) == 1
    assert told == ["1 pairs, 1 left out as too long, 1 as twice the same response"]
    short = encode([*PAIRS, same], tokenizer, DpoConfig(max_response_tokens=9), quiet)
    assert all(len(row["rejected_ids"]) <= 9 for row in short)
    with pytest.raises(UserError, match=r"^No pair fits max_prompt_tokens and max_response_tokens"):
        encode(PAIRS, tokenizer, DpoConfig(max_prompt_tokens=1), quiet)


def test_ipo_has_a_margin_of_its_own() -> None:
    tokenizer = tiny.tokenizer("causal")
    with pytest.raises(UserError, match=r"IPO aims at a margin of its own.* set margin to 0"):
        encode(PAIRS, tokenizer, DpoConfig(loss="ipo", margin=1.0), quiet)
    assert len(encode(PAIRS, tokenizer, DpoConfig(loss="ipo"), quiet)) == 2


def test_trl_would_read_the_same_tokens(tmp_path: Path) -> None:
    tokenizer = tiny.tokenizer("causal")
    path = written(tmp_path, row("Summarize.\n\nOne.\n\nSummary:", "\nYou fool.", "\nI am sorry."))
    (ours,) = encode(read_pairs(path), tokenizer, DpoConfig(), quiet)
    holder = DPOTrainer.__new__(DPOTrainer)
    holder._tokenizer = tokenizer
    arguments = DPOConfig(str(tmp_path), use_cpu=True, bf16=False, activation_checkpointing=False)
    data = Dataset.from_list([json.loads(Path(path).read_text(encoding="utf-8"))])
    theirs = holder._prepare_dataset(data, tokenizer, arguments, "train")[0]
    for side in ("chosen_ids", "rejected_ids"):
        assert ours["prompt_ids"] + ours[side] == theirs["prompt_ids"] + theirs[side]
    # but that the line break is ours to read, not to write
    assert len(ours["prompt_ids"]) == len(theirs["prompt_ids"]) + 1


# where they come from


def test_the_manifest_beside_a_file_tells_the_picks_behind_it(tmp_path: Path) -> None:
    path = Path(written(tmp_path, row()))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    told: list[str] = []
    bare = {"file": "picks.jsonl", "sha256": digest, "rows": 1, "snapshot": None}
    assert origin(path, 1, told.append) == bare and told == []
    manifest = {"snapshot": "abc", "picks": 3, "labelers": 2, "files": {"picks.jsonl": digest}}
    beside = tmp_path / "picks.jsonl.manifest.json"
    beside.write_text(json.dumps(manifest), encoding="utf-8")
    found = origin(path, 1, told.append)
    assert (found["snapshot"], found["picks"], found["labelers"]) == ("abc", 3, 2)
    assert found["sha256"] == digest and told == []


@pytest.mark.parametrize("content", ["{", "[]", '{"files": {"picks.jsonl": "other"}}', '{"a": 1}'])
def test_a_manifest_of_another_file_is_not_believed(tmp_path: Path, content: str) -> None:
    path = Path(written(tmp_path, row()))
    (tmp_path / "picks.jsonl.manifest.json").write_text(content, encoding="utf-8")
    told: list[str] = []
    assert origin(path, 1, told.append)["snapshot"] is None
    assert told == [
        "picks.jsonl.manifest.json does not describe this file: the picks behind it are not "
        "recorded."
    ]
