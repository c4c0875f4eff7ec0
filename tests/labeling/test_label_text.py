"""Special tokens and control characters never reach a labeler."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detox.tasks import TASKS
from labeling.text import SPECIAL_TOKENS, clean_text, content_id, dialogue_of

PIECES = ["<pad>", "</s>", "<s>", "<|im_end|>", "[PAD]", "<extra_id_0>", "<", ">", "/s", "a", " "]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("<pad> A summary.</s>", "A summary."),
        ("<|im_start|>assistant<|im_end|>", "assistant"),
        ("<p</s>ad>x", "x"),
        ("<extra_id_12>[CLS] y [SEP]", "y"),
        ("1 < 2 > 0 and [see note]", "1 < 2 > 0 and [see note]"),
        ("#Person1# said <b>no</b>", "#Person1# said <b>no</b>"),
        ("a\r\nb\rc\x00\x1b[31m", "a\nb\nc[31m"),
        ("\ud800x", "?x"),
        ("evil\u202etxt", "eviltxt"),
    ],
)
def test_examples(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text())
def test_cleaning_is_complete(text: str) -> None:
    cleaned = clean_text(text)
    assert not SPECIAL_TOKENS.search(cleaned)
    assert clean_text(cleaned) == cleaned
    cleaned.encode()


def test_ids_depend_on_every_part_and_where_it_ends() -> None:
    ids = [content_id("a", "b"), content_id("ab"), content_id("b", "a"), content_id("a", "b", "")]
    assert len(set(ids)) == 4
    assert all(len(i) == 32 for i in ids)
    # The SHA-256 of `["a"]`, pinned: stored ids must never change.
    assert content_id("a") == "0eb5b8d6f81bc677da8a08567cc4fa9a"


@pytest.mark.parametrize("task", TASKS.values(), ids=str)
def test_a_dialogue_is_found_in_the_prompts_of_detox(task: object) -> None:
    prompt = task.prompt("#Person1#: Hi.\n#Person2#: Go away.")  # type: ignore[attr-defined]
    assert dialogue_of(prompt) == "#Person1#: Hi.\n#Person2#: Go away."
    assert dialogue_of(prompt.strip()) == "#Person1#: Hi.\n#Person2#: Go away."
    assert dialogue_of("Something else: hi.") == "Something else: hi."
