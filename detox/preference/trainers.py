"""The two trainers: trl's for causal models, and ours for encoder-decoders, which trl left behind.

Both read the same rows, log the same numbers and compare a policy with itself, its new adapter
switched off. What the reference thinks of each response is worked out once, beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

from detox.checkpoints import room
from detox.config import DpoConfig
from detox.errors import UserError
from detox.ppo.actor import adapter_off, forward
from detox.ppo.rollout import Rollout
from detox.preference.math import (
    implicit_rewards,
    inverse_smoothing,
    preference_losses,
    response_logprobs,
    wins,
)
from detox.preference.pairs import Row

# What trl calls our losses.
TRL_LOSSES = {"dpo": "sigmoid", "cdpo": "robust", "robust": "robust", "ipo": "ipo"}
# The columns of what each pair comes to.
_NUMBERS = ("reward_chosen", "reward_rejected", "logprob_chosen", "logprob_rejected")


def build_trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    config: DpoConfig,
    rows: Sequence[Row],
    held_out: Sequence[Row],
    arguments: dict[str, Any],
) -> PairTrainer:
    """The trainer for ``model``, a policy with a fresh adapter on it; rows come from ``encode``.

    ``arguments`` are transformers' own. Raises ``UserError`` for an adapter on the language-model
    head of a causal model, which trl computes itself.
    """
    data: dict[str, Any] = {
        "model": model,
        "train_dataset": Dataset.from_list(list(rows)),
        "eval_dataset": Dataset.from_list(list(held_out)) if held_out else None,
    }
    if model.config.is_encoder_decoder:
        seq2seq = Seq2SeqTrainer(
            **data,
            args=TrainingArguments(**arguments),
            data_collator=Seq2SeqCollator(tokenizer),
        )
        seq2seq.settings = config
        return seq2seq
    if isinstance(model.get_output_embeddings(), BaseTunerLayer):
        raise UserError(
            "An adapter on the language-model head is not trained here: leave it out of "
            "lora_targets."
        )
    causal = CausalTrainer(
        **data,
        args=DPOConfig(
            **arguments,
            beta=config.beta,
            loss_type=[TRL_LOSSES[config.loss]],
            # what a reference thinks never changes
            precompute_ref_log_probs=True,
            activation_checkpointing=False,
            max_length=None,
        ),
        processing_class=tokenizer,
        data_collator=CausalCollator(tokenizer),
    )
    causal.settings = config
    cdpo = config.loss == "cdpo"
    # trl has no cdpo, but a smoothing with which its robust loss is just that
    causal.label_smoothing = (
        inverse_smoothing(config.label_smoothing) if cdpo else config.label_smoothing
    )
    # trl keeps a copy of the adapter as the reference, and goes without by switching adapters off
    causal.model.delete_adapter("ref")
    return causal


class PairTrainer(Trainer):
    """What both trainers share: steady networks, numbers a pair, and what the reference thinks."""

    settings: DpoConfig
    model: Any

    def __init__(self, **kwargs: Any) -> None:
        self._seen: list[Tensor] = []
        super().__init__(**kwargs)

    def reference(self, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """What the reference thinks of the chosen and the rejected responses, [B] each."""
        raise NotImplementedError

    def think(self, rows: Sequence[Row], tell: Callable[[int], None]) -> list[list[float]]:
        """The reference's log-probabilities of each row's chosen and rejected response.

        ``tell`` hears how many rows are done.
        """
        self.model.to(self.args.device).eval()
        found = [[0.0, 0.0] for _ in rows]
        done = 0
        for places, inputs in self._batches(rows):
            both = torch.stack(self.reference(inputs), 1).tolist()
            for place, numbers in zip(places, both, strict=True):
                found[place] = numbers
            done += len(places)
            tell(done)
        return found

    @torch.no_grad()
    def judge(self, rows: Sequence[Row]) -> list[float]:
        """For each row 1 where the policy's implicit reward prefers the chosen response, else 0.

        Equal rewards count 1/2. Rows come with what the reference thinks of them.
        """
        self.model.eval()
        found = [0.0] * len(rows)
        for places, inputs in self._batches(rows):
            self.compute_loss(self.model, inputs)
            (seen,) = self._seen
            self._seen.clear()
            for place, won in zip(places, wins(seen[:, 0], seen[:, 1]).tolist(), strict=True):
                found[place] = won
        return found

    def _batches(self, rows: Sequence[Row]) -> Iterator[tuple[list[int], dict[str, Any]]]:
        """The places of rows of similar length, as many as fit in memory, and their tensors."""
        order = sorted(range(len(rows)), key=lambda place: int(rows[place]["length"]))
        size = self.args.per_device_train_batch_size
        for start in range(0, len(order), size):
            places = order[start : start + size]
            yield places, self._prepare_inputs(self.data_collator([rows[i] for i in places]))

    def still(self) -> None:
        """Dropout off, in modules and functions alike, while the whole counts as in training.

        With it on, the policy would not be the reference before its first step.
        """
        self.model.base_model.eval()

    def note(
        self, chosen: Tensor, rejected: Tensor, reference: tuple[Tensor, Tensor], loss: Tensor
    ) -> None:
        """Keeps what a batch of pairs came to until it is logged.

        Raises ``UserError`` when ``loss`` is not finite; the weights are as before then.
        """
        if not torch.isfinite(loss):
            raise UserError(
                f"The loss is not finite after step {self.state.global_step}: start anew with a "
                "lower lr."
            )
        beta = self.settings.beta
        rewards = (
            implicit_rewards(logprobs.detach(), ref, beta)
            for logprobs, ref in zip((chosen, rejected), reference, strict=True)
        )
        self._seen.append(
            torch.stack([*rewards, chosen.detach(), rejected.detach()], 1).float().cpu()
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the means over pairs to what is logged of a step or a validation."""
        prefix = "eval_" if "eval_loss" in logs else ""
        if self._seen and f"{prefix}loss" in logs:
            seen = torch.cat(self._seen)
            self._seen.clear()
            means = dict(zip(_NUMBERS, seen.mean(0).tolist(), strict=True))
            means["reward_margin"] = means["reward_chosen"] - means["reward_rejected"]
            means["accuracy"] = float(wins(seen[:, 0], seen[:, 1]).mean())
            logs |= {prefix + key: value for key, value in means.items()}
        super().log(logs, start_time)

    def prediction_step(
        self,
        model: Any,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor, None, None]:
        """The loss of a batch, and nothing else that would have to be kept."""
        with torch.no_grad(), self.compute_loss_context_manager():
            loss: Any = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss.detach(), None, None

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with room(Path(str(self.args.output_dir)).parent):
            super()._save_checkpoint(*args, **kwargs)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: the run writes one of its own."""

    def _send_telemetry(self) -> None:
        """Nothing of a run is told to anybody."""


class CausalTrainer(PairTrainer, DPOTrainer):
    """trl's ``DPOTrainer`` on token ids and reference log-probabilities that are there already."""

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *args: Any) -> Any:
        return dataset

    def reference(self, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """What the policy without its adapter thinks of the responses, [B] each."""
        batch = {key: value for key, value in inputs.items() if key != "margin"}
        chosen, rejected = self.compute_ref_log_probs(self.model, batch)
        return chosen, rejected

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """trl's loss of a batch, a scalar.

        A margin is what the reference thinks shifted: beta * (d - margin / beta) = beta * d -
        margin.
        """
        self.still()
        batch = dict(inputs)
        margin = batch.pop("margin")
        reference = (batch["ref_chosen_logps"], batch["ref_rejected_logps"])
        batch["ref_chosen_logps"] = reference[0] + margin / self.settings.beta
        heard: list[Tensor] = []

        def overheard(**kwargs: Any) -> Any:
            output = model(**kwargs)
            heard.append(output.log_probs.sum(1))
            return output

        loss: Tensor = super().compute_loss(overheard, batch)
        chosen, rejected = heard[0].chunk(2)
        self.note(chosen, rejected, reference, loss)
        return loss


class Seq2SeqTrainer(PairTrainer):
    """Direct preference tuning of an encoder-decoder, which reads each prompt once for both."""

    # each part of a batch brings a mean of its own, as trl's do
    loss_is_scaled_for_ga = False

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """The mean of ``preference_losses`` over a batch, a scalar."""
        self.still()
        chosen, rejected = _logprobs(model, inputs)
        reference = (inputs["ref_chosen_logps"], inputs["ref_rejected_logps"])
        lengths = inputs["response_mask"].sum(1).chunk(2)
        loss = preference_losses(
            chosen,
            rejected,
            *reference,
            loss=self.settings.loss,
            beta=self.settings.beta,
            smoothing=self.settings.label_smoothing,
            margin=inputs["margin"],
            chosen_length=lengths[0],
            rejected_length=lengths[1],
        ).mean()
        self.note(chosen, rejected, reference, loss)
        return loss

    @torch.no_grad()
    def reference(self, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """What the policy without its adapter thinks of the responses, [B] each."""
        with adapter_off(self.model):
            return _logprobs(self.model, inputs)


def _logprobs(model: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Log-probabilities, float32 [B] each, of the chosen and the rejected responses."""
    query, query_mask = inputs["input_ids"], inputs["attention_mask"]
    encoded = model.get_encoder()(input_ids=query, attention_mask=query_mask).last_hidden_state
    both = Rollout(
        query.repeat(2, 1),
        query_mask.repeat(2, 1),
        inputs["response"],
        inputs["response_mask"],
    )
    logits, _ = forward(model, both, encoded.repeat(2, 1, 1))
    chosen, rejected = response_logprobs(logits, both.response, both.mask).chunk(2)
    return chosen, rejected


class CausalCollator:
    """trl's batch of pairs, padded on the right, with their margins."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.collate = DataCollatorForPreference(pad_token_id=int(tokenizer.pad_token_id))

    def __call__(self, rows: list[Row]) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask``, ``completion_mask`` [2B, T], chosen rows first; and
        ``margin`` [B], with what the reference thinks [B] where the rows say so.
        """
        batch: dict[str, Tensor] = self.collate(rows)
        return batch | {"margin": torch.tensor([float(row["margin"]) for row in rows])}


class Seq2SeqCollator:
    """A batch of pairs for an encoder-decoder, everything padded on the right."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.pad = int(tokenizer.pad_token_id)

    def __call__(self, rows: list[Row]) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` [B, Q]; ``response``, ``response_mask`` [2B, R], chosen
        rows first; ``margin`` [B], with what the reference thinks [B] where the rows say so.
        """
        prompts = [torch.tensor(row["prompt_ids"]) for row in rows]
        responses = [
            torch.tensor(row[key]) for key in ("chosen_ids", "rejected_ids") for row in rows
        ]
        keys = ("margin", "ref_chosen_logps", "ref_rejected_logps")
        return {
            "input_ids": pad_sequence(prompts, True, self.pad),
            "attention_mask": pad_sequence([torch.ones_like(p) for p in prompts], True, 0),
            "response": pad_sequence(responses, True, self.pad),
            "response_mask": pad_sequence([torch.ones_like(r) for r in responses], True, 0),
        } | {key: torch.tensor([float(row[key]) for row in rows]) for key in keys if key in rows[0]}
