"""Models of a published shape with random weights: what a step costs, without a hub."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
)

from detox.config import Lora
from detox.models import add_adapter, parameter_counts
from detox.models.fused import fuse
from detox.ppo.actor import ValueHead
from detox.ppo.step import State

# Special tokens: ends are never drawn, so that every response has the length asked for.
TOKENIZER: Any = SimpleNamespace(pad_token_id=0, eos_token_id=10**9)


def flan_t5_base(fused: bool = True) -> T5ForConditionalGeneration:
    """google/flan-t5-base: 247,577,856 parameters, untied (its config on the hub)."""
    model = _flan_t5(width=768, inner=2048, layers=12, heads=12)
    count = parameter_counts(model)[0]
    assert count == 247_577_856, count
    if fused:
        fuse(model)
    return model.eval()


def flan_t5_xl() -> T5ForConditionalGeneration:
    """google/flan-t5-xl: 2,849,757,184 parameters, untied (its config on the hub)."""
    model = _flan_t5(width=2048, inner=5120, layers=24, heads=32)
    count = parameter_counts(model)[0]
    assert count == 2_849_757_184, count
    return model.eval()


def _flan_t5(width: int, inner: int, layers: int, heads: int) -> T5ForConditionalGeneration:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32128,
        d_model=width,
        d_kv=64,
        d_ff=inner,
        num_layers=layers,
        num_decoder_layers=layers,
        num_heads=heads,
        feed_forward_proj="gated-gelu",
        pad_token_id=0,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config)
    # transformers 5 ties every T5 that it builds afresh
    model.lm_head = torch.nn.Linear(width, 32128, bias=False)
    model.config.tie_word_embeddings = False
    return model


def llama_7b() -> LlamaForCausalLM:
    """meta-llama/Llama-2-7b: 6,738,415,616 parameters (its config on the hub)."""
    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval()


def smollm2_135m(fused: bool = True) -> LlamaForCausalLM:
    """HuggingFaceTB/SmolLM2-135M-Instruct: 134,515,008 parameters, tied (its config on the hub)."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        max_position_embeddings=8192,
        rope_theta=100_000,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    count = parameter_counts(model)[0]
    assert count == 134_515_008, count
    if fused:
        fuse(model)
    return model.eval()


def roberta_base() -> RobertaForSequenceClassification:
    """roberta-base with a head for two labels, as the lab's hate classifier."""
    torch.manual_seed(0)
    config = RobertaConfig(vocab_size=50265, max_position_embeddings=514, num_labels=2)
    return RobertaForSequenceClassification(config).eval()


def start(model: Any, lora: Lora, lr: float = 1.41e-5) -> State:
    """The state of a PPO run that tunes a fresh adapter on ``model``."""
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    adapted = add_adapter(model, lora, task, seed=0).eval()
    head = ValueHead(model.config.hidden_size)
    trained = [p for p in adapted.parameters() if p.requires_grad] + list(head.parameters())
    return State(adapted, head, torch.optim.Adam(trained, lr=lr), kl_coef=0.2)


def queries(rows: int, length: int, seed: int, vocabulary: int = 32000) -> torch.Tensor:
    """Random token ids, int64 [rows, length], each row ended by token 1."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (rows, length), generator=generator)
    ids[:, -1] = 1
    return ids
