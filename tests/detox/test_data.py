import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from detox.data import (
    COLUMNS,
    MAX_DIALOGUE_CHARS,
    LengthSampler,
    check_dialogue,
    filter_by_length,
    is_rude,
    load_dialogues,
    prompts,
    targets,
)
from detox.errors import UserError
from detox.tasks import SENTIMENT
from tests.tiny import dialogsum_rows

WriteDialogues = Callable[..., Path]
ROW = {"id": "train_0", "dialogue": "#Person1#: Hi.\n#Person2#: Ho.", "summary": "They meet."}


def load_row(write: WriteDialogues, suffix: str = ".jsonl", **changes: Any) -> dict[str, Any]:
    """The only dialogue of a file with ``ROW`` and ``changes`` to it."""
    return dict(load_dialogues(str(write(suffix, [ROW | changes])))[0])


# --- reading files -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_every_format_reads_the_same(dialogues_file: WriteDialogues, suffix: str) -> None:
    dialogues = load_dialogues(str(dialogues_file(suffix)))
    assert tuple(sorted(dialogues.column_names)) == tuple(sorted(COLUMNS))
    expected = [
        {
            "id": row["id"],
            "dialogue": row["dialogue"],
            "topic": row["topic"],
            "tone": "",
            "split": "",
            "references": [row["summary"]],
            "verbatim": "",
            "gentle": "",
        }
        for row in dialogsum_rows()
    ]
    assert list(dialogues) == expected


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_three_summaries_of_the_test_split(dialogues_file: WriteDialogues, suffix: str) -> None:
    row = {
        "fname": "test_0",
        "dialogue": "#Person1#: Hi.",
        "summary1": "A.",
        "topic1": "greetings",
        "summary2": "B.",
        "topic2": "meeting",
        "summary3": "C.",
        "topic3": "hello",
    }
    read = load_dialogues(str(dialogues_file(suffix, [row])))[0]
    assert read["id"] == "test_0"
    assert read["topic"] == "greetings"
    assert read["references"] == ["A.", "B.", "C."]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_references_may_come_as_a_list(dialogues_file: WriteDialogues, suffix: str) -> None:
    row = {"dialogue": "#Person1#: Hi.", "references": ["A.", "B."]}
    assert load_dialogues(str(dialogues_file(suffix, [row])))[0]["references"] == ["A.", "B."]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_missing_values_are_empty_texts(dialogues_file: WriteDialogues, suffix: str) -> None:
    full = ROW | {"topic": "x", "summary_verbatim": "v", "summary_gentle": "g"}
    void = ROW | {"topic": None, "summary_verbatim": None, "summary_gentle": None}
    read = load_dialogues(str(dialogues_file(suffix, [full, void])))
    assert read["topic"] == ["x", ""]
    assert read["verbatim"] == ["v", ""]
    assert read["gentle"] == ["g", ""]


def test_ids_are_made_where_there_are_none(dialogues_file: WriteDialogues) -> None:
    rows = [{"dialogue": "#Person1#: Hi."}, {"dialogue": "#Person1#: Ho."}]
    assert load_dialogues(str(dialogues_file(rows=rows)))["id"] == [
        "dialogsum-00000",
        "dialogsum-00001",
    ]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_number_is_an_id_even_zero(dialogues_file: WriteDialogues, suffix: str) -> None:
    rows = [ROW | {"id": 0}, ROW | {"id": 1}]
    assert load_dialogues(str(dialogues_file(suffix, rows)))["id"] == ["0", "1"]


def test_line_ends_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "windows.jsonl"
    row = ROW | {"dialogue": " #Person1#: Hi.\r\n#Person2#: Ho.\r\n"}
    # Windows editors put a byte order mark before the text and \r\n after every line
    path.write_bytes(b"\xef\xbb\xbf" + (json.dumps(row) + "\r\n\r\n").encode())
    assert load_dialogues(str(path))["dialogue"] == ["#Person1#: Hi.\n#Person2#: Ho."]


