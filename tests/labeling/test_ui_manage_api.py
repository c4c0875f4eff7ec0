"""The Manage tab over HTTP, as a program or its page sees it."""

from __future__ import annotations

import csv
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from detox.workbench import Workbench
from labeling.check import check_record
from labeling.gold import gold_pairs
from labeling.picks import submit
from labeling.plans import find_plan
from labeling.queue import next_pair
from labeling.store import Store, open_store
from labeling.ui import CSS, Entrance, Gate, manage_tab
from labeling.ui.manage import batches, gold, people
from tests import serving
from tests.labeling.conftest import Judge


@pytest.fixture
def address(store: Store) -> Iterator[str]:
    yield from served(store, Entrance())


def served(store: Store, entrance: Entrance) -> Iterator[str]:
    bench = Workbench({"before": "nowhere", "after": "nowhere"})
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs():
        with gr.Tab("First"):
            gr.Markdown("Hello")
        with gr.Tab("Manage"):
            manage_tab(Gate(store.path, entrance), bench, rng=random.Random(0))
    with serving.served(page, css=CSS) as address:
        yield address


@pytest.fixture
def client(address: str, tmp_path: Path) -> Client:
    return Client(address, verbose=False, download_files=str(tmp_path / "downloads"))


def refused(client: Client, *arguments: Any, api_name: str) -> str:
    with pytest.raises(AppError) as caught:
        client.predict(*arguments, api_name=api_name)
    assert "Traceback" not in str(caught.value)
    return str(caught.value)


def disagree(store: Store, labelers: tuple[str, ...] = ("Ada", "Bob")) -> None:
    """Each labeler prefers another policy on every pair."""
    for labeler, wanted in zip(labelers, ("They", "Plan"), strict=True):
        rng = random.Random(1)
        while task := next_pair(store, labeler, rng):
            side = "left" if task.left.startswith(wanted) else "right"
            submit(store, task.assignment_id, side, labeler=labeler, note=f"{labeler} says so")


PLAN_VALUES = (2, 10, 5, "balanced", 15, False, "Be kind.", 3)


def test_a_batch_is_listed_paused_changed_and_closed(client: Client, store: Store) -> None:
    listed, page = client.predict(api_name="/manage_batches")
    assert [(each["plan"]["name"], each["status"], each["pairs"]) for each in listed] == [
        ("first", "open", 6)
    ]
    assert "first" in page
    listed, page = client.predict("first", "paused", api_name="/manage_batch_status")
    assert listed[0]["status"] == "paused"
    assert next_pair(store, "Ada", random.Random(0)) is None
    assert client.predict("first", api_name="/manage_batch_plan")[0]["votes_wanted"] is None
    listed, *_ = client.predict("first", *PLAN_VALUES, api_name="/manage_change_plan")
    plan = find_plan(store, "first")
    assert (plan.votes_wanted, plan.repeat_share, plan.gold_share) == (2, 0.1, 0.05)
    assert (plan.hold_minutes, plan.reveal, plan.guidelines, plan.seed) == (
        15,
        False,
        "Be kind.",
        3,
    )
    assert listed[0]["status"] == "paused" and listed[0]["wanted"] == 12
    client.predict("first", "closed", api_name="/manage_batch_status")
    assert client.predict(api_name="/manage_batches")[0][0]["status"] == "closed"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({0: None}, "Give a number for every setting"),
        ({0: -1}, "Labelers per pair must be 1 or more"),
        ({1: 60, 2: 60}, "must leave room for new pairs"),
        ({4: 0}, "held for more than 0 minutes"),
        ({4: 1e12}, "at most 525,600"),
        ({7: 2**40}, "between 0 and 4,294,967,295"),
        ({6: "x" * 5_001}, "at most 5,000"),
    ],
)
def test_a_plan_that_cannot_be_is_one_sentence(
    client: Client, store: Store, change: dict[int, Any], sentence: str
) -> None:
    values = [change.get(place, value) for place, value in enumerate(PLAN_VALUES)]
    before = find_plan(store, "first")
    assert sentence in refused(client, "first", *values, api_name="/manage_change_plan")
    assert find_plan(store, "first") == before


def test_an_order_is_set_by_stored_scores_or_a_named_reward(
    client: Client, store: Store, tiny_reward_model: Path
) -> None:
    done = client.predict("first", "uncertainty", "", api_name="/manage_order")
    assert done == {"ranked": 6, "unscored": 0}
    assert find_plan(store, "first").strategy == "uncertainty"
    missing = refused(
        client, "first", "disagreement", "preference:no/where", api_name="/manage_order"
    )
    assert "There is no reward model in no/where" in missing
    assert find_plan(store, "first").strategy == "uncertainty"
    spec = f"preference:{tiny_reward_model}"
    done = client.predict("first", "disagreement", spec, api_name="/manage_order")
    assert done == {"ranked": 6, "unscored": 0}
    done = client.predict("first", "balanced", "", api_name="/manage_order")
    assert done == {"ranked": 0, "unscored": 0}
    assert find_plan(store, "first").strategy == "balanced"


