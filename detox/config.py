"""Every number that steers a run: frozen dataclasses, checked when built, and named presets."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from detox.errors import UserError
from detox.tasks import find_task

EMBEDDED = "embedded"


def option(default: Any, help: str) -> Any:
    """A dataclass field whose help text serves the docs and the command line alike."""
    return field(default=default, metadata={"help": help})


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise UserError(sentence)


def _require_precision(mixed_precision: str) -> None:
    _require(mixed_precision in ("no", "bf16"), "mixed_precision must be no or bf16.")


def _require_seed(seed: int) -> None:
    _require(0 <= seed < 2**32, "seed must be a whole number from 0 to 4294967295.")


@dataclass(frozen=True)
class Sampling:
    """How a response is drawn from a policy."""

    temperature: float = option(0.3, "0 picks the likeliest token every time; 1 samples as is")
    top_p: float = option(0.95, "smallest probability mass the next token is drawn from, (0, 1]")
    top_k: int = option(0, "number of likeliest tokens to draw from; 0 means all")
    max_new_tokens: int = option(80, "longest response, in tokens")
    min_new_tokens: int = option(0, "the end is not drawn before so many tokens")
    num_beams: int = option(1, "responses followed at a time, of which the likeliest is given")
    length_penalty: float = option(1.0, "above 1 beams favour long responses, below 1 short ones")
    repetition_penalty: float = option(1.0, "above 1 makes tokens that were there less likely")
    no_repeat_ngram_size: int = option(0, "no so many tokens in a row come twice; 0 allows it")
    seed: int = option(0, "same seed, same responses")

    def __post_init__(self) -> None:
        _require(0 <= self.temperature <= 5, "temperature must lie between 0 and 5.")
        _require(0 < self.top_p <= 1, "top_p must be above 0 and at most 1.")
        _require(self.top_k >= 0, "top_k must be 0 (all tokens) or a positive number.")
        _require(1 <= self.max_new_tokens <= 1024, "max_new_tokens must lie between 1 and 1024.")
        _require(
            0 <= self.min_new_tokens <= self.max_new_tokens,
            "min_new_tokens must lie between 0 and max_new_tokens.",
        )
        _require(1 <= self.num_beams <= 16, "num_beams must lie between 1 and 16.")
        _require(-5 <= self.length_penalty <= 5, "length_penalty must lie between -5 and 5.")
        _require(
            0 < self.repetition_penalty <= 5, "repetition_penalty must be above 0 and at most 5."
        )
        _require(self.no_repeat_ngram_size >= 0, "no_repeat_ngram_size must be 0 or positive.")
        _require_seed(self.seed)

    def describe(self) -> str:
        """What is set, in a few words: ``temperature 0.3, top-p 0.95, seed 0``."""
        if self.num_beams > 1:
            return f"{self.num_beams} beams, temperature {self.temperature:g}, seed {self.seed}"
        if not self.temperature:
            return "the likeliest words"
        return f"temperature {self.temperature:g}, top-p {self.top_p:g}, seed {self.seed}"


@dataclass(frozen=True)
class Lora:
    """A low-rank adapter (Hu et al. 2021, LoRA)."""

    r: int = option(16, "rank of the update")
    alpha: int = option(32, "scale of the update; the effective scale is alpha / r")
    dropout: float = option(0.0, "dropout on the adapter's input, in supervised training only")
    targets: str = option("all-linear", "'all-linear' or module names joined by commas: q,v")
    placement: str = option("everywhere", "'everywhere', or 'decoder' to leave an encoder as it is")

    def __post_init__(self) -> None:
        _require(self.r >= 1, "lora r must be at least 1.")
        _require(
            self.placement in ("everywhere", "decoder"),
            "lora placement must be everywhere or decoder.",
        )
        _require(0 <= self.dropout < 1, "lora dropout must be at least 0 and below 1.")

    @property
    def target_modules(self) -> str | list[str]:
        """As peft wants it: the word ``all-linear`` or a list of names."""
        names = [name.strip() for name in self.targets.split(",") if name.strip()]
        return "all-linear" if names == ["all-linear"] else names

    @property
    def exclude_modules(self) -> str | None:
        """As peft wants it: the pattern of module names that stay as they are."""
        return r"(.*\.)?encoder\..*" if self.placement == "decoder" else None


@dataclass(frozen=True)
class SftConfig:
    """Supervised fine-tuning; the loss is on the answer only."""

    base: str = option(EMBEDDED, "base model: 'embedded', a hub name or a folder")
    task: str = option("summarize", "what to learn: summarize or sentiment")
    data: str = option(EMBEDDED, "texts with answers, joined by commas: 'embedded', files, hubs")
    output: str = option("runs/sft", "folder of the adapter or model, its card and its logs")
    method: str = option("lora", "lora trains an adapter, full all weights of the base")
    style: str = option("verbatim", "embedded reference to learn: verbatim or gentle")
    references: str = option("one", "one reference of each dialogue, drawn at random, or all")
    steps: int = option(200, "optimizer steps, at most")
    batch_size: int = option(8, "examples a step")
    lr: float = option(3e-4, "peak learning rate, decayed linearly after 5 % warm-up")
    weight_decay: float = option(0.0, "decay of the weights a step, times the learning rate")
    lora_r: int = option(16, "rank of the adapter")
    lora_alpha: int = option(32, "scale of the adapter")
    lora_dropout: float = option(0.0, "dropout of the adapter; random numbers cost a CPU dearly")
    lora_targets: str = option("all-linear", "'all-linear' or module names joined by commas")
    max_prompt_tokens: int = option(512, "texts with longer prompts are left out, and counted")
    max_summary_tokens: int = option(96, "answers are cut here, in tokens")
    save_every: int = option(50, "steps between checkpoints")
    validate_every: int = option(0, "steps between losses on the validation split; 0 is never")
    patience: int = option(0, "validations without a lower loss after which to stop; 0 is never")
    hold_out: float = option(0.0, "share of rows without a split that is the validation split")
    mixed_precision: str = option(
        "no", "bf16 computes products in bfloat16: faster on GPUs and on CPUs with AMX"
    )
    seed: int = option(0, "seed of weights, order and dropout")

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "steps must be at least 1.")
        _require(self.batch_size >= 1, "batch_size must be at least 1.")
        _require(self.lr > 0, "lr must be above 0.")
        _require(self.weight_decay >= 0, "weight_decay must be 0 or above.")
        _require(self.method in ("lora", "full"), "method must be lora or full.")
        _require(self.style in ("verbatim", "gentle"), "style must be verbatim or gentle.")
        _require(self.references in ("one", "all"), "references must be one or all.")
        _require(self.max_prompt_tokens >= 1, "max_prompt_tokens must be at least 1.")
        _require(self.max_summary_tokens >= 1, "max_summary_tokens must be at least 1.")
        _require(self.save_every >= 1, "save_every must be at least 1.")
        _require(self.validate_every >= 0, "validate_every must be 0 (never) or a number of steps.")
        _require(
            self.patience == 0 or (self.patience > 0 and self.validate_every > 0),
            "patience must be 0 (never stop early) or a number of validations: set validate_every.",
        )
        _require(0 <= self.hold_out < 1, "hold_out must be at least 0 and below 1.")
        _require_precision(self.mixed_precision)
        _require_seed(self.seed)
        find_task(self.task)
        self.lora  # noqa: B018  built here so that a bad rank is refused before any work

    @property
    def lora(self) -> Lora:
        """The adapter's shape."""
        return Lora(self.lora_r, self.lora_alpha, self.lora_dropout, self.lora_targets)


