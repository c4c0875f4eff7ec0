"""Generations that run in the background: nobody has to keep the page open for them.

What a generation counts is in the database already, so that nothing is lost when it is stopped,
fails or dies with the app; begun again, it goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from html import escape

from detox.errors import UserError
from detox.ui.manners import SORRY
from labeling.generate import Generated

# Seconds between two looks at a generation.
POLL = 0.5
Steps = Generator[Generated, None, None]


@dataclass(frozen=True)
class Report:
    """A generation at one moment."""

    batch: str
    running: bool
    stopping: bool = False
    state: Generated | None = None
    """None until the models are there."""
    seconds_left: float | None = None
    error: str = ""
    """One sentence when it failed."""


@dataclass
class _Run:
    """What the thread of a generation writes, under ``lock``, and everybody else reads."""

    batch: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    running: bool = True
    stopping: bool = False
    state: Generated | None = None
    error: str = ""
    began: float = 0.0
    moved: float = 0.0
    """When its first dialogues were begun, and when its state last changed."""
    done_before: int = 0

    def look(self, now: float) -> Report:
        """The report at the time ``now``."""
        with self.lock:
            return Report(
                self.batch, self.running, self.stopping, self.state, self._left(now), self.error
            )

    def _left(self, now: float) -> float | None:
        """Seconds that the rest takes at the pace so far; None where there is no pace yet."""
        if self.state is None or not self.running or self.state.done <= self.done_before:
            return None
        pace = (self.moved - self.began) / (self.state.done - self.done_before)
        return max(0.0, pace * (self.state.total - self.state.done) - (now - self.moved))


class Generations:
    """The generations of this app by batch: at most one at a time for each."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()

    def start(self, batch: str, steps: Steps) -> None:
        """Takes the steps of a generation in the background.

        Raises ``UserError`` while another one of this batch runs.
        """
        run = _Run(batch)
        with self._lock:
            known = self._runs.get(batch)
            if known is not None and known.running:
                steps.close()
                raise UserError(
                    f"Pairs for '{batch}' are being written already: wait for them, or stop that."
                )
            self._runs[batch] = run
        threading.Thread(
            target=_work, args=(run, steps), daemon=True, name=f"generation-{batch}"
        ).start()

    def stop(self, batch: str) -> Report:
        """Asks a generation to end after the dialogues it is at.

        Raises ``UserError`` if none of this batch runs.
        """
        run = self._find(batch)
        with run.lock:
            if not run.running:
                raise UserError(f"Nothing is being written for '{batch}'.")
            run.stopping = True
        return run.look(time.monotonic())

    def latest(self, batch: str) -> Report:
        """How far the latest generation of ``batch`` is; ``UserError`` if there was none."""
        return self._find(batch).look(time.monotonic())

    def running(self) -> list[str]:
        """The batches that are being written."""
        with self._lock:
            return [batch for batch, run in self._runs.items() if run.running]

    def watch(self, batch: str) -> Iterator[Report]:
        """A report every ``POLL`` seconds, the last one when the generation has ended.

        Raises ``UserError`` if there was none.
        """
        run = self._find(batch)
        while (report := run.look(time.monotonic())).running:
            yield report
            time.sleep(POLL)
        yield report

    def _find(self, batch: str) -> _Run:
        with self._lock:
            run = self._runs.get(batch)
        if run is None:
            raise UserError(f"Nothing is being written for '{batch}'.")
        return run


def _work(run: _Run, steps: Steps) -> None:
    error = ""
    try:
        for state in steps:
            with run.lock:
                run.moved = time.monotonic()
                if run.state is None:
                    run.began, run.done_before = run.moved, state.done
                run.state = state
                if run.stopping:
                    break
    except UserError as failure:
        error = str(failure)
    except Exception:  # a thread's traceback would be seen by nobody
        logging.getLogger("detox").exception("the generation of %s failed", run.batch)
        error = SORRY
    finally:
        steps.close()
        with run.lock:
            run.running, run.error = False, error


def report_html(report: Report, loading: str = "") -> str:
    """A generation as a card; ``loading`` says how far the models are while they load."""
    state, name = report.state, escape(report.batch)
    share = state.done / state.total if state and state.total else 0.0
    facts = ""
    if state is not None:
        facts = "".join(
            f"<li><b>{number:,}</b> {word}</li>"
            for number, word in (
                (state.done, f"of {state.total:,} dialogues"),
                (state.pairs, "pairs added"),
                (state.identical, "left out, both texts the same"),
                (state.known, "known before"),
            )
        )
    title, said = _words(report, loading)
    tone = " mg-failed" if report.error else ""
    return (
        f'<section class="da-card mg-generation{tone}" role="status" aria-live="polite">'
        f'<header><h3 class="da-title">{title} “{name}”</h3>'
        f'<span class="da-muted">{escape(said)}</span></header>'
        f'<div class="da-bar" role="progressbar" aria-label="Dialogues answered" aria-valuemin="0"'
        f' aria-valuemax="100" aria-valuenow="{100 * share:.0f}"'
        f' style="--value:{100 * share:.1f}%"><i></i></div>'
        f'<ul class="mg-facts">{facts}</ul></section>'
    )


def _words(report: Report, loading: str) -> tuple[str, str]:
    state = report.state
    if report.error:
        return "Not finished:", report.error
    if report.stopping and report.running:
        return "Stopping", "the dialogues it is at are finished first"
    if report.running:
        left = "" if report.seconds_left is None else f"{duration(report.seconds_left)} left"
        return "Writing", left or (loading if state is None else "the first dialogues")
    if state is not None and state.done < state.total:
        return "Stopped", "press Generate again, and it goes on from here"
    return "Finished", "labelers get these pairs while the batch is open"


def duration(seconds: float) -> str:
    """A time in whole seconds, minutes or hours, rounded as people would say it."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
