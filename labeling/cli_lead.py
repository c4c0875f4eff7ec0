"""The commands of those who lead a labeling project: batches, gold, conflicts, people, checks."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import random
import sys
import textwrap
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from detox.errors import UserError
from labeling.adjudication import Conflict, adjudicate, conflicts, next_conflict
from labeling.check import check_record
from labeling.gold import gold_pairs, mark_gold, unmark_gold
from labeling.history import find_pair, pair_history
from labeling.people import accounts, add_account, disable_account
from labeling.plans import Plan, Standing, find_plan, save_plan, set_status, standings
from labeling.schema import OUTCOMES, ROLES, STRATEGIES
from labeling.store import back_up, open_store

Add = Callable[[str, Callable[..., int | None], str], argparse.ArgumentParser]
KEYS = {"a": "left", "b": "right", "t": "tie", "x": "both_bad"}
HELP = "a: A is better   b: B   t: tie   x: both bad   l: later   q: quit"
STATUS_OPTIONS = {"open": "open", "pause": "paused", "close": "closed"}


def add_commands(add: Add) -> None:
    """Adds every command of a lead through ``add(name, function, help)``."""
    sub = add("batches", _batches, "list the batches, or make, change, open, pause or close one")
    sub.add_argument("name", nargs="?", help="make or change this batch")
    _add_plan(sub)
    status = sub.add_mutually_exclusive_group()
    for option, to in STATUS_OPTIONS.items():
        status.add_argument(f"--{option}", dest="status", action="store_const", const=to)
    sub.add_argument("--json", action="store_true", help="for programs")

    sub = add("generate", _generate, "answer dialogues with several policies and make pairs")
    sub.add_argument("name", help="the batch, new or to go on with")
    sub.add_argument(
        "--policies",
        default="before;after",
        metavar="NAMES",
        help="names or name=folder, joined by ; (default: %(default)s)",
    )
    sub.add_argument("--dialogues", default="embedded", metavar="SOURCE", help="file or hub name")
    sub.add_argument("--split", default="test", help="default: %(default)s; all for every split")
    sub.add_argument("--limit", type=int, help="so many dialogues, drawn by the seed")
    sub.add_argument(
        "--meetings",
        default="all",
        choices=("all", "first"),
        help="every two policies, or the first with each other one",
    )
    sub.add_argument("--temperature", type=float, help="of the sampling")
    sub.add_argument("--max-new-tokens", type=int, help="longest response, in tokens")
    _add_plan(sub)

    sub = add("prioritise", _prioritise, "order a batch by what its strategy learns most from")
    sub.add_argument("name", help="the batch")
    sub.add_argument("--reward", metavar="SPEC", help="as in `detox ppo`: preference:FOLDER, …")

    sub = add("gold", _gold, "list the gold pairs, or make a pair gold")
    sub.add_argument("pair", nargs="?", help="the pair's id")
    sub.add_argument("answer", nargs="?", choices=OUTCOMES)
    sub.add_argument("--remove", action="store_true", help="an ordinary pair again")
    sub.add_argument("--note", default="", help="why this is the answer")
    sub.add_argument("--batch", help="only this batch")

    sub = add("adjudicate", _adjudicate, "decide the pairs that labelers see differently")
    sub.add_argument("--lead", default=os.environ.get("USER"), help="your name")
    sub.add_argument("--batch", help="only this batch")
    sub.add_argument("--gold", action="store_true", help="make each decided pair gold as well")
    sub.add_argument("--seed", type=int, help="makes the sides repeatable")

    sub = add("people", _people, "list the accounts, or make, change or disable one")
    sub.add_argument("name", nargs="?", help="sign-in name, or user name on Hugging Face")
    sub.add_argument("--role", choices=ROLES, help="needed for a new account")
    sub.add_argument("--password", action="store_true", help="ask for a (new) password")
    sub.add_argument("--password-stdin", action="store_true", help="read it from standard input")
    sub.add_argument("--disable", action="store_true", help="bar them from signing in")

    sub = add("history", _history, "everything that happened to a pair")
    sub.add_argument("pair", help="its id, or the beginning of it")
    sub.add_argument("--json", action="store_true", help="for programs")

    add("check", _check, "verify the whole record: file, references, hashes, counts")

    sub = add("backup", _backup, "copy the whole record as it is now; nobody has to stop")
    sub.add_argument("path", type=Path, help="the copy, a new file")


def _add_plan(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--votes", type=int, metavar="K", help="labelers a pair; 0 for everybody")
    sub.add_argument("--repeats", type=float, metavar="SHARE", help="of pairs shown twice")
    sub.add_argument("--gold", type=float, metavar="SHARE", help="of pairs with a known answer")
    sub.add_argument("--strategy", choices=STRATEGIES, help="which pairs come first")
    sub.add_argument("--hold", type=float, metavar="MINUTES", help="until a place is freed")
    sub.add_argument(
        "--reveal",
        action=argparse.BooleanOptionalAction,
        help="show labelers what was behind a pair after their pick",
    )
    sub.add_argument("--guidelines", type=Path, metavar="FILE", help="text for this batch")
    sub.add_argument("--seed", type=int, help="of orders and draws")


def _planned(plan: Plan, args: argparse.Namespace) -> Plan:
    given: dict[str, Any] = {
        "repeat_share": args.repeats,
        "gold_share": args.gold,
        "strategy": args.strategy,
        "hold_minutes": args.hold,
        "reveal": args.reveal,
        "seed": args.seed,
        "guidelines": _read(args.guidelines) if args.guidelines else None,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if args.votes is not None:
        changes["votes_wanted"] = args.votes or None
    return replace(plan, **changes)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' cannot be read as a text in UTF-8: check the path.") from error


def _batches(args: argparse.Namespace) -> None:
    store = open_store(args.db)
    if args.name:
        known = any(standing.plan.name == args.name for standing in standings(store))
        plan = find_plan(store, args.name) if known else Plan(args.name)
        save_plan(store, _planned(plan, args))
        if args.status:
            set_status(store, args.name, args.status)
    found = [s for s in standings(store) if args.name in (None, s.plan.name)]
    if args.json:
        print(json.dumps([asdict(standing) for standing in found], indent=2))
    elif not found:
        print("There are no batches: `labeling generate` or `labeling pairs` makes one.")
    for standing in found if not args.json else ():
        print(_line(standing))


def _line(standing: Standing) -> str:
    plan = standing.plan
    asked = [f"{plan.votes_wanted} labelers a pair" if plan.votes_wanted else "everybody"]
    if plan.repeat_share:
        asked.append(f"{plan.repeat_share:.0%} repeats")
    if plan.gold_share:
        asked.append(f"{plan.gold_share:.0%} gold ({standing.gold} pairs)")
    if plan.strategy != "balanced":
        asked.append(f"by {plan.strategy}")
    return (
        f"{plan.name}: {standing.status}; {standing.pairs} pairs, {standing.votes} of "
        f"{standing.wanted} votes by {standing.labelers} labelers, {standing.held} held, "
        f"{standing.conflicts} in conflict; {', '.join(asked)}"
    )


def _generate(args: argparse.Namespace) -> None:
    from detox.config import Sampling
    from detox.data import load_dialogues
    from detox.workbench import ALONE, Workbench
    from labeling.generate import generate_batch

    store = open_store(args.db)
    known = any(standing.plan.name == args.name for standing in standings(store))
    plan = _planned(find_plan(store, args.name) if known else Plan(args.name), args)
    specs = _specs(args.policies)
    split = None if args.split == "all" else args.split
    dialogues = load_dialogues(args.dialogues, split)
    if args.limit is not None and args.limit < 1:
        raise UserError("--limit must be 1 or more.")
    if args.limit is not None and args.limit < len(dialogues):
        chosen = random.Random(plan.seed).sample(range(len(dialogues)), args.limit)
        dialogues = dialogues.select(sorted(chosen))
    given = {"temperature": args.temperature, "max_new_tokens": args.max_new_tokens}
    sampling = Sampling(
        **{key: value for key, value in given.items() if value is not None}, seed=plan.seed
    )
    bench = Workbench(specs, turn=ALONE)
    state = None
    for state in generate_batch(
        store, plan, bench, list(specs), dialogues, sampling, meetings=args.meetings
    ):
        print(f"{state.done} of {state.total} dialogues, {state.pairs} pairs added", flush=True)
    if state is not None:
        print(
            f"Done: {state.pairs} pairs in '{plan.name}'; {state.identical} left out because both "
            f"texts are the same, {state.known} known already."
        )


def _specs(text: str) -> dict[str, str]:
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    return {name.strip(): (spec or name).strip() for name, _, spec in parts}


def _prioritise(args: argparse.Namespace) -> None:
    from labeling.active import prioritise

    reward = None
    if args.reward:
        from detox.rewards import load_reward

        reward = load_reward(args.reward)
    ranked = prioritise(open_store(args.db), args.name, reward)
    print(f"{ranked.ranked} pairs ordered; {ranked.unscored} have no score and stay in the middle.")


def _gold(args: argparse.Namespace) -> None:
    store = open_store(args.db)
    if args.pair and args.remove:
        unmark_gold(store, args.pair)
        print("An ordinary pair again.")
    elif args.pair:
        if not args.answer:
            raise UserError(f"Say what the right answer is: one of {', '.join(OUTCOMES)}.")
        pair_id = find_pair(store, args.pair)
        mark_gold(store, pair_id, args.answer, note=args.note)
        print(f"Gold: {pair_id} is '{args.answer}'.")
    else:
        found = gold_pairs(store, args.batch)
        for gold in found:
            print(f"{gold.pair_id}  {gold.outcome:8}  {gold.batch}  {gold.source}  {gold.note}")
        if not found:
            print("No pair is gold: `labeling gold PAIR a` makes one.")


def _adjudicate(args: argparse.Namespace) -> None:
    if not args.lead:
        raise UserError("Say who you are with --lead NAME.")
    store, rng = open_store(args.db), random.Random(args.seed)
    later: tuple[str, ...] = ()
    while conflict := next_conflict(store, rng, args.batch, skip=later):
        left = conflicts(store, args.batch) - len(later)
        choice = _asked(conflict, left)
        if choice is None:
            return
        if choice == "later":
            later += (conflict.pair_id,)
            continue
        adjudicate(
            store, args.lead, conflict.pair_id, choice, conflict.left_candidate, gold=args.gold
        )
        print("Saved.")
    print("No pair waits for a decision." if not later else f"{len(later)} left for later.")


def _asked(conflict: Conflict, left: int) -> str | None:
    """The lead's answer, ``later``, or None to stop."""
    print(f"\n[{left} to decide]\n\n{_wrapped(conflict.dialogue)}\n")
    print(f"A:\n{_wrapped(conflict.left)}\n\nB:\n{_wrapped(conflict.right)}\n")
    words = {"left": "A", "right": "B", "tie": "tie", "both_bad": "both bad", "skip": "skip"}
    for vote in conflict.votes:
        flag = ", flagged" if vote.flagged else ""
        note = f": {vote.note}" if vote.note else ""
        print(f"  {vote.labeler}: {words[vote.choice]}{flag}{note}")
    while True:
        try:
            key = input(f"{HELP}\n> ").strip().lower()
        except EOFError:
            return None
        if key == "q":
            return None
        if key == "l":
            return "later"
        if key in KEYS:
            return KEYS[key]


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.fill(line, 88) for line in text.splitlines())


