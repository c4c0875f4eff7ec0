"""The whole app behind a sign-in: what each role gets over HTTP, and nothing more."""

from __future__ import annotations

import base64
import json
import random
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError, AuthenticationError

from app import build_app, launch, sign_in_options
from detox.workbench import Workbench
from hosting.settings import Settings
from labeling.people import add_account, disable_account
from labeling.picks import submit
from labeling.queue import next_pair
from labeling.store import Store, open_store

PASSWORDS = {
    "Vic": ("viewer", "look at this"),
    "Ada": ("labeler", "battery staple"),
    "Lea": ("lead", "correct horse"),
}


@dataclass(frozen=True)
class House:
    """An app that runs, and its database."""

    url: str
    store: Store

    def enter(self, name: str) -> Client:
        return Client(self.url, auth=(name, PASSWORDS[name][1]), verbose=False)


def opened(settings: Settings) -> Iterator[House]:
    doors = sign_in_options(settings)
    page = build_app(settings, Workbench(settings.policies, settings.classifier))
    yield House(launch(page, quiet=True, **doors), open_store(settings.database))
    page.close(verbose=False)


@pytest.fixture(scope="module")
def house(tiny_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("accounts")
    settings = replace(tiny_settings, database=folder / "picks.db", sign_in="accounts")
    for name, (role, password) in PASSWORDS.items():
        add_account(open_store(settings.database), name, role, password)
    yield from opened(settings)


def told(client: Client, *arguments: Any, api_name: str) -> Any:
    """The answer, or the sentence of a refusal; never a traceback."""
    try:
        return client.predict(*arguments, api_name=api_name)
    except AppError as error:
        assert "Traceback" not in str(error)
        return str(error)


def test_without_a_password_nothing_is_served(house: House) -> None:
    for path in ("config", "gradio_api/info"):
        assert httpx.get(house.url + path).status_code == 401
    sent = {"data": [], "fn_index": 0, "session_hash": "x"}
    assert httpx.post(f"{house.url}gradio_api/queue/join", json=sent).status_code == 401
    assert "Sign in with the name and password" in httpx.get(house.url).text
    for name, password in (("Lea", "wrong"), ("Nobody", "correct horse"), ("Lea", "")):
        with pytest.raises((AuthenticationError, ValueError)):
            Client(house.url, auth=(name, password), verbose=False)


def test_everybody_is_who_their_password_says(house: House) -> None:
    for name, (role, _) in PASSWORDS.items():
        answer = house.enter(name).predict(api_name="/who_am_i")[0]
        assert answer == {"name": name, "role": role, "sign_in": "accounts"}


def test_a_viewer_looks_and_does_not_touch(house: House) -> None:
    client = house.enter("Vic")
    assert "counts" in client.predict(api_name="/results")[0]
    assert "role of a labeler and 'Vic'" in told(client, "Lea", api_name="/sign_in")
    assert "role of a lead" in told(client, "csv", "all", api_name="/export")
    assert "role of a lead" in told(client, api_name="/manage_batches")
    assert client.predict(api_name="/manage")[0] == {"name": "Vic", "role": "viewer"}


def test_a_labeler_labels_under_their_own_name_only(house: House) -> None:
    client = house.enter("Ada")
    turn = client.predict("Lea", api_name="/sign_in")[0]
    assert turn["labeler"] == "Ada"
    pair = turn["pair"]["assignment_id"]
    client.predict("left", pair, 1.0, "Lea", api_name="/pick")
    with house.store.reading() as db:
        names = {row["name"] for row in db.query("SELECT name FROM labelers")}
    assert names == {"Ada"}
    assert "role of a lead and 'Ada'" in told(client, api_name="/manage_backup")
    assert "role of a lead" in told(client, "csv", "all", api_name="/export")


def test_who_did_what_is_for_leads(house: House) -> None:
    house.enter("Ada").predict("", api_name="/sign_in")
    for name, seen in (("Vic", False), ("Ada", False), ("Lea", True)):
        answer, page, *rest = house.enter(name).predict(api_name="/results")
        assert ("labeler-" in json.dumps([answer, page, rest])) is seen, name


def test_a_lead_decides_under_their_own_name(house: House) -> None:
    store = house.store
    for number, labeler in enumerate(("Bob", "Eve")):
        for _ in range(4):
            task = next_pair(store, labeler, random.Random(number))
            assert task is not None
            submit(store, task.assignment_id, "left", labeler=labeler, flagged=True)
    client = house.enter("Lea")
    conflict = client.predict("", api_name="/manage_conflicts")[0]["conflict"]
    arguments = conflict["pair_id"], "tie", conflict["left_candidate"], "", False, "", "Ada"
    assert client.predict(*arguments, api_name="/manage_decide")[0]["decision"]["outcome"] == "tie"
    with store.reading() as db:
        rows = db.query(
            "SELECT l.name FROM adjudications AS d JOIN labelers AS l ON l.id = d.labeler_id"
        )
        assert [row["name"] for row in rows] == ["Lea"]


def test_a_lead_cannot_shut_themselves_out(house: House) -> None:
    client = house.enter("Lea")
    assert "shut yourself out" in told(client, "Lea", api_name="/manage_disable")
    assert "no longer lead" in told(client, "Lea", "viewer", api_name="/manage_role")
    assert client.predict(api_name="/who_am_i")[0]["role"] == "lead"


def test_a_new_role_counts_at_once_and_a_disabled_account_is_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PASSWORDS, "Tom", ("labeler", "tom tom tom"))
    add_account(house.store, "Tom", "labeler", "tom tom tom")
    client = house.enter("Tom")
    assert "role of a lead" in told(client, api_name="/manage_batches")
    house.enter("Lea").predict("Tom", "lead", api_name="/manage_role")
    assert isinstance(told(client, api_name="/manage_batches")[0], list)
    disable_account(house.store, "Tom")
    for name in ("/manage_batches", "/results", "/who_am_i"):
        assert "'Tom' is disabled" in told(client, api_name=name)
    with pytest.raises((AuthenticationError, ValueError)):
        house.enter("Tom")


