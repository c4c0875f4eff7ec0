"""Trainings that outlive the page and the app that began them: one at a time, each a process.

A training is a command such as ``detox ppo`` with a folder of its own below the folder of runs.
Beside what the command writes there lie ``job.json``, what was asked for and how it ended, and
``job.log``, what it said. Everything shown is read from these files, so that any app that looks
at the same folder sees the same, also after a restart.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from detox.errors import UserError
from detox.job import (
    GUARD,
    INTERRUPTED,
    LOCK,
    LOG,
    RECORD,
    Job,
    end_job,
    now_utc,
    read_job,
    told,
    write_whole,
)
from detox.last_words import (
    CUT,
    DONE,
    FAILED,
    RUNNING,
    STOPPED,
    STOPPING,
    last_lines,
    progress,
    sentence,
)

# States from which a training can go on, or begin again.
UNFINISHED = (STOPPED, FAILED, CUT)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Standing:
    """How a training stands at one moment."""

    job: Job
    state: str
    said: str
    """one sentence: its last words, or what became of it"""
    step: int = 0
    steps: int = 0
    can_go_on: bool = False
    """whether there is a checkpoint to resume from"""


@dataclass(frozen=True)
class Jobs:
    """The trainings of one folder of runs."""

    root: Path

    def start(self, job: Job) -> None:
        """Begins ``job``, whose folder exists and holds whatever its command reads.

        Raises ``UserError`` while another training runs, and when the folder cannot be written.
        """
        with self._alone():
            self._run(replace(job, started=now_utc(), ended="", code=None), job.argv, "w")

    def resume(self, name: str, anew: bool = False) -> None:
        """Lets an unfinished training go on from its checkpoint.

        It begins again where there is none, and ``anew`` if asked to. Raises ``UserError`` while a
        training runs, and for one that is finished or unknown.
        """
        with self._alone():
            now = self._unfinished(name)
            more = ("--resume",) if now.can_go_on and not anew else ()
            job = replace(now.job, ended="", code=None)
            self._run(job, (*job.argv, *more), "a" if more else "w")

    def keep(self, name: str) -> None:
        """Ends an unfinished training at its checkpoint: what it has learned becomes its result.

        The command itself writes it: it is resumed with as many steps as it has. Raises
        ``UserError`` as ``resume`` does, and when there is no checkpoint after the first step.
        """
        with self._alone():
            now = self._unfinished(name)
            step = _checkpoint_step(self.root / name / now.job.checkpoint) if now.can_go_on else 0
            if not (step and now.job.steps):
                raise UserError(f"'{name}' has learned nothing yet that could be kept: resume it.")
            job = replace(now.job, ended="", code=None)
            self._run(job, (*job.argv, "--resume", now.job.steps, str(step)), "a")

    def stop(self, name: str, at_once: bool = False) -> None:
        """Asks a training to end; its last checkpoint stays. ``at_once`` does not ask.

        Raises ``UserError`` when it does not run.
        """
        with told(self.root), FileLock(self.root / GUARD, timeout=10):
            process = self._process()
            if process is None or self.running() != name:
                raise UserError(f"'{name}' is not running: look again at what there is.")
            write_whole(self.root / LOCK, {"pid": process.pid, "name": name, "stopping": True})
            try:
                if not at_once:
                    process.terminate()
                    return
                family = [*process.children(recursive=True), process]
                for each in family:
                    each.kill()
                psutil.wait_procs(family, timeout=5)
            except psutil.NoSuchProcess:
                return  # it was faster
            if read_job(self.root / name).code is None:
                end_job(self.root / name, INTERRUPTED)

    def running(self) -> str:
        """The name of the training that runs; empty if none does."""
        return str(self._lock().get("name", "")) if self._process() else ""

    def names(self) -> list[str]:
        """All trainings, the latest first."""
        found = self.root.glob(f"*/{RECORD}")
        return [path.parent.name for path in sorted(found, key=_modified, reverse=True)]

    def standings(self) -> list[Standing]:
        """How every training stands, the latest first; those whose record is damaged left out."""
        found = []
        for name in self.names():
            try:
                found.append(self.look(name))
            except UserError as error:
                logging.getLogger("detox").warning("%s", error)
        return found

    def look(self, name: str) -> Standing:
        """How the training ``name`` stands; ``UserError`` when there is none."""
        folder = self.root / name
        if not NAME.fullmatch(name) or not (folder / RECORD).is_file():
            raise UserError(f"There is no training called '{name}': look again at what there is.")
        job = read_job(folder)
        tail = last_lines(folder / LOG)
        step, steps = progress(tail)
        state = self._state(job)
        kept = bool(job.checkpoint) and any(folder.glob(job.checkpoint))
        return Standing(job, state, sentence(state, tail, folder, kept), step, steps, kept)

    def log(self, name: str) -> list[str]:
        """The last lines of what the training ``name`` said; ``UserError`` when there is none."""
        self.look(name)
        return last_lines(self.root / name / LOG)

    def free_name(self, stem: str, taken: Sequence[str] = ()) -> str:
        """The first of ``stem-2``, ``stem-3``, … that neither a folder nor ``taken`` has."""
        number = 2 if stem in taken else 1
        while (name := f"{stem}-{number}") in taken or (self.root / name).exists():
            number += 1
        return name

    @contextmanager
    def new_folder(self, name: str, taken: Sequence[str] = ()) -> Iterator[Path]:
        """A folder for a training called ``name``, gone again if what is done with it fails.

        Raises ``UserError`` for names that are unfit or known, and when it cannot be made.
        """
        if not NAME.fullmatch(name):
            raise UserError(
                f"'{name}' cannot be a name: use up to 60 letters, digits, dots, dashes and "
                "underscores, the first a letter or a digit."
            )
        folder = self.root / name
        if name in taken or folder.exists():
            raise UserError(f"There is something called '{name}' already: choose another name.")
        with told(folder):
            folder.mkdir(parents=True)
            try:
                yield folder
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise

    def _run(self, job: Job, argv: Sequence[str], mode: str) -> None:
        folder = self.root / job.name
        command = [sys.executable, "-u", "-m", "detox.worker", str(folder.resolve()), *argv]
        paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        with told(folder):
            write_whole(folder / RECORD, asdict(job))
            with (folder / LOG).open(mode, encoding="utf-8") as log:
                # a session of its own: neither Ctrl-C nor the end of the app reaches it
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=env,
                    start_new_session=True,
                )
            try:
                _wait_for_name(process)
                write_whole(self.root / LOCK, {"pid": process.pid, "name": job.name})
            except OSError:
                process.kill()
                raise
        # somebody has to hear of its end, or it stays as a zombie
        threading.Thread(target=process.wait, daemon=True, name=f"training-{job.name}").start()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Inside, no other thread or app begins a training; ``UserError`` while one runs."""
        with told(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(self.root / GUARD, timeout=10):
                    if name := self.running():
                        raise UserError(
                            f"'{name}' is being trained, and one training runs at a time: wait for "
                            "it, or stop it."
                        )
                    yield
            except Timeout as error:
                raise UserError("Another training is just beginning: look again.") from error

    def _unfinished(self, name: str) -> Standing:
        now = self.look(name)
        if now.state not in UNFINISHED:
            raise UserError(f"'{name}' is {now.state}: there is nothing to go on with.")
        return now

    def _state(self, job: Job) -> str:
        if self.running() == job.name:
            return STOPPING if self._lock().get("stopping") else RUNNING
        if job.code is None:
            # it may have ended between the two looks
            job = read_job(self.root / job.name)
        lock = self._lock()
        if job.code is None and lock.get("name") == job.name and lock.get("stopping"):
            return STOPPED  # it was killed before it could say so
        return {None: CUT, 0: DONE, INTERRUPTED: STOPPED}.get(job.code, FAILED)

    def _lock(self) -> dict[str, Any]:
        try:
            found = json.loads((self.root / LOCK).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _process(self) -> psutil.Process | None:
        """The process that holds the lock; None where a training died with it, or there is none.

        A process is known by its command line, as numbers of processes are given out again.
        """
        lock = self._lock()
        try:
            process = psutil.Process(int(lock["pid"]))
            line = process.cmdline()
        except (psutil.Error, KeyError, ValueError, TypeError):
            return None
        folder = str((self.root / str(lock.get("name"))).resolve())
        return process if "detox.worker" in line and folder in line else None


def _wait_for_name(process: subprocess.Popen[bytes]) -> None:
    """Waits until the command line of ``process``, by which it is known, can be read."""
    for _ in range(200):
        try:
            if psutil.Process(process.pid).cmdline():
                return
        except psutil.Error:  # it has ended already
            return
        time.sleep(0.005)


def _checkpoint_step(path: Path) -> int:
    import torch

    try:
        return int(torch.load(path, mmap=True, weights_only=True)["step"])
    except Exception as error:  # torch raises a handful of unrelated classes
        raise UserError(f"{path} is damaged: begin the training anew.") from error


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
