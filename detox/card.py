"""A result as a picture to pass on: one comparison, or what an evaluation found.

Drawn with Pillow in matplotlib's DejaVu Sans, so that it looks the same everywhere. Letters that
the font lacks (Chinese, emoji) come out as boxes.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from detox.errors import UserError
from detox.results import Row, read_results
from detox.wording import (
    capital,
    number,
    percent,
    percent1,
    points,
    readable,
    turns,
    verdict,
    words,
)

WIDTH, EDGE, GAP = 1200, 56, 24
"""Pixels."""
CARD = "card.png"
MOST_TURNS, MOST_LINES, TURN_LINES = 4, 9, 2
"""Turns of a conversation, and lines of a summary and of a turn, that a card shows."""
INK, MUTED, PAGE, SURFACE, LINE, SUNKEN = (
    "#23272e",
    "#646a73",
    "#faf8f5",
    "#ffffff",
    "#e5e0d8",
    "#f4f1ec",
)
TONES = {"before": ("#b0521a", "#fcf1e7"), "after": ("#0c746b", "#e7f4f1")}


class Sheet:
    """A card that grows downwards: ``y`` is where the next thing goes."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH, 3_000), PAGE)
        self.draw = ImageDraw.Draw(self.image)
        self.y = EDGE

    def text(
        self,
        text: str,
        size: int,
        x: int = EDGE,
        width: int = WIDTH - 2 * EDGE,
        bold: bool = False,
        fill: str = INK,
        lines: int = MOST_LINES,
    ) -> None:
        """Writes ``text`` in at most so many ``lines``, wrapped at ``width`` pixels."""
        letters = font(size, bold)
        for line in wrapped(text, letters, width, lines):
            self.draw.text((x, self.y), line, fill, letters)
            self.y += round(1.42 * size)

    def head(self, title: str, said: str) -> None:
        """The name of the product, what came out, and a line about it."""
        x, y = EDGE, self.y
        self.draw.ellipse((x, y + 2, x + 22, y + 24), fill=TONES["before"][0])
        self.draw.ellipse((x + 13, y + 2, x + 35, y + 24), fill=TONES["after"][0])
        self.text("Detox Arena", 22, x + 48, bold=True)
        self.y += 14
        self.text(title, 40, bold=True, lines=2)
        self.text(said, 22, fill=MUTED, lines=3)
        self.y += 22

    def png(self, foot: str) -> bytes:
        """The card down to here, with ``foot`` below."""
        self.y += 4
        self.text(foot, 17, fill=MUTED, lines=3)
        content = io.BytesIO()
        self.image.crop((0, 0, WIDTH, self.y + EDGE - 16)).save(content, "PNG", optimize=True)
        return content.getvalue()


def save_card(path: Path, png: bytes) -> Path:
    """Writes a card to ``path`` and returns it; ``UserError`` when that cannot be done."""
    try:
        path.write_bytes(png)
    except OSError as error:
        raise UserError(f"The card cannot be written to {path}: {error.strerror}.") from error
    return path


def row_card(folder: Path, id: str) -> bytes:
    """The card of one dialogue of the results in ``folder``.

    Raises ``UserError`` when there are no results, or none of that dialogue.
    """
    from detox.workbench import Side

    rows, _ = read_results(folder)
    for row in rows:
        if row["id"] == id:
            sides = [
                Side(name, side["text"], side["words"], side["reward"], side["toxicity"])
                for name, side in (("before", row["before"]), ("after", row["after"]))
            ]
            return comparison_card(row["dialogue"], sides)
    raise UserError(f"There is no dialogue '{id}' in {folder}: take an id from compare.jsonl.")


def comparison_card(dialogue: str, sides: Sequence[Any], made: str = "") -> bytes:
    """Both responses to ``dialogue`` with their scores, as PNG.

    ``sides`` are two scored ``detox.workbench.Side``; ``made`` says how they were made.
    """
    first, second = sides
    difference = second.reward - first.reward
    sheet = Sheet()
    said = f"{capital(second.policy)} against {first.policy}: reward {number(difference)}"
    sheet.head(capital(verdict(difference)), said)
    _talk(sheet, dialogue)
    top, wide = sheet.y, (WIDTH - 2 * EDGE - GAP) // 2
    # a version keeps its colour when the two are swapped
    tones = list(TONES) if first.policy != "after" else list(TONES)[::-1]
    bottom = 0
    for drawn in (False, True):  # the box goes below its text, and is as high as the text needs
        for place, (side, tone) in enumerate(zip(sides, tones, strict=True)):
            left = EDGE + place * (wide + GAP)
            if drawn:
                _box(sheet, left, top, wide, bottom + 20 - top, TONES[tone][0])
            sheet.y = top + 30
            _side(sheet, side, left, wide, *TONES[tone])
            bottom = max(bottom, sheet.y)
    sheet.y = bottom + 38
    return sheet.png(f"{made}{' ' if made else ''}{MEANING}")


MEANING = (
    "Toxicity is the probability of hate or insult by a classifier, reward its logit of not-hate."
)


