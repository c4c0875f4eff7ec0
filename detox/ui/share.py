"""What is passed on of a comparison: a picture of it, and a link to its dialogue."""

from __future__ import annotations

import base64
import math
from html import escape
from typing import Any
from urllib.parse import quote

import gradio as gr

from detox.card import CARD, comparison_card
from detox.config import Sampling
from detox.errors import UserError
from detox.ui.compare import Comparison, Data
from detox.ui.manners import polite
from detox.workbench import Side


def share_panel(comparison: Comparison, dialogue: gr.Textbox, data: gr.JSON) -> None:
    """Builds the panel below a comparison; it shows itself once there is something to pass on."""
    with gr.Column(visible=False, elem_classes="da-share") as panel:
        go = gr.Button("Make a picture of this", size="sm", elem_id="share")
        card = gr.HTML(elem_id="card", apply_default_css=False)

    @polite
    def share(dialogue: str, result: Any) -> str:
        """A picture of a finished comparison, within a page."""
        return share_page(comparison, dialogue, result)

    hidden: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "undocumented"}
    go.click(share, [dialogue, data], card, api_name="share", **hidden)
    data.change(
        lambda result: (gr.Column(visible=is_done(result)), ""),
        data,
        [panel, card],
        api_name="share_ready",
        queue=False,
        **hidden,
    )


def is_done(result: Data) -> bool:
    """Whether both summaries have their scores."""
    return isinstance(result, dict) and result.get("status") == "done"


def share_page(comparison: Comparison, dialogue: str, result: Any) -> str:
    """The picture of ``result``, to be saved, and the link to ``dialogue`` if it is an example.

    ``result`` comes from a visitor's page. Raises ``UserError`` when it is no finished comparison.
    """
    sides, sampling = _read(result)
    beforehand = "Computed beforehand" if result.get("beforehand") else "Computed live"
    png = comparison_card(str(dialogue or ""), sides, f"{beforehand}, {sampling.describe()}.")
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    said = ". ".join(f"{side.policy}: {side.text}, toxicity {side.toxicity:.0%}" for side in sides)
    known = comparison.known(dialogue)
    link = ""
    if known is not None:
        link = (
            f'<a href="?dialogue={quote(known.id, safe="")}" target="_blank" rel="noopener">'
            "Link to this dialogue</a>"
        )
    return (
        f'<figure class="da-shared"><img src="{source}" alt="{escape(said)}">'
        f'<figcaption><a href="{source}" download="{CARD}">Save the picture</a>{link}</figcaption>'
        "</figure>"
    )


def _read(result: Any) -> tuple[list[Side], Sampling]:
    try:
        if not is_done(result):
            raise ValueError("not finished")
        sides = [_side(side) for side in result["sides"]]
        if len(sides) != 2:
            raise ValueError("not two")
        return sides, Sampling(**result["sampling"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError("There is nothing to show yet: press Compare first.") from error


def _side(given: dict[str, Any]) -> Side:
    reward, toxicity = float(given["reward"]), float(given["toxicity"])
    if not (math.isfinite(reward) and 0 <= toxicity <= 1):
        raise ValueError("no score")
    people = given.get("preference")
    preference = float(people) if isinstance(people, int | float) else None
    texts = str(given["policy"]), str(given["text"])
    return Side(*texts, int(given["words"]), reward, toxicity, preference)