def _people(args: argparse.Namespace) -> None:
    store = open_store(args.db)
    known = {account.name: account for account in accounts(store)}
    if args.name and args.disable:
        disable_account(store, args.name)
        print(f"'{args.name}' can no longer sign in; their picks stay.")
    elif args.name:
        role = args.role or (known[args.name].role if args.name in known else None)
        if role is None:
            raise UserError(f"Give '{args.name}' a role with --role: one of {', '.join(ROLES)}.")
        add_account(store, args.name, role, _password(args))
        print(f"'{args.name}' is {role}.")
    else:
        for account in known.values():
            how = "password" if account.has_password else "Hugging Face"
            print(f"{account.name}: {account.role}, {'disabled' if account.disabled else how}")
        if not known:
            print("There are no accounts: `labeling people NAME --role lead --password`.")


def _password(args: argparse.Namespace) -> str | None:
    if args.password_stdin:
        return sys.stdin.readline().rstrip("\n")
    if not args.password:
        return None
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise UserError("The two passwords differ: try again.")
    return first


def _history(args: argparse.Namespace) -> None:
    found = pair_history(open_store(args.db), args.pair)
    if args.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    print(f"{found['pair']} of '{found['batch']}', added {found['created']}")
    for side in "ab":
        candidate = found["candidates"][side]
        version = f" {candidate['fingerprint']}" if candidate["fingerprint"] else ""
        print(f"  {side}: {candidate['policy']}{version}: {candidate['text']}")
    for event in found["events"]:
        what = {"assigned": f"left was {event['left']}"}.get(
            event["event"],
            f"{event.get('outcome')}" + (" (informed)" if event.get("informed") else ""),
        )
        print(f"  {event['at']}  {event['labeler']}  {event['event']}: {what}")


def _check(args: argparse.Namespace) -> int:
    health = check_record(open_store(args.db))
    print(
        f"{health.prompts} prompts, {health.candidates} responses, {health.pairs} pairs, "
        f"{health.picks} rows of picks."
    )
    for problem in health.problems:
        print(f"labeling: {problem}", file=sys.stderr)
    if not health.problems:
        print("All is well.")
    return 2 if health.problems else 0


def _backup(args: argparse.Namespace) -> None:
    back_up(open_store(args.db), args.path)
    print(f"Copied to {args.path}; `--db {args.path}` opens it.")
