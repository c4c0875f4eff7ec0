"""Golden numbers: what trl 0.11.4's PPO makes of two tiny models, for our tests to compare with.

    benchmarks/reference/environment.sh
    .reference/bin/python benchmarks/reference/golden.py [--output tests/detox/golden/ppo]

Three calls of ``PPOTrainer.step`` on the same queries, responses and scores, for a T5 and a Llama
with a LoRA adapter that is no longer at its start, so that policy and reference differ. Every
number is taken from trl's own code while it runs; nothing of the algorithm is repeated here.
Running it again writes the same files.

Each of ``t5/`` and ``causal/`` gets

    model/                config.json, model.safetensors: the reference policy
    adapter.safetensors   the LoRA adapter before the first step, under peft's names
    head.safetensors      the value head before the first step: weight [1, H], bias [1]
    inputs.json           queries, responses, scores and settings
    numbers.safetensors   of the first step, as trl lays them out (position t holds what predicts
                          token t + 1 of the decoder's input, or of query and response joined):
                          mask, logprobs, ref_logprobs, values, kl, non_score_rewards, rewards,
                          advantages (before whitening), whitened, returns, all [B, T]; and
                          gradient/NAME of the first mini-batch.
                          Of all three: policy_loss, value_loss, clip_fraction and
                          value_clip_fraction [step, mini-batch], kl_coef (in use) and next_kl_coef
                          and objective_kl [step], parameter/STEP/NAME after each step.
"""

from __future__ import annotations

import argparse
import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from padding import EOS, PAD, padder
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    logging,
)
from trl import (
    AutoModelForCausalLMWithValueHead,
    AutoModelForSeq2SeqLMWithValueHead,
    PPOConfig,
    PPOTrainer,
)
from trl.trainer import ppo_trainer

STEPS = 3
VOCABULARY = 48

# Ends by an end mark, by a limit, and by an end mark at the second token (one-token responses
# crash trl for encoder-decoders, since it leaves out the first).
QUERIES = [
    [17, 4, 33, 9, 28, 41, 6, 22, EOS],
    [12, 45, 7, 19, EOS],
    [38, 5, EOS],
    [26, 14, 31, 8, 40, 23, EOS],
]
RESPONSES = [
    [11, 36, 3, 27, 44, 18, 30, EOS],
    [24, 39, 10, 16, 35],
    [29, EOS],
    [20, 42, 13, 32, 21, EOS],
]
SCORES = [1.5, -0.75, 0.4, -2.0]

