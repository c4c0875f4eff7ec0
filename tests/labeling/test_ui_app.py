"""The three tabs over HTTP, as a program or a page sees them."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

import labeling.store
from labeling.batches import add_pairs
from labeling.store import Store, open_store
from labeling.ui import CSS, export_tab, label_tab, results_tab, session
from tests.labeling.conftest import Rows


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
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, css=CSS)
    yield address
    page.close()


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
    assert not {"batch", "policy", "reward", "kind"} & set(first["pair"])

    second = pick(client, "Ada", first["pair"]["assignment_id"], "left")
    assert second["progress"]["done"] == 1
    assert second["last"]["choice"] == "left"
    assert {side["policy"] for side in second["last"]["reveal"].values() if side} == {
        "mystery-base",
        "mystery-ppo",
    }
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
    assert answer["pair"] is None

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
    assert names == {
        "/sign_in",
        "/next_pair",
        "/pick",
        "/undo",
        "/sign_out",
        "/results",
        "/export",
        "/export_overview",
    }


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
    assignment = sign_in(client, "Ada")["pair"]["assignment_id"]
    told = refused(client, "middle", assignment, 1, "Ada", api_name="/pick")
    assert "Unknown choice" in told
    assert "zero or more" in refused(client, "left", assignment, -1, "Ada", api_name="/pick")
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
    def broken(store: Store) -> None:
        raise ZeroDivisionError("the secret detail")

    monkeypatch.setattr("labeling.ui.results.report", broken)
    with caplog.at_level(logging.ERROR):
        told = refused(client, api_name="/results")
    assert "wrong on our side" in told and "secret detail" not in told
    assert "the secret detail" in caplog.text