@dataclass(frozen=True)
class PpoConfig:
    """PPO against a reward with a KL leash to the reference (Ziegler et al. 2019; trl 0.11)."""

    policy: str = option("before", "policy to start from, which is also the reference")
    task: str = option("summarize", "what is asked: summarize or sentiment")
    reward: str = option("classifier", "classifier | preference:FOLDER | rouge | mixed:A=0.5,B=0.5")
    scope: str = option("response", "what is scored: response, or pair (query + response)")
    data: str = option(EMBEDDED, "dialogues, joined by commas: 'embedded', files, hub names")
    output: str = option("runs/ppo", "folder of the adapter, its card, checkpoints and logs")
    steps: int = option(60, "PPO steps: one batch of rollouts each")
    batch_size: int = option(16, "rollouts a step")
    mini_batch_size: int = option(8, "rollouts an optimizer step")
    micro_batch_size: int = option(0, "rollouts in memory at once; 0 takes the mini-batch")
    ppo_epochs: int = option(1, "passes over each batch of rollouts")
    lr: float = option(1e-4, "learning rate of Adam, constant")
    lora_r: int = option(16, "rank of the adapter")
    lora_alpha: int = option(32, "scale of the adapter")
    lora_targets: str = option("all-linear", "'all-linear' or module names joined by commas")
    lora_placement: str = option(
        "everywhere", "'decoder' leaves an encoder as it is: faster, one pass serves all"
    )
    logprobs: str = option(
        "pass", "where old log-probabilities come from: a pass of their own, or generation"
    )
    min_response_tokens: int = option(48, "shortest limit that LengthSampler draws")
    max_response_tokens: int = option(64, "longest limit that LengthSampler draws")
    min_dialogue_chars: int = option(200, "shorter dialogues are left out")
    max_dialogue_chars: int = option(1000, "longer dialogues are left out")
    kl_coef: float = option(0.05, "first weight of the per-token KL penalty")
    kl_target: float = option(4.0, "KL that the adaptive controller aims at, in nats a response")
    kl_horizon: int = option(1000, "samples over which the controller adapts; 0 keeps kl_coef")
    kl_stop: float = option(40.0, "mean KL at which a run stops and keeps its last checkpoint")
    collapse_stop: float = option(
        0.5, "share of its first length or variety below which a run stops; 0 never stops it"
    )
    gamma: float = option(1.0, "discount")
    lam: float = option(0.95, "lambda of GAE")
    clip: float = option(0.2, "range of the policy ratio")
    clip_value: float = option(0.2, "range of the value update")
    vf_coef: float = option(0.1, "weight of the value loss")
    ratio_threshold: float = option(10.0, "a mini-batch with a larger mean ratio is skipped")
    max_grad_norm: float = option(1.0, "gradients are scaled down to this norm")
    save_every: int = option(10, "steps between checkpoints")
    mixed_precision: str = option(
        "no", "bf16 computes products in bfloat16: faster on GPUs and on CPUs with AMX"
    )
    seed: int = option(0, "seed of weights, order and sampling")

    def __post_init__(self) -> None:
        _require(self.steps >= 1, "steps must be at least 1.")
        _require(
            1 <= self.mini_batch_size <= self.batch_size
            and self.batch_size % self.mini_batch_size == 0,
            "batch_size must be a multiple of mini_batch_size.",
        )
        _require(
            self.micro_batch_size >= 0
            and self.mini_batch_size % (self.micro_batch_size or self.mini_batch_size) == 0,
            "micro_batch_size must be 0 or divide mini_batch_size.",
        )
        _require(self.scope in ("response", "pair"), "scope must be response or pair.")
        _require(self.logprobs in ("pass", "generation"), "logprobs must be pass or generation.")
        _require(
            1 <= self.min_response_tokens <= self.max_response_tokens,
            "min_response_tokens must be at least 1 and at most max_response_tokens.",
        )
        _require(self.lr > 0, "lr must be above 0.")
        _require(self.ppo_epochs >= 1, "ppo_epochs must be at least 1.")
        _require(self.kl_target > 0, "kl_target must be above 0.")
        _require(0 <= self.collapse_stop < 1, "collapse_stop must be at least 0 and below 1.")
        _require_precision(self.mixed_precision)
        _require(self.kl_horizon >= 0, "kl_horizon must be 0 (off) or a positive number.")
        _require(self.save_every >= 1, "save_every must be at least 1.")
        _require_seed(self.seed)
        find_task(self.task)
        self.lora  # noqa: B018  built here so that a bad rank is refused before any work

    @property
    def lora(self) -> Lora:
        """The adapter's shape; no dropout, since rollouts and PPO passes must see one policy."""
        return Lora(self.lora_r, self.lora_alpha, 0.0, self.lora_targets, self.lora_placement)


