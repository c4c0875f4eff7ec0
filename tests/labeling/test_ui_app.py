"""The three tabs over HTTP, as a program or a page sees them."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

import labeling.store
from labeling.batches import add_pairs
from labeling.people import add_account
from labeling.store import open_store
from labeling.ui import CSS, export_tab, label_tab, results_tab, session
from labeling.ui.identity import Entrance, doorkeeper
from tests.labeling.conftest import Rows
from tests.serving import served

# Before the pick a pair has these fields and no other.
PAIR = {"assignment_id", "dialogue", "left", "right", "progress", "guidelines"}
LABEL = (
    "/sign_in",
    "/sign_out",
    "/next_pair",
    "/pick",
    "/undo",
    "/history",
    "/look_back",
    "/practice",
)


@pytest.fixture
def database(tmp_path: Path, rows: Rows) -> Path:
    data = rows(3)
    for row in data:
        row["before"] |= {"policy": "mystery-base", "reward": -7.25, "toxicity": 0.6125}
        row["after"] |= {"policy": "mystery-ppo", "reward": 6.75, "toxicity": 0.1375}
    path = tmp_path / "labels.db"
    add_pairs(open_store(path), data, "mystery-batch")
    return path


@pytest.fixture
def address(database: Path) -> Iterator[str]:
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs():
        with gr.Tab("Label"):
            label_tab(database)
        with gr.Tab("Results"):
            results_tab(database)
        with gr.Tab("Export"):
            export_tab(database)
    with served(page, css=CSS) as address:
        yield address


@pytest.fixture
def client(address: str, tmp_path: Path) -> Client:
    return Client(address, verbose=False, download_files=str(tmp_path / "downloads"))


def sign_in(client: Client, name: str) -> dict[str, Any]:
    return client.predict(name, api_name="/sign_in")[0]


def pick(client: Client, name: str, assignment: str, choice: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.predict(choice, assignment, 1.5, name, api_name="/pick")[0]
    return answer


def test_a_labeler_from_sign_in_to_export(client: Client, database: Path) -> None:
    first = sign_in(client, " Ada ")
    assert first["labeler"] == "Ada"
    assert (first["progress"]["done"], first["progress"]["total"]) == (0, 3)
    for pair in (first["pair"], first["next"]):
        assert set(pair) == PAIR

    second = pick(client, "Ada", first["pair"]["assignment_id"], "left")
    assert second["progress"]["done"] == 1
    assert second["last"]["choice"] == "left"
    assert {side["policy"] for side in second["last"]["reveal"].values() if side} == {
        "mystery-base",
        "mystery-ppo",
    }
    assert second["pair"]["assignment_id"] == first["next"]["assignment_id"]
    assert client.predict("Ada", api_name="/next_pair")[0]["pair"] == second["pair"]

    back = client.predict("Ada", api_name="/undo")[0]
    assert back["pair"]["assignment_id"] == first["pair"]["assignment_id"]
    assert (back["pair"]["left"], back["pair"]["right"]) == (
        first["pair"]["left"],
        first["pair"]["right"],
    )

    answer = back
    for choice in ("right", "tie", "left"):
        answer = pick(client, "Ada", answer["pair"]["assignment_id"], choice)
    assert answer["pair"] is None and answer["rest"] == "finished"

    told = client.predict(api_name="/results")[0]
    assert told["counts"]["left"] + told["counts"]["right"] == 2
    assert told["counts"]["ties"] == 1

    manifest, file, manifest_file, *_ = client.predict("trl-explicit", "all", api_name="/export")
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    assert len(lines) == manifest["rows"] == 2
    assert set(json.loads(lines[0])) == {"prompt", "chosen", "rejected"}
    assert manifest["left_out"] == {"tie": 1}
    assert manifest["file"] == Path(file).name == "detox-arena-trl-explicit.jsonl"
    told = Path(manifest_file).read_text()
    assert json.loads(told)["snapshot"] == manifest["snapshot"]
    assert "/" not in json.loads(told)["path"]


def test_no_answer_tells_the_sides_before_the_pick(client: Client, database: Path) -> None:
    with open_store(database).reading() as db:
        ids = [row["id"] for table in ("pairs", "candidates", "policies") for row in db[table].rows]
    secrets = ["mystery", "7.25", "6.75", "0.6125", "61 %", "0.1375", "14 %", *ids]
    answers = [
        client.predict("Ada", api_name="/sign_in"),
        client.predict("Ada", api_name="/next_pair"),
        client.predict("Ada", api_name="/undo"),
        client.predict("tickets", "right", "Ada", api_name="/practice"),
        client.config,
        client.view_api(return_format="dict"),
        client.predict(api_name="/results"),
        client.predict(api_name="/export_overview"),
    ]
    told = json.dumps(answers)
    for secret in secrets:
        assert secret not in told


def test_the_api_is_what_the_docs_say(client: Client) -> None:
    names = set(client.view_api(return_format="dict")["named_endpoints"])
    assert names >= {"/results", "/export", "/export_overview"}
    # The other tabs' own tests know the rest of theirs.
    others = ("/results", "/export", "/import")
    assert {name for name in names if not name.startswith(others)} == set(LABEL)


def test_what_is_needed_comes_first_and_the_rest_may_be_left_out(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    named = {
        name: [
            (p["parameter_name"], p["parameter_has_default"]) for p in endpoints[name]["parameters"]
        ]
        for name in LABEL
    }
    assert named["/sign_in"] == [("name", False)]
    assert named["/pick"] == [
        ("choice", False),
        ("assignment", False),
        ("seconds", False),
        ("labeler", False),
        ("strength", True),
        ("reasons", True),
        ("note", True),
        ("flagged", True),
        ("uuid", True),
        ("change", True),
        ("batch", True),
    ]
    assert named["/undo"] == named["/next_pair"] == [("labeler", False), ("batch", True)]
    assert named["/history"] == [("labeler", False), ("page", True)]


def test_a_pick_with_everything_its_history_and_a_change(client: Client, database: Path) -> None:
    first = sign_in(client, "Ada")["pair"]["assignment_id"]
    uuid = "0b2f8a53-7a1e-4b5c-9d3e-5f6a7b8c9d0e"
    details = ["clearly", ["gentler"], "a note", True, uuid]
    turn = client.predict("left", first, 2.0, "Ada", *details, api_name="/pick")[0]
    # Sent again, as after an answer that was lost.
    again = client.predict("left", first, 2.0, "Ada", *details, api_name="/pick")[0]
    assert again == turn
    told, page = client.predict("Ada", api_name="/history")
    (kept,) = told["picks"]
    assert (kept["uuid"], kept["strength"], kept["reasons"]) == (uuid, "clearly", ["gentler"])
    assert (kept["note"], kept["flagged"], kept["closed"]) == ("a note", True, False)
    assert "a note" in page
    old, page = client.predict(first, "Ada", api_name="/look_back")
    assert set(old["task"]) == PAIR and old["pick"]["choice"] == "left" and old["seen"]
    assert f'data-assignment="{first}"' in page
    changed = client.predict(
        "tie", first, 1.0, "Ada", None, None, None, False, None, True, api_name="/pick"
    )[0]
    assert changed["last"]["choice"] == "tie" and changed["last"]["change"]
    assert changed["pair"] == turn["pair"]
    with open_store(database).reading() as db:
        rows = [(row["choice"], row["informed"]) for row in db["picks"].rows]
    assert rows == [("left", 0), ("tie", 1)]


def test_a_page_may_post_without_the_queue(address: str, client: Client) -> None:
    assignment = sign_in(client, "Ada")["pair"]["assignment_id"]
    data = ["skip", assignment, 1.0, "Ada", "", ["too upsetting"], "", False, "", False, ""]
    reply = httpx.post(f"{address}gradio_api/run/pick", json={"data": data})
    answer, page = reply.json()["data"]
    assert answer["last"]["choice"] == "skip"
    assert page.startswith('<div class="lb-turn" data-labeler="Ada" data-undo>')
    reply = httpx.post(
        f"{address}gradio_api/run/pick",
        json={"data": ["nothing", answer["pair"]["assignment_id"], *data[2:]]},
    )
    assert reply.status_code == 500
    assert reply.json()["error"].startswith("Unknown choice 'nothing'")


def test_practice_answers_and_leaves_no_pick(client: Client, database: Path) -> None:
    told, page = client.predict("soup", "tie", "Ada", api_name="/practice")
    assert told["correct"] and told["expected"] == ["tie"]
    assert "That is how we see it" in page
    with open_store(database).reading() as db:
        assert db["practice"].count == 1 and db["picks"].count == 0


def test_batches_go_by_keys_and_numbers(client: Client, database: Path, rows: Rows) -> None:
    add_pairs(open_store(database), rows(2, start=50), "mystery-second")
    first = sign_in(client, "Ada")
    assert [(batch["number"], batch["pairs"]) for batch in first["batches"]] == [(1, 3), (2, 2)]
    assert "mystery" not in json.dumps(first)
    narrow = client.predict("Ada", first["batches"][1]["key"], api_name="/next_pair")[0]
    assert narrow["progress"]["total"] == 2
    assert "number 5" in narrow["pair"]["dialogue"]


def test_with_accounts_the_name_is_that_of_the_account(database: Path) -> None:
    add_account(open_store(database), "ada", "labeler", "a long password")
    add_account(open_store(database), "vic", "viewer", "another password")
    entrance = Entrance("accounts")
    with gr.Blocks(analytics_enabled=False) as page, gr.Tabs(), gr.Tab("Label"):
        label_tab(database, entrance=entrance)
    with served(page, auth=doorkeeper(database)) as address:
        ada = Client(address, auth=("ada", "a long password"), verbose=False)
        first = ada.predict("Bob", api_name="/sign_in")[0]
        assert first["labeler"] == "ada"
        assignment = first["pair"]["assignment_id"]
        assert pick(ada, "somebody else", assignment, "left")["labeler"] == "ada"
        vic = Client(address, auth=("vic", "another password"), verbose=False)
        assert "This needs the role of a labeler" in refused(vic, "ada", api_name="/sign_in")
        assert "role of a labeler" in refused(vic, "left", assignment, 1, "ada", api_name="/pick")
        told = json.dumps(ada.config)
        assert "Change name" not in told
        assert httpx.post(f"{address}gradio_api/run/undo", json={"data": ["ada", ""]}).is_error
    with open_store(database).reading() as db:
        assert [row["name"] for row in db["labelers"].rows] == ["ada"]


def test_a_repeated_pick_is_kept_once(client: Client, database: Path) -> None:
    assignment = sign_in(client, "Ada")["pair"]["assignment_id"]
    first = pick(client, "Ada", assignment, "left")
    assert pick(client, "Ada", assignment, "left") == first
    other = pick(client, "Ada", assignment, "right")
    assert other["note"] == session.ALREADY and other["last"] is None
    with open_store(database).reading() as db:
        assert [row["choice"] for row in db["picks"].rows] == ["left"]


def test_labelers_do_not_meet(address: str, client: Client) -> None:
    other = Client(address, verbose=False)
    ada, bob = sign_in(client, "Ada"), sign_in(other, "Bob")
    assert ada["pair"]["assignment_id"] != bob["pair"]["assignment_id"]
    with pytest.raises(AppError, match="given to another labeler"):
        pick(other, "Bob", ada["pair"]["assignment_id"], "left")
    assert pick(other, "Bob", bob["pair"]["assignment_id"], "left")["progress"]["done"] == 1
    assert sign_in(client, "Ada")["progress"]["done"] == 0


def refused(client: Client, *arguments: Any, api_name: str) -> str:
    with pytest.raises(AppError) as caught:
        client.predict(*arguments, api_name=api_name)
    told = str(caught.value)
    assert "Traceback" not in told
    return told


def test_bad_input_gets_one_sentence(client: Client) -> None:
    assert "Give a labeler name" in refused(client, " ", api_name="/sign_in")
    assert "Sign in first" in refused(client, "", api_name="/next_pair")
    assert "Sign in first" in refused(client, "", api_name="/history")
    assert "Sign in first" in refused(client, "soup", "tie", " ", api_name="/practice")
    assert "no longer in the project" in refused(client, "gone", "Ada", api_name="/look_back")
    assert "choose another one" in refused(client, "Ada", "gone", api_name="/next_pair")
    assignment = sign_in(client, "Ada")["pair"]["assignment_id"]
    told = refused(client, "middle", assignment, 1, "Ada", api_name="/pick")
    assert "Unknown choice" in told
    assert "zero or more" in refused(client, "left", assignment, -1, "Ada", api_name="/pick")
    for bad, said in (
        (["mildly"], "Unknown strength 'mildly'"),
        ([None, {"gentler": 1}], "as a list of texts"),
        ([None, ["x" * 61]], "1 to 60 characters"),
        ([None, [], "x" * 2001], "use at most 2,000"),
    ):
        told = refused(client, "left", assignment, 1, "Ada", *bad, api_name="/pick")
        assert said in told
    assert "nothing to export" in refused(client, "csv", "all", api_name="/export")


def test_a_pair_that_is_gone_leads_to_the_next_one(client: Client, database: Path) -> None:
    sign_in(client, "Ada")
    answer = pick(client, "Ada", "from-another-database", "left")
    assert answer["note"].startswith("This pair is no longer in the project")
    assert answer["pair"]


def test_a_read_only_database(
    client: Client, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assignment = sign_in(client, "Ada")["pair"]["assignment_id"]
    connect = labeling.store._connect

    def read_only(path: Path, create: bool) -> sqlite3.Connection:
        connection = connect(path, create)
        connection.execute("PRAGMA query_only = ON")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(labeling.store, "_connect", read_only)
        told = refused(client, "left", assignment, 1, "Ada", api_name="/pick")
        assert "read-only and nothing was saved" in told
        # Looking is still possible.
        assert client.predict(api_name="/results")[0]["counts"]["pairs"] == 3
    assert pick(client, "Ada", assignment, "left")["progress"]["done"] == 1


def test_a_damaged_database(client: Client, database: Path) -> None:
    for path in database.parent.glob("labels.db-*"):
        path.unlink()
    database.write_bytes(b"not a database at all " * 1000)
    for arguments, name in (
        (["Ada"], "/sign_in"),
        (["Ada"], "/undo"),
        ([], "/results"),
        (["csv", "all"], "/export"),
    ):
        assert "damaged or not a labeling database" in refused(client, *arguments, api_name=name)


def test_a_mistake_of_ours_is_logged_and_apologised_for(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("the secret detail")

    monkeypatch.setattr("labeling.ui.results.tab.report", broken)
    with caplog.at_level(logging.ERROR):
        told = refused(client, api_name="/results")
    assert "wrong on our side" in told and "secret detail" not in told
    assert "the secret detail" in caplog.text
