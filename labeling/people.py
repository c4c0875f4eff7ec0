"""Who may do what: accounts, passwords and roles.

Three ways to sign in. ``open``: everybody gives a name, and all may do everything; for a laptop.
``accounts``: names and passwords made with ``python -m labeling people``, for a shared server.
``huggingface``: OAuth on Spaces. A role comes from the account of that name; who has none is a
labeler where everybody may label, else a viewer.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlite_utils import Database

from detox.errors import UserError
from labeling.records import NAME_LENGTH, labeler_name, now
from labeling.schema import ROLES
from labeling.store import Store

SIGN_INS = ("open", "accounts", "huggingface")
PASSWORD_LENGTH = (8, 200)
# scrypt's cost, RFC 7914's parameters for interactive use on today's machines: 16 MB, about 50 ms.
_COST = {"n": 2**14, "r": 8, "p": 1}
_UNKNOWN = "scrypt$" + "00" * 16 + "$" + "00" * 64


@dataclass(frozen=True)
class Person:
    """Somebody who is signed in; ``name`` is what their picks are kept under."""

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Whether they may do what ``role`` may: a lead all, a labeler what viewers may."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def must(self, role: str) -> None:
        """Raises ``UserError`` unless they may."""
        if self.may(role):
            return
        if not self.name:
            raise UserError(f"This needs the role of a {role}: sign in as somebody who has it.")
        raise UserError(
            f"This needs the role of a {role} and '{self.name}' has that of a {self.role}: "
            "ask a lead for it."
        )


@dataclass(frozen=True)
class Account:
    """What is known of somebody who may sign in; never their password."""

    name: str
    role: str
    has_password: bool
    disabled: bool
    created: str


def add_account(store: Store, name: str, role: str, password: str | None = None) -> None:
    """Makes an account or changes the role, and the password if one is given, of an existing one.

    Without a password it gives its role to who signs in under that name by OAuth. A disabled
    account is enabled again. Raises ``UserError`` for a bad name, role or password.
    """
    name = labeler_name(name)
    if not 0 < len(name) <= NAME_LENGTH:
        raise UserError(f"Give a name of 1 to {NAME_LENGTH} characters.")
    if role not in ROLES:
        raise UserError(f"Unknown role '{role}': use one of {', '.join(ROLES)}.")
    hashed = None if password is None else _hash(_checked(password))
    with store.writing() as db:
        db.execute(
            "INSERT INTO accounts (name, role, password, created) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET role = excluded.role, disabled = 0,"
            " password = coalesce(excluded.password, password)",
            [name, role, hashed, now()],
        )


def disable_account(store: Store, name: str) -> None:
    """Bars somebody from signing in; their picks stay. ``UserError`` for an unknown name."""
    with store.writing() as db:
        done = db.execute("UPDATE accounts SET disabled = 1 WHERE name = ?", [labeler_name(name)])
        if done.rowcount == 0:
            raise UserError(f"There is no account '{name}': `labeling people` lists them.")


def accounts(store: Store) -> list[Account]:
    """Every account by name."""
    with store.reading() as db:
        rows = db.query(
            "SELECT name, role, password IS NOT NULL AS has_password, disabled, created"
            " FROM accounts ORDER BY name"
        )
        return [
            Account(
                row["name"],
                row["role"],
                bool(row["has_password"]),
                bool(row["disabled"]),
                row["created"],
            )
            for row in rows
        ]


def password_is_right(store: Store, name: str, password: str) -> bool:
    """Whether ``password`` is that of the enabled account ``name``; takes as long if there is none.

    Raises ``StoreError`` by the database.
    """
    with store.reading() as db:
        row = _account(db, name)
    known = row["password"] if row and row["password"] and not row["disabled"] else _UNKNOWN
    return _matches(password, known) and known != _UNKNOWN


def person(store: Store, name: str, *, stranger: str) -> Person:
    """Who ``name`` is: the role of their account, or ``stranger`` where they have none.

    Raises ``UserError`` when the account is disabled.
    """
    name = labeler_name(name)
    with store.reading() as db:
        row = _account(db, name)
    if row and row["disabled"]:
        raise UserError(f"The account '{name}' is disabled: ask a lead.")
    return Person(name, str(row["role"]) if row else stranger)


def _account(db: Database, name: str) -> Mapping[str, Any] | None:
    return next(db.query("SELECT * FROM accounts WHERE name = ?", [labeler_name(name)]), None)


def _checked(password: str) -> str:
    low, high = PASSWORD_LENGTH
    if not low <= len(password) <= high:
        raise UserError(f"A password has {low} to {high} characters: choose another.")
    return password


def _hash(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"scrypt${salt.hex()}${_derive(password, salt).hex()}"


def _matches(password: str, hashed: str) -> bool:
    _, salt, digest = hashed.split("$")
    return hmac.compare_digest(_derive(password, bytes.fromhex(salt)).hex(), digest)


def _derive(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, **_COST)
