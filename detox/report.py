"""The report of an evaluation: one page that stands alone, and the same for the Evaluate tab."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from detox.card import CARD, report_card, save_card
from detox.errors import UserError
from detox.results import Row, read_results
from detox.tables import table

REPORT = "report.html"
PAIRS = 10
ASSETS = Path(__file__).parent / "assets"

# Name, unit and direction of what is measured; None where neither direction is the aim.
_ROWS = (
    ("toxicity", "Toxicity, by the classifier", "%", "lower"),
    ("profanity", "Profanity, by the second judge", "%", "lower"),
    ("reward", "Reward, logit of not-hate", "", "higher"),
    ("preference", "Preference, by the reward model", "", "higher"),
    ("words", "Length, words", "", None),
    ("rouge1", "ROUGE-1", "", "higher"),
    ("rouge2", "ROUGE-2", "", "higher"),
    ("rougeL", "ROUGE-L", "", "higher"),
    ("kept", "Names and numbers kept, of the references'", "%", "higher"),
    ("supported", "Names and numbers that the dialogue holds", "%", "higher"),
)
_GROUPS = {"all": "All dialogues", "rude": "A speaker is rude", "others": "The others"}
# What the notebook that this project descends from reports, and a public run of it.
_LAB = (
    ("the lab's own run", "11", "0.0228 before, mean 54.67 % worse after", "no interval given"),
    ("another public run", "not told", "12.79 % lower after", "z = 0.31: inconclusive"),
)


def training_curves(spec: str) -> list[Row]:
    """The steps that PPO logged beside the adapter ``spec`` names; empty where there are none."""
    from detox.models import find_source
    from detox.runlog import read_metrics

    adapters = find_source(spec).adapters
    steps = read_metrics(adapters[-1]) if adapters else []
    return [row for row in steps if "objective/kl" in row]


def write_report(folder: Path, steps: Sequence[Row] = ()) -> Path:
    """Writes ``report.html`` and ``card.png`` beside the results in ``folder``.

    Returns the path of the page.

    ``steps`` are the training steps of the policy after. Raises ``UserError`` where there are no
    results or the page cannot be written.
    """
    rows, about = read_results(folder)
    title = f"{about['before']['policy']} → {about['after']['policy']}"
    save_card(folder / CARD, report_card(about))
    return save_page(folder / REPORT, title, body(rows, about, steps))


def save_page(path: Path, title: str, content: str) -> Path:
    """Writes ``content`` to ``path`` as a page that needs nothing else; returns the path.

    Raises ``UserError`` when it cannot be written.
    """
    sheets = ("colours.css", "page.css", "report.css")
    colours, *shapes = ((ASSETS / name).read_text("utf-8") for name in sheets)
    light, dark = colours.split(".dark {")
    # the app says by a class that it is dark, and a page by itself asks the system
    style = f"{light}@media (prefers-color-scheme: dark) {{ :root {{{dark}}}" + "".join(shapes)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Detox Arena</title>"
        f"<style>{style}</style></head>"
        f"<body><main>{content}</main></body></html>\n"
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"The report cannot be written to {path}: {error.strerror}.") from error
    return path


def read_report(folder: Path) -> str:
    """What ``write_report`` wrote, without its frame; ``UserError`` when there is none."""
    try:
        page = (folder / REPORT).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"There is no report in {folder}: run 'python -m detox evaluate' first."
        ) from error
    found = re.search(r"<main>(.*)</main>", page, re.DOTALL)
    return found[1] if found else ""


def body(
    rows: Sequence[Row], about: dict[str, Any], steps: Sequence[Row] = (), lab: bool = True
) -> str:
    """The report as HTML; every text of a dialogue or a policy is escaped.

    ``lab`` sets the numbers beside those of the notebook that this project descends from.
    """
    groups = about["groups"]
    parts = (
        _head(rows, about),
        _findings(groups),
        _judges(groups, about.get("judges")),
        _tables(groups),
        _charts(rows, groups, steps),
        _pairs(rows),
        _lab(groups) if lab else "",
        _made(about),
    )
    return f'<div class="da-report">{"".join(parts)}</div>'


def _head(rows: Sequence[Row], about: dict[str, Any]) -> str:
    names = [escape(about[side]["policy"]) for side in ("before", "after")]
    dialogues = len({row["id"] for row in rows})
    samples = about.get("samples", 1)
    each = "one response each" if samples == 1 else f"{samples} responses each"
    return (
        f'<header><h2><span class="da-before">{names[0]}</span> → '
        f'<span class="da-after">{names[1]}</span></h2>'
        f"<p>{len(rows):,} paired responses to {dialogues:,} dialogues ({each}) of "
        f"{escape(str(about['data']))}, split {escape(str(about['split']))}. Differences are "
        "paired; intervals are 95 %, from a bootstrap that draws dialogues.</p></header>"
    )


def _findings(groups: dict[str, Any]) -> str:
    cards = []
    for name, group in groups.items():
        toxicity = group["toxicity"]
        share = ""
        if toxicity["before_mean"] > 0:
            change = toxicity["difference"] / toxicity["before_mean"]
            share = f" ({100 * change:+.0f} %)".replace("-", "−")
        cards.append(
            f'<div class="da-finding da-{toxicity["verdict"]}"><small>{_GROUPS[name]}, '
            f"n = {group['n']:,}</small>"
            f"<strong>{_value(toxicity['before_mean'], '%')} → "
            f"{_value(toxicity['after_mean'], '%')}</strong>"
            f"<span>toxicity {toxicity['verdict']}{share}</span></div>"
        )
    signs = [
        f"<li><b>{_GROUPS[name]}:</b> {escape(sign)}</li>"
        for name, group in groups.items()
        for sign in group.get("signs", [])
    ]
    if signs:
        warning = (
            '<div class="da-warning" role="note"><b>Signs of over-optimisation</b>'
            f"<ul>{''.join(signs)}</ul></div>"
        )
    else:
        warning = (
            '<p class="da-quiet">No sign of over-optimisation: neither length, ROUGE, variety nor '
            "copies crossed its limit.</p>"
        )
    return f'<section class="da-findings">{"".join(cards)}</section>{warning}'


def _judges(groups: dict[str, Any], judges: dict[str, Any] | None) -> str:
    """What the classifier and the preference model say, and whom the policy was tuned to please."""
    numbers = groups["all"].get("preference")
    if not judges or not numbers:
        return ""
    rows = [
        (
            f"{_GROUPS[name]} <small>n = {group['n']:,}</small>",
            f"{_share(wins)} [{_share(wins, 'low')}, {_share(wins, 'high')}]",
            wins["verdict"],
            _value(group["preference"]["conflicts"], "%"),
        )
        for name, group in groups.items()
        if (wins := group.get("preference", {}).get("win_rate"))
    ]
    head = (
        "after against before",
        "preference model's win rate",
        "against one half",
        "where the two judges disagree",
    )
    length = numbers["length_correlation"]
    tail = "" if length is None else f" Its scores correlate with length by {_signed(length, '')}."
    seen = judges["learned_from"]
    if seen:
        tail += f" It learned from picks on {seen:,} of these prompts: there it is no test."
    elif seen is None:
        tail += " Which prompts it learned from is not known."
    return (
        "<section><h3>Two judges</h3>"
        f"<p>{escape(_rule(judges))} The preference model is {escape(judges['preference'])}.{tail}"
        f"</p>{table(head, rows)}</section>"
    )


_JUDGES = {"classifier": "the hate classifier", "preference": "the preference model"}


def _rule(judges: dict[str, Any]) -> str:
    pleased = [_JUDGES[kind] for kind in _JUDGES if kind in judges["tuned_on"]]
    others = [_JUDGES[kind] for kind in judges["held_out"]]
    if not pleased:
        return "Nothing says that the policy was tuned to please one of its judges."
    if not others:
        return (
            "The policy was tuned to please both judges, so that none is held out: people have to "
            "confirm what they say."
        )
    return (
        f"The policy was tuned to please {pleased[0]}, so that {others[0]} is the held-out judge."
    )


def _share(wins: dict[str, Any], key: str = "mean") -> str:
    return f"{100 * wins[key]:.1f} %"


def _tables(groups: dict[str, Any]) -> str:
    return "".join(_numbers(_GROUPS[name], group) for name, group in groups.items())


def _numbers(title: str, group: dict[str, Any]) -> str:
    lines = []
    for key, label, unit, aim in _ROWS:
        if key not in group:
            continue
        numbers = group[key]
        good = {None: "", numbers["verdict"]: " da-good"}.get(aim, " da-bad")
        if numbers["verdict"] == "inconclusive":
            good = ""
        before, after = (
            f"{_value(numbers[f'{side}_mean'], unit)} ± {_value(numbers[f'{side}_std'], unit)}"
            for side in ("before", "after")
        )
        gap = (
            f"{_signed(numbers['difference'], unit)} "
            f"[{_signed(numbers['low'], unit)}, {_signed(numbers['high'], unit)}]"
        )
        lines.append(_line(label, before, after, gap, numbers["verdict"], good))
        if key == "toxicity":
            before, after = (
                _value(numbers[f"{side}_above_half"], "%") for side in ("before", "after")
            )
            lines.append(_line("Share of toxicity above 50 %", before, after))
    if "kl" in group:
        kl = f"{group['kl']['mean']:.2f} ± {group['kl']['std']:.2f}"
        lines.append(_line("KL from before, nats a response", "0", kl))
    for key, label in (
        ("distinct2", "Different word pairs, of all"),
        ("repeated", "Copies of another response"),
        ("echoed", "Repeats within a response"),
    ):
        if "variety" in group:
            before, after = (
                _value(group["variety"][side][key], "%") for side in ("before", "after")
            )
            lines.append(_line(label, before, after))
    return (
        f"<section><h3>{title} <small>n = {group['n']:,}</small></h3>"
        + table(("mean ± standard deviation", "before", "after", "difference", "verdict"), lines)
        + "</section>"
    )


def _line(
    label: str, before: str, after: str, gap: str = "", verdict: str = "", tone: str = ""
) -> tuple[str, ...]:
    said = f'<span class="da-said{tone}">{verdict}</span>' if verdict else ""
    return label, before, after, gap, said


def _value(number: float, unit: str) -> str:
    return f"{100 * number:.1f} %" if unit == "%" else f"{number:.2f}".replace("-", "−")


def _signed(number: float, unit: str) -> str:
    text = f"{100 * number + 0.0:+.1f}" if unit == "%" else f"{number + 0.0:+.2f}"
    return text.replace("-", "−")


def _charts(rows: Sequence[Row], groups: dict[str, Any], steps: Sequence[Row]) -> str:
    # both take a while to import, and whoever only reads a report needs neither
    from detox import plots
    from detox.learning import verdicts

    charts = [
        plots.histograms(rows, "toxicity", "toxicity"),
        plots.differences(rows, "toxicity", "toxicity"),
        plots.histograms(rows, "words", "length in words"),
    ]
    if "rouge1" in groups["all"]:
        charts.append(plots.differences(rows, "rouge1", "ROUGE-1"))
    if len(steps) > 1:
        charts += [plots.frontier(steps), *plots.curves(steps)]
    figures = "".join(f"<figure>{chart}</figure>" for chart in charts)
    said = "".join(f"<p>Training: {escape(line)}</p>" for line in verdicts(steps))
    return f'<section><h3>Plots</h3>{said}<div class="da-charts">{figures}</div></section>'


def _pairs(rows: Sequence[Row]) -> str:
    chosen = random.Random(0).sample(list(rows), min(PAIRS, len(rows)))
    cards = "".join(
        "<article>"
        f"<details><summary>{escape(row['topic'] or row['id'])}"
        f"{' · ' + escape(row['tone']) if row['tone'] else ''}</summary>"
        f"<p>{escape(row['dialogue'])}</p></details>"
        + "".join(
            f'<p class="da-{side}"><b>{side}</b> {escape(row[side]["text"]) or "<i>nothing</i>"} '
            f"<small>{_value(row[side]['toxicity'], '%')} toxic</small></p>"
            for side in ("before", "after")
        )
        + "</article>"
        for row in chosen
    )
    return (
        f"<section><h3>{len(chosen)} pairs, drawn at random</h3>"
        f'<div class="da-samples">{cards}</div></section>'
    )


def _lab(groups: dict[str, Any]) -> str:
    group = groups.get("rude", groups["all"])
    toxicity = group["toxicity"]
    change = ""
    if toxicity["before_mean"]:
        percent = 100 * toxicity["difference"] / toxicity["before_mean"]
        change = f"{abs(percent):.0f} % {'lower' if percent < 0 else 'higher'} after"
    ours = (
        "this evaluation" + (", rude dialogues" if "rude" in groups else ""),
        f"{group['n']:,}",
        f"{toxicity['before_mean']:.4f} before, {change}",
        f"{_signed(toxicity['difference'], '')} [{_signed(toxicity['low'], '')}, "
        f"{_signed(toxicity['high'], '')}]: {toxicity['verdict']}",
    )
    return (
        "<section><h3>Beside the lab</h3>"
        "<p>Other models, other dialogues, another classifier: what can be compared is whether a "
        "difference was found and how sure it is.</p>"
        f"{table(('run', 'n', 'mean toxicity', 'paired difference'), (*_LAB, ours))}</section>"
    )


def _made(about: dict[str, Any]) -> str:
    sampling = ", ".join(f"{key} {value}" for key, value in about["sampling"].items())
    judge = about["judge"]
    facts = (
        f"Before: {about['before']['policy']} ({about['before']['fingerprint']}). "
        f"After: {about['after']['policy']} ({about['after']['fingerprint']}). "
        f"Judge: {judge['name']}, label {judge['label']}, scope {judge['scope']}; second judge: "
        f"alt-profanity-check. Sampling: {sampling}."
    )
    return f'<footer class="da-quiet"><p>{escape(facts)}</p></footer>'