def test_changing_the_strategy_orders_the_pairs(client: Client, store: Store) -> None:
    values = [*PLAN_VALUES[:3], "uncertainty", *PLAN_VALUES[4:]]
    client.predict("first", *values, api_name="/manage_change_plan")
    with store.reading() as db:
        assert all(row["priority"] > 0 for row in db.query("SELECT priority FROM pairs"))


def test_conflicts_are_decided_blind_one_after_the_other(client: Client, store: Store) -> None:
    disagree(store)
    told, page, *_ = client.predict("", api_name="/manage_conflicts")
    assert told["waiting"] == 6
    conflict = told["conflict"]
    assert {vote["choice"] for vote in conflict["votes"]} == {"left", "right"}
    assert {vote["note"] for vote in conflict["votes"]} == {"Ada says so", "Bob says so"}
    for secret in ("Ada<", "Bob<", '"before"', '"after"', "before", "after", "0.8", "-1.0"):
        assert secret not in page

    arguments = conflict["pair_id"], "left", conflict["left_candidate"], "kinder", True, ""
    told, page, *_ = client.predict(*arguments, "Zoe", api_name="/manage_decide")
    assert told["waiting"] == 5
    expected = "after" if conflict["left"].startswith("They") else "before"
    assert told["decision"]["policy"] == expected
    assert f"Saved: {expected} is better." in page
    assert told["conflict"]["pair_id"] != conflict["pair_id"]
    gold = gold_pairs(store)
    assert [(each.pair_id, each.source) for each in gold] == [(conflict["pair_id"], "adjudication")]
    everything, file = client.predict(api_name="/manage_decisions")
    assert [each["pair_id"] for each in everything] == [conflict["pair_id"]]
    with Path(_path(file["value"])).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["pair_id"], row["policy"], row["note"]) for row in rows] == [
        (conflict["pair_id"], expected, "kinder")
    ]


def _path(value: Any) -> str:
    return str(value["path"] if isinstance(value, dict) else value)


def test_a_pair_left_for_later_comes_last_and_again_when_reopened(
    client: Client, store: Store
) -> None:
    disagree(store)
    seen = [client.predict("", api_name="/manage_conflicts")[0]["conflict"]["pair_id"]]
    for _ in range(5):
        told, *_ = client.predict(seen[-1], "", api_name="/manage_later")
        seen.append(told["conflict"]["pair_id"])
    assert len(set(seen)) == 6
    told, page, *_ = client.predict(seen[-1], "", api_name="/manage_later")
    assert told == {"waiting": 6, "conflict": None, "decision": None}
    assert "come again when this tab is opened anew" in page
    assert client.predict("", api_name="/manage_conflicts")[0]["conflict"]


def test_a_later_decision_counts_instead_and_can_be_made_gold(client: Client, store: Store) -> None:
    disagree(store)
    first = client.predict("", api_name="/manage_conflicts")[0]["conflict"]
    pair = first["pair_id"]
    client.predict(
        pair, "tie", first["left_candidate"], "", False, "", "Zoe", api_name="/manage_decide"
    )
    assert gold_pairs(store) == []
    again = client.predict(pair, "", api_name="/manage_decide_again")[0]["conflict"]
    assert again["pair_id"] == pair
    client.predict(
        pair, "both_bad", again["left_candidate"], "", False, "", "Zoe", api_name="/manage_decide"
    )
    told, table = client.predict(pair, api_name="/manage_make_gold")
    assert told == {"pair_id": pair, "outcome": "both_bad"}
    assert table.count("<tr>") == 2 and "both bad" in table
    assert [each.outcome for each in gold_pairs(store)] == ["both_bad"]


def test_a_decision_needs_a_name_a_pair_and_a_choice(client: Client, store: Store) -> None:
    disagree(store)
    found = client.predict("", api_name="/manage_conflicts")[0]["conflict"]
    pair, left = found["pair_id"], found["left_candidate"]

    def told(*arguments: Any) -> str:
        return refused(client, *arguments, api_name="/manage_decide")

    assert "Give your name first" in told(pair, "left", left, "", False, "", " ")
    assert "Unknown choice 'up'" in told(pair, "up", left, "", False, "", "Zoe")
    assert "no longer in the project" in told("nothing", "left", left, "", False, "", "Zoe")
    assert "no longer in the project" in told(pair, "left", "nothing", "", False, "", "Zoe")
    assert "at most 2,000" in told(pair, "left", left, "x" * 2_001, False, "", "Zoe")
    assert client.predict("", api_name="/manage_conflicts")[0]["waiting"] == 6


