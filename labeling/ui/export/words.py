"""What the Export tab tells, as HTML: every text of people and files is escaped here."""

from __future__ import annotations

from html import escape
from pathlib import Path

from detox.ui.html import empty
from detox.wording import percent
from labeling.analysis.report import Counts
from labeling.export import Plan
from labeling.formats import RAW, UNLABELED
from labeling.ui.export.files import Exported, Imported
from labeling.ui.results import plural

# What each format is called, and what its file holds.
NAMES = {
    "trl-explicit": ("TRL, explicit prompt", "rows of prompt, chosen, rejected"),
    "trl-implicit": ("TRL, implicit prompt", "rows of chosen, rejected"),
    "trl-conversational": ("TRL, conversational", "rows of message lists"),
    "trl-unpaired": ("TRL, unpaired", "rows of prompt, completion, label"),
    "vertex-preference": ("Vertex AI, preferences", "rows of input_text, two candidates, choice"),
    "vertex-prompts": ("Vertex AI, prompts", "rows of input_text"),
    "vertex-bulk-inference": ("Vertex AI, bulk inference", "rows of inputs, prediction"),
    "openai-comparisons": ("OpenAI comparisons", "rows of info, summaries, choice"),
    "csv": ("CSV", "every pick with texts, sides, policies and times"),
    "parquet": ("Parquet", "every pick with texts, sides, policies and times"),
    "folder": ("Dataset folder, ZIP", "preferences, raw picks, a dataset card"),
}
# What only an import meets.
_READ = {"picks": "Raw picks", "pairs": "Pairs to judge"}
_LEFT_OUT = {
    "both_bad": "both bad",
    "no_majority": "without a majority",
    "no_votes": "without a vote",
    "gold": "gold",
    "by_models": "by models",
}


def overview(counts: Counts) -> str:
    """How many picks there are to export, as HTML."""
    if counts.picks == 0:
        return empty(
            "Nothing to export yet",
            "Picks made in the <b>Label</b> tab become a preference dataset here.",
        )
    decided = counts.left + counts.right
    return (
        '<div class="lb-export-head"><h2 class="da-title">Take the picks with you</h2>'
        f'<p class="da-muted">{plural(counts.picks, "pick")} so far: {decided:,} decided,'
        f" {plural(counts.ties, 'tie')}, {counts.both_bad:,} both bad, {counts.skips:,} skipped."
        " Formats that hold only a winner and a loser leave the undecided ones out and count them."
        " Labelers appear under pseudonyms; splits are by dialogue.</p></div>"
    )


def forecast(plan: Plan) -> str:
    """How many rows there would be, and what would be left out, as HTML."""
    what = "prompt" if plan.format == "vertex-prompts" else "row"
    if not plan.rows:
        said = "Nothing matches"
        rest = f"{left_out(plan.left_out)} cannot be held" if plan.left_out else "no pick does"
        return _line("lb-none", said, rest)
    parts = [", ".join(f"{n:,} {split}" for split, n in plan.rows_by_split.items())]
    if plan.format in UNLABELED:
        parts.append("no picks are needed")
    elif plan.left_out:
        parts.append(f"left out: {left_out(plan.left_out)}")
    elif plan.format in RAW:
        parts.append("every pick as it was made")
    return _line("", plural(plan.rows, what), " · ".join(part for part in parts if part))


def problem(sentence: str) -> str:
    """In the place of a forecast: why there is none, as HTML."""
    return _line("lb-none", "Not like this", sentence)


def _line(kind: str, said: str, rest: str) -> str:
    return (
        f'<p class="lb-forecast {kind}" role="status"><b>{escape(said)}</b>'
        f"<span>{escape(rest)}</span></p>"
    )


def left_out(counts: dict[str, int]) -> str:
    """``2 ties, 1 both bad``: what a format cannot hold."""
    return ", ".join(
        f"{count:,} {_LEFT_OUT[name]}" if name in _LEFT_OUT else plural(count, name)
        for name, count in counts.items()
    )


def summary(done: Exported) -> str:
    """What the file holds and what it leaves out, as HTML."""
    path, manifest = done.path, done.manifest
    splits = ", ".join(f"{n:,} {split}" for split, n in manifest.rows_by_split.items())
    shared = manifest.agreement
    overlap = (
        f"{percent(shared['raw'])} on {plural(shared['pairs'], 'pair')} judged twice or more"
        if shared["raw"] is not None
        else "no pair was judged twice"
    )
    origin = (
        f"{plural(manifest.picks, 'pick')} on {plural(manifest.pairs, 'pair')} by "
        f"{plural(manifest.labelers, 'labeler')}"
    )
    rows = (
        ("Rows", f"{manifest.rows:,}" + (f" ({splits})" if splits else "")),
        ("From", origin),
        ("Left out", left_out(manifest.left_out) or "nothing"),
        ("Agreement", overlap),
        ("Snapshot", f'<code title="{manifest.snapshot}">{manifest.snapshot[:16]}</code>'),
    )
    return _card(path.name, f"{_size(path)}: {NAMES[manifest.format][1]}.", rows)


def import_report(found: Imported) -> str:
    """What a file adds or would add, as HTML."""
    report = found.report
    counts = [
        (report.picks, "pick"),
        (report.pairs, "pair"),
        (report.prompts, "prompt"),
        (report.candidates, "response"),
    ]
    added = " and ".join(plural(count, noun) for count, noun in counts if count)
    passed = [
        f"{report.known:,} known already" if report.known else "",
        f"{report.identical:,} with the same text twice" if report.identical else "",
        f"{report.alone:,} without a partner" if report.alone else "",
    ]
    rows = [
        ("Read as", _READ.get(report.format) or NAMES[report.format][0]),
        ("Rows", f"{report.rows:,}"),
        ("Added" if found.done else "Would add", added or "nothing new"),
        ("Changed" if found.done else "Would change", _edits(report.edits)),
        ("Passed over", ", ".join(part for part in passed if part)),
        ("Not read", " ".join(f"<code>{escape(name)}</code>" for name in report.ignored)),
    ]
    note = "It is in the project now." if found.done else "Nothing has been changed yet."
    return _card(found.name, note, tuple(row for row in rows if row[1]))


def _edits(count: int) -> str:
    return f"{plural(count, 'pick')}, to a later answer of the same labeler" if count else ""


def button(found: Imported | None) -> str:
    """What the button says that imports a checked file."""
    if found is None:
        return "Add to the project"
    if not found.adds:
        return "Nothing new to add"
    report = found.report
    count = report.picks + report.edits or report.pairs or report.candidates or report.prompts
    noun = (
        "pick"
        if report.picks or report.edits
        else "pair"
        if report.pairs
        else "response"
        if report.candidates
        else "prompt"
    )
    return f"Add {plural(count, noun)}"


def refused(sentence: str) -> str:
    """Why a file cannot be imported, as HTML."""
    return (
        '<div class="da-error lb-refused" role="alert">'
        '<p class="da-title">This file was not imported</p>'
        f"<div>{escape(sentence)}</div></div>"
    )


def _card(title: str, note: str, rows: tuple[tuple[str, str], ...]) -> str:
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows)
    return (
        f'<section class="da-card lb-manifest"><h3 class="da-title">{escape(title)}</h3>'
        f'<p class="da-muted">{escape(note)}</p><dl>{items}</dl></section>'
    )


def _size(path: Path) -> str:
    size = path.stat().st_size
    return f"{size / 1024:,.1f} KB" if size < 1024**2 else f"{size / 1024**2:,.1f} MB"