@dataclass(frozen=True)
class DpoConfig:
    """Direct tuning on preferences, without a reward model (Rafailov et al. 2023, DPO)."""

    policy: str = option("before", "policy to start from, which is also the reference")
    data: str = option("", "preferences, TRL explicit JSONL as `labeling export` writes it")
    output: str = option("runs/dpo", "folder of the adapter, its card, checkpoints and logs")
    loss: str = option("dpo", "dpo; cdpo or robust against wrong picks; ipo against overfitting")
    beta: float = option(0.1, "weight of the leash to the reference; the tau of IPO")
    label_smoothing: float = option(0.1, "share of picks taken to be wrong, by cdpo and robust")
    margin: float = option(0.0, "weight of the margins that pairs may carry; 0 ignores them")
    epochs: int = option(3, "passes over the pairs")
    steps: int = option(0, "optimizer steps in place of epochs; 0 takes the epochs")
    batch_size: int = option(8, "pairs an optimizer step")
    micro_batch_size: int = option(2, "pairs in memory at once, at most; 0 takes the batch")
    lr: float = option(1e-4, "peak learning rate, decayed linearly after 5 % warm-up")
    lora_r: int = option(16, "rank of the adapter")
    lora_alpha: int = option(32, "scale of the adapter")
    lora_targets: str = option("all-linear", "'all-linear' or module names joined by commas")
    lora_placement: str = option("everywhere", "'decoder' leaves an encoder as it is")
    hold_out: float = option(0.1, "share of the dialogues kept for validation; 0 keeps none")
    validate_every: int = option(0, "steps between validations; 0 is ten times a run")
    patience: int = option(3, "validations without a lower loss after which to stop; 0 is never")
    save_every: int = option(10, "steps between checkpoints where nothing is held out")
    max_prompt_tokens: int = option(512, "pairs with longer prompts are left out, and counted")
    max_response_tokens: int = option(128, "pairs with a longer response are left out, and counted")
    seed: int = option(0, "seed of weights, order and the held-out dialogues")

    def __post_init__(self) -> None:
        _require(
            self.loss in ("dpo", "cdpo", "robust", "ipo"), "loss must be dpo, cdpo, robust or ipo."
        )
        _require(self.beta > 0, "beta must be above 0.")
        _require(
            0 <= self.label_smoothing < 0.5, "label_smoothing must be at least 0 and below 0.5."
        )
        _require(self.margin >= 0, "margin must be 0 or above.")
        _require(self.epochs >= 1, "epochs must be at least 1.")
        _require(self.steps >= 0, "steps must be 0 (take the epochs) or a positive number.")
        _require(self.batch_size >= 1, "batch_size must be at least 1.")
        _require(self.micro_batch_size >= 0, "micro_batch_size must be 0 or a number of pairs.")
        _require(self.lr > 0, "lr must be above 0.")
        _require(0 <= self.hold_out < 1, "hold_out must be at least 0 and below 1.")
        _require(
            self.validate_every >= 0,
            "validate_every must be 0 (ten times a run) or a number of steps.",
        )
        _require(
            self.patience >= 0, "patience must be 0 (never stop early) or a number of validations."
        )
        _require(self.save_every >= 1, "save_every must be at least 1.")
        _require(self.max_prompt_tokens >= 1, "max_prompt_tokens must be at least 1.")
        _require(self.max_response_tokens >= 1, "max_response_tokens must be at least 1.")
        _require_seed(self.seed)
        self.lora  # noqa: B018  built here so that a bad rank is refused before any work

    @property
    def at_once(self) -> int:
        """Pairs in memory at once: the most below the limit of which a batch is a multiple."""
        limit = self.micro_batch_size or self.batch_size
        return next(n for n in range(limit, 0, -1) if self.batch_size % n == 0)

    @property
    def lora(self) -> Lora:
        """The adapter's shape; no dropout, since policy and reference must be comparable."""
        return Lora(self.lora_r, self.lora_alpha, 0.0, self.lora_targets, self.lora_placement)


