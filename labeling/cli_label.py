"""``python -m labeling label``: judging pairs in the terminal, blind, as in the Label tab."""

from __future__ import annotations

import argparse
import os
import random
import re
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass

from detox.errors import UserError
from labeling.picks import (
    PICK_REASONS,
    SKIP_REASONS,
    Earlier,
    Pick,
    earlier,
    look_back,
    reveal,
    submit,
    undo,
)
from labeling.practice import examples, practise
from labeling.queue import Task, next_pair, progress
from labeling.store import Store, open_store

Add = Callable[[str, Callable[..., int | None], str], argparse.ArgumentParser]
KEYS = {"a": "left", "b": "right", "t": "tie", "x": "both_bad", "s": "skip"}
WORDS = {
    "left": "A is better",
    "right": "B is better",
    "tie": "tie",
    "both_bad": "both bad",
    "skip": "skipped",
}
STRENGTHS = {"!": "clearly", "?": "slightly", "": None}
LISTED = 10
HELP = "a: A is better   b: B   t: tie   x: both bad   s: skip   u: undo   ?: more   q: quit"
_A_LIST = "   ".join(f"{number} {reason}" for number, reason in enumerate(PICK_REASONS, start=1))
_S_LIST = "   ".join(f"{number} {reason}" for number, reason in enumerate(SKIP_REASONS, start=1))
MORE = f"""\
a! or b!   clearly better; a? or b?   slightly better
a13        A for reasons: {_A_LIST}
s2         skipped because: {_S_LIST}
f          flag the pair as broken, or not; goes along with the pick
n TEXT     a note; goes along with the pick
h          your last picks; e 2   change the second of them
p          practise on examples with feedback"""
_ANSWER = re.compile(r"([ab])([!?]?)([1-4]*)|([tx])|(s)([1-4]?)")


@dataclass(frozen=True)
class Said:
    """What one line of input says of a pair: a choice, how strongly, and why."""

    choice: str
    strength: str | None = None
    reasons: tuple[str, ...] = ()


def add_commands(add: Add) -> None:
    """Adds ``label`` and ``undo`` through ``add(name, function, help)``."""
    sub = add("label", _label, "judge pairs in the terminal")
    _add_labeler(sub)
    sub.add_argument("--batch", help="only this batch")
    sub.add_argument("--seed", type=int, help="makes order and sides repeatable")
    sub.add_argument("--practice", action="store_true", help="examples with feedback come first")
    _add_labeler(add("undo", _undo, "take back a labeler's last pick"))


def understood(line: str) -> Said | None:
    """What ``line`` says of a pair, such as ``a``, ``b!``, ``a?13``, ``t``, ``x`` or ``s2``.

    None for anything else.
    """
    found = _ANSWER.fullmatch(line.strip().lower())
    if found is None:
        return None
    side, strength, reasons, other, skip, reason = found.groups()
    if side:
        why = tuple(PICK_REASONS[int(digit) - 1] for digit in sorted(set(reasons)))
        return Said(KEYS[side], STRENGTHS[strength], why)
    if skip:
        return Said("skip", None, (SKIP_REASONS[int(reason) - 1],) if reason else ())
    return Said(KEYS[other])


def _add_labeler(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--labeler", default=os.environ.get("USER"), help="your name (default: %(default)s)"
    )


def _named(args: argparse.Namespace) -> str:
    if not args.labeler:
        raise UserError("Say who you are with --labeler NAME.")
    return str(args.labeler)


def _label(args: argparse.Namespace) -> None:
    store, rng = open_store(args.db), random.Random(args.seed)
    labeler = _named(args)
    if args.practice and not _practise(store, labeler):
        return
    while task := next_pair(store, labeler, rng, args.batch):
        if not _judge(store, task, labeler):
            return
    done = progress(store, labeler, args.batch)
    if not done.total:
        print("There are no pairs to judge: `labeling pairs` loads some, `labeling batches` lists.")
    elif done.done < done.total:
        print("Thank you: nothing is left for you just now.")
    else:
        print("Thank you: every pair is judged.")


def _judge(store: Store, task: Task, labeler: str) -> bool:
    """Shows one pair and records the answer; False when the labeler wants to stop."""
    _show(f"{task.progress.done + 1} of {task.progress.total}", task)
    if task.guidelines:
        print(f"Of this batch: {_wrapped(task.guidelines)}\n")
    return _answer(store, task, labeler)


