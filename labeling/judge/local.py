"""A causal model on this machine as a judge: which of the answers A and B is likelier."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from detox.config import Sampling
from detox.errors import UserError
from detox.generation import generate
from detox.lean import row_adapters
from detox.models import Policy, load_policy
from labeling.judge.question import Case, Question
from labeling.judge.verdict import (
    TIE_MARGIN,
    Answer,
    Failure,
    Outcome,
    Outcomes,
    Verdict,
    by_odds,
    combine,
    judge_name,
)

BATCH = 8
EXPLANATION_TOKENS = 60
# What comes behind the question, and the two answers as they would continue it.
PLAIN = ("\nAnswer (A or B):", (" A", " B"))
CHAT = ("\nAnswer with one letter, A or B.", ("A", "B"))


class LocalJudge:
    """A causal policy, asked by the likelihood of its answers; it writes only to explain itself.

    A tie is what it says within ``margin`` of one half. ``chat`` puts the question into the
    tokenizer's chat template. With ``explain`` it goes on, after the verdict, to say why in a
    sentence, which cannot change the verdict any more.
    """

    def __init__(
        self,
        policy: Policy,
        question: Question = Question(),
        *,
        margin: float = TIE_MARGIN,
        chat: bool | None = None,
        explain: bool = False,
        batch_size: int = BATCH,
        name: str | None = None,
    ) -> None:
        """``chat`` None asks so where the tokenizer has a template and no adapter was trained.

        Raises ``UserError`` for an encoder-decoder, a margin that is none, and ``chat`` without
        a template.
        """
        if policy.is_encoder_decoder:
            raise UserError(
                f"'{policy.name}' is an encoder-decoder and a judge must be a causal model: "
                "choose another."
            )
        if not 0 <= margin < 0.5:
            raise UserError("The tie margin must be at least 0 and below 0.5, as in 0.05.")
        has_template = getattr(policy.tokenizer, "chat_template", None) is not None
        if chat and not has_template:
            raise UserError(f"The tokenizer of '{policy.name}' has no chat template: ask without.")
        self.policy, self.question, self.margin, self.explain = policy, question, margin, explain
        self.chat = has_template and policy.adapter is None if chat is None else chat
        self.batch_size = max(1, batch_size)
        model = policy.name.rstrip("/").rsplit("/", 1)[-1]
        ending, answers = CHAT if self.chat else PLAIN
        self.settings: Mapping[str, Any] = {
            "kind": "local",
            "model": model,
            "fingerprint": policy.fingerprint,
            "question": question.text + ending,
            "answers": list(answers),
            "chat": self.chat,
            "margin": margin,
        }
        self.name = judge_name(model, self.settings, name)

    def judge(self, cases: Sequence[Case]) -> Outcomes:
        """Outcomes a batch at a time, those of short dialogues first, so that little is padding.

        A pair whose question does not fit the model is a ``Failure`` of its own.
        """
        fitting = []
        for case in sorted(cases, key=lambda case: len(case.dialogue)):
            prompts = [self._prompt(case, swapped=swapped) for swapped in (False, True)]
            # One more for the answer, which is read as well where it is of several tokens.
            longest = max(len(_ids(self.policy, prompt)) for prompt in prompts) + 1
            if longest > self.policy.context:
                yield (
                    case,
                    Failure(
                        f"the question has {longest:,} tokens and the model reads "
                        f"{self.policy.context:,}",
                        own=True,
                    ),
                )
            else:
                fitting.append((case, prompts))
        for start in range(0, len(fitting), self.batch_size):
            yield from self._batch(fitting[start : start + self.batch_size])

    def _batch(self, asked: Sequence[tuple[Case, list[str]]]) -> list[tuple[Case, Outcome]]:
        began = time.monotonic()
        flat = [prompt for _, prompts in asked for prompt in prompts]
        answers = (CHAT if self.chat else PLAIN)[1]
        odds = answer_log_odds(self.policy, flat, answers).view(-1, 2).tolist()
        both = [
            [Answer(by_odds(value, self.margin), log_odds=value) for value in pair] for pair in odds
        ]
        choices = [combine(forward, backward, self.margin) for forward, backward in both]
        reasons = self._explanations([prompts[0] for _, prompts in asked], choices)
        seconds = (time.monotonic() - began) / max(1, len(asked))
        return [
            (
                case,
                Verdict(choice, forward, backward, reason, seconds)
                if all(map(math.isfinite, pair))
                else Failure("its likelihoods are not numbers"),
            )
            for (case, _), pair, choice, (forward, backward), reason in zip(
                asked, odds, choices, both, reasons, strict=True
            )
        ]

    def _explanations(self, prompts: Sequence[str], choices: Sequence[str]) -> list[str]:
        """Why the side that won is better, in the first order; empty for a tie."""
        if not self.explain:
            return [""] * len(prompts)
        first, second = (CHAT if self.chat else PLAIN)[1]
        letters = {"left": first, "right": second}
        won = [place for place, choice in enumerate(choices) if choice in letters]
        texts = [f"{prompts[place]}{letters[choices[place]]}, because" for place in won]
        room = self.policy.context - EXPLANATION_TOKENS
        fitting = [i for i, text in enumerate(texts) if len(_ids(self.policy, text)) <= room]
        sampling = Sampling(temperature=0, max_new_tokens=EXPLANATION_TOKENS)
        written = generate(self.policy, [texts[i] for i in fitting], sampling, self.batch_size)
        reasons = [""] * len(prompts)
        for i, text in zip(fitting, written, strict=True):
            reasons[won[i]] = text.partition("\n")[0].strip()
        return reasons

    def _prompt(self, case: Case, *, swapped: bool) -> str:
        ending, _ = CHAT if self.chat else PLAIN
        text = self.question.of(case, swapped=swapped) + ending
        if not self.chat:
            return text
        messages = [{"role": "user", "content": text}]
        tokenizer = self.policy.tokenizer
        chat = str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
        # The template writes the mark that the tokenizer puts in front of any text by itself.
        start = tokenizer.bos_token or ""
        doubled = start and tokenizer(start).input_ids.count(tokenizer.bos_token_id) > 1
        return chat.removeprefix(start) if doubled else chat


def load_judge(
    spec: str, question: Question = Question(), name: str | None = None, **options: Any
) -> LocalJudge:
    """The policy ``spec`` (as ``detox.models`` names them) as a judge; ``options`` as above.

    Raises ``UserError`` for an unknown model and as ``LocalJudge`` does.
    """
    return LocalJudge(load_policy(spec), question, name=name, **options)


def answer_log_odds(
    policy: Policy, prompts: Sequence[str], answers: tuple[str, str]
) -> torch.Tensor:
    """``log P(answers[0] | prompt) - log P(answers[1] | prompt)``, float32 ``[n]``, in nats.

    An answer's likelihood is the product of those of its tokens, as the tokenizer cuts prompt and
    answer together. Tokens that both answers share cancel out and are read with the prompt.
    """
    # For each prompt and answer the places in `contexts` and the tokens looked up there.
    contexts: dict[tuple[int, ...], int] = {}
    wanted: list[list[list[tuple[int, int]]]] = []
    for prompt in prompts:
        first, second = (_ids(policy, prompt + answer) for answer in answers)
        shared = next(
            (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b),
            min(len(first), len(second)),
        )
        wanted.append(
            [
                [
                    (contexts.setdefault(tuple(ids[:place]), len(contexts)), ids[place])
                    for place in range(shared, len(ids))
                ]
                for ids in (first, second)
            ]
        )
    logprobs = _next_logprobs(policy, list(contexts))
    sums = [
        [sum(float(logprobs[row, token]) for row, token in steps) for steps in pair]
        for pair in wanted
    ]
    return torch.tensor([first - second for first, second in sums], dtype=torch.float32)


def _ids(policy: Policy, text: str) -> list[int]:
    return list(policy.tokenizer(text).input_ids)


def _next_logprobs(policy: Policy, contexts: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """Log-probabilities of every token after each context, float32 ``[n, V]``."""
    pad = policy.tokenizer.pad_token_id
    width = max(len(ids) for ids in contexts)
    inputs = torch.tensor([[pad] * (width - len(ids)) + list(ids) for ids in contexts])
    mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in contexts])
    device = policy.model.device
    with (
        torch.inference_mode(),
        row_adapters(policy.model, [policy.adapter] * len(contexts)) as how,
    ):
        logits = policy.model(
            input_ids=inputs.to(device),
            attention_mask=mask.to(device),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0).to(device),
            logits_to_keep=1,
            **how,
        ).logits
    return logits[:, -1].float().log_softmax(-1).cpu()
