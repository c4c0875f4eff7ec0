"""Accounts keep a hash, never a password; roles say who may do what."""

from __future__ import annotations

import time

import pytest

from detox.errors import UserError
from labeling.people import (
    Account,
    Person,
    accounts,
    add_account,
    disable_account,
    password_is_right,
    person,
)
from labeling.store import Store

PASSWORD = "correct horse"


def test_the_password_is_not_in_the_database(fresh_store: Store) -> None:
    add_account(fresh_store, "Ada", "lead", PASSWORD)
    add_account(fresh_store, "Bob", "labeler", PASSWORD)
    with fresh_store.reading() as db:
        stored = [row["password"] for row in db.query("SELECT password FROM accounts")]
    assert len(set(stored)) == 2  # each with a salt of its own
    assert all(PASSWORD not in value and value.startswith("scrypt$") for value in stored)
    assert PASSWORD.encode() not in fresh_store.path.read_bytes()


def test_only_the_right_password_of_an_enabled_account_opens(fresh_store: Store) -> None:
    add_account(fresh_store, "Ada", "lead", PASSWORD)
    add_account(fresh_store, "hub", "lead")
    assert password_is_right(fresh_store, "Ada", PASSWORD)
    assert password_is_right(fresh_store, " Ada ", PASSWORD)
    assert not password_is_right(fresh_store, "Ada", PASSWORD + "x")
    assert not password_is_right(fresh_store, "Ada", "")
    assert not password_is_right(fresh_store, "nobody", PASSWORD)
    assert not password_is_right(fresh_store, "hub", "")
    disable_account(fresh_store, "Ada")
    assert not password_is_right(fresh_store, "Ada", PASSWORD)
    with pytest.raises(UserError, match="'Ada' is disabled"):
        person(fresh_store, "Ada", stranger="viewer")
    add_account(fresh_store, "Ada", "viewer")
    assert password_is_right(fresh_store, "Ada", PASSWORD)


def test_an_unknown_name_takes_as_long_as_a_known_one(fresh_store: Store) -> None:
    add_account(fresh_store, "Ada", "lead", PASSWORD)

    def seconds(name: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            password_is_right(fresh_store, name, "wrong")
            times.append(time.perf_counter() - start)
        return min(times)

    assert 0.3 < seconds("nobody") / seconds("Ada") < 3


@pytest.mark.parametrize(
    ("name", "role", "password", "sentence"),
    [
        ("", "lead", None, "name of 1 to 100"),
        ("Ada", "boss", None, "Unknown role 'boss'"),
        ("Ada", "lead", "short", "8 to 200 characters"),
        ("Ada", "lead", "x" * 201, "8 to 200 characters"),
    ],
)
def test_a_bad_account_is_refused(
    fresh_store: Store, name: str, role: str, password: str | None, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        add_account(fresh_store, name, role, password)
    assert accounts(fresh_store) == []


def test_accounts_are_listed_without_their_hash(fresh_store: Store) -> None:
    add_account(fresh_store, "Ada", "labeler", PASSWORD)
    add_account(fresh_store, "Ada", "lead")
    (account,) = accounts(fresh_store)
    assert account == Account("Ada", "lead", True, False, account.created)
    with pytest.raises(UserError, match="no account 'Eve'"):
        disable_account(fresh_store, "Eve")


def test_roles_include_those_below(fresh_store: Store) -> None:
    add_account(fresh_store, "Ada", "lead")
    ada, eve = (person(fresh_store, name, stranger="labeler") for name in ("Ada", "Eve"))
    assert [ada.may(role) for role in ("viewer", "labeler", "lead")] == [True, True, True]
    assert [eve.may(role) for role in ("viewer", "labeler", "lead")] == [True, True, False]
    with pytest.raises(UserError, match="needs the role of a lead and 'Eve' has that of a labeler"):
        eve.must("lead")
    with pytest.raises(UserError, match="needs the role of a labeler: sign in as somebody"):
        Person("", "viewer").must("labeler")
