"""Trainings in processes of their own: begun once, stopped, cut off, gone on with, and reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from detox.errors import UserError
from detox.job import LOCK, LOG, RECORD, REWARD, Job, write_whole
from detox.jobs import Jobs, Standing
from detox.last_words import CUT, DONE, FAILED, RUNNING, STOPPED, STOPPING, progress, sentence
from detox.models import find_source, fingerprint, read_lineage
from detox.runlog import read_metrics
from detox.versions import read_versions
from tests import tiny

PATIENCE = 120
# Commands as small as can be; each waits for a file before it ends.
LONG = """
import os, sys, time
print("resumed" if "--resume" in sys.argv else "fresh", os.getsid(0) == os.getpid(), flush=True)
open("HERE/checkpoint.pt", "w").write("3")
print("step 3/10", flush=True)
while not os.path.exists("HERE/go"):
    time.sleep(0.01)
print("step 10/10\\nall is done")
"""
DEAF = """
import time
while True:
    try:
        print("step 1/2", flush=True)
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        print("no", flush=True)
"""

Begin = Callable[..., Job]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """An empty folder of runs, in which nothing runs any more when the test is over."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "commands"), prepend=os.pathsep)
    # tiny models take longer with two threads than with one
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "commands").mkdir()
    jobs = Jobs(tmp_path / "runs")
    yield jobs
    if name := jobs.running():
        jobs.stop(name, at_once=True)
        until(lambda: not jobs.running())


@pytest.fixture
def begin(jobs: Jobs, tmp_path: Path) -> Begin:
    """``begin(name, code)`` starts a training whose command is ``code``."""

    def start(name: str, code: str, **options: str) -> Job:
        module = f"command_{name.replace('-', '_')}"
        with jobs.new_folder(name) as folder:
            text = code.replace("HERE", str(folder))
            (tmp_path / "commands" / f"{module}.py").write_text(text, encoding="utf-8")
            job = Job(name, "fake", "A fake", (module,), REWARD, checkpoint="checkpoint.pt")
            jobs.start(job)
        return job

    return start


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.01)


def ended(jobs: Jobs, name: str) -> Standing:
    until(lambda: jobs.look(name).state not in (RUNNING, STOPPING))
    return jobs.look(name)


def at_step(jobs: Jobs, name: str, step: int) -> Standing:
    until(lambda: jobs.look(name).step >= step or jobs.look(name).state not in (RUNNING, STOPPING))
    now = jobs.look(name)
    assert now.step >= step, now.said
    return now


def worker(jobs: Jobs) -> psutil.Process:
    return psutil.Process(json.loads((jobs.root / LOCK).read_text())["pid"])


# one at a time, in a process of its own


def test_a_training_goes_on_by_itself_and_says_how_far_it_is(jobs: Jobs, begin: Begin) -> None:
    begin("one", LONG)
    now = at_step(jobs, "one", 3)
    assert (now.state, now.step, now.steps) == (RUNNING, 3, 10)
    assert jobs.running() == "one" and jobs.log("one")[0] == "fresh True"  # its own session
    (jobs.root / "one" / "go").touch()
    now = ended(jobs, "one")
    assert (now.state, now.said, now.step) == (DONE, "all is done", 10)
    assert now.job.code == 0 and now.job.ended >= now.job.started
    assert jobs.running() == "" and not (jobs.root / LOCK).exists()


@pytest.mark.skipif(not hasattr(os, "nice"), reason="no niceness here")
def test_a_training_lets_everybody_else_go_first(jobs: Jobs, begin: Begin) -> None:
    begin("one", LONG)
    at_step(jobs, "one", 3)
    assert worker(jobs).nice() == min(19, psutil.Process().nice() + 10)


def test_a_second_training_is_refused_until_the_first_has_ended(jobs: Jobs, begin: Begin) -> None:
    begin("one", LONG)
    with pytest.raises(UserError, match=r"^'one' is being trained, and one training runs at a ti"):
        begin("two", LONG)
    assert not (jobs.root / "two").exists()
    with pytest.raises(UserError, match="'one' is being trained"):
        jobs.resume("one")
    (jobs.root / "one" / "go").touch()
    ended(jobs, "one")
    begin("two", "print('hello')")
    assert ended(jobs, "two").said == "hello"
    assert set(jobs.names()) == {"one", "two"}