def test_a_gentle_summary_is_the_reference_where_there_is_no_other(
    dialogues_file: WriteDialogues,
) -> None:
    row = load_row(dialogues_file, summary="", summary_gentle="Gentle.", summary_verbatim="Rude.")
    assert row["references"] == ["Gentle."]


def test_splits(dialogues_file: WriteDialogues) -> None:
    rows = [ROW | {"id": name, "split": name} for name in ("train", "validation", "test")]
    path = str(dialogues_file(rows=rows))
    assert load_dialogues(path)["id"] == ["train", "validation", "test"]
    assert load_dialogues(path, "test")["id"] == ["test"]


def test_a_file_without_splits_serves_every_split(dialogues_file: WriteDialogues) -> None:
    path = str(dialogues_file())
    assert list(load_dialogues(path, "test")) == list(load_dialogues(path, "train"))


def test_sources_are_joined_by_commas(tmp_path: Path) -> None:
    # the first has no summaries, so its references are lists of nothing
    for name in ("a", "b"):
        rows = [{"id": f"{name}1", "dialogue": "Hi."} | ({"summary": "S."} if name == "b" else {})]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    both = load_dialogues(f"{tmp_path}/a.jsonl, {tmp_path}/b.jsonl")
    assert both["id"] == ["a1", "b1"]
    assert both["references"] == [[], ["S."]]


