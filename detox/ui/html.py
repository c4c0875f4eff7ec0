"""What visitors see, as HTML: every text that comes from people or models is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from detox.wording import (
    UNSURE,
    capital,
    number,
    opinion,
    percent,
    readable,
    turns,
    verdict,
    words,
)
from detox.workbench import Side, Status

# A conversation of more turns or characters is shown in part; all of it is summarized.
SHOWN_TURNS = 120
SHOWN_CHARS = 12_000


def bar(share: float, label: str) -> str:
    """A share from 0 to 1 as a bar."""
    return (
        f'<div class="da-bar" role="meter" aria-label="{escape(label)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * share:.0f}" '
        f'style="--value:{100 * share:.1f}%"><i></i></div>'
    )


def empty(title: str, text: str) -> str:
    """A place where nothing is yet, and what to do about it; ``text`` is HTML."""
    return f'<div class="da-empty"><p class="da-title">{escape(title)}</p><div>{text}</div></div>'


def failure(title: str, sentence: str) -> str:
    """A lasting failure that the page must show."""
    return (
        f'<div class="da-error" role="alert"><p class="da-title">{escape(title)}</p>'
        f"<div>{escape(sentence)}</div></div>"
    )


def header() -> str:
    """What this is, in two sentences."""
    return (
        '<div class="da-header"><div>'
        '<h1><span class="da-mark" aria-hidden="true"><i></i><i></i></span>Detox Arena</h1>'
        "<p>A small language model summarizes conversations, before and after it was tuned to "
        "leave the insults out. Compare the two, pick the better one, and your picks become "
        "the reward it learns from next.</p></div></div>"
    )


def pill(status: Status) -> str:
    """How far the models are, as a small label."""
    if status.error:
        return (
            '<span class="da-pill" style="--da-dot:var(--da-error)" role="status">'
            "models did not load</span>"
        )
    if status.ready:
        return (
            '<span class="da-pill" style="--da-dot:var(--da-after)" role="status">'
            "models ready</span>"
        )
    return (
        '<span class="da-pill" style="--da-dot:var(--da-before)" role="status">'
        f"{escape(status.text)} \u00b7 {percent(status.share)}</span>"
    )


def conversation(text: str) -> str:
    """A dialogue laid out turn by turn, the second speaker on the right."""
    said = turns(text[:SHOWN_CHARS])
    if not said:
        return empty(
            "No conversation yet", "Pick an example, or paste one with a speaker on each line."
        )
    left: str | None = None
    lines, last = [], None
    for speaker, line in said[:SHOWN_TURNS]:
        left = speaker if left is None else left
        kind = "da-turn"
        kind += "" if speaker else " da-wide"
        kind += " da-right" if speaker != left else ""
        kind += " da-follow" if speaker == last else ""
        name = f"<b>{escape(readable(speaker))}</b>" if speaker and speaker != last else ""
        lines.append(f'<div class="{kind}">{name}<span>{escape(line)}</span></div>')
        last = speaker
    if len(said) > SHOWN_TURNS or len(text) > SHOWN_CHARS:
        lines.append('<p class="da-muted">The rest is not shown here, but it is summarized.</p>')
    opening = '<div class="da-talk" role="region" tabindex="0" aria-label="The conversation">'
    return f"{opening}{''.join(lines)}</div>"


def comparison(sides: Sequence[Side], note: str = "", chance: float | None = None) -> str:
    """Two responses side by side, with the verdict once both have scores.

    ``chance`` is that of people preferring the second, by the model trained on their picks.
    """
    tones = _tones([side.policy for side in sides])
    cards = "".join(_side(side, tone) for side, tone in zip(sides, tones, strict=True))
    return f'{_verdict(sides, note)}{_people(sides, chance)}<div class="da-pair">{cards}</div>'


def waiting(status: Status) -> str:
    """In the place of the responses while the models load."""
    return (
        '<div class="da-verdict da-working" role="status"><strong>One moment</strong>'
        f"<span>{escape(status.text)}</span>{bar(status.share, 'models loaded')}</div>"
    )


def _tones(names: Sequence[str]) -> list[str]:
    # a version keeps its colour when the two are swapped
    if list(names) == ["after", "before"]:
        return ["da-after", "da-before"]
    return ["da-before", "da-after"]


def _side(side: Side, tone: str) -> str:
    scored = side.reward is not None and side.toxicity is not None
    people = ""
    text = escape(readable(side.text))
    style = "da-text"
    if scored and not side.text:
        text, style = "This version wrote nothing.", "da-text da-none"
    if side.reward is not None and side.toxicity is not None:
        reward, share = number(side.reward), percent(side.toxicity)
        toxicity = f"<dd>{bar(side.toxicity, 'toxicity')}</dd><dd>{share}</dd>"
        if side.preference is not None:
            people = (
                '<dt title="By the model trained on people\'s picks: higher is preferred">'
                f'Preference</dt><dd class="da-span">{number(side.preference)}</dd>'
            )
    else:
        reward = '<span class="da-wait">\u2013</span>'
        toxicity = f'<dd>{bar(0, "toxicity")}</dd><dd class="da-wait">\u2013</dd>'
    return (
        f'<article class="da-card da-side {tone}{"" if scored else " da-writing"}">'
        f"<header><h3>{escape(capital(side.policy))}</h3></header>"
        f'<p class="{style}">{text}</p><dl class="da-scores">'
        f'<dt title="Logit of the label not-hate: higher is gentler">Reward</dt>'
        f'<dd class="da-span">{reward}</dd>'
        f'{people}<dt title="Probability of hate or insult, by the classifier">Toxicity</dt>'
        f"{toxicity}"
        f'<dt>Length</dt><dd class="da-span">{words(side.words)}</dd></dl></article>'
    )


def _people(sides: Sequence[Side], chance: float | None) -> str:
    """What people would say, by the model trained on their picks, beside the classifier."""
    first, second = sides
    if chance is None or first.reward is None or second.reward is None:
        return ""
    stand = opinion(second.reward - first.reward, chance)
    winner, share = (second, chance) if chance >= 0.5 else (first, 1 - chance)
    name = escape(capital(winner.policy))
    if abs(chance - 0.5) < UNSURE:
        said = f"would be undecided: {percent(share)} for {name}."
    else:
        said = f"would pick <b>{name}</b>, with a chance of {percent(share)}."
    heads = {
        "agree": "The judges agree",
        "conflict": "The judges disagree",
        "undecided": "The other judge",
    }
    return (
        f'<div class="da-people da-{stand}" role="status"><strong>{heads[stand]}</strong>'
        f"<span>People, by the model trained on their picks, {said}</span></div>"
    )


def _verdict(sides: Sequence[Side], note: str) -> str:
    first, second = sides
    if first.reward is None or second.reward is None:
        begun = any(side.text for side in sides)
        doing = "Writing" if begun else "Reading"
        follows = (
            "The scores follow when both summaries are complete."
            if begun
            else "The first words follow; a long conversation takes a while."
        )
        return (
            f'<div class="da-verdict da-working" role="status"><strong>{doing}</strong>'
            f"<span>{follows}</span></div>"
        )
    difference = second.reward - first.reward
    said = verdict(difference)
    tone = {"gentler": " da-after", "ruder": " da-before"}.get(said, "")
    label = f'<span class="da-pill da-plain">{escape(note)}</span>' if note else ""
    return (
        f'<div class="da-verdict{tone}" role="status"><strong>{capital(said)}</strong>'
        f"<span>reward difference <b>{number(difference)}</b></span>{label}</div>"
    )
