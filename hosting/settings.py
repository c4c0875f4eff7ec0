"""What an app serves, from where: its settings, read from environment variables."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from detox.errors import UserError
from labeling.people import SIGN_INS
from labeling.ui import Entrance

RESULTS = Path(__file__).parent.parent / "detox" / "embedded" / "results"
OWN_ADDRESSES = ("", "127.0.0.1", "::1", "localhost")
KNOWN = frozenset(
    f"DETOX_{name}"
    for name in (
        *("DB", "POLICIES", "CLASSIFIER", "LABEL", "REWARD", "RESULTS", "RUNS", "SIGN_IN"),
        *("LEADS", "KEEP", "KEEP_MINUTES"),
        # read elsewhere: where weights are kept, what may be read, and how long tests try
        *("CACHE", "PICKLED_WEIGHTS", "EXAMPLES"),
    )
)


@dataclass(frozen=True)
class Settings:
    """What an app serves, from where; ``from_env`` reads it from environment variables."""

    database: Path = Path("data/labels.db")
    """DETOX_DB: the SQLite file of pairs and picks, made when it is missing."""
    policies: dict[str, str] = field(default_factory=lambda: {"before": "before", "after": "after"})
    """DETOX_POLICIES, ``name=spec;name=spec``: the versions to compare, two at least."""
    classifier: str = ""
    """DETOX_CLASSIFIER: hub name or folder of the hate classifier; the embedded one if empty."""
    label: str | None = None
    """DETOX_LABEL: the classifier's label to reward, where none is called not-hate."""
    reward: str = ""
    """DETOX_REWARD: ``preference:FOLDER``, a model of people's picks as a second judge."""
    results: Path = RESULTS
    """DETOX_RESULTS: folder of results computed beforehand."""
    runs: Path = Path("runs")
    """DETOX_RUNS: folder of the trainings, and of the reports that the Evaluate tab shows."""
    sign_in: str = "open"
    """DETOX_SIGN_IN: open, accounts or huggingface, which Spaces with OAuth have by themselves."""
    leads: tuple[str, ...] = ()
    """DETOX_LEADS, ``name,name``: who leads the labeling from the start; a Space's owner if empty.
    """
    keep: str = ""
    """DETOX_KEEP, ``OWNER/NAME``: private dataset on the Hub that keeps picks and restores them."""
    keep_minutes: float = 5.0
    """DETOX_KEEP_MINUTES: how often; what is newer may be lost with the disk."""
    public: bool = False
    """Whether others can reach the page: on Spaces, and by GRADIO_SERVER_NAME or GRADIO_SHARE."""

    @property
    def entrance(self) -> Entrance:
        """How people come in."""
        return Entrance(self.sign_in, self.leads, self.public)

    @classmethod
    def from_env(cls) -> Settings:
        """The settings of the environment.

        ``UserError`` names a variable that is wrong, and one of ours that nobody knows.
        """
        env = os.environ
        _check_names(env)
        default = cls()
        return cls(
            Path(env.get("DETOX_DB") or default.database),
            _policies(env["DETOX_POLICIES"]) if env.get("DETOX_POLICIES") else default.policies,
            env.get("DETOX_CLASSIFIER") or default.classifier,
            env.get("DETOX_LABEL") or default.label,
            _reward(env),
            Path(env.get("DETOX_RESULTS") or default.results),
            Path(env.get("DETOX_RUNS") or default.runs),
            _sign_in(env),
            _leads(env),
            (env.get("DETOX_KEEP") or "").strip(),
            _minutes(env),
            _public(env),
        )


def _check_names(env: Mapping[str, str]) -> None:
    # a misspelt DETOX_KEEP would lose picks, and a misspelt DETOX_SIGN_IN let everybody in
    for name in sorted(set(env) - KNOWN):
        if name.startswith("DETOX_"):
            close = difflib.get_close_matches(name, KNOWN, n=1)
            hint = (
                f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(KNOWN))}."
            )
            raise UserError(f"{name} is no setting of Detox Arena: {hint}")


def _policies(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    named = {name.strip(): spec.strip() for name, _, spec in parts}
    if len(named) < 2 or len(named) < len(parts) or not all(k and v for k, v in named.items()):
        raise UserError(
            "DETOX_POLICIES must name two versions or more, as in 'before=before;after=runs/ppo'."
        )
    return named


def _reward(env: Mapping[str, str]) -> str:
    spec = (env.get("DETOX_REWARD") or "").strip()
    kind, _, folder = spec.partition(":")
    if spec and (kind != "preference" or not folder):
        raise UserError(f"DETOX_REWARD is '{spec}': name a reward model as preference:FOLDER.")
    return spec


def _sign_in(env: Mapping[str, str]) -> str:
    # What gradio asks as well; on any other machine it would pretend.
    on_space = env.get("SYSTEM") == "spaces" and env.get("SPACE_ID")
    oauth = bool(on_space and env.get("OAUTH_CLIENT_ID"))
    way = (env.get("DETOX_SIGN_IN") or "").strip() or ("huggingface" if oauth else "open")
    if way not in SIGN_INS:
        raise UserError(f"DETOX_SIGN_IN is '{way}': use one of {', '.join(SIGN_INS)}.")
    if way == "huggingface" and not oauth:
        raise UserError(
            "DETOX_SIGN_IN=huggingface works on Hugging Face Spaces with OAuth only (hf_oauth: true"
            " in README.md): use accounts elsewhere."
        )
    return way


def _leads(env: Mapping[str, str]) -> tuple[str, ...]:
    given = tuple(filter(None, (name.strip() for name in env.get("DETOX_LEADS", "").split(","))))
    way = _sign_in(env)
    if given and way == "open":
        raise UserError(
            "DETOX_LEADS names leads, but nobody signs in here: set DETOX_SIGN_IN=accounts as well."
        )
    if not given and way == "huggingface" and env.get("SPACE_AUTHOR_NAME"):
        return (env["SPACE_AUTHOR_NAME"],)
    return given


def _minutes(env: Mapping[str, str]) -> float:
    said = env.get("DETOX_KEEP_MINUTES") or str(Settings.keep_minutes)
    try:
        minutes = float(said)
    except ValueError:
        minutes = 0.0
    if not 0.1 <= minutes <= 1440:
        raise UserError(f"DETOX_KEEP_MINUTES is '{said}': give minutes from 0.1 to 1440.")
    return minutes


def _public(env: Mapping[str, str]) -> bool:
    shared = env.get("GRADIO_SHARE", "").lower() == "true"
    elsewhere = env.get("GRADIO_SERVER_NAME", "").strip().lower() not in OWN_ADDRESSES
    return bool(env.get("SPACE_ID")) or shared or elsewhere