def _answer(store: Store, task: Task, labeler: str, old: Pick | None = None) -> bool:
    """Reads lines until one of them ends this pair; ``old`` is the pick that it would change."""
    started = time.monotonic()
    flagged, note = (old.flagged, old.note) if old else (False, "")
    while True:
        line = _read(HELP if old is None else HELP.replace("u: undo", "k: keep it"))
        key = (line or "q").lower()
        if key == "q":
            return False
        if key == "u" and old is None:
            print("Taken back." if undo(store, labeler) else "There is nothing to undo.")
            return True
        if key == "k" and old is not None:
            return True
        if key == "f":
            flagged = not flagged
            print("Flagged as broken." if flagged else "No longer flagged.")
        elif key == "n" or key.startswith("n "):
            note = (line or "")[1:].strip()
            print("Noted." if note else "No note.")
        elif key == "?":
            print(MORE)
        elif key == "h":
            _list(earlier(store, labeler, limit=LISTED))
        elif old is None and (key == "p" or key.startswith("e ")):
            aside = _practise(store, labeler) if key == "p" else _change(store, labeler, key[2:])
            if not aside:
                return False
            _show(f"{task.progress.done + 1} of {task.progress.total}", task)
            started = time.monotonic()
        elif said := understood(key):
            pick = submit(
                store,
                task.assignment_id,
                said.choice,
                labeler=labeler,
                strength=said.strength,
                reasons=said.reasons,
                note=note,
                seconds=time.monotonic() - started,
                flagged=flagged,
            )
            _tell(store, pick)
            return True


def _read(prompt: str) -> str | None:
    """One line of input; None at its end."""
    try:
        return input(f"{prompt}\n> ").strip()
    except EOFError:
        return None


def _tell(store: Store, pick: Pick) -> None:
    sides = reveal(store, pick)
    behind = f" A was {sides.left.policy}, B was {sides.right.policy}." if sides else ""
    print(f"Saved.{behind}")


def _list(found: list[Earlier]) -> None:
    if not found:
        print("You have not picked anything yet.")
    for number, each in enumerate(found, start=1):
        pick = each.pick
        told = [WORDS[pick.choice], pick.strength or "", ", ".join(pick.reasons)]
        told += ["flagged" if pick.flagged else "", "closed" if each.closed else ""]
        about = textwrap.shorten(each.task.dialogue, 48, placeholder=" …")
        print(f"{number:>2}  {about}\n    {'; '.join(filter(None, told))}")


def _change(store: Store, labeler: str, number: str) -> bool:
    """Answers one of the last picks anew; False when the labeler wants to stop."""
    found = earlier(store, labeler, limit=LISTED)
    number = number.strip()
    if not number.isdecimal() or not 1 <= int(number) <= len(found):
        print(f"Give a number from 1 to {len(found)}: h lists them." if found else "Nothing yet.")
        return True
    each = look_back(store, labeler, found[int(number) - 1].task.assignment_id)
    if each.closed:
        print("Its batch is closed, so it can no longer change.")
        return True
    _show(f"You said: {WORDS[each.pick.choice]}", each.task)
    return _answer(store, each.task, labeler, each.pick)


def _practise(store: Store, labeler: str) -> bool:
    """The practice round; False when the labeler wants to stop altogether."""
    for number, each in enumerate(examples(), start=1):
        print(f"\n[Practice {number} of {len(examples())}]\n\n{_wrapped(each.dialogue)}\n")
        print(f"A:\n{_wrapped(each.left)}\n\nB:\n{_wrapped(each.right)}\n")
        while True:
            line = _read("a: A is better   b: B   t: tie   x: both bad   l: leave   q: quit")
            if line is None or line.lower() == "q":
                return False
            if line.lower() == "l":
                return True
            choice = KEYS.get(line.lower(), "skip")
            if choice != "skip":
                break
        said = practise(store, labeler, each.id, choice)
        wanted = " or ".join(WORDS[choice] for choice in said.expected)
        verdict = "We see it the same way." if said.correct else f"We would say: {wanted}."
        print(_wrapped(f"{verdict} {said.why}"))
    return True


def _show(head: str, task: Task) -> None:
    print(f"\n[{head}]\n\n{_wrapped(task.dialogue)}\n")
    print(f"A:\n{_wrapped(task.left)}\n\nB:\n{_wrapped(task.right)}\n")


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.fill(line, 88) for line in text.splitlines())


def _undo(args: argparse.Namespace) -> None:
    pick = undo(open_store(args.db), _named(args))
    print(f"Taken back: {pick.choice.replace('_', ' ')}." if pick else "There is nothing to undo.")
