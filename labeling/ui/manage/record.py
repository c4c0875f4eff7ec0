"""The record itself: what happened to a pair, whether all is whole, and a copy to keep."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from detox.ui.manners import polite
from detox.wording import number, percent
from labeling.check import Health, check_record
from labeling.durable.hub import kept_beside
from labeling.durable.keeper import standing
from labeling.history import pair_history
from labeling.store import Store, back_up
from labeling.ui.identity import Gate
from labeling.ui.place import FLAT, SWIFT
from labeling.ui.stage import pair_html

KINDS = {"regular": "", "repeat": ", as a repeat", "gold": ", as a gold pair"}
OUTCOMES = {"a": "A is better", "b": "B is better", "tie": "tie", "both_bad": "both bad"}


def history_html(found: dict[str, Any]) -> str:
    """What ``pair_history`` found as a page: the pair, its two responses, and its events."""
    texts = found["candidates"]
    shown = pair_html(found["prompt"]["dialogue"], texts["a"]["text"], texts["b"]["text"])
    sides = "".join(_candidate(letter, texts[letter]) for letter in "ab")
    gold = found["gold"]
    about = [
        f"<code>{found['pair']}</code>",
        f"batch {escape(found['batch'])}",
        f"split {found['prompt']['split']}",
        f"added {_when(found['created'])}",
    ]
    if gold:
        about.append(f"gold: {OUTCOMES[gold['outcome']]}")
    events = "".join(_event(each) for each in found["events"])
    return (
        f'<section class="mg-history"><p class="da-muted">{" · ".join(about)}</p>'
        f'<div class="mg-pair">{shown}<dl class="mg-behind">{sides}</dl></div>'
        '<h4 class="lb-label">What happened, oldest first</h4>'
        f'<ol class="mg-timeline">{events or "<li>Nobody has seen this pair.</li>"}</ol></section>'
    )


def _candidate(letter: str, side: dict[str, Any]) -> str:
    told = [f"<b>{escape(side['policy'])}</b>"]
    if side["fingerprint"]:
        told.append(f"<code>{escape(side['fingerprint'])}</code>")
    if side["reward"] is not None:
        told.append(f"reward {number(side['reward'])}")
    if side["toxicity"] is not None:
        told.append(f"toxicity {percent(side['toxicity'])}")
    return f"<div><dt>{letter.upper()}</dt><dd>{' · '.join(told)}</dd></div>"


def _event(event: dict[str, Any]) -> str:
    who = f"<b>{escape(event['labeler'])}</b>"
    left = event["left"].upper()
    if event["event"] == "assigned":
        words = f"was shown it{KINDS[event['kind']]}, with {left} on the left"
    elif event["event"] == "adjudicated":
        words = f"decided as lead: <b>{OUTCOMES[event['outcome']]}</b>"
    elif event["event"] == "undone":
        words = "took their pick back"
    else:
        verb = "changed it to" if event["event"] == "changed" else "picked"
        words = f"{verb} <b>{OUTCOMES.get(event['outcome'], event['outcome'])}</b>"
        words += "".join(f", {escape(word)}" for word in _details(event))
    note = f"<q>{escape(event['note'])}</q>" if event.get("note") else ""
    return (
        f'<li class="mg-{event["event"]}"><time datetime="{event["at"]}">'
        f"{_when(event['at'])}</time>"
        f"<span>{who} {words}{note}</span></li>"
    )


def _details(event: dict[str, Any]) -> list[str]:
    told = [event["strength"]] if event["strength"] else []
    told += event["reasons"]
    if event["flagged"]:
        told.append("flagged")
    if event["informed"]:
        told.append("after the versions were told")
    if event["seconds"] is not None:
        told.append(f"in {event['seconds']:.0f} s")
    return told


def _when(at: str) -> str:
    return f"{at[:19].replace('T', ' ')} UTC"


def health_html(health: Health) -> str:
    """The result of a check as a card."""
    counts = [
        (health.prompts, "prompts"),
        (health.candidates, "responses"),
        (health.pairs, "pairs"),
        (health.picks, "rows of picks"),
    ]
    facts = "".join(f"<li><b>{n:,}</b> {word}</li>" for n, word in counts)
    problems = "".join(f"<li>{escape(each)}</li>" for each in health.problems)
    verdict = "The record has problems" if problems else "The record is whole"
    more = f"<ul>{problems}</ul>" if problems else ""
    return (
        f'<section class="da-card mg-generation{" mg-failed" if problems else " mg-well"}"'
        f' role="status"><header><h3 class="da-title">{verdict}</h3></header>'
        f'<ul class="mg-facts">{facts}</ul>{more}</section>'
    )


def kept_html(kept: dict[str, str] | None) -> str:
    """How saving to a dataset goes; empty where nothing is saved there."""
    if kept is None:
        return ""
    repo = f"<code>{escape(kept['repo'])}</code>"
    last = f"the last time at {_when(kept['last'])}" if kept["last"] else "but never yet"
    words = escape(kept["trouble"]) if kept["trouble"] else f"Picks are saved to {repo}, {last}."
    verdict = "Picks are on this disk only" if kept["trouble"] else "Picks outlive this disk"
    return (
        f'<section class="da-card mg-generation{" mg-failed" if kept["trouble"] else " mg-well"}"'
        f' role="status"><header><h3 class="da-title">{verdict}</h3></header>'
        f'<p class="da-muted">{words}</p></section>'
    )


def new_backup(store: Store) -> Path:
    """Copies the database beside itself, under a name with the time. Raises ``StoreError``."""
    made = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path = store.path.with_name(f"{store.path.stem}-{made}.backup.db")
    back_up(store, path)
    return path


def record_section(gate: Gate) -> None:
    """Builds the section inside the current ``gr.Tab``."""
    scratch = TemporaryDirectory(prefix="detox-arena-")  # kept by the handlers, gone with the app
    with gr.Column(elem_classes="mg-section"):
        with gr.Column(elem_classes="da-panel"):
            gr.HTML('<h3 class="da-title">The history of a pair</h3>', **FLAT)
            with gr.Row(elem_classes="mg-line"):
                pair = gr.Textbox(
                    label="Pair",
                    info="its id, or the beginning of it",
                    max_lines=1,
                    elem_id="record-pair",
                    scale=4,
                )
                show = gr.Button("Show its history", size="md", scale=0, elem_id="record-show")
            history = gr.HTML(elem_id="record-history", label="history", **FLAT)
        with gr.Column(elem_classes="da-panel"):
            gr.HTML(
                '<h3 class="da-title">The whole record</h3><p class="da-muted">The check reads'
                " everything again: the file, its references, the hashes of all texts, the chains"
                " of picks and every count. A copy is made at one moment; nobody has to stop. It"
                " holds names and hashed passwords: keep it as you keep the original.</p>",
                **FLAT,
            )
            with gr.Row(elem_classes="mg-foot"):
                check = gr.Button("Check the record", size="md", elem_id="record-check")
                copy = gr.Button("Make a backup", size="md", elem_id="record-backup")
                download = gr.DownloadButton(
                    "Download the backup", size="md", visible=False, elem_id="record-download"
                )
            result = gr.HTML(elem_id="record-result", label="result", **FLAT)
    answer = gr.JSON(visible=False, label="answer")

    @polite
    def history_of(pair: str, request: gr.Request) -> tuple[Any, str]:
        """A pair, its responses, and everything that happened to it."""
        store, _ = gate.admit(request, "lead")
        found = pair_history(store, (pair or "").strip())
        return found, history_html(found)

    @polite
    def check_all(request: gr.Request) -> tuple[Any, str]:
        """Verifies the whole record; one sentence for each sort of problem."""
        store, _ = gate.admit(request, "lead")
        health = check_record(store)
        kept = standing(kept_beside(store.path))
        told = asdict(health) | ({"kept": kept} if kept else {})
        return told, health_html(health) + kept_html(kept)

    @polite
    def backup(request: gr.Request) -> tuple[Any, ...]:
        """Copies the database beside itself, and offers the copy."""
        store, _ = gate.admit(request, "lead")
        path = new_backup(store)
        size = path.stat().st_size
        words = (
            '<section class="da-card mg-generation mg-well" role="status"><header>'
            '<h3 class="da-title">Copied</h3></header>'
            f'<p class="da-muted"><code>{escape(path.name)}</code>, {size / 1024:,.0f} KB, beside'
            " the database on the server. To go back to it, stop the app and start it with"
            " DETOX_DB set to the copy.</p></section>"
        )
        told = {"file": path.name, "bytes": size}
        offered = gr.update(value=str(_offered(path, Path(scratch.name))), visible=True)
        return told, words, offered

    gr.on(
        [show.click, pair.submit],
        history_of,
        pair,
        [answer, history],
        api_name="manage_history",
        **SWIFT,
    )
    check.click(check_all, None, [answer, result], api_name="manage_check", show_progress="minimal")
    copy.click(
        backup,
        None,
        [answer, result, download],
        api_name="manage_backup",
        show_progress="minimal",
    )


def _offered(path: Path, folder: Path) -> Path:
    """``path`` under a folder of temporary files, from which gradio may hand it out."""
    offered = folder / path.name
    try:
        os.link(path, offered)
    except OSError:
        shutil.copyfile(path, offered)
    return offered
