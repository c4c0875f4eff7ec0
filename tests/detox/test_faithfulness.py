"""Names and numbers: found, supported and kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detox.faithfulness import entities, kept, supported

DIALOGUE = (
    "#Person1#: Matthias, you owe me eight hundred euros.\n"
    "#Person2#: On Friday, at 3:30, I promise. Annika has it."
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("#Person1# is angry with #Person2#.", {"#person1#", "#person2#"}),
        ("The dog barks. It is Rex.", {"rex"}),  # what opens a sentence is no name
        ("Then Anna's brother and Bob left.", {"anna", "bob"}),
        ("It costs 1,200.50 on May 3, at 3:30.", {"1,200.50", "may", "3", "3:30"}),
        ("They want five of the twenty.", {"5", "20"}),
        ("She said I'm late and I know.", set()),
        ("", set()),
    ],
)
def test_names_and_numbers(text: str, found: set[str]) -> None:
    assert entities(text) == found


def test_what_the_dialogue_supports() -> None:
    assert supported("Then Matthias pays 8 on Friday.", DIALOGUE) == 1
    assert supported("Then Matthias pays Berta 900.", DIALOGUE) == pytest.approx(1 / 3)
    assert supported("They quarrel about money.", DIALOGUE) is None


def test_a_name_that_only_opens_a_sentence_is_known() -> None:
    # "Annika" stands first in what #Person2# says, and is a name all the same
    assert supported("The money is with Annika.", DIALOGUE) == 1


def test_what_is_kept_of_the_references() -> None:
    references = ["Then Matthias pays 800.", "He pays on Friday."]
    assert kept("Matthias pays on Friday.", references) == pytest.approx((1 / 2 + 1) / 2)
    assert kept("Nothing.", references) == 0
    assert kept("Matthias pays.", ["They quarrel."]) is None
    assert kept("Matthias pays.", []) is None


@given(st.text(max_size=80), st.text(max_size=80))
def test_shares_are_shares(summary: str, dialogue: str) -> None:
    for share in (supported(summary, dialogue), kept(summary, [dialogue])):
        assert share is None or 0 <= share <= 1
    assert supported(summary, summary) in (None, 1)
    assert kept(summary, [summary]) in (None, 1)
