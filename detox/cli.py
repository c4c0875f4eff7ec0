"""``python -m detox``: everything the package does, from a terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detox.config import (
    EMBEDDED,
    PRESETS,
    ClassifierConfig,
    DpoConfig,
    Sampling,
    find_preset,
)
from detox.errors import UserError
from detox.pipeline.config import PipelineConfig, read_config
from detox.tasks import Task, find_task
from detox.terminal import run_command

if TYPE_CHECKING:
    from datasets import Dataset

# The model libraries take seconds to import: each command imports what it needs.


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when done, 2 after one sentence about what went wrong."""
    arguments = parser().parse_args(argv)
    command: Callable[[argparse.Namespace], None] = arguments.run
    try:
        command(arguments)
    except UserError as error:
        print(f"detox: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "detox: interrupted; runs continue from their last checkpoint with --resume, "
            "a pipeline by itself."
        )
        return 130
    return 0


def run() -> None:
    """The ``detox`` command."""
    run_command(main)


def parser() -> argparse.ArgumentParser:
    """The command line; each configuration field is an option of the same name."""
    top = argparse.ArgumentParser(prog="detox", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    compare = commands.add_parser("compare", help="summarize one dialogue before and after")
    compare.add_argument("dialogue", help="a text file, or - for standard input")
    _add_versions(compare)
    compare.add_argument(
        "--reward", default="", help="preference:FOLDER, a reward model as the other judge"
    )
    compare.add_argument("--card", default="", help="a picture of the outcome, as in card.png")
    add_options(compare, Sampling)
    compare.set_defaults(run=_compare)

    prompt = commands.add_parser("prompt", help="ask policies in several wordings, side by side")
    prompt.add_argument("text", help="a text file, or - for standard input")
    prompt.add_argument("--policy", default="before", help="policies, joined by commas")
    prompt.add_argument("--task", default="summarize", help="summarize or sentiment")
    prompt.add_argument("--template", default="default", help="wordings, joined by commas; or all")
    prompt.add_argument("--shots", default="0", help="solved examples first, as in 0,1,3")
    prompt.add_argument("--show-prompt", action="store_true", help="print the prompts too")
    add_options(prompt, Sampling)
    prompt.set_defaults(run=_prompt)

    score = commands.add_parser("score", help="reward and toxicity of texts")
    score.add_argument("text", nargs="+", help="texts to score")
    _add_classifier(score)
    score.set_defaults(run=_score)

    evaluate = commands.add_parser("evaluate", help="before against after on many dialogues")
    _add_versions(evaluate)
    evaluate.add_argument("--data", default=EMBEDDED, help="dialogues, as for training")
    evaluate.add_argument("--split", default="test", help="train, validation or test")
    evaluate.add_argument("--limit", type=int, default=0, help="first N dialogues only; 0 is all")
    evaluate.add_argument("--samples", type=int, default=1, help="responses to each dialogue")
    evaluate.add_argument("--task", default="summarize", help="summarize or sentiment")
    evaluate.add_argument(
        "--reward", default="", help="preference:FOLDER, a reward model as the other judge"
    )
    evaluate.add_argument("--output", default="runs/evaluation", help="folder of the results")
    add_options(evaluate, Sampling)
    evaluate.set_defaults(run=_evaluate)

    card = commands.add_parser("card", help="results of an evaluation as a picture")
    card.add_argument("results", help="folder of the results")
    card.add_argument("--id", default="", help="of one dialogue; without it, of all results")
    card.add_argument("--output", default="", help="PNG file; card.png in that folder by default")
    card.set_defaults(run=_card)

    quality = commands.add_parser("quality", help="policies against human references, in a table")
    quality.add_argument("policy", nargs="+", help="policies; the first is compared with")
    quality.add_argument("--task", default="summarize", help="summarize or sentiment")
    quality.add_argument("--data", default=EMBEDDED, help="texts with answers, as for training")
    quality.add_argument("--split", default="test", help="train, validation or test")
    quality.add_argument("--limit", type=int, default=0, help="first N texts only; 0 is all")
    quality.add_argument("--output", default="runs/quality", help="folder of the table")
    add_options(quality, Sampling)
    quality.set_defaults(run=_quality)

    classifier = commands.add_parser("classifier", help="train the embedded hate classifier")
    add_options(classifier, ClassifierConfig)
    classifier.set_defaults(run=_classifier)

    usual = PRESETS[EMBEDDED]
    for name, defaults, action, text in (
        ("sft", usual.sft, _sft, "teach a base model to summarize (LoRA)"),
        ("ppo", usual.ppo, _ppo, "tune a policy against a reward, leashed by KL"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--preset", default=EMBEDDED, help=f"one of {', '.join(PRESETS)}")
        command.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
        add_options(command, defaults)
        command.set_defaults(run=action)
    dpo = commands.add_parser("dpo", help="tune a policy on preferences, without a reward model")
    dpo.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    add_options(dpo, DpoConfig)
    dpo.set_defaults(run=_dpo)
    mixing = commands.add_parser("pareto", help="classifier against people's taste, in a sweep")
    mixing.add_argument("--preset", default=EMBEDDED, help=f"one of {', '.join(PRESETS)}")
    mixing.add_argument("--reward", default="", help="preference:FOLDER, trained on picks")
    mixing.add_argument("--classifier", default="", help="hub name or folder of the classifier")
    mixing.add_argument("--shares", default="0,0.25,0.5,0.75,1", help="of the preference model")
    mixing.add_argument("--scale", type=float, default=1.5, help="weight of both together")
    mixing.add_argument("--keep", default="", help="in every mixture too, as in rouge=1.5")
    mixing.add_argument("--split", default="validation", help="dialogues to judge on")
    mixing.add_argument("--limit", type=int, default=0, help="first N of them only; 0 is all")
    mixing.add_argument("--samples", type=int, default=1, help="responses to each dialogue")
    add_options(mixing, replace(usual.ppo, output="runs/pareto"), without=("reward",))
    mixing.set_defaults(run=_pareto)
    search = commands.add_parser("tune", help="search hyper-parameters of sft or ppo (Optuna)")
    kinds = search.add_subparsers(required=True, metavar="sft|ppo")
    for name, defaults in (("sft", usual.sft), ("ppo", usual.ppo)):
        command = kinds.add_parser(name, help=f"search settings of {name}")
        command.add_argument("--preset", default=EMBEDDED, help=f"one of {', '.join(PRESETS)}")
        command.add_argument("--trials", type=int, default=12, help="trials in all, pruned or not")
        command.add_argument("--limit", type=int, default=40, help="validation dialogues (ppo)")
        command.add_argument("--study", default=f"runs/tune-{name}", help="folder of the study")
        add_options(command, defaults)
        command.set_defaults(run=_tune, kind=name)
    pipeline = commands.add_parser("pipeline", help="reward model, PPO, inference, evaluation")
    pipeline.add_argument("config", type=Path, help="YAML file of the settings")
    pipeline.add_argument("--fresh", action="store_true", help="run every stage, cached or not")
    add_options(pipeline, PipelineConfig)
    pipeline.set_defaults(run=_pipeline)
    example = commands.add_parser("pipeline-data", help="data for a first pipeline")
    example.add_argument("--output", type=Path, default=Path("runs/pipeline-data"), help="folder")
    example.add_argument("--seed", type=int, default=0, help="seed of the candidates' slots")
    example.set_defaults(run=_pipeline_data)
    learning = commands.add_parser("learning", help="is a run learning?")
    learning.add_argument("folder", type=Path, help="output folder of sft or ppo")
    learning.set_defaults(run=_learning)
    steps = commands.add_parser("steps", help="optimizer steps of so many epochs")
    steps.add_argument("examples", type=int, help="examples to learn from")
    steps.add_argument("--batch-size", type=int, default=64, help="examples a step")
    steps.add_argument("--epochs", type=int, required=True, help="passes over the examples")
    steps.set_defaults(run=_steps)
    blend = commands.add_parser("interpolate", help="a policy between its reference and itself")
    blend.add_argument("adapter", type=Path, help="folder of an adapter")
    blend.add_argument(
        "--share", type=float, required=True, help="0 is the reference, 1 the policy"
    )
    blend.add_argument("--output", type=Path, required=True, help="folder of the new adapter")
    blend.set_defaults(run=_interpolate)
    return top


def _add_versions(command: argparse.ArgumentParser) -> None:
    help_text = "before, after, BASE, BASE+ADAPTER or an adapter folder"
    command.add_argument("--before", default="before", help=help_text)
    command.add_argument("--after", default="after", help=help_text)
    _add_classifier(command)


def _add_classifier(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--classifier", default="", help="hub name or folder; the embedded one by default"
    )
    command.add_argument("--label", default=None, help="label to reward, if its name says nothing")


def add_options(command: argparse.ArgumentParser, kind: Any, without: Collection[str] = ()) -> None:
    """Makes each field of a configuration an option that is absent unless given.

    ``kind`` is the class, or an instance whose values are the defaults that the help tells;
    the fields ``without`` are none of the command line's business.
    """
    for field in fields(kind):
        if field.name in without:
            continue
        default = getattr(kind, field.name)
        command.add_argument(
            "--" + field.name.replace("_", "-"),
            type=type(default),
            default=argparse.SUPPRESS,
            metavar=type(default).__name__.upper(),
            # argparse would take a per cent sign for a place to fill in
            help=f"{field.metadata['help']} (default {default!r})".replace("%", "%%"),
        )


def chosen_options(arguments: argparse.Namespace, defaults: Any) -> Any:
    """``defaults`` with the options that were given on the command line in their place."""
    given = {
        field.name: getattr(arguments, field.name)
        for field in fields(defaults)
        if hasattr(arguments, field.name)
    }
    return replace(defaults, **given)


def _compare(arguments: argparse.Namespace) -> None:
    from detox.data import check_dialogue
    from detox.workbench import Workbench

    dialogue = check_dialogue(_read_text(arguments.dialogue))
    sampling = chosen_options(arguments, Sampling())
    versions = {"before": arguments.before, "after": arguments.after}
    bench = Workbench(versions, arguments.classifier, arguments.label, arguments.reward)
    *_, sides = bench.compare(("before", "after"), dialogue, sampling)
    for side in sides:
        print(f"{side.policy}: {side.text}")
        people = "" if side.preference is None else f"preference {side.preference:+.2f}  "
        print(
            f"  reward {side.reward:+.2f}  {people}toxicity {side.toxicity:.1%}  {side.words} words"
        )
    first, second = (side.reward or 0.0 for side in sides)
    print(f"reward difference {second - first:+.2f}")
    if (chance := bench.chance(sides)) is not None:
        print(f"by the model trained on picks, people prefer after with a chance of {chance:.0%}")
    if arguments.card:
        from detox.card import comparison_card, save_card

        made = f"Made with {sampling.describe()}."
        print(f"card in {save_card(Path(arguments.card), comparison_card(dialogue, sides, made))}")


def _prompt(arguments: argparse.Namespace) -> None:
    from detox.data import check_dialogue
    from detox.generation import generate
    from detox.models import load_policies
    from detox.prompting import build_prompt, setups, too_long

    task = find_task(arguments.task)
    text = check_dialogue(_read_text(arguments.text))
    names = _listed(arguments.policy)
    templates = list(task.templates) if arguments.template == "all" else _listed(arguments.template)
    try:
        shots = [int(count) for count in _listed(arguments.shots)]
    except ValueError as error:
        raise UserError("--shots takes numbers joined by commas, as in 0,1,3.") from error
    asked = [
        (setup, build_prompt(task, text, setup))
        for setup in setups(names, templates, shots, chosen_options(arguments, Sampling()))
    ]
    policies = load_policies({name: name for name in names})
    for setup, prompt in asked:
        policy = policies[setup.policy]
        count = len(policy.tokenizer(prompt).input_ids)
        print(f"--- {setup.title}: {count} tokens of {policy.context}")
        if arguments.show_prompt:
            print(prompt)
        if warning := too_long(policy, prompt, setup.sampling):
            print(f"not asked: {warning}")
        else:
            print(generate(policy, [prompt], setup.sampling)[0])


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _read_text(name: str) -> str:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UserError(f"{name} cannot be read: check the path.") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not a text file: save the dialogue as UTF-8 text.") from error


def _score(arguments: argparse.Namespace) -> None:
    from detox.rewards import load_classifier_reward

    judge = load_classifier_reward(arguments.classifier, gentle_label=arguments.label)
    scores = judge.rate(arguments.text)
    for text, reward, toxicity in zip(arguments.text, scores.reward, scores.toxicity, strict=True):
        print(f"reward {float(reward):+.3f}  toxicity {float(toxicity):.1%}  {text}")


def _evaluate(arguments: argparse.Namespace) -> None:
    from detox import processes
    from detox.evaluation import about, about_judges, add_kl, compare_policies
    from detox.judges import add_preference
    from detox.models import load_policies
    from detox.report import training_curves, write_report
    from detox.results import write_results
    from detox.rewards import load_classifier_reward, load_second_judge

    if arguments.samples < 1:
        raise UserError("--samples must be at least 1.")
    sampling = chosen_options(arguments, Sampling())
    task = find_task(arguments.task)
    dialogues = _dialogues(arguments, task)
    judge = load_classifier_reward(arguments.classifier, gentle_label=arguments.label)
    preference = load_second_judge(arguments.reward)
    policies = load_policies({"before": arguments.before, "after": arguments.after})
    before, after = policies["before"], policies["after"]
    rows = compare_policies(
        before, after, dialogues, judge, sampling, _progress, arguments.samples, task
    )
    if not processes.is_main():
        return
    add_kl(rows, before, after, lambda k, n: _tell(f"{k}/{n} divergences"))
    folder = Path(arguments.output)
    origin = about(before, after, judge, sampling, arguments.data, arguments.split)
    origin |= {"task": task.name, "samples": arguments.samples}
    if preference is not None:
        add_preference(rows, preference)
        origin["judges"] = about_judges(arguments.after, preference, rows)
    groups = write_results(folder, rows, origin)
    write_report(folder, training_curves(arguments.after))
    for group, numbers in groups.items():
        toxicity = numbers["toxicity"]
        print(
            f"{group} (n = {numbers['n']}): toxicity {toxicity['before_mean']:.4f} -> "
            f"{toxicity['after_mean']:.4f}, difference {toxicity['difference']:+.4f} "
            f"[{toxicity['low']:+.4f}, {toxicity['high']:+.4f}] {toxicity['verdict']}"
        )
        if wins := numbers.get("preference", {}).get("win_rate"):
            print(
                f"  preference model's win rate {wins['mean']:.1%} "
                f"[{wins['low']:.1%}, {wins['high']:.1%}] {wins['verdict']}"
            )
        for sign in numbers["signs"]:
            print(f"  sign of over-optimisation: {sign}")
    print(f"results in {arguments.output}, to be read in {folder / 'report.html'}")


def _card(arguments: argparse.Namespace) -> None:
    from detox.card import CARD, report_card, row_card, save_card
    from detox.results import read_results

    folder = Path(arguments.results)
    png = row_card(folder, arguments.id) if arguments.id else report_card(read_results(folder)[1])
    print(f"card in {save_card(Path(arguments.output or folder / CARD), png)}")


def _dialogues(arguments: argparse.Namespace, task: Task) -> Dataset:
    from detox.data import load_dialogues

    if arguments.limit < 0:
        raise UserError("--limit must be 0 (all) or a positive number.")
    dialogues = load_dialogues(arguments.data, arguments.split, task)
    if arguments.limit > 0:
        dialogues = dialogues.select(range(min(arguments.limit, len(dialogues))))
    return dialogues


def _quality(arguments: argparse.Namespace) -> None:
    from detox.quality import as_markdown, measure_quality, write_quality

    sampling = chosen_options(arguments, Sampling())
    task = find_task(arguments.task)
    dialogues = _dialogues(arguments, task)
    rows = measure_quality(arguments.policy, dialogues, task, sampling, _tell)
    about = {"task": task.name, "data": Path(arguments.data).name, "split": arguments.split}
    write_quality(Path(arguments.output), rows, about | {"sampling": asdict(sampling)})
    print(as_markdown(rows))
    print(f"table in {arguments.output}")


def _progress(finished: int, total: int) -> None:
    print(f"{finished}/{total} responses", flush=True)


def _tell(text: str) -> None:
    print(text, flush=True)


def _classifier(arguments: argparse.Namespace) -> None:
    from detox.classifier import train_classifier

    train_classifier(chosen_options(arguments, ClassifierConfig()), _tell)


def _sft(arguments: argparse.Namespace) -> None:
    from detox.sft import train_sft

    config = chosen_options(arguments, find_preset(arguments.preset).sft)
    train_sft(config, arguments.resume, _tell)


def _ppo(arguments: argparse.Namespace) -> None:
    from detox.ppo.trainer import train_ppo

    config = chosen_options(arguments, find_preset(arguments.preset).ppo)
    train_ppo(config, arguments.resume, _tell)


def _dpo(arguments: argparse.Namespace) -> None:
    from detox.preference import train_dpo

    train_dpo(chosen_options(arguments, DpoConfig()), arguments.resume, _tell)


def _pareto(arguments: argparse.Namespace) -> None:
    from detox.pareto import Sweep, sweep

    try:
        shares = tuple(float(share) for share in _listed(arguments.shares))
    except ValueError as error:
        raise UserError("--shares takes numbers joined by commas, as in 0,0.5,1.") from error
    names = ("scale", "keep", "classifier", "split", "limit", "samples")
    chosen = {name: getattr(arguments, name) for name in names}
    plan = Sweep(arguments.reward, shares, **chosen)
    usual = replace(find_preset(arguments.preset).ppo, output="runs/pareto")
    config = chosen_options(arguments, usual)
    sweep(config, plan, Path(config.output), _tell)
    _tell(f"report in {Path(config.output) / 'report.html'}")


def _tune(arguments: argparse.Namespace) -> None:
    from detox.tune import tune

    config = chosen_options(arguments, getattr(find_preset(arguments.preset), arguments.kind))
    best = tune(config, arguments.trials, Path(arguments.study), arguments.limit, _tell)
    print(f"best: {best['best_value']}\n{best['command']}\nstudy in {arguments.study}")


def _pipeline(arguments: argparse.Namespace) -> None:
    from detox.pipeline.run import run_pipeline

    names = [field.name for field in fields(PipelineConfig)]
    given = {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
    run_pipeline(read_config(arguments.config, given), arguments.fresh, _tell)


def _pipeline_data(arguments: argparse.Namespace) -> None:
    from detox.pipeline.example import write_example

    write_example(arguments.output, arguments.seed, _tell)


def _learning(arguments: argparse.Namespace) -> None:
    from detox.learning import is_learning

    print("\n".join(is_learning(arguments.folder)))


def _steps(arguments: argparse.Namespace) -> None:
    from detox.learning import steps_of

    print(steps_of(arguments.examples, arguments.batch_size, arguments.epochs))


def _interpolate(arguments: argparse.Namespace) -> None:
    from detox.interpolate import interpolate

    interpolate(arguments.adapter, arguments.share, arguments.output)
    _tell(f"saved the adapter to {arguments.output}")