@dataclass(frozen=True)
class ClassifierConfig:
    """Training of the embedded hate classifier."""

    data: str = option("", "CSV with columns 'tweet' and 'class' (0 hate, 1 offensive, 2 neither)")
    base: str = option(EMBEDDED, "base encoder: 'embedded', a hub name or a folder")
    output: str = option("runs/classifier", "folder of the adapter, its card and its logs")
    epochs: int = option(2, "passes over the training sentences")
    batch_size: int = option(32, "sentences a step")
    lr: float = option(5e-4, "peak learning rate, decayed linearly")
    lora_r: int = option(16, "rank of the adapter")
    lora_alpha: int = option(32, "scale of the adapter")
    max_tweets: int = option(4000, "tweets to learn from, half of them hate; more cost time")
    own_repeats: int = option(2, "times the project's own sentences are repeated")
    max_tokens: int = option(128, "sentences are cut here, in tokens")
    seed: int = option(0, "seed of weights and order")

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "epochs must be at least 1.")
        _require(self.batch_size >= 1, "batch_size must be at least 1.")
        _require(self.lr > 0, "lr must be above 0.")
        _require_seed(self.seed)


@dataclass(frozen=True)
class RewardConfig:
    """Training of a reward model from pairs of responses."""

    base: str = option(EMBEDDED, "encoder: 'embedded', a hub name or a folder")
    output: str = option("runs/reward", "folder of the model, its card, report and logs")
    method: str = option("lora", "lora trains an adapter, full all weights of the encoder")
    epochs: int = option(4, "passes over the picks, at most")
    steps: int = option(0, "optimizer steps in place of epochs; 0 takes the epochs")
    batch_size: int = option(16, "pairs a step")
    lr: float = option(5e-4, "peak learning rate, decayed linearly; 5e-5 suits the method full")
    lora_r: int = option(16, "rank of the adapter")
    lora_layers: int = option(0, "adapters in so many of the last layers only: faster; 0 is all")
    center: float = option(0.01, "pull of the rewards' mean towards 0 (center_rewards_coefficient)")
    ties: str = option("drop", "drop them, or soft: half a win for each response")
    held_out: float = option(0.2, "share of the dialogues kept for measuring accuracy")
    validation: float = option(0.15, "share kept for early stopping and the temperature")
    validate_every: int = option(0, "steps between validations; 0 is twice a pass")
    patience: int = option(3, "validations without a lower loss after which to stop; 0 is never")
    max_tokens: int = option(384, "longest prompt + response in tokens; the start is cut")
    mixed_precision: str = option(
        "no", "bf16 computes products in bfloat16: faster on GPUs and on CPUs with AMX"
    )
    seed: int = option(0, "seed of weights, order and which dialogues are kept apart")

    def __post_init__(self) -> None:
        _require(self.method in ("lora", "full"), "method must be lora or full.")
        _require(self.ties in ("drop", "soft"), "ties must be drop or soft.")
        _require(0 < self.held_out < 1, "held_out must lie between 0 and 1.")
        _require(
            0 <= self.validation < 1 - self.held_out,
            "validation must be at least 0 and leave something to learn from beside held_out.",
        )
        _require(
            self.epochs >= 1 and self.batch_size >= 1 and self.lr > 0,
            "epochs and batch_size must be at least 1, lr above 0.",
        )
        _require(self.steps >= 0, "steps must be 0 (take the epochs) or a positive number.")
        _require(
            self.validate_every >= 0 and self.patience >= 0,
            "validate_every and patience must be 0 or above.",
        )
        _require(self.center >= 0, "center must be 0 or above.")
        _require(
            self.lora_r >= 1 and self.max_tokens >= 1,
            "lora_r and max_tokens must be at least 1.",
        )
        _require(self.lora_layers >= 0, "lora_layers must be 0 (all) or a number of layers.")
        _require_precision(self.mixed_precision)
        _require_seed(self.seed)


