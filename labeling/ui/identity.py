"""Who is behind a request, and whether they may do what they ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detox.errors import UserError
from labeling.people import SIGN_INS, Person, person
from labeling.store import Store


@dataclass(frozen=True)
class Entrance:
    """How people come in. Raises ``UserError`` for an unknown way.

    ``open``: whoever comes gives a name and may do everything. ``accounts``: gradio's own sign-in
    page asks for name and password before anything is served. ``huggingface``: OAuth on Spaces;
    who has not signed in is a viewer without a name, who has is a labeler, or what their account
    says; ``leads`` are user names that lead from the start.
    """

    sign_in: str = "open"
    leads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.sign_in not in SIGN_INS:
            raise UserError(
                f"Unknown way to sign in '{self.sign_in}': use one of {', '.join(SIGN_INS)}."
            )

    @property
    def asks_name(self) -> bool:
        """Whether the Label tab asks for a name, as nobody else does."""
        return self.sign_in == "open"


def visitor(store: Store, entrance: Entrance, request: Any, claimed: str = "") -> Person:
    """The person behind ``request``, a ``gr.Request``; ``claimed`` counts only where all is open.

    Raises ``UserError`` for a disabled account.
    """
    if entrance.sign_in == "open":
        return Person(claimed, "lead")
    if entrance.sign_in == "accounts":
        name = getattr(request, "username", None)
        return person(store, name, stranger="viewer") if name else Person("", "viewer")
    name = _hugging_face_name(request)
    if not name:
        return Person("", "viewer")
    if name in entrance.leads:
        return Person(name, "lead")
    return person(store, name, stranger="labeler")


def _hugging_face_name(request: Any) -> str:
    """The user name in the session cookie that gradio's OAuth signs; empty without one."""
    inner = getattr(request, "request", None)
    session = inner.scope.get("session", {}) if inner is not None else {}
    info = session.get("oauth_info", {}).get("userinfo", {})
    return str(info.get("preferred_username") or "")
