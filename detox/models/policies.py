"""Versions of a model, loaded so that they share weights wherever possible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from detox.models.adapters import attach
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
        name: Policy(name, shared[name][0], policy.tokenizer, policy.adapter, policy.fingerprint)
        for name, policy in ((name, policies[name]) for name in specs)
    }


def _root_of(source: Source, roots: dict[Source, Any]) -> Any:
    return roots[source] if source in roots else roots[Source(source.base, source.adapters[:-1])]


def _merged(source: Source) -> tuple[Any, PreTrainedTokenizerBase]:
    model, tokenizer = load_base(source.base)
    for folder in source.adapters:
        model = attach(model, folder, "merged").merge_and_unload()
    model.eval()
    return model, tokenizer