@dataclass(frozen=True)
class Preset:
    """A named choice of models and of the settings they are tuned with."""

    name: str
    before: str
    after: str | None
    reward: str
    sft: SftConfig
    ppo: PpoConfig


_FLAN = "google/flan-t5-base"
ROBERTA = "facebook/roberta-hate-speech-dynabench-r4-target"
_FLAN_LORA: dict[str, Any] = {"lora_r": 32, "lora_alpha": 32, "lora_targets": "q,v"}
_FLAN_SFT = SftConfig(base=_FLAN, data="knkarthick/dialogsum", lora_dropout=0.05, **_FLAN_LORA)
_FLAN_PPO = PpoConfig(
    policy=_FLAN, reward=f"classifier:{ROBERTA}", data="knkarthick/dialogsum", **_FLAN_LORA
)

# What the shipped "after" was tuned with: the classifier alone would be content with silence.
_EMBEDDED_PPO = PpoConfig(
    reward="mixed:classifier=1.5,rouge=1.5", steps=40, lr=2e-4, kl_target=6.0, kl_horizon=300
)

PRESETS = {
    EMBEDDED: Preset(EMBEDDED, "before", "after", "classifier", SftConfig(), _EMBEDDED_PPO),
    "flan-t5": Preset("flan-t5", _FLAN, None, f"classifier:{ROBERTA}", _FLAN_SFT, _FLAN_PPO),
    # The lab's exact settings, for those who want its run with a correct PPO.
    "notebook": Preset(
        "notebook",
        _FLAN,
        None,
        f"classifier:{ROBERTA}",
        _FLAN_SFT,
        replace(
            _FLAN_PPO,
            scope="pair",
            steps=10,
            batch_size=16,
            mini_batch_size=4,
            ppo_epochs=1,
            lr=1.41e-5,
            min_response_tokens=100,
            max_response_tokens=400,
            min_dialogue_chars=200,
            max_dialogue_chars=1000,
        ),
    ),
}


def find_preset(name: str) -> Preset:
    """The preset called ``name``; ``UserError`` that lists the known ones otherwise."""
    if name not in PRESETS:
        raise UserError(f"Unknown preset '{name}': choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def recorded(config: Any) -> dict[str, Any]:
    """A configuration as a card may show it: data files by name, wherever they lay."""
    values = asdict(config)
    if "data" in values:
        parts = [part.strip() for part in values["data"].split(",")]
        # a hub name has a slash too, and is nothing without its owner
        files = (".jsonl", ".json", ".csv", ".parquet")
        values["data"] = ",".join(Path(p).name if p.endswith(files) else p for p in parts)
    return values


def cache_dir() -> Path:
    """Where converted weights are kept: ``DETOX_CACHE`` or ``~/.cache/detox-arena``."""
    return Path(os.environ.get("DETOX_CACHE") or Path.home() / ".cache" / "detox-arena")