def test_gold_is_marked_by_the_beginning_of_an_id_and_removed(client: Client, store: Store) -> None:
    with store.reading() as db:
        pair = next(db.query("SELECT id FROM pairs"))["id"]
    whole, texts = client.predict(pair[:12], api_name="/manage_pair")
    assert whole == pair and "lb-card" in texts
    listed, *_ = client.predict(pair[:12], "b", "clear", api_name="/manage_mark_gold")
    assert [(each["pair_id"], each["outcome"], each["note"]) for each in listed] == [
        (pair, "b", "clear")
    ]
    assert client.predict(api_name="/manage_gold")[0] == listed
    assert client.predict(pair, api_name="/manage_remove_gold")[0] == []
    assert "is not gold" in refused(client, pair, api_name="/manage_remove_gold")
    assert "There is no pair" in refused(client, "nope", "a", "", api_name="/manage_mark_gold")
    assert "right answer" in refused(client, pair, None, "", api_name="/manage_mark_gold")


def test_people_get_roles_and_never_a_password(client: Client, store: Store) -> None:
    listed, page = client.predict("Ada", "labeler", api_name="/manage_role")
    assert [(each["name"], each["role"], each["has_password"]) for each in listed] == [
        ("Ada", "labeler", False)
    ]
    assert "--password" in page
    listed, _ = client.predict("Ada", "viewer", api_name="/manage_role")
    assert listed[0]["role"] == "viewer"
    listed, _ = client.predict("Ada", api_name="/manage_disable")
    assert listed[0]["disabled"]
    assert "Unknown role 'king'" in refused(client, "Ada", "king", api_name="/manage_role")
    assert "There is no account" in refused(client, "Bob", api_name="/manage_disable")
    assert client.predict(api_name="/manage_people")[0] == listed


@pytest.mark.parametrize(
    ("section", "read", "tell", "look", "change", "told"),
    [
        (people, "accounts", len, "/manage_people", ("Ada", "labeler", "/manage_role"), [0, 1]),
        (gold, "gold_pairs", len, "/manage_gold", ("", "a", "so", "/manage_mark_gold"), [0, 1]),
        (
            batches,
            "standings",
            lambda found: found[0].status,
            "/manage_batches",
            ("first", "paused", "/manage_batch_status"),
            ["open", "paused"],
        ),
    ],
)
def test_an_older_list_does_not_come_after_a_newer_one(
    client: Client,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    section: Any,
    read: str,
    tell: Callable[[Any], Any],
    look: str,
    change: tuple[str, ...],
    told: list[Any],
) -> None:
    began, real, ended = threading.Event(), getattr(section, read), []

    def slowly(store: Store) -> Any:
        found = real(store)
        if not began.is_set():
            began.set()
            time.sleep(1.0)
        ended.append(tell(found))
        return found

    monkeypatch.setattr(section, read, slowly)
    *values, name = change
    with store.reading() as db:
        pair = next(db.query("SELECT id FROM pairs"))["id"]
    values = [value or pair for value in values]
    looking = client.submit(api_name=look)
    assert began.wait(30)
    client.predict(*values, api_name=name)
    looking.result(30)
    assert ended == told, "what was read first is shown first"


def test_the_history_of_a_pair_tells_everything_in_order(
    client: Client, store: Store, judge: Judge
) -> None:
    pick = judge(store, "Ada", ["after"])[0]
    with store.reading() as db:
        row = next(db.query("SELECT pair_id FROM assignments WHERE id = ?", [pick.assignment_id]))
    found, page = client.predict(row["pair_id"][:10], api_name="/manage_history")
    assert [event["event"] for event in found["events"]] == ["assigned", "picked"]
    assert "Ada" not in page and "mg-picked" in page
    assert "There is no pair" in refused(client, "", api_name="/manage_history")


def test_the_check_says_that_all_is_well_and_what_is_not(client: Client, store: Store) -> None:
    health, page = client.predict(api_name="/manage_check")
    assert health["problems"] == [] and "The record is whole" in page
    with store.writing() as db:
        db.execute("UPDATE pairs SET votes = 3 WHERE id = (SELECT min(id) FROM pairs)")
    health, page = client.predict(api_name="/manage_check")
    assert any("wrong counts" in problem for problem in health["problems"])
    assert "The record has problems" in page


def test_a_backup_is_beside_the_database_and_can_be_downloaded(
    client: Client, store: Store
) -> None:
    told, _, offered = client.predict(api_name="/manage_backup")
    beside = store.path.with_name(told["file"])
    assert check_record(open_store(beside)).pairs == 6
    downloaded = Path(_path(offered["value"] if isinstance(offered, dict) else offered))
    assert downloaded.stat().st_size == told["bytes"]