def test_of_many_apps_at_once_one_begins(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "commands" / "long.py").write_text(LONG.replace("HERE", str(tmp_path)))
    code = """
import sys
from pathlib import Path
from detox.errors import UserError
from detox.jobs import Job, Jobs
jobs, name = Jobs(Path(sys.argv[1])), sys.argv[2]
try:
    with jobs.new_folder(name):
        jobs.start(Job(name, "fake", "A fake", ("long",), "reward"))
    print("begun")
except UserError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(jobs.root)]
    apps = [
        subprocess.Popen([*command, f"run-{i}"], stdout=subprocess.PIPE, text=True)
        for i in range(4)
    ]
    said = [app.communicate(timeout=PATIENCE)[0].strip() for app in apps]
    # the apps are gone, and what one of them began is not
    assert said.count("begun") == 1 and jobs.running() == f"run-{said.index('begun')}"
    assert all("one training runs at a time" in line for line in said if line != "begun")
    assert len(jobs.names()) == 1


def test_another_process_with_the_number_of_a_dead_one_is_no_training(
    jobs: Jobs, begin: Begin
) -> None:
    begin("one", "print('hello')")
    ended(jobs, "one")
    for lock in ({"pid": os.getpid(), "name": "one"}, {"pid": 2**30, "name": "one"}, {"pid": "x"}):
        (jobs.root / LOCK).write_text(json.dumps(lock))
        assert jobs.running() == ""
    (jobs.root / LOCK).write_text("{")
    assert jobs.running() == ""
    begin("two", "print('hello')")
    assert ended(jobs, "two").state == DONE


# stopped, cut off, failed


def test_a_stopped_training_keeps_its_checkpoint_and_goes_on(jobs: Jobs, begin: Begin) -> None:
    begin("one", LONG)
    at_step(jobs, "one", 3)
    jobs.stop("one")
    now = ended(jobs, "one")
    assert (now.state, now.said, now.can_go_on) == (STOPPED, "It was stopped.", True)
    with pytest.raises(UserError, match="'one' is not running"):
        jobs.stop("one")
    jobs.resume("one")
    until(lambda: "resumed True" in jobs.log("one"))
    (jobs.root / "one" / "go").touch()
    assert ended(jobs, "one").state == DONE
    assert jobs.log("one")[0] == "fresh True"  # the log goes on as well
    with pytest.raises(UserError, match="'one' is finished: there is nothing to go on with"):
        jobs.resume("one")


def test_an_unfinished_training_may_begin_again(jobs: Jobs, begin: Begin) -> None:
    begin("one", LONG)
    at_step(jobs, "one", 3)
    jobs.stop("one")
    ended(jobs, "one")
    jobs.resume("one", anew=True)
    at_step(jobs, "one", 3)
    assert jobs.log("one")[0] == "fresh True"


def test_a_training_that_does_not_listen_is_ended_at_once(jobs: Jobs, begin: Begin) -> None:
    begin("one", DEAF)
    at_step(jobs, "one", 1)
    jobs.stop("one")
    until(lambda: "no" in jobs.log("one"))
    assert jobs.look("one").state == STOPPING
    jobs.stop("one", at_once=True)
    assert ended(jobs, "one").state == STOPPED
    begin("two", "print('hello')")
    ended(jobs, "two")
    assert jobs.look("one").state == STOPPED  # also when the lock is another's


def test_a_checkpoint_may_be_a_folder_that_is_whole_once_its_last_file_is(
    jobs: Jobs, begin: Begin
) -> None:
    begin("one", "import sys; sys.exit(1)")
    ended(jobs, "one")
    pattern = "checkpoints/checkpoint-*/trainer_state.json"
    job = replace(jobs.look("one").job, checkpoint=pattern)
    write_whole(jobs.root / "one" / RECORD, asdict(job))
    folder = jobs.root / "one" / "checkpoints" / "checkpoint-10"
    folder.mkdir(parents=True)
    assert not jobs.look("one").can_go_on
    (folder / "trainer_state.json").touch()
    assert jobs.look("one").can_go_on


def test_a_training_that_was_killed_is_shown_so_and_goes_on(jobs: Jobs, begin: Begin) -> None:
    begin("one", LONG)
    at_step(jobs, "one", 3)
    worker(jobs).send_signal(signal.SIGKILL)
    now = ended(jobs, "one")
    assert now.state == CUT and now.can_go_on
    assert now.said.startswith("It ended without a word: it was killed, the memory ran out, or")
    assert jobs.running() == "" and (jobs.root / LOCK).exists()  # stale, and harmless
    jobs.resume("one")
    until(lambda: "resumed True" in jobs.log("one"))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('detox: There is no file x: check it.')", "There is no file x: ch"),
        ("1 / 0", "It crashed with 'ZeroDivisionError: division by zero'."),
        ("raise MemoryError", "The memory ran out: close other programs, then go on."),
        ("import no_such_thing", "It crashed with 'ModuleNotFoundError: No module named"),
        ("import sys; sys.exit(3)", "It failed and did not say why."),
    ],
)
def test_a_failed_training_is_shown_with_its_last_sentence(
    jobs: Jobs, begin: Begin, code: str, said: str
) -> None:
    begin("one", code)
    now = ended(jobs, "one")
    assert now.state == FAILED and now.said.startswith(said) and "Traceback" not in now.said


def test_a_full_disk_is_named_when_a_training_ends_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detox.last_words.FULL", 2**60)
    assert sentence(CUT, [], tmp_path, True) == (
        "It ended without a word: the disk is full, so free some first."
    )


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["step 3/40  reward +0.1  kl 0.00"], (3, 40)),
        (["step 3/40", "step 4/40  loss 0.1", "saved the adapter"], (4, 40)),
        (["one step 3/40", "step three"], (0, 0)),
        ([], (0, 0)),
    ],
)
def test_progress_is_what_the_last_step_said(lines: list[str], found: tuple[int, int]) -> None:
    assert progress(lines) == found


# names and files


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "x" * 61, "-x", "a,b"])
def test_a_name_that_is_no_folder_of_ours_is_refused(jobs: Jobs, name: str) -> None:
    refused = pytest.raises(UserError, match="cannot be a name: use up to 60 letters")
    with refused, jobs.new_folder(name):
        pass
    with pytest.raises(UserError, match="There is no training called"):
        jobs.look(name)


def test_names_are_counted_on(jobs: Jobs) -> None:
    assert jobs.free_name("reward") == "reward-1"
    assert jobs.free_name("after", ["before", "after"]) == "after-2"
    with jobs.new_folder("after-2"):
        pass
    assert jobs.free_name("after", ["before", "after", "after-3"]) == "after-4"
    for taken in ("after-2", "before"):
        refused = pytest.raises(UserError, match="already: choose another name")
        with refused, jobs.new_folder(taken, ["before"]):
            pass


def test_what_fails_before_it_begins_leaves_no_folder(jobs: Jobs) -> None:
    with pytest.raises(UserError, match="no"), jobs.new_folder("one") as folder:
        (folder / "data").touch()
        raise UserError("no")
    assert not (jobs.root / "one").exists() and jobs.free_name("one") == "one-1"


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    told = pytest.raises(UserError, match=r"runs/one cannot be written: Not a directory\.$")
    with told, Jobs(tmp_path / "runs").new_folder("one"):
        pass


def test_a_damaged_record_hides_one_training_and_no_other(jobs: Jobs, begin: Begin) -> None:
    begin("one", "print('hello')")
    ended(jobs, "one")
    begin("two", "print('hello')")
    ended(jobs, "two")
    (jobs.root / "two" / RECORD).write_text('{"name": "two"}')
    assert [now.job.name for now in jobs.standings()] == ["one"]
    with pytest.raises(UserError, match=r"job.json is damaged: delete the folder\.$"):
        jobs.look("two")


# the real thing


@pytest.fixture
def ppo(jobs: Jobs, tiny_causal: Path, tiny_classifier: Path, tmp_path: Path) -> Begin:
    """``ppo(name, steps)`` starts ``detox ppo`` on tiny models."""
    data = tmp_path / "dialogues.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in tiny.dialogsum_rows(6)))

    def start(name: str, steps: int) -> Job:
        with jobs.new_folder(name) as folder:
            argv = (
                "detox",
                "ppo",
                f"--policy={tiny_causal}",
                f"--reward=mixed:classifier:{tiny_classifier}=1,rouge=1",
                f"--data={data}",
                f"--output={folder}",
                f"--steps={steps}",
                "--batch-size=2",
                "--mini-batch-size=2",
                "--min-response-tokens=4",
                "--max-response-tokens=4",
                "--lora-r=2",
                "--collapse-stop=0",
                "--save-every=1",
            )
            job = Job(name, "ppo", "PPO", argv, checkpoint="checkpoint.pt", steps="--steps")
            jobs.start(job)
        return job

    return start


def test_a_stopped_ppo_run_can_be_kept_as_it_is_or_gone_on_with(jobs: Jobs, ppo: Begin) -> None:
    ppo("after-2", 5000)
    at_step(jobs, "after-2", 2)
    jobs.stop("after-2")
    now = ended(jobs, "after-2")
    folder = jobs.root / "after-2"
    assert now.state == STOPPED and now.can_go_on and not read_versions(jobs.root)
    assert not (folder / "adapter_model.safetensors").exists()
    jobs.keep("after-2")
    assert ended(jobs, "after-2").state == DONE
    (version,) = read_versions(jobs.root)
    lineage = read_lineage(folder)
    # the last checkpoint is of the last whole step, or of the one before
    assert version.steps == lineage["steps"] >= now.step - 1
    assert version.fingerprint == fingerprint(find_source(str(folder)))
    assert len(read_metrics(folder)) == lineage["steps"]


def test_a_ppo_run_makes_a_version_and_a_full_disk_none(jobs: Jobs, ppo: Begin) -> None:
    with tiny.disk_of(60_000):  # room for the checkpoint before the first step, and no other
        ppo("after-2", 2)
    now = ended(jobs, "after-2")
    assert now.state == FAILED and now.can_go_on
    assert now.said.startswith("The checkpoint cannot be written to")
    assert now.said.endswith("free some disk and resume.")
    jobs.resume("after-2")
    now = ended(jobs, "after-2")
    assert now.state == DONE, now.said
    (version,) = read_versions(jobs.root)
    assert (version.name, version.kind, version.steps, version.seed) == ("after-2", "ppo", 2, 0)
    assert [part["name"] for part in version.reward["sources"]][1] == "rouge"
    assert jobs.log("after-2")[-1].startswith("saved the adapter to")
    assert (jobs.root / "after-2" / LOG).is_file()


def test_what_has_learned_nothing_is_not_kept(jobs: Jobs, begin: Begin) -> None:
    begin("one", "import sys; sys.exit(1)")
    ended(jobs, "one")
    with pytest.raises(UserError, match="'one' has learned nothing yet that could be kept"):
        jobs.keep("one")
