"""The dialogues that ship: they keep the rules of ``dialogues/README.md``, counted afresh here."""

import hashlib
import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from detox.data import EMBEDDED_FOLDER, is_rude, load_dialogues, prompts
from dialogues import build
from dialogues.insults import insult_words

Row = dict[str, Any]

DIALOGUES = EMBEDDED_FOLDER / "dialogues.jsonl"

# sha256, first 12 digits, of words that disparage groups of people: known here, spelled nowhere
SLURS = """
08a841e99678 0be9b885f4a3 0dcc4d336443 120f6e5b4ea3 12e6274e4309 158869a97379
16ea09fc78ca 17a110e53328 1802d081455e 1e02eec4f109 22fc75e65a0e 268651b3ece9
27a62b68179c 27eb0c4ad707 333f76180929 3b1e0d7c5dd4 3cc0a581d3bb 402f7ebd9886
45cd3e1bb472 5b3ae48be122 619bc82e0d20 6b571f65fa6f 6d1833779e38 70aafb426695
7122c9a14ba2 82159dd02870 886d51e97ad7 8f5083e3e5c7 92a9bf818e7e 94a877e2ce63
98b52c4b6b7d 9915ba2d8222 a1e68e104e19 ad6cacf3af98 b3cec2f6ece2 bb209d506bb8
bbf8bb786317 bd331fb1d242 c1b4ed05397d c1cabb6f6e43 c3de533e9b7f cc02032349c8
d316bfb1721b daec0c235d31 e7b98c6aa5b9 eef3bd091670 f9d0d9b18ae9
"""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    with DIALOGUES.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", re.sub(r"#Person\d#:?", " ", text).lower())


def test_how_many(rows: list[Row]) -> None:
    splits = Counter(row["split"] for row in rows)
    assert len(rows) >= 600
    assert splits["test"] >= 150
    assert splits["validation"] >= 30
    assert set(splits) == {"train", "validation", "test"}


def test_at_least_half_are_rude_in_every_split(rows: list[Row]) -> None:
    for split in ("train", "validation", "test"):
        chosen = [is_rude(row) for row in rows if row["split"] == split]
        assert sum(chosen) >= len(chosen) / 2


def test_fields(rows: list[Row]) -> None:
    fields = {"id", "dialogue", "topic", "tone", "rude", "source", "split"}
    for row in rows:
        assert set(row) == fields | {"summary_verbatim", "summary_gentle"}
        assert row["tone"] in ("rude", "mocking", "insulting", "neutral", "friendly")
        assert row["rude"] is is_rude(row)
        assert row["source"] in ("hand", "generated")
        assert row["topic"].strip()


def test_ids_and_texts_are_there_once(rows: list[Row]) -> None:
    for field in ("id", "dialogue"):
        assert len({row[field] for row in rows}) == len(rows)


def test_turns_and_length(rows: list[Row]) -> None:
    for row in rows:
        turns = row["dialogue"].split("\n")
        assert len(turns) >= 4, row["id"]
        assert all(re.match(r"#Person[12]#: \S", turn) for turn in turns), row["id"]
        assert {turn[:9] for turn in turns} == {"#Person1#", "#Person2#"}, row["id"]
        assert 60 <= len(words(row["dialogue"])) <= 220, row["id"]


def test_no_two_dialogues_share_more_than_sixty_percent_of_their_words(rows: list[Row]) -> None:
    sets = [(row["id"], frozenset(words(row["dialogue"]))) for row in rows]
    shares = (
        (len(a & b) / min(len(a), len(b)), one, other)
        for (one, a), (other, b) in combinations(sets, 2)
    )
    share, one, other = max(shares)
    assert share <= 0.6, f"{one} and {other}"


def test_gentle_summaries_hold_no_insult(rows: list[Row]) -> None:
    for row in rows:
        assert not insult_words(row["summary_gentle"], rude=is_rude(row)), row["id"]


def test_verbatim_summaries_of_rude_dialogues_quote_the_rudeness(rows: list[Row]) -> None:
    rude = [row for row in rows if is_rude(row)]
    assert all(row["summary_verbatim"] != row["summary_gentle"] for row in rude)
    # the lists of insults know most of what people say, not all: "pompous blowhard"
    quoting = [row for row in rude if insult_words(row["summary_verbatim"], rude=True)]
    assert len(quoting) >= 0.75 * len(rude)


def test_calm_dialogues_have_one_summary_for_both(rows: list[Row]) -> None:
    for row in rows:
        if not is_rude(row):
            assert row["summary_verbatim"] == row["summary_gentle"], row["id"]