def test_pairs_come_from_a_file(client: Client, store: Store, tmp_path: Path) -> None:
    from gradio_client import handle_file

    file = tmp_path / "compare.jsonl"
    file.write_text(
        '{"dialogue": "A: Hi.", "a": "One says hi.", "b": "Hi.", "policy_a": "x", "policy_b": "y",'
        ' "gold": "a"}\n{"dialogue": "A: Hi.", "a": "Same.", "b": "Same."}\n',
        encoding="utf-8",
    )
    told, page = client.predict("more", handle_file(file), api_name="/manage_add_pairs")
    assert told == {"added": 1, "known": 0, "identical": 1, "batch": "more"}
    assert "more" in page
    assert [each.batch for each in gold_pairs(store)] == ["more"]
    told, _ = client.predict("", handle_file(file), api_name="/manage_add_pairs")
    assert told["known"] == 1
    assert "Choose a file" in refused(client, "x", None, api_name="/manage_add_pairs")
    file.write_text('{"dialogue": "A: Hi."}\n', encoding="utf-8")
    assert "Row 1" in refused(client, "x", handle_file(file), api_name="/manage_add_pairs")


LEADS_ONLY: dict[str, tuple[Any, ...]] = {
    "/manage_batches": (),
    "/manage_batch_status": ("first", "closed"),
    "/manage_batch_plan": ("first",),
    "/manage_change_plan": ("first", *PLAN_VALUES),
    "/manage_batch_order": ("first",),
    "/manage_order": ("first", "uncertainty", ""),
    "/manage_batch_cards": (),
    "/manage_generate": (
        *("x", ["before", "after"], "all", "test", None, 1, True),
        *PLAN_VALUES,
        *(0.3, 8),
    ),
    "/manage_generation": ("",),
    "/manage_stop": ("x",),
    "/manage_add_pairs": ("x", None),
    "/manage_conflicts": ("",),
    "/manage_decide": ("x", "left", "y", "", False, "", "Zoe"),
    "/manage_decisions": (),
    "/manage_later": ("x", ""),
    "/manage_decide_again": ("x", ""),
    "/manage_make_gold": ("x",),
    "/manage_gold": (),
    "/manage_pair": ("x",),
    "/manage_mark_gold": ("x", "a", ""),
    "/manage_remove_gold": ("x",),
    "/manage_people": (),
    "/manage_role": ("Eve", "lead"),
    "/manage_disable": ("Eve",),
    "/manage_history": ("x",),
    "/manage_check": (),
    "/manage_backup": (),
}


def test_nobody_but_a_lead_gets_anything(store: Store) -> None:
    with store.reading() as db:
        before = list(db.query("SELECT * FROM batches"))
    for address in served(store, Entrance(public=True)):
        client = Client(address, verbose=False)
        names = set(client.view_api(return_format="dict")["named_endpoints"])
        assert names == {*LEADS_ONLY, "/manage"}
        told, *_ = client.predict(api_name="/manage")
        assert told == {"name": "", "role": "labeler"}
        for name, arguments in LEADS_ONLY.items():
            assert "needs the role of a lead" in refused(client, *arguments, api_name=name), name
    with store.reading() as db:
        assert list(db.query("SELECT * FROM batches")) == before
        assert next(db.query("SELECT count(*) AS n FROM accounts"))["n"] == 0
    assert not list(store.path.parent.glob("*.backup.db"))


def test_what_no_documentation_names_is_guarded_as_well(store: Store) -> None:
    for address in served(store, Entrance(public=True)):
        client = Client(address, verbose=False)
        private = [
            each
            for each in client.config["dependencies"]
            if each["api_visibility"] == "private" and each["backend_fn"]
        ]
        told = [posted(address, each["id"], [None] * len(each["inputs"])) for each in private]
    # Adding and enabling people, choosing a batch of conflicts, showing a gold pair; the others
    # only show or hide what is on the page already.
    assert sum("needs the role of a lead" in each for each in told) == 4
    assert sum("needs the role of a lead" not in each for each in told) == 4


def posted(address: str, number: int, data: list[Any]) -> str:
    """What the page hears of an event, asked for by its number."""
    import httpx

    session = "by-number"
    sent = {"data": data, "fn_index": number, "session_hash": session}
    httpx.post(f"{address}gradio_api/queue/join", json=sent).raise_for_status()
    heard = ""
    with httpx.stream(
        "GET", f"{address}gradio_api/queue/data", params={"session_hash": session}, timeout=20
    ) as lines:
        for line in lines.iter_lines():
            heard += line
            if "process_completed" in line:
                break
    return heard
