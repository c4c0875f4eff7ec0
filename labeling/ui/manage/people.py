"""Accounts and roles. Passwords are set on the command line only: no page ever takes one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

import gradio as gr

from detox.errors import UserError
from detox.ui.html import empty
from detox.ui.manners import polite
from labeling.people import Account, Person, accounts, add_account, disable_account
from labeling.records import labeler_name
from labeling.schema import ROLES
from labeling.store import Store
from labeling.ui.identity import Entrance, Gate
from labeling.ui.manage.script import asking_html, sent
from labeling.ui.place import FLAT, current_tab, in_turn

LIST = "manage-people"
COMMAND = "python -m labeling people NAME --role labeler --password"
WAYS = {
    "open": "Nobody signs in here just now: everybody gives a name. Roles count once the app runs"
    " with <code>DETOX_SIGN_IN=accounts</code>.",
    "accounts": "People sign in with a name and a password.",
    "huggingface": "People sign in with Hugging Face. Who has no account here is a labeler.",
}
ROLE_WORDS = {
    "viewer": "sees results",
    "labeler": "labels as well",
    "lead": "manages, exports, and sees who did what",
}


def people_html(found: Sequence[Account], entrance: Entrance) -> str:
    """The accounts as a table, and how passwords come into being."""
    legend = " · ".join(f"<b>{role}</b> {words}" for role, words in ROLE_WORDS.items())
    how = (
        f'<p class="da-muted">{WAYS[entrance.sign_in]}</p><p class="da-muted">{legend}.</p>'
        '<p class="da-muted">Passwords are set on the machine that serves this page, and never'
        f" here: <code>{COMMAND}</code></p>"
    )
    if not found:
        return f"<section data-asked>{empty('There is no account yet', how)}</section>"
    rows = "".join(_row(each, entrance) for each in found)
    return (
        f'<section class="da-card" data-asked><h3 class="da-title">People</h3>{how}'
        '<div class="da-table-box"><table class="da-table mg-table"><thead><tr><th>Name</th>'
        "<th>Role</th><th>Signs in</th><th>Since</th><th></th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _row(account: Account, entrance: Entrance) -> str:
    name = escape(account.name)
    options = "".join(
        f"<option{' selected' if role == account.role else ''}>{role}</option>" for role in ROLES
    )
    disabled = " disabled" if account.disabled else ""
    return (
        f'<tr class="{"mg-off" if account.disabled else ""}">'
        f'<td data-name="Name"><b>{name}</b></td>'
        f'<td data-name="Role"><select class="mg-select" data-do="set_role" data-person="{name}"'
        f' aria-label="Role of {name}"{disabled}>{options}</select></td>'
        f'<td data-name="Signs in">{_way(account, entrance)}</td>'
        f'<td data-name="Since">{account.created[:10]}</td><td class="mg-row-actions">'
        f'<button type="button" class="mg-button mg-quiet mg-small" data-person="{name}"'
        f' data-do="{"enable" if account.disabled else "disable"}" data-value="{account.role}"'
        f' aria-label="{"Enable" if account.disabled else "Disable"} {name}">'
        f"{'Enable' if account.disabled else 'Disable'}</button></td></tr>"
    )


def _way(account: Account, entrance: Entrance) -> str:
    if account.disabled:
        return "not at all: disabled"
    if account.has_password:
        return "with a password"
    return "with Hugging Face" if entrance.sign_in == "huggingface" else "no password yet"


def change_role(store: Store, lead: Person, name: str, role: str) -> None:
    """Gives ``name`` a role, making the account if there is none, or enabling it.

    Raises ``UserError`` for a bad name or role, and for a lead who would shut themselves out.
    """
    if labeler_name(name) == lead.name and role != "lead":
        raise UserError("You would no longer lead: another lead has to change your role.")
    add_account(store, name, role)


def bar(store: Store, lead: Person, name: str) -> None:
    """Disables an account; its picks stay. Raises ``UserError`` for an unknown one or their own."""
    if labeler_name(name) == lead.name:
        raise UserError("You would shut yourself out: another lead has to disable your account.")
    disable_account(store, name)


def people_section(gate: Gate) -> None:
    """Builds the section inside the current ``gr.Tab``."""
    with gr.Column(elem_classes="mg-section"):
        listed = asking_html(LIST, "people", ("set_role", "enable", "disable"))
        with gr.Column(elem_classes="da-panel"):
            gr.HTML('<h3 class="da-title">Add somebody</h3>', **FLAT)
            with gr.Row(elem_classes="mg-line"):
                name = gr.Textbox(
                    label="Name",
                    info="the sign-in name, or the user name on Hugging Face",
                    max_lines=1,
                    max_length=100,
                    elem_id="people-name",
                    scale=4,
                )
                role = gr.Dropdown(
                    list(ROLES),
                    value="labeler",
                    label="Role",
                    info="what they may do",
                    elem_id="people-role",
                    scale=2,
                )
                save = gr.Button(
                    "Add", variant="primary", size="md", scale=0, elem_id="people-save"
                )
    with gr.Row(visible=False):
        who, what = gr.Textbox(label="name"), gr.Textbox(label="role")
        answer = gr.JSON(label="answer")

    def view(store: Store) -> tuple[Any, str]:
        found = accounts(store)
        return [asdict(each) for each in found], people_html(found, gate.entrance)

    @polite
    def people(request: gr.Request) -> tuple[Any, str]:
        """Every account with its role; never a password."""
        store, _ = gate.admit(request, "lead")
        return view(store)

    @polite
    def add_person(name: str, role: str, request: gr.Request) -> tuple[Any, ...]:
        store, lead = gate.admit(request, "lead")
        change_role(store, lead, name or "", role)
        return *view(store), ""

    @polite
    def set_role(name: str, role: str, request: gr.Request) -> tuple[Any, str]:
        """Gives somebody a role, making or enabling their account."""
        store, lead = gate.admit(request, "lead")
        change_role(store, lead, name, role)
        return view(store)

    @polite
    def disable(name: str, request: gr.Request) -> tuple[Any, str]:
        """Bars somebody from signing in; their picks stay."""
        store, lead = gate.admit(request, "lead")
        bar(store, lead, name)
        return view(store)

    shown, turn = [answer, listed], in_turn("people")
    asked = sent(LIST, {"person": str, "value": str})
    if (tab := current_tab()) is not None:
        tab.select(people, None, shown, api_name="manage_people", **turn)
    gr.on(
        [save.click, name.submit],
        add_person,
        [name, role],
        [*shown, name],
        api_visibility="private",
        **turn,
    )
    listed.set_role(set_role, [who, what], shown, js=asked, api_name="manage_role", **turn)
    listed.enable(set_role, [who, what], shown, js=asked, api_visibility="private", **turn)
    listed.disable(
        disable,
        who,
        shown,
        js=sent(LIST, {"person": str}),
        api_name="manage_disable",
        **turn,
    )
