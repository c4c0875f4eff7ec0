"""Who is behind a request, and whether they may do what they ask for."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import anyio.to_thread
import gradio as gr

from detox.errors import UserError
from detox.ui.html import empty
from detox.ui.manners import polite
from labeling.allowance import Allowance
from labeling.people import SIGN_INS, Person, password_is_right, person
from labeling.records import labeler_name
from labeling.store import Store, open_store
from labeling.ui.place import FLAT, SWIFT

# A minute, of one person who has signed in; who picks as fast as they can needs a hundred.
EVENTS = 600
_asked = Allowance()

# What gradio shows above its form for name and password, as HTML.
WELCOME = "<b>Detox Arena</b>Sign in with the name and password that the lead gave you."


@dataclass(frozen=True)
class Entrance:
    """How people come in. Raises ``UserError`` for an unknown way.

    ``open``: whoever comes gives a name and may do everything, or, where the page is ``public``,
    what a labeler may. ``accounts``: gradio's own sign-in page asks for name and password before
    anything is served. ``huggingface``: OAuth on Spaces; who has not signed in is a viewer
    without a name, who has is a labeler, or what their account says. ``leads`` are the names of
    those who lead from the start, among those who have signed in.
    """

    sign_in: str = "open"
    leads: tuple[str, ...] = ()
    public: bool = False

    def __post_init__(self) -> None:
        if self.sign_in not in SIGN_INS:
            raise UserError(
                f"Unknown way to sign in '{self.sign_in}': use one of {', '.join(SIGN_INS)}."
            )

    @property
    def asks_name(self) -> bool:
        """Whether the Label tab asks for a name, as nobody else does."""
        return self.sign_in == "open"


@dataclass(frozen=True)
class Gate:
    """The database of an app and the way to it: what every handler that acts passes through."""

    database: Path
    entrance: Entrance = Entrance()

    def admit(
        self, request: gr.Request | None, role: str, claimed: str = ""
    ) -> tuple[Store, Person]:
        """The store, and who asks for it, if they may do what ``role`` may.

        ``claimed`` is the name they give where all is open. Raises ``UserError`` if they may not,
        their account is disabled or they ask too often, ``StoreError`` by the database.
        """
        store = open_store(self.database)
        found = visitor(store, self.entrance, request, claimed)
        found.must(role)
        if not self.entrance.asks_name and found.name:
            _at_a_pace((self.database, found.name))
        return store, found


def _at_a_pace(who: Hashable) -> None:
    """Raises ``UserError`` for somebody who has signed in and asks more than anybody can."""
    if wait := _asked.ask(who, EVENTS):
        raise UserError(f"That was a lot at once: go on in {max(1, round(wait))} s.")


def visitor(
    store: Store, entrance: Entrance, request: gr.Request | None, claimed: str = ""
) -> Person:
    """The person behind ``request``; ``claimed`` counts only where all is open.

    Raises ``UserError`` for a disabled account.
    """
    if entrance.sign_in == "open":
        return Person(labeler_name(claimed or ""), "labeler" if entrance.public else "lead")
    if entrance.sign_in == "accounts":
        name, stranger = str(getattr(request, "username", None) or ""), "viewer"
    else:
        name, stranger = _hugging_face_name(request), "labeler"
    if not labeler_name(name):
        return Person("", "viewer")
    found = person(store, name, stranger=stranger)
    leads = {lead.casefold() for lead in entrance.leads}
    return Person(found.name, "lead") if found.name.casefold() in leads else found


def _hugging_face_name(request: gr.Request | None) -> str:
    """The user name in the session cookie that gradio's OAuth signs; empty without a valid one."""
    inner = getattr(request, "request", None)
    session = inner.scope.get("session") if inner is not None else None
    found = (session or {}).get("oauth_info") or {}
    until = found.get("expires_at")
    if until is not None and until < time.time():
        return ""
    return str((found.get("userinfo") or {}).get("preferred_username") or "")


def doorkeeper(database: Path) -> Callable[[str, str], Awaitable[bool]]:
    """What gradio asks whether a name and a password belong together, for ``launch(auth=...)``.

    Nobody is let in while the database cannot be read; the log says so.
    """

    def known(name: str, password: str) -> bool:
        try:
            return password_is_right(open_store(database), name, password)
        except UserError as error:
            logging.getLogger("detox").warning("Nobody can sign in: %s", error)
            return False

    async def may_enter(name: str, password: str) -> bool:
        # Hashing takes its time on purpose, and nobody else should wait for it.
        return await anyio.to_thread.run_sync(known, name, password)

    return may_enter


def leads_only(entrance: Entrance, found: Person, what: str) -> str:
    """What somebody sees who does not lead: why, and what to do about it, as HTML.

    ``what`` ends the sentence that tells somebody who has signed in what leads do here.
    """
    if entrance.asks_name:
        text = (
            "Anybody can reach this page without signing in, so nobody can lead here: start the"
            " app with <code>DETOX_SIGN_IN=accounts</code>, or on Spaces with OAuth."
        )
    elif not found.name:
        text = f"Sign in as somebody who leads this project: {what}."
    else:
        text = (
            f"You are signed in as <b>{escape(found.name)}</b>, {found.role}: {what}, and a lead"
            " can make you one."
        )
    return empty("For those who lead", text)


def who_line(page: gr.Blocks, gate: Gate) -> None:
    """Builds the line that says who is signed in and as what, with the way in and out.

    Where all is open it stays hidden: everybody is whom they say they are.
    """
    with gr.Row(visible=not gate.entrance.asks_name, elem_classes="lb-signed"):
        line = gr.HTML(elem_id="signed-in", label="line", **FLAT)
        if gate.entrance.sign_in == "huggingface":
            gr.LoginButton(
                logout_value="Sign out ({})", size="sm", elem_id="sign-in-button", scale=0
            )
    answer = gr.JSON(visible=False, label="answer")

    @polite
    def who_am_i(request: gr.Request) -> tuple[dict[str, str], str]:
        """Name and role of the visitor, and how people sign in here."""
        found = visitor(open_store(gate.database), gate.entrance, request)
        return (
            {"name": found.name, "role": found.role, "sign_in": gate.entrance.sign_in},
            signed_in(gate.entrance, found),
        )

    page.load(who_am_i, None, [answer, line], api_name="who_am_i", **SWIFT)


def signed_in(entrance: Entrance, found: Person) -> str:
    """The line about ``found`` as HTML; empty where all is open."""
    if entrance.asks_name:
        return ""
    if not found.name:
        return '<p class="lb-who da-muted">Not signed in: sign in to label.</p>'
    leave = '<a href="logout">Sign out</a>' if entrance.sign_in == "accounts" else ""
    return (
        f'<p class="lb-who da-muted">Signed in as <b>{escape(found.name)}</b>, {found.role}'
        f"{leave}</p>"
    )
