"""Who is behind a request, in each way to come in."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from detox.errors import UserError
from labeling.allowance import Allowance
from labeling.people import Person, add_account, disable_account
from labeling.store import Store, StoreError
from labeling.ui import identity
from labeling.ui.identity import Entrance, Gate, doorkeeper, signed_in, visitor

OAUTH = Entrance("huggingface", leads=("Grace",), public=True)
ACCOUNTS = Entrance("accounts")


def password_request(name: str | None) -> Any:
    return SimpleNamespace(username=name, request=SimpleNamespace(scope={}))


def oauth_request(name: str | None = None, **info: Any) -> Any:
    session = {} if name is None else {"oauth_info": {"userinfo": {"preferred_username": name}}}
    session.get("oauth_info", {}).update(info)
    return SimpleNamespace(username=None, request=SimpleNamespace(scope={"session": session}))


def test_on_a_laptop_whoever_comes_leads(fresh_store: Store) -> None:
    assert visitor(fresh_store, Entrance(), None, "  Ada  L ") == Person("Ada L", "lead")
    assert visitor(fresh_store, Entrance(), None).may("lead")


def test_on_an_open_server_nobody_leads_whatever_they_claim(fresh_store: Store) -> None:
    add_account(fresh_store, "Ada", "lead")
    found = visitor(fresh_store, Entrance(public=True), password_request("Ada"), "Ada")
    assert found == Person("Ada", "labeler")
    with pytest.raises(UserError, match="needs the role of a lead"):
        Gate(fresh_store.path, Entrance(public=True)).admit(None, "lead", "Ada")


def test_an_account_gives_its_role_and_a_claim_gives_nothing(fresh_store: Store) -> None:
    add_account(fresh_store, "Vic", "viewer", "look at this")
    add_account(fresh_store, "Lea", "lead", "correct horse")
    found = visitor(fresh_store, ACCOUNTS, password_request("Vic"), claimed="Lea")
    assert found == Person("Vic", "viewer")
    assert visitor(fresh_store, ACCOUNTS, password_request("Lea")).may("lead")
    nobody = visitor(fresh_store, ACCOUNTS, password_request(None), claimed="Lea")
    assert nobody == Person("", "viewer")
    with pytest.raises(UserError, match="sign in as somebody who has it"):
        nobody.must("labeler")


def test_a_disabled_account_is_turned_away_though_it_has_a_session(fresh_store: Store) -> None:
    add_account(fresh_store, "Old", "lead", "gone gone")
    disable_account(fresh_store, "Old")
    for entrance in (ACCOUNTS, Entrance("accounts", leads=("Old",))):
        with pytest.raises(UserError, match="'Old' is disabled"):
            visitor(fresh_store, entrance, password_request("Old"))


def test_hugging_face_names_are_labelers_accounts_or_leads(fresh_store: Store) -> None:
    add_account(fresh_store, "Vic", "viewer")
    roles = {
        name: visitor(fresh_store, OAUTH, oauth_request(name)).role
        for name in ("Vic", "Eve", "grace")
    }
    assert roles == {"Vic": "viewer", "Eve": "labeler", "grace": "lead"}


@pytest.mark.parametrize(
    "request_",
    [
        None,
        oauth_request(),
        oauth_request(""),
        oauth_request("Grace", expires_at=time.time() - 1),
        SimpleNamespace(username="Grace", request=None),
        SimpleNamespace(username=None, request=SimpleNamespace(scope={"session": None})),
        SimpleNamespace(
            username=None,
            request=SimpleNamespace(scope={"session": {"oauth_info": {"userinfo": None}}}),
        ),
    ],
)
def test_without_a_valid_session_one_is_a_viewer(fresh_store: Store, request_: Any) -> None:
    assert visitor(fresh_store, OAUTH, request_, claimed="Grace") == Person("", "viewer")


def test_an_unexpired_session_counts(fresh_store: Store) -> None:
    request = oauth_request("Grace", expires_at=time.time() + 60)
    assert visitor(fresh_store, OAUTH, request).may("lead")


def test_an_unknown_way_in_is_refused() -> None:
    with pytest.raises(UserError, match="Unknown way to sign in 'ldap'"):
        Entrance("ldap")


def _awaited(coroutine: Coroutine[Any, Any, bool]) -> bool:
    """What it comes to; in a thread, since a browser test leaves a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def test_the_doorkeeper_knows_passwords_and_never_breaks(
    fresh_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    add_account(fresh_store, "Ada", "labeler", "battery staple")
    add_account(fresh_store, "Hug", "lead")
    add_account(fresh_store, "Old", "labeler", "gone gone")
    disable_account(fresh_store, "Old")
    knows = doorkeeper(fresh_store.path)
    tries = [("Ada", "battery staple"), ("Ada", "battery"), ("Old", "gone gone"), ("Hug", "")]
    assert [_awaited(knows(*each)) for each in tries] == [True, False, False, False]
    fresh_store.path.write_bytes(b"not a database " * 100)
    with caplog.at_level(logging.WARNING, "detox"):
        assert not _awaited(knows("Ada", "battery staple"))
    assert "Nobody can sign in" in caplog.text


def test_a_gate_says_what_is_wrong_with_the_database(tmp_path: Path) -> None:
    (tmp_path / "labels.db").write_bytes(b"not a database " * 100)
    with pytest.raises(StoreError, match="damaged"):
        Gate(tmp_path / "labels.db").admit(None, "viewer")


def test_the_line_says_who_one_is() -> None:
    assert signed_in(Entrance(), Person("Ada", "lead")) == ""
    line = signed_in(ACCOUNTS, Person("<Ada>", "lead"))
    assert "Signed in as <b>&lt;Ada&gt;</b>, lead" in line and 'href="logout"' in line
    assert "Not signed in" in signed_in(OAUTH, Person("", "viewer"))
    assert "logout" not in signed_in(OAUTH, Person("Eve", "labeler"))


def test_one_person_may_ask_so_often_a_minute_whatever_the_address(
    fresh_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "EVENTS", 3)
    now = [0.0]
    monkeypatch.setattr(identity, "_asked", Allowance(lambda: now[0]))
    add_account(fresh_store, "Ada", "labeler", "correct horse")
    add_account(fresh_store, "Bob", "labeler", "battery staple")
    gate = Gate(fresh_store.path, ACCOUNTS)
    for _ in range(3):
        gate.admit(password_request("Ada"), "labeler")
    with pytest.raises(UserError, match=r"^That was a lot at once: go on in 60 s\.$"):
        gate.admit(password_request("Ada"), "labeler")
    gate.admit(password_request("Bob"), "labeler")
    now[0] = 60.0
    gate.admit(password_request("Ada"), "labeler")


def test_where_names_are_only_claimed_nobody_can_use_up_anothers(
    fresh_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "EVENTS", 1)
    gate = Gate(fresh_store.path, Entrance(public=True))
    for _ in range(5):
        gate.admit(None, "labeler", "Ada")
