"""Versions of a model, loaded so that they share weights wherever possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from detox.errors import UserError
from detox.models.adapters import attach, check_weights
from detox.models.pretrained import load_base
from detox.models.sources import Source, find_source, fingerprint

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
    root: Source | None = None
    """Where ``model`` without an adapter comes from; None where nobody may share it."""

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
                roots[root] = attach(model, source.adapters[-1], adapter), tokenizer
            source = root
        model, tokenizer = roots[source]
        policies[name] = Policy(name, model, tokenizer, adapter, fingerprint(sources[name]))
    # attaching an adapter wraps the model: every sharer must hold the wrapped one
    shared = {name: _root_of(sources[name], roots) for name in policies}
    tell(1.0, "ready")
    return {
        name: replace(policies[name], model=roots[shared[name]][0], root=shared[name])
        for name in specs
    }


@dataclass(frozen=True)
class Beside:
    """One more policy that is all but loaded: the weights that its last adapter will be put on."""

    source: Source
    root: Source
    model: Any
    tokenizer: PreTrainedTokenizerBase


def load_beside(policies: Mapping[str, Policy], spec: str) -> Beside:
    """What takes long in loading one more policy; ``policies`` may be in use meanwhile.

    Its weights are those of one of ``policies`` wherever that is what ``load_policies`` would
    have done. Raises ``UserError`` as ``load_policies`` does.
    """
    source = find_source(spec)
    if source.adapters:
        check_weights(source.adapters[-1])
    sharers = {_place(p.root): p for p in policies.values() if p.root is not None}
    root = Source(source.base, source.adapters[:-1])
    for place in (source, root):
        if sharer := sharers.get(_place(place)):
            assert sharer.root is not None
            return Beside(source, sharer.root, sharer.model, sharer.tokenizer)
    return Beside(source, root, *_merged(root))


def add_policy(policies: Mapping[str, Policy], name: str, beside: Beside) -> dict[str, Policy]:
    """``policies`` and one more called ``name``, as ``load_policies`` would give them.

    An adapter is put on weights that others share, none of which may be in use: the policies
    given are spent, and those returned take their place. Raises ``UserError`` for an adapter that
    does not fit; the policies given then stay as they were.
    """
    source, model = beside.source, beside.model
    mark = fingerprint(source)
    if _place(source) == _place(beside.root):
        new = Policy(name, model, beside.tokenizer, None, mark, beside.root)
        return {**policies, name: new}
    adapter = f"v{len(policies)}"
    try:
        wrapped = attach(model, source.adapters[-1], adapter)
    except UserError:
        if isinstance(model, PeftModel) and adapter in model.peft_config:
            model.delete_adapter(adapter)
        raise
    # attaching an adapter wraps the model: every sharer must hold the wrapped one
    kept = {n: replace(p, model=wrapped) if p.model is model else p for n, p in policies.items()}
    return {**kept, name: Policy(name, wrapped, beside.tokenizer, adapter, mark, beside.root)}


def _place(source: Source) -> tuple[str, tuple[str, ...]]:
    """What tells whether two sources are one: adapters by where they lie, however it is written."""
    return source.base, tuple(str(folder.resolve()) for folder in source.adapters)


def _root_of(source: Source, roots: dict[Source, Any]) -> Source:
    return source if source in roots else Source(source.base, source.adapters[:-1])


def _merged(source: Source) -> tuple[Any, PreTrainedTokenizerBase]:
    model, tokenizer = load_base(source.base)
    for folder in source.adapters:
        model = attach(model, folder, "merged").merge_and_unload()
    model.eval()
    return model, tokenizer