def test_summaries_are_shorter_than_what_they_summarize(rows: list[Row]) -> None:
    for row in rows:
        for field in ("summary_verbatim", "summary_gentle"):
            assert 8 <= len(words(row[field])) < len(words(row["dialogue"])), row["id"]


def test_nothing_disparages_a_group(rows: list[Row]) -> None:
    slurs = set(SLURS.split())
    for row in rows:
        text = " ".join(map(str, row.values())).lower()
        for word in set(re.findall(r"[a-z]+", text)):
            digest = hashlib.sha256(word.encode()).hexdigest()[:12]
            assert digest not in slurs, row["id"]


def test_the_reader_serves_them(rows: list[Row]) -> None:
    dialogues = load_dialogues()
    assert dialogues["id"] == [row["id"] for row in rows]
    assert dialogues["verbatim"] == [row["summary_verbatim"] for row in rows]
    assert dialogues["references"] == [[row["summary_gentle"]] for row in rows]
    assert load_dialogues(split="test")["id"] == [r["id"] for r in rows if r["split"] == "test"]


def test_their_prompts_fit_the_policies(rows: list[Row]) -> None:
    # 512 tokens at the very least: a token of English has 3.5 characters or more
    assert max(len(prompt) for prompt in prompts(load_dialogues())) < 512 * 3.5


def test_the_file_is_what_its_sources_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = tmp_path / "dialogues.jsonl"
    assert build.main(["--strict", "--out", str(built)]) == 0, capsys.readouterr().err
    assert built.read_bytes() == DIALOGUES.read_bytes()


# --- build.py refuses what breaks a rule ---------------------------------------------------------

FILLER = " ".join(f"word{i}" for i in range(15))
GOOD = f"""
=== a kettle | rude
#Person1#: One {FILLER}
#Person2#: Two {FILLER}
#Person1#: Three {FILLER}
#Person2#: Four {FILLER}
verbatim: #Person1# calls #Person2# an idiot.
gentle: #Person1# is upset with #Person2#.
"""


def test_a_dialogue_that_keeps_the_rules() -> None:
    (dialogue,) = build.parse(GOOD)
    assert build.faults(dialogue) == []
    assert (dialogue.topic, dialogue.tone, len(dialogue.turns)) == ("a kettle", "rude", 4)


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("| rude", "| furious", "unknown tone 'furious'"),
        ("| rude", "", "the header has no tone"),
        (f"Four {FILLER}", "Four", "49 words, not 60-220"),
        (f"Four {FILLER}", f"{FILLER} " * 12, "228 words, not 60-220"),
        (f"#Person2#: Four {FILLER}\n", "", "3 turns, fewer than 4"),
        ("#Person2#:", "#Person1#:", "both speakers must speak"),
        ("#Person2#: Four", "#Person3#: Four", "not a turn or a summary"),
        ("gentle: #Person1# is upset with #Person2#.", "", "a summary is missing"),
        ("is upset with #Person2#", "calls him an idiot", "insult in the gentle summary: idiot"),
        ("calls #Person2# an idiot", "is upset with #Person2#", "needs two different summaries"),
    ],
)
def test_a_broken_rule_is_named(before: str, after: str, fault: str) -> None:
    assert before in GOOD
    (dialogue,) = build.parse(GOOD.replace(before, after))
    assert fault in "; ".join(build.faults(dialogue))


def test_the_later_of_two_dialogues_that_share_too_much_is_left_out() -> None:
    first, second = build.parse(GOOD + GOOD.replace("a kettle", "another kettle"))
    kept, dropped = build.without_overlaps([first, second])
    assert kept == [first]
    assert dropped == ["text: another kettle: shares 100% of its words with text: a kettle"]


@pytest.mark.parametrize(
    ("left", "right", "share"),
    [("a b c", "a b c d e", 1.0), ("a b c d", "c d e f", 0.5), ("a b", "c d", 0.0), ("", "a", 0.0)],
)
def test_overlap_is_counted_against_the_smaller_set(left: str, right: str, share: float) -> None:
    assert build.overlap(left, right) == build.overlap(right, left) == share


def test_a_dialogue_keeps_its_split_when_others_come_and_go() -> None:
    many = build.parse("".join(GOOD.replace("One", f"One{i}") for i in range(200)))
    splits = build.assign_splits(many)
    assert build.assign_splits(many[50:]) == {d.id: splits[d.id] for d in many[50:]}
    shares = Counter(splits.values())
    assert 35 <= shares["test"] <= 80  # 28 % of 200, give or take
    assert shares["train"] > 100