def test_where_anybody_comes_in_nobody_leads(tiny_settings: Settings, tmp_path: Path) -> None:
    settings = replace(tiny_settings, database=tmp_path / "picks.db", public=True)
    for house in opened(settings):
        client = Client(house.url, verbose=False)
        answer = client.predict(api_name="/who_am_i")[0]
        assert answer == {"name": "", "role": "labeler", "sign_in": "open"}
        assert client.predict("Lea", api_name="/sign_in")[0]["labeler"] == "Lea"
        assert "role of a lead" in told(client, "csv", "all", api_name="/export")
        assert "role of a lead" in told(client, api_name="/manage_people")
        _, _, closed, *_ = client.predict(api_name="/manage")
        assert "DETOX_SIGN_IN=accounts" in str(closed)


class SessionCookie:
    """Starlette's session middleware without signatures, whose library is no pin of ours."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            header = dict(scope["headers"]).get(b"cookie", b"").decode()
            morsel = SimpleCookie(header).get("session")
            scope["session"] = json.loads(base64.b64decode(morsel.value)) if morsel else {}
        await self.app(scope, receive, send)


def cookie(name: str) -> dict[str, str]:
    info = {"preferred_username": name, "name": name, "profile": "", "picture": ""}
    session = {"oauth_info": {"userinfo": info, "access_token": "x", "scope": ""}}
    return {"Cookie": "session=" + base64.b64encode(json.dumps(session).encode()).decode()}


def test_with_hugging_face_the_session_says_who_one_is(
    tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradio.routes.attach_oauth", lambda app: app.add_middleware(SessionCookie))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    settings = replace(
        tiny_settings,
        database=tmp_path / "picks.db",
        sign_in="huggingface",
        leads=("grace",),
        public=True,
    )
    add_account(open_store(settings.database), "vic", "viewer")
    for house in opened(settings):
        roles = {}
        for name in ("", "Grace", "eve", "vic"):
            client = Client(house.url, headers=cookie(name) if name else None, verbose=False)
            answer = client.predict(api_name="/who_am_i")[0]
            assert answer["name"] == name
            roles[name] = answer["role"]
            may_label = isinstance(told(client, "Grace", api_name="/sign_in")[0], dict)
            assert may_label is (name in ("Grace", "eve"))
            may_lead = isinstance(told(client, api_name="/manage_batches")[0], list)
            assert may_lead is (name == "Grace")
        assert roles == {"": "viewer", "Grace": "lead", "eve": "labeler", "vic": "viewer"}
        with house.store.reading() as db:
            names = {row["name"] for row in db.query("SELECT name FROM labelers")}
        assert names == {"Grace", "eve"}


# every event that the server answers, by the least role that it answers to

LEAD = shlex.split("""
manage_batches manage_batch_status manage_batch_plan manage_change_plan manage_batch_order
manage_order manage_batch_cards manage_generate manage_generation manage_stop manage_add_pairs
manage_decisions manage_conflicts choose manage_decide manage_later manage_decide_again
manage_make_gold manage_gold
manage_pair show_pair manage_mark_gold manage_remove_gold manage_people add_person manage_role
set_role manage_disable manage_history manage_check manage_backup export
export_count export_count_1 export_count_2 import_check import_file train start_training training
stop_training resume_training keep_training restart_training judge_by_training
""")
LABELER = ["next_pair", "pick", "undo", "history", "look_back", "practice", "sign_in"]
ANYBODY = shlex.split("""
who_am_i status open tick first_tick featured example preview clear recall swap compare batch
batch_live batch_swap prompt play_task play_next play_ask report reports evaluate evaluate_unnamed
evaluate_swap restore sign_out results without_flagged fitting look back manage trainings train_tick
export_overview train_ppo_mix train_file train_kind train_choices versions
share share_ready open_tab report_link
lambda lambda_1 lambda_2 lambda_3
""")


def inside(house: House, name: str) -> httpx.Client:
    """A browser's cookies, without a browser."""
    browser = httpx.Client(base_url=house.url, timeout=60, follow_redirects=True)
    answer = browser.post("login", data={"username": name, "password": PASSWORDS[name][1]})
    answer.raise_for_status()
    return browser


