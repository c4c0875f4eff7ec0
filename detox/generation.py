"""Responses from policies: batched, bucketed by length, several versions in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from queue import Queue
from threading import Event, Thread
from typing import Any

import torch
from transformers import StoppingCriteriaList

from detox import processes
from detox.config import Sampling
from detox.errors import UserError
from detox.lean import row_adapters
from detox.models import Policy

Done = Callable[[int, int], None]


def generate(
    policy: Policy,
    prompts: Sequence[str],
    sampling: Sampling,
    batch_size: int = 16,
    done: Done = lambda finished, total: None,
) -> list[str]:
    """One response a prompt, in the order of ``prompts``.

    Prompts of similar length share a batch, so that little of it is padding. ``done`` hears
    how many are finished. Raises ``UserError`` when a prompt does not fit the model.

    Several processes take turns at the batches, and each gets all responses; what is sampled
    (not what is greedy) then depends on their number.
    """
    lengths = [check_fits(policy, prompt, sampling) for prompt in prompts]
    order = sorted(range(len(prompts)), key=lambda i: lengths[i])
    starts = range(0, len(order), batch_size)
    written: list[tuple[int, str]] = []
    with _seeded(sampling.seed, policy.model.device):
        for start in starts[processes.rank() :: processes.count()]:
            chosen = order[start : start + batch_size]
            texts = _batch([policy] * len(chosen), [prompts[i] for i in chosen], sampling)
            written += zip(chosen, texts, strict=True)
            done(min(start + batch_size, len(order)), len(order))
    return [text for _, text in sorted(processes.gather(written))]


def compare(
    policies: Sequence[Policy], prompt: str, sampling: Sampling
) -> Iterator[tuple[str, ...]]:
    """The responses of several policies to one prompt, growing as they are written.

    Policies that share weights are run in one pass, each through its own adapter. Yields one
    tuple of texts so far, in the order of ``policies``; the last tuple is complete. Raises
    ``UserError`` when the prompt does not fit a model.
    """
    for policy in policies:
        check_fits(policy, prompt, sampling)
    texts = [""] * len(policies)
    if sampling.num_beams > 1:  # which is the best is known at the end only
        with _seeded(sampling.seed, policies[0].model.device):
            yield tuple(_batch([policy], [prompt], sampling)[0] for policy in policies)
        return
    for group in _by_weights(policies):
        members = [policies[i] for i in group]
        for partial in _stream(members, prompt, sampling):
            for i, text in zip(group, partial, strict=True):
                texts[i] = text
            yield tuple(texts)


def check_fits(policy: Policy, prompt: str, sampling: Sampling) -> int:
    """Number of tokens of ``prompt``; ``UserError`` when it leaves no room for the response."""
    count = len(policy.tokenizer(prompt).input_ids)
    room = policy.context - (0 if policy.is_encoder_decoder else sampling.max_new_tokens)
    if count > room:
        raise UserError(
            f"The prompt has {count:,} tokens and '{policy.name}' reads at most {room:,}: "
            "shorten the dialogue."
        )
    return count


def _by_weights(policies: Sequence[Policy]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for i, policy in enumerate(policies):
        groups.setdefault(id(policy.model), []).append(i)
    return list(groups.values())


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Sampling inside depends on the seed alone, and leaves the global generator as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _batch(policies: Sequence[Policy], prompts: Sequence[str], sampling: Sampling) -> list[str]:
    policy = policies[0]
    inputs = _inputs(policy, prompts)
    output = _write(policies, inputs, sampling)
    start = 0 if policy.is_encoder_decoder else inputs["input_ids"].shape[1]
    return _decode(policy, output[:, start:])


def _stream(
    policies: Sequence[Policy], prompt: str, sampling: Sampling
) -> Iterator[tuple[str, ...]]:
    policy = policies[0]
    inputs = _inputs(policy, [prompt] * len(policies))
    streamer = _TokenQueue()
    abandoned = Event()

    def enough(tokens: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        return torch.full((len(tokens),), abandoned.is_set(), device=tokens.device)

    def work() -> None:
        try:
            with _seeded(sampling.seed, policy.model.device):
                stop = StoppingCriteriaList([enough])
                _write(policies, inputs, sampling, streamer=streamer, stopping_criteria=stop)
        except BaseException as error:  # must reach the reader, not die in this thread
            streamer.queue.put(error)
        finally:
            streamer.end()

    worker = Thread(target=work, daemon=True)
    worker.start()
    columns: list[torch.Tensor] = []
    try:
        while (item := streamer.queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            columns.append(item)
            yield tuple(_decode(policy, torch.stack(columns, 1)))
    finally:
        # a reader who leaves early must leave the model, and the generator of chance, to others
        abandoned.set()
        worker.join()


class _TokenQueue:
    """Receives what ``generate`` writes: the prompt first, then one token a row at a time."""

    def __init__(self) -> None:
        self.queue: Queue[torch.Tensor | BaseException | None] = Queue()
        self.prompt_seen = False

    def put(self, tokens: torch.Tensor) -> None:
        """Called by ``generate`` with the prompt [B, T], then with tokens [B]."""
        if self.prompt_seen:
            self.queue.put(tokens.clone())
        self.prompt_seen = True

    def end(self) -> None:
        """Called by ``generate`` and by us; readers stop at the first None."""
        self.queue.put(None)


def _inputs(policy: Policy, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
    tokenizer = policy.tokenizer
    side = "right" if policy.is_encoder_decoder else "left"
    encoded = tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side=side)
    return {key: encoded[key].to(policy.model.device) for key in ("input_ids", "attention_mask")}


def _write(
    policies: Sequence[Policy], inputs: dict[str, torch.Tensor], sampling: Sampling, **more: Any
) -> torch.Tensor:
    """Tokens of the response of ``policies[i]`` to row i of ``inputs``."""
    model = policies[0].model
    adapters = [policy.adapter for policy in policies]
    with torch.inference_mode(), row_adapters(model, adapters) as how:
        tokens: torch.Tensor = model.generate(**inputs, **how, **_settings(sampling), **more)
    return tokens


def _settings(sampling: Sampling) -> dict[str, Any]:
    settings = asdict(sampling) | {"do_sample": sampling.temperature > 0}
    unused = {"seed"}
    if sampling.temperature == 0:
        unused |= {"temperature", "top_p", "top_k"}
    if sampling.num_beams == 1:
        unused |= {"length_penalty"}
    return {key: value for key, value in settings.items() if key not in unused}


def _decode(policy: Policy, tokens: torch.Tensor) -> list[str]:
    texts = policy.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return [text.strip() for text in texts]