# --- what cannot be read -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\xff\xfe", b"{"])
def test_damaged_files(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(content)
    if content == b"{" and suffix == "csv":  # a header is all that a CSV file needs
        with pytest.raises(UserError, match=r"holds no dialogues for the split 'all'\.$"):
            load_dialogues(str(path))
        return
    kind = suffix.upper()
    with pytest.raises(UserError, match=rf"^bad\.{suffix} cannot be read as {kind}: save it as"):
        load_dialogues(str(path))


def test_a_truncated_parquet_file(dialogues_file: WriteDialogues) -> None:
    path = dialogues_file(".parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read as PARQUET"):
        load_dialogues(str(path))


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_an_empty_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"empty{suffix}"
    path.touch()
    with pytest.raises(UserError, match=r"holds no dialogues|cannot be read as CSV"):
        load_dialogues(str(path))


def test_lines_that_are_not_objects(tmp_path: Path) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_text("[1]\n")
    with pytest.raises(UserError, match=r"^lists\.jsonl must hold one JSON object a line\.$"):
        load_dialogues(str(path))


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("#Person1#: Hi.")
    with pytest.raises(UserError, match=r"^notes\.txt is not a JSONL, CSV or Parquet file\.$"):
        load_dialogues(str(path))


def test_a_missing_file() -> None:
    with pytest.raises(UserError, match=r"^There is no file nowhere/d\.csv: check the path\.$"):
        load_dialogues("nowhere/d.csv")


def test_a_hub_name_without_hub() -> None:
    with pytest.raises(UserError, match=r"^The dialogues 'nobody/nothing' are neither a file nor"):
        load_dialogues("nobody/nothing")


@pytest.mark.parametrize("source", ["", " , "])
def test_no_source(source: str) -> None:
    with pytest.raises(UserError, match=r"^No dialogues were named"):
        load_dialogues(source)


def test_an_unknown_split() -> None:
    with pytest.raises(UserError, match=r"^Unknown split 'dev': choose one of train, validation,"):
        load_dialogues(split="dev")


def test_a_split_that_the_file_lacks(dialogues_file: WriteDialogues) -> None:
    path = dialogues_file(rows=[ROW | {"split": "train"}])
    with pytest.raises(UserError, match=r"holds no dialogues for the split 'test'\.$"):
        load_dialogues(str(path), "test")


@pytest.mark.parametrize("dialogue", [None, "", "  \n", 7])
def test_a_row_without_dialogue_is_named(dialogues_file: WriteDialogues, dialogue: Any) -> None:
    path = dialogues_file(rows=[ROW, ROW | {"dialogue": dialogue}])
    with pytest.raises(UserError, match=r"^Row 2 has no text in the field 'dialogue': add it\.$"):
        load_dialogues(str(path))


@pytest.mark.parametrize("dialogue", ["a\x00b", "a\ufffdb", "a\ud800b"])
def test_a_row_that_is_not_text_is_named(dialogues_file: WriteDialogues, dialogue: str) -> None:
    path = dialogues_file(rows=[ROW, ROW | {"dialogue": dialogue}])
    with pytest.raises(UserError, match=r"^Row 2: This is not plain text"):
        load_dialogues(str(path))


def test_half_a_character_in_a_summary_does_not_stop_the_reader(
    dialogues_file: WriteDialogues,
) -> None:
    # JSON can spell one half of a surrogate pair, which no UTF-8 text can hold
    assert load_row(dialogues_file, summary="Fine \ud83d")["references"] == ["Fine ?"]


def test_a_row_that_is_too_long_is_named(dialogues_file: WriteDialogues) -> None:
    path = dialogues_file(rows=[ROW | {"dialogue": "a" * (MAX_DIALOGUE_CHARS + 1)}])
    with pytest.raises(UserError, match=r"^Row 1: The dialogue has 40,001 characters"):
        load_dialogues(str(path))


# --- one dialogue --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " \n\t ", None, 3])
def test_an_empty_dialogue(text: Any) -> None:
    with pytest.raises(UserError, match=r"^The dialogue is empty: paste a conversation with at"):
        check_dialogue(text)


def test_fifty_thousand_words() -> None:
    with pytest.raises(UserError, match=r"^The dialogue has 250,000 characters, at most 40,000 "):
        check_dialogue("word " * 50_000)


def test_the_longest_dialogue() -> None:
    assert len(check_dialogue("a" * MAX_DIALOGUE_CHARS)) == MAX_DIALOGUE_CHARS


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_a_checked_dialogue_is_stripped_plain_text(text: str) -> None:
    try:
        checked = check_dialogue(text)
    except UserError as error:
        assert "\n" not in str(error)  # one sentence, to be shown as is
        plain = all(ord(char) >= 32 or char in "\n\r\t" for char in text)
        surrogates = any(0xD800 <= ord(char) < 0xE000 for char in text)
        assert not text.strip() or not plain or surrogates or "\ufffd" in text
        return
    assert checked and checked == checked.strip()
    assert "\r" not in checked
    checked.encode()  # what cannot be encoded crashes tokenizers and data frames
    assert check_dialogue(checked) == checked
    assert checked.split() == text.split()  # every word is kept


@given(st.text(min_size=1).filter(str.strip), st.sampled_from("\x00\x07\x1b\ufffd\ud800\udfff"))
def test_binary_is_refused_wherever_it_stands(text: str, mark: str) -> None:
    for spoiled in (mark + text, text + mark, text[:1] + mark + text):
        with pytest.raises(UserError, match=r"^This is not plain text: paste the conversation as"):
            check_dialogue(spoiled)


# --- what is done with them ----------------------------------------------------------------------


def with_lengths(*lengths: int) -> Dataset:
    return Dataset.from_list([{"dialogue": "a" * length} for length in lengths])


def test_filter_by_length_keeps_both_ends() -> None:
    kept = filter_by_length(with_lengths(199, 200, 600, 1000, 1001), 200, 1000)
    assert [len(text) for text in kept["dialogue"]] == [200, 600, 1000]


def test_filter_that_leaves_nothing() -> None:
    with pytest.raises(UserError, match=r"^No dialogue has between 200 and 1000 characters\.$"):
        filter_by_length(with_lengths(10), 200, 1000)


def test_prompts_keep_the_order_and_take_a_task() -> None:
    dialogues = Dataset.from_list([{"dialogue": "One."}, {"dialogue": "Two."}])
    assert prompts(dialogues) == [
        "\nSummarize the following conversation.\n\nOne.\n\nSummary:\n",
        "\nSummarize the following conversation.\n\nTwo.\n\nSummary:\n",
    ]
    assert prompts(dialogues, SENTIMENT)[0].endswith("One.\n\nSentiment:\n")


@pytest.mark.parametrize(
    ("tone", "rude"),
    [("rude", True), ("mocking", True), ("insulting", True), ("neutral", False), ("", False)],
)
def test_is_rude(tone: str, rude: bool) -> None:
    assert is_rude({"tone": tone}) is rude


def test_targets_prefer_the_style_and_draw_the_rest() -> None:
    rows = [
        {"id": "a", "verbatim": "Rude.", "gentle": "Kind.", "references": ["Kind."]},
        {"id": "b", "verbatim": "", "gentle": "", "references": ["A.", "B.", "C."]},
    ]
    dialogues = Dataset.from_list(rows)
    drawn = [targets(dialogues, "verbatim", random.Random(seed)) for seed in range(30)]
    assert all(first == ["Rude."] for first, _ in drawn)
    assert {tuple(second) for _, second in drawn} == {("A.",), ("B.",), ("C.",)}
    assert targets(dialogues, "gentle", random.Random(0))[0] == ["Kind."]
    again = targets(dialogues, "gentle", random.Random(5))
    assert again == targets(dialogues, "gentle", random.Random(5))
    every = targets(dialogues, "verbatim", random.Random(0), references="all")
    assert every == [["Rude."], ["A.", "B.", "C."]]


def test_a_share_without_splits_can_be_held_out(dialogues_file: WriteDialogues) -> None:
    path = str(dialogues_file(rows=dialogsum_rows(60)))

    def ids(split: str, hold_out: float) -> set[str]:
        return set(load_dialogues(path, split, hold_out=hold_out)["id"])

    train, validation = ids("train", 0.25), ids("validation", 0.25)
    assert len(train | validation) == 60 and not train & validation
    assert 5 <= len(validation) <= 25
    assert ids("validation", 0.2) < validation  # a larger share moves nothing back
    assert ids("train", 0) == ids("validation", 0) == train | validation


def test_rows_with_a_split_keep_it(dialogues_file: WriteDialogues) -> None:
    rows = [row | {"split": "train"} for row in dialogsum_rows(12)]
    path = str(dialogues_file(rows=rows))
    assert len(load_dialogues(path, "train", hold_out=0.9)) == 12


def test_targets_need_a_summary() -> None:
    dialogues = Dataset.from_list([{"id": "x-1", "verbatim": "", "gentle": "", "references": []}])
    with pytest.raises(UserError, match=r"^The dialogue x-1 has no summary to learn from: add one"):
        targets(dialogues, "verbatim", random.Random(0))


bounds = st.tuples(st.integers(1, 50), st.integers(0, 20)).map(lambda b: (b[0], b[0] + b[1]))


@given(bounds, st.integers())
def test_length_sampler_stays_within_its_bounds(bounds: tuple[int, int], seed: int) -> None:
    low, high = bounds
    sampler = LengthSampler(low, high, random.Random(seed))
    again = LengthSampler(low, high, random.Random(seed))
    drawn = [sampler() for _ in range(20)]
    assert all(low <= length <= high for length in drawn)
    assert [again() for _ in range(20)] == drawn


def test_length_sampler_draws_every_length_both_ends_included() -> None:
    sampler = LengthSampler(3, 6, random.Random(0))
    counts = dict.fromkeys(range(3, 7), 0)
    for _ in range(4000):
        counts[sampler()] += 1
    assert all(abs(count - 1000) < 150 for count in counts.values())


def test_length_sampler_leaves_the_global_generator_alone() -> None:
    random.seed(1)
    before = random.getstate()
    LengthSampler(1, 9, random.Random(0))()
    assert random.getstate() == before


@pytest.mark.parametrize(("low", "high"), [(0, 5), (-1, 5), (6, 5)])
def test_length_sampler_refuses_impossible_bounds(low: int, high: int) -> None:
    with pytest.raises(ValueError, match=re.escape(f"need 1 <= low <= high, got {low} and {high}")):
        LengthSampler(low, high, random.Random(0))