# What gradio itself would choke on where nothing is.
NOTHING: dict[str, Any] = {"checkboxgroup": [], "slider": 1}


def heard(browser: httpx.Client, event: dict[str, Any], kinds: dict[int, str]) -> str:
    """What comes of an event that is sent without anything in it."""
    session = f"walk-{event['id']}"
    sent = {
        "data": [NOTHING.get(kinds.get(each, "")) for each in event["inputs"]],
        "fn_index": event["id"],
        "session_hash": session,
    }
    joined = browser.post("gradio_api/queue/join", json=sent)
    if joined.status_code != 200:
        return joined.text
    said = ""
    with browser.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as lines:
        for line in lines.iter_lines():
            said += line
            if "process_completed" in line:
                break
    return said


def test_every_event_has_its_role_and_keeps_to_it(house: House) -> None:
    browsers = {name: inside(house, name) for name in PASSWORDS}
    config = browsers["Lea"].get("config").json()
    events = {each["api_name"]: each for each in config["dependencies"] if each["backend_fn"]}
    kinds = {each["id"]: each["type"] for each in config["components"]}
    # one that is new must be thought about here
    assert set(events) == {*LEAD, *LABELER, *ANYBODY}
    with house.store.reading() as db:
        before = [list(db.query(f"SELECT * FROM {t}")) for t in ("batches", "picks", "accounts")]
    for name in LEAD:
        for who in ("Vic", "Ada"):
            said = heard(browsers[who], events[name], kinds)
            assert "the role of a lead" in said, (name, who, said)
            assert "Traceback" not in said
    for name in LABELER:
        said = heard(browsers["Vic"], events[name], kinds)
        assert "the role of a labeler" in said and "Traceback" not in said, (name, said)
    with house.store.reading() as db:
        after = [list(db.query(f"SELECT * FROM {t}")) for t in ("batches", "picks", "accounts")]
    assert after == before
