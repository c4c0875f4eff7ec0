"""A batch from dialogues and policies, with progress, cut short and gone on with."""

from __future__ import annotations

from pathlib import Path

import pytest

from detox.config import Sampling
from detox.data import load_dialogues
from detox.errors import UserError
from detox.tasks import SUMMARIZE
from detox.workbench import TURN, Workbench
from labeling.generate import generate_batch
from labeling.plans import Plan, find_plan
from labeling.store import Store

SAMPLING = Sampling(temperature=1.0, max_new_tokens=6)
PLAN = Plan("made", votes_wanted=2)


@pytest.fixture(scope="module")
def bench(tiny_t5: Path, tiny_causal: Path, tiny_classifier: Path) -> Workbench:
    specs = {"one": str(tiny_t5), "two": str(tiny_causal), "three": str(tiny_causal)}
    return Workbench(specs, str(tiny_classifier))


def pairs(store: Store) -> list[dict[str, object]]:
    with store.reading() as db:
        return list(
            db.query(
                """
                SELECT p.id, p.batch, r.source, r.prompt, r.dialogue, r.split,
                    pa.name AS policy_a, pa.fingerprint AS version_a, ca.text, ca.reward,
                    pb.name AS policy_b, ca.sampling
                FROM pairs AS p JOIN prompts AS r ON r.id = p.prompt_id
                JOIN candidates AS ca ON ca.id = p.candidate_a
                JOIN policies AS pa ON pa.id = ca.policy_id
                JOIN candidates AS cb ON cb.id = p.candidate_b
                JOIN policies AS pb ON pb.id = cb.policy_id
                """
            )
        )


def test_every_pair_is_there_and_says_where_it_came_from(
    fresh_store: Store, bench: Workbench
) -> None:
    dialogues = load_dialogues(split="test").select(range(TURN + 2))
    states = list(generate_batch(fresh_store, PLAN, bench, ["one", "two"], dialogues, SAMPLING))
    assert [(state.done, state.total) for state in states] == [
        (0, TURN + 2),
        (TURN, TURN + 2),
        (TURN + 2, TURN + 2),
    ]
    found = pairs(fresh_store)
    assert len(found) == states[-1].pairs
    assert states[-1].pairs + states[-1].identical == TURN + 2
    assert {row["source"] for row in found} <= set(dialogues["id"])
    for row in found:
        assert (row["policy_a"], row["policy_b"], row["batch"]) == ("one", "two", "made")
        assert row["version_a"] == bench.policies["one"].fingerprint
        assert row["prompt"] == SUMMARIZE.prompt(str(row["dialogue"]))
        assert row["reward"] is not None and '"max_new_tokens": 6' in str(row["sampling"])
    assert find_plan(fresh_store, "made") == PLAN


def test_cut_short_it_goes_on_where_it_stopped(fresh_store: Store, bench: Workbench) -> None:
    dialogues = load_dialogues(split="test").select(range(2 * TURN))
    names = ["one", "two"]
    cut = generate_batch(fresh_store, PLAN, bench, names, dialogues, SAMPLING)
    next(cut), next(cut)
    cut.close()
    before = {row["id"] for row in pairs(fresh_store)}
    again = list(generate_batch(fresh_store, PLAN, bench, names, dialogues, SAMPLING))
    assert again[0].done >= len(before) > 0
    after = {row["id"] for row in pairs(fresh_store)}
    assert before < after and len(after) == len(before) + again[-1].pairs
    assert again[-1].done == 2 * TURN


def test_three_policies_meet_in_all_pairs_or_with_the_first(
    fresh_store: Store, bench: Workbench
) -> None:
    dialogues = load_dialogues(split="test").select(range(3))
    names = ["one", "two", "three"]
    for meetings, plan in (("all", Plan("all")), ("first", Plan("first"))):
        *_, last = generate_batch(
            fresh_store, plan, bench, names, dialogues, SAMPLING, meetings=meetings
        )
        # `two` and `three` are the same weights and say the same.
        assert last.pairs + last.identical + last.known == 3 * (3 if meetings == "all" else 2)
    met = {(row["policy_a"], row["policy_b"]) for row in pairs(fresh_store)}
    assert met <= {("one", "two"), ("one", "three")}


@pytest.mark.parametrize(
    ("names", "meetings", "count", "sentence"),
    [
        (["one"], "all", 1, "two different policies"),
        (["one", "one"], "all", 1, "two different policies"),
        (["one", "four"], "all", 1, "Unknown policy 'four'"),
        (["one", "two"], "some", 1, "Unknown choice of meetings 'some'"),
        (["one", "two"], "all", 0, "no dialogue to answer"),
    ],
)
def test_what_cannot_be_generated_is_refused_and_leaves_no_batch(
    fresh_store: Store, bench: Workbench, names: list[str], meetings: str, count: int, sentence: str
) -> None:
    dialogues = load_dialogues(split="test").select(range(count))
    with pytest.raises(UserError, match=sentence):
        next(
            generate_batch(fresh_store, PLAN, bench, names, dialogues, SAMPLING, meetings=meetings)
        )
    with fresh_store.reading() as db:
        assert list(db.query("SELECT * FROM batches")) == []