def report_card(about: dict[str, Any]) -> bytes:
    """What an evaluation found, as PNG: ``about`` as ``read_results`` gives it."""
    group: Row = about["groups"]["all"]
    found = group["toxicity"]
    title = {
        "lower": "Measurably gentler",
        "higher": "Measurably ruder",
        "inconclusive": "No difference shown",
    }[found["verdict"]]
    sheet = Sheet()
    names = (about["before"]["policy"], about["after"]["policy"])
    sheet.head(title, f"{capital(names[1])} against {names[0]} on {group['dialogues']} dialogues")
    top, wide = sheet.y, (WIDTH - 2 * EDGE - 2 * GAP) // 3
    figures = (
        (f"Toxicity, {names[0]}", percent1(found["before_mean"]), *TONES["before"]),
        (f"Toxicity, {names[1]}", percent1(found["after_mean"]), *TONES["after"]),
        ("Paired difference", f"{points(found['difference'])} points", INK, SUNKEN),
    )
    for place, (label, value, ink, soft) in enumerate(figures):
        left = EDGE + place * (wide + GAP)
        sheet.draw.rounded_rectangle((left, top, left + wide, top + 132), 16, fill=soft)
        sheet.y = top + 22
        sheet.text(label, 20, left + 24, wide - 48, fill=MUTED, lines=1)
        sheet.text(value, 38, left + 24, wide - 48, bold=True, fill=ink, lines=1)
    sheet.y = top + 156
    sheet.text(
        f"95 % interval of the difference: {points(found['low'])} to {points(found['high'])} points"
        + (", zero among them." if found["verdict"] == "inconclusive" else "."),
        22,
    )
    sheet.text(_costs(group), 22, fill=MUTED, lines=3)
    sheet.y += 18
    judge = about["judge"]["name"]
    return sheet.png(
        f"Split: {about['split']}. Judge: {judge if judge != 'embedded' else 'our classifier'}. "
        "Interval: bootstrap over dialogues.",
    )


def _costs(group: Row) -> str:
    """What else changed, and whether surely: an adapter that says less is gentler too."""
    kinds = (("words", "Length", " words"), ("rougeL", "ROUGE-L", ""))
    said = [
        f"{name} {group[key]['before_mean']:.1f} to {group[key]['after_mean']:.1f}{unit}"
        + (" (inconclusive)" if group[key]["verdict"] == "inconclusive" else "")
        for key, name, unit in kinds
        if key in group
    ]
    return f"{'; '.join(said)}." if said else ""


def _talk(sheet: Sheet, dialogue: str) -> None:
    """The first turns of a conversation."""
    said = turns(dialogue)
    for speaker, line in said[:MOST_TURNS]:
        name = f"{readable(speaker)}: " if speaker else ""
        flat = " ".join(f"{name}{line}".split())
        sheet.text(flat, 20, lines=TURN_LINES)
        sheet.y += 4
    if len(said) > MOST_TURNS:
        sheet.text(f"and {len(said) - MOST_TURNS:,} more turns", 18, fill=MUTED)
    sheet.y += 18


def _box(sheet: Sheet, left: int, top: int, wide: int, high: int, tone: str) -> None:
    """A white surface with a coloured upper edge."""
    box = (left, top, left + wide, top + high)
    sheet.draw.rounded_rectangle(box, 16, fill=tone)
    sheet.draw.rounded_rectangle((left, top + 7, *box[2:]), 14, fill=SURFACE)
    sheet.draw.rounded_rectangle((left, top + 7, *box[2:]), 14, outline=LINE, width=2)


def _side(sheet: Sheet, side: Any, left: int, wide: int, ink: str, soft: str) -> None:
    inner, room = left + 26, wide - 52
    sheet.text(capital(side.policy), 20, inner, room, bold=True, fill=ink, lines=1)
    sheet.y += 4
    sheet.text(readable(side.text) or "This version wrote nothing.", 23, inner, room)
    sheet.y += 12
    width = round(room * min(max(side.toxicity, 0.0), 1.0))
    bar = (inner, sheet.y, inner + room, sheet.y + 10)
    sheet.draw.rounded_rectangle(bar, 5, fill=soft)
    if width > 5:
        sheet.draw.rounded_rectangle((*bar[:2], inner + width, bar[3]), 5, fill=ink)
    sheet.y += 20
    scores = f"toxicity {percent(side.toxicity)} · reward {number(side.reward)}"
    if side.preference is not None:
        scores += f" · preference {number(side.preference)}"
    sheet.text(f"{scores} · {words(side.words)}", 18, inner, room, fill=MUTED, lines=2)


@functools.cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at ``size`` pixels."""
    import matplotlib  # half a second, for whoever wants a card only

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


def wrapped(text: str, letters: ImageFont.FreeTypeFont, width: int, lines: int) -> list[str]:
    """``text`` in at most ``lines`` lines of ``width`` pixels, the last with an ellipsis if cut.

    A word that is wider than a line is broken.
    """
    found: list[str] = []
    line = ""
    for word in text[: lines * width].split():
        for piece in _pieces(word, letters, width):
            longer = f"{line} {piece}" if line else piece
            if letters.getlength(longer) <= width:
                line = longer
                continue
            found.append(line)
            line = piece
    found.append(line)
    if len(found) <= lines:
        return found
    last = found[lines - 1]
    while last and letters.getlength(f"{last}\u2026") > width:
        last = last[:-1]
    return [*found[: lines - 1], f"{last.rstrip()}\u2026"]


def _pieces(word: str, letters: ImageFont.FreeTypeFont, width: int) -> list[str]:
    if letters.getlength(word) <= width:
        return [word]
    # by halves, so that a word of a million letters takes no million measurements of it
    middle = len(word) // 2
    if not middle:
        return [word]
    return _pieces(word[:middle], letters, width) + _pieces(word[middle:], letters, width)