SETTINGS: dict[str, Any] = {
    "batch_size": 4,
    "mini_batch_size": 2,
    "ppo_epochs": 2,
    "learning_rate": 0.01,
    "init_kl_coef": 0.2,
    "horizon": 20,
    "gamma": 1.0,
    "lam": 0.95,
    "cliprange": 0.2,
    "cliprange_value": 0.2,
    "vf_coef": 0.1,
}
CLIPPED = ("clip_fraction", "value_clip_fraction")
LORA: dict[str, Any] = {"r": 2, "lora_alpha": 4, "lora_dropout": 0.0}
TARGETS = {"t5": ["q", "v"], "causal": ["q_proj", "v_proj"]}
# Seed of adapter and value head, spread of lora_B, and the KL that the controller aims at. Chosen
# so that the KL lies around the target (its error is cut above, below, and not at all), that
# ratios and values are clipped, and that no mini-batch passes trl's ratio_threshold.
START = {"t5": (0, 1.0, 1.5), "causal": (10, 1.2, 4.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default="tests/detox/golden/ppo")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.set_verbosity_error()
    # one thread adds numbers up in one order
    torch.set_num_threads(1)
    for kind in TARGETS:
        write(kind, arguments.output / kind)


def write(kind: str, folder: Path) -> None:
    """Runs the three steps with the model ``kind`` and fills ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    base = t5() if kind == "t5" else causal()
    base.save_pretrained(folder / "model")
    (folder / "model" / "generation_config.json").unlink()
    task = "SEQ_2_SEQ_LM" if kind == "t5" else "CAUSAL_LM"
    policy = get_peft_model(base, LoraConfig(**LORA, target_modules=TARGETS[kind], task_type=task))
    wrapper = (
        AutoModelForSeq2SeqLMWithValueHead if kind == "t5" else AutoModelForCausalLMWithValueHead
    )
    model = wrapper.from_pretrained(policy)
    seed, spread, target = START[kind]
    settings = SETTINGS | {"target": target}
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "v_head" in name:
                parameter.normal_(0, spread if "lora_B" in name else 0.3)
    save_file(get_peft_model_state_dict(policy), folder / "adapter.safetensors")
    head = {name: p.detach() for name, p in model.v_head.summary.named_parameters()}
    save_file(head, folder / "head.safetensors")
    numbers = run(model, kind, settings)
    save_file(numbers, folder / "numbers.safetensors")
    inputs = {
        "queries": QUERIES,
        "responses": RESPONSES,
        "scores": SCORES,
        "pad": PAD,
        "eos": EOS,
        "steps": STEPS,
        "settings": settings,
        "lora": LORA | {"target_modules": TARGETS[kind]},
    }
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(x)}" for name, x in inputs.items())
    (folder / "inputs.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    for name in ("objective_kl", "next_kl_coef", "policy_loss", *CLIPPED):
        print(kind, name, [round(x, 4) for x in numbers[name].flatten().tolist()])
    # a loss of exactly 0 is what a mini-batch past the threshold has
    assert numbers["policy_loss"].ne(0).all() and all(numbers[name].any() for name in CLIPPED)


def t5() -> T5ForConditionalGeneration:
    """FLAN-T5 in small: gated GELU and a head of its own; about 14,000 parameters."""
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=8,
        num_heads=2,
        d_ff=32,
        num_layers=2,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        initializer_factor=0.6,  # larger weights blow rounding up: T5 does not scale attention
        tie_word_embeddings=False,
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
    )
    return T5ForConditionalGeneration(config).eval()


def causal() -> LlamaForCausalLM:
    """SmolLM2 in small; about 6,000 parameters."""
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.4,  # the usual 0.02 leaves a model this small next to indifferent
        tie_word_embeddings=True,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config).eval()


def run(model: Any, kind: str, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Three steps, and all that was overheard: tensors by name, float32 but for the mask."""
    # the reference is the policy without its adapter: none is given
    trainer = Overheard(PPOConfig(seed=0, **settings), model, None, tokenizer=padder())
    # trl gives the decoder the response as it is, so its first token must be the start token;
    # the policy's own first token is then left out of trl's mask
    start = [PAD] if kind == "t5" else []
    coefs, next_coefs, kls = [], [], []
    for step in range(1, STEPS + 1):
        coefs.append(trainer.kl_ctl.value)
        with trainer.overhearing():
            stats = trainer.step(
                [torch.tensor(query) for query in QUERIES],
                [torch.tensor(start + response) for response in RESPONSES],
                [torch.tensor(score) for score in SCORES],
            )
        next_coefs.append(trainer.kl_ctl.value)
        kls.append(float(stats["objective/kl"]))
        for name, parameter in trainer.trained().items():
            trainer.heard[f"parameter/{step}/{name}"] = parameter.detach().clone()
    for name, values in trainer.losses.items():
        trainer.heard[name] = torch.stack(values).view(STEPS, -1)
    trainer.heard |= {
        "kl_coef": torch.tensor(coefs, dtype=torch.float64),
        "next_kl_coef": torch.tensor(next_coefs, dtype=torch.float64),
        "objective_kl": torch.tensor(kls),
    }
    return {name: tensor.contiguous() for name, tensor in trainer.heard.items()}


class Overheard(PPOTrainer):
    """trl's trainer, unchanged, which writes down what its own functions get and give.

    Of what the first step repeats for every mini-batch, the first is kept in ``heard``.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.heard: dict[str, Tensor] = {}
        self.losses: dict[str, list[Tensor]] = {}
        self.optimizer.optimizer.register_step_pre_hook(self._keep_gradients)

    @contextmanager
    def overhearing(self) -> Iterator[None]:
        """Listens to whitening, and keeps the rows of a batch in the order they came in.

        trl shuffles them before it cuts mini-batches, with numpy's global generator; ours go in
        order, and what is to be compared is the arithmetic, not the shuffling.
        """
        whiten = ppo_trainer.masked_whiten

        def listen(values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
            whitened = whiten(values, mask, shift_mean)
            self._keep(advantages=values, whitened=whitened)
            return whitened

        with (
            patch.object(ppo_trainer, "masked_whiten", listen),
            patch.object(np.random, "permutation", np.arange),
        ):
            yield

    def trained(self) -> dict[str, Tensor]:
        """The parameters of adapter and value head, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def compute_rewards(
        self, scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, masks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """trl's, overheard."""
        found = super().compute_rewards(scores, logprobs, ref_logprobs, masks)
        self._keep(mask=masks, logprobs=logprobs, ref_logprobs=ref_logprobs)
        self._keep(rewards=found[0], non_score_rewards=found[1], kl=found[2])
        return found

    def compute_advantages(
        self, values: Tensor, rewards: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """trl's, overheard."""
        found = super().compute_advantages(values, rewards, mask)
        self._keep(values=found[0], returns=found[2])
        return found

    def loss(self, *arguments: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """trl's, overheard."""
        found = super().loss(*arguments)
        told = {
            "policy_loss": "loss/policy",
            "value_loss": "loss/value",
            "clip_fraction": "policy/clipfrac",
            "value_clip_fraction": "val/clipfrac",
        }
        for name, theirs in told.items():
            self.losses.setdefault(name, []).append(found[2][theirs].detach().clone())
        return found

    def _keep(self, **tensors: Tensor) -> None:
        for name, tensor in tensors.items():
            self.heard.setdefault(name, tensor.detach().clone())

    def _keep_gradients(self, *_: Any) -> None:
        for name, parameter in self.trained().items():
            assert parameter.grad is not None
            self._keep(**{f"gradient/{name}": parameter.grad})


if __name__ == "__main__":
    main()
