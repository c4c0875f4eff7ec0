"""Rollouts: what is sampled, which tokens count, and what the policy thinks of each of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import tensor
from torch.testing import assert_close
from transformers import GenerationConfig

from detox.config import Lora
from detox.models import add_adapter, load_base
from detox.ppo.actor import ActorCritic, ValueHead, adapter_off, assess, forward
from detox.ppo.math import token_logprobs
from detox.ppo.rollout import (
    Rollout,
    draws,
    encode_queries,
    mini_batches,
    response_mask,
    sample,
    texts,
)
from tests import tiny

PROMPTS = [
    "#Person1#: I am sorry.",
    "#Person1#: You forgot the tickets again, you useless fool. How stupid can one man be?",
    "#Person2#: There is no need to insult me.",
]
EOS, PAD = tiny.EOS, tiny.PAD


@pytest.fixture(params=["t5", "causal"])
def policy(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """Each kind of model with its tokenizer, in evaluation mode."""
    return load_base(str(request.getfixturevalue(f"tiny_{request.param}")))


def rollout_of(
    model: Any, tokenizer: Any, responses: list[list[int]], prompts: list[str] = PROMPTS
) -> Rollout:
    """``prompts`` with given responses, padded as ``sample`` pads them."""
    drawn = sample(model, tokenizer, encode_queries(tokenizer, prompts), draws(0, len(prompts), 1))
    longest = max(map(len, responses))
    response = tensor([row + [PAD] * (longest - len(row)) for row in responses])
    mask = tensor([[1] * len(row) + [0] * (longest - len(row)) for row in responses])
    return Rollout(drawn.query, drawn.query_mask, response, mask)


def by_hand(model: Any, tokenizer: Any, prompt: str, response: list[int]) -> torch.Tensor:
    """Log-probabilities [R] of ``response``: one row, no padding, no masks, one call a token."""
    query = tokenizer(prompt).input_ids
    found = []
    for t, token in enumerate(response):
        with torch.no_grad():
            if model.config.is_encoder_decoder:
                start = [model.config.decoder_start_token_id]
                logits = model(
                    input_ids=tensor([query]), decoder_input_ids=tensor([start + response[:t]])
                ).logits
            else:
                logits = model(input_ids=tensor([query + response[:t]])).logits
        found.append(logits[0, -1].log_softmax(-1)[token])
    return torch.stack(found)


# which tokens count


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ([[7, 8, 9]], [[1, 1, 1]]),  # cut off by the limit
        ([[7, EOS, PAD]], [[1, 1, 0]]),  # the end mark was chosen as well
        ([[EOS, PAD, PAD]], [[1, 0, 0]]),  # ended at once
        ([[7, EOS, EOS]], [[1, 1, 0]]),  # padded with end marks
        ([[7, PAD, 8]], [[1, 1, 1]]),  # a pad mark that the policy drew is a token like any other
        ([[7]], [[1]]),
        ([[EOS]], [[1]]),
    ],
)
def test_the_mask_ends_with_the_first_end_mark(
    response: list[list[int]], expected: list[list[int]]
) -> None:
    assert response_mask(tensor(response), EOS).tolist() == expected


def test_each_row_has_its_own_end() -> None:
    response = tensor([[7, 8, EOS, 9], [EOS, 7, 7, 7], [7, 8, 9, 10]])
    expected = [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    assert response_mask(response, EOS).tolist() == expected


# sampling


def test_queries_are_padded_on_the_side_the_model_needs(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    queries = encode_queries(tokenizer, PROMPTS)
    rollout = sample(model, tokenizer, queries, draws(0, len(queries), 4))
    for row, mask, query in zip(rollout.query, rollout.query_mask, queries, strict=True):
        gap = len(row) - len(query)
        seq2seq = model.config.is_encoder_decoder
        shown = row[: len(query)] if seq2seq else row[gap:]
        assert shown.tolist() == query.tolist()
        order = [1] * len(query) + [0] * gap if seq2seq else [0] * gap + [1] * len(query)
        assert mask.tolist() == order


def test_sampling_depends_on_the_seed_alone(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    queries = encode_queries(tokenizer, PROMPTS)
    torch.manual_seed(11)
    first = sample(model, tokenizer, queries, draws(5, len(queries), 12))
    torch.manual_seed(12)
    again = sample(model, tokenizer, queries, draws(5, len(queries), 12))
    other = sample(model, tokenizer, queries, draws(6, len(queries), 12))
    assert first.response.tolist() == again.response.tolist()
    assert first.response.tolist() != other.response.tolist()


def test_sampling_leaves_the_global_generator_as_it_was(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    sample(model, tokenizer, encode_queries(tokenizer, PROMPTS), draws(5, len(PROMPTS), 8))
    assert_close(torch.rand(4), expected, rtol=0, atol=0)


def test_the_limit_holds_and_what_follows_the_end_is_padding(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    head = torch.nn.Linear(model.config.hidden_size, model.config.vocab_size)
    torch.nn.init.zeros_(head.weight)
    head.bias.data.zero_()[EOS] = math.log(model.config.vocab_size / 3)  # drawn one time in four
    model.set_output_embeddings(head)
    queries = encode_queries(tokenizer, PROMPTS * 20)
    rollout = sample(model, tokenizer, queries, draws(0, len(queries), 9))
    assert rollout.response.shape[1] == 9
    assert len(set(rollout.mask.sum(1).tolist())) > 4
    for row, mask in zip(rollout.response.tolist(), rollout.mask.tolist(), strict=True):
        length = sum(mask)
        assert mask == [1] * length + [0] * (len(row) - length)
        assert EOS not in row[: length - 1]
        assert set(row[length:]) <= {PAD}


def test_samples_come_from_the_distribution_whose_likelihood_is_used(tiny_t5: Path) -> None:
    model, tokenizer = load_base(str(tiny_t5))
    with torch.no_grad():
        model.lm_head.weight *= 4  # a policy with opinions: top-k or top-p would change much
    count = 4000
    queries = encode_queries(tokenizer, PROMPTS[:1]) * count
    drawn = sample(model, tokenizer, queries, draws(1, len(queries), 1))
    with torch.no_grad():
        logits, _ = forward(model, rollout_of(model, tokenizer, [[5]], PROMPTS[:1]))
    expected = logits[0, 0].softmax(-1)
    found = drawn.response[:, 0].bincount(minlength=len(expected)) / count
    # each share is within 5 standard errors, tokens that are never likely included
    error = (expected * (1 - expected) / count).sqrt()
    assert ((found - expected).abs() <= 5 * error + 2 / count).all()
    # no temperature, top-k or top-p: the tail keeps its mass
    tail = expected < expected.sort(descending=True).values[60]
    assert float(found[tail].sum()) == pytest.approx(float(expected[tail].sum()), rel=0.25)


def test_a_checkpoint_with_its_own_generation_settings_is_sampled_like_any_other(
    tmp_path: Path, policy: tuple[Any, Any]
) -> None:
    model, tokenizer = policy
    queries = encode_queries(tokenizer, PROMPTS)
    plain = sample(model, tokenizer, queries, draws(5, len(queries), 12))
    model.generation_config = GenerationConfig(
        **model.generation_config.to_diff_dict()
        | {"do_sample": True, "num_beams": 2, "repetition_penalty": 3.0, "min_length": 12}
    )
    model.save_pretrained(str(tmp_path))
    tokenizer.save_pretrained(str(tmp_path))
    loaded, _ = load_base(str(tmp_path))
    again = sample(loaded, tokenizer, queries, draws(5, len(queries), 12))
    assert again.response.tolist() == plain.response.tolist()


def test_texts_are_what_a_person_reads(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    words = tokenizer("\n the train ", add_special_tokens=False).input_ids
    responses = [[*words, EOS], [EOS], [tiny.BOS, *words]]
    rollout = rollout_of(model, tokenizer, responses)
    assert texts(tokenizer, rollout) == ["the train", "", "the train"]


# what the policy thinks


RESPONSES = [[40, 41, 42, 43, EOS], [EOS], [77]]


def test_logits_are_those_of_a_plain_forward_of_one_row(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    rollout = rollout_of(model, tokenizer, RESPONSES)
    with torch.no_grad():
        logits, hidden = forward(model, rollout)
    assert logits.shape[:2] == hidden.shape[:2] == rollout.response.shape
    logprobs = token_logprobs(logits, rollout.response)
    for row, prompt, response in zip(logprobs, PROMPTS, RESPONSES, strict=True):
        # the first token of each response included
        expected = by_hand(model, tokenizer, prompt, response)
        assert_close(row[: len(response)], expected, atol=1e-5, rtol=0)


def test_the_hidden_states_are_those_below_the_logits(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    with torch.no_grad():
        logits, hidden = forward(model, rollout_of(model, tokenizer, RESPONSES))
        assert_close(model.get_output_embeddings()(hidden), logits, atol=1e-5, rtol=1e-4)


def test_neither_padding_nor_company_changes_a_row(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    head = ValueHead(model.config.hidden_size)
    torch.nn.init.normal_(head.linear.weight)
    rollout = rollout_of(model, tokenizer, RESPONSES)
    together = assess(ActorCritic(model, head), rollout, 3)
    apart = assess(ActorCritic(model, head), rollout, 1)
    pairs = assess(ActorCritic(model, head), rollout, 2)
    # padding of another make: more of it, and with other token ids in it
    gap = torch.full((3, 4), 99)
    if model.config.is_encoder_decoder:
        query = torch.cat([rollout.query.where(rollout.query_mask.bool(), 98), gap], 1)
        query_mask = torch.cat([rollout.query_mask, gap * 0], 1)
    else:
        query = torch.cat([gap, rollout.query.where(rollout.query_mask.bool(), 98)], 1)
        query_mask = torch.cat([gap * 0, rollout.query_mask], 1)
    response = torch.cat([rollout.response.where(rollout.mask.bool(), 97), gap], 1)
    padded = Rollout(query, query_mask, response, torch.cat([rollout.mask, gap * 0], 1))
    wide = [x[:, :5] for x in assess(ActorCritic(model, head), padded, 3)]
    for other in (apart, pairs, wide):
        for a, b in zip(together, other, strict=True):
            assert_close(a, b, atol=1e-5, rtol=0)
    assert all(x[rollout.mask == 0].eq(0).all() for x in together)


def test_a_batch_in_another_order(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    head = ValueHead(model.config.hidden_size)
    order = tensor([2, 0, 1])
    plain = rollout_of(model, tokenizer, RESPONSES)
    turned = Rollout(*(getattr(plain, name)[order] for name in list(vars(plain))[:4]))
    assert_close(
        assess(ActorCritic(model, head), turned, 2)[0],
        assess(ActorCritic(model, head), plain, 2)[0][order],
        atol=1e-5,
        rtol=0,
    )


def test_rows_lose_the_columns_that_nobody_uses(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    part = rollout_of(model, tokenizer, RESPONSES).rows(tensor([0, 2]))
    lengths = [len(tokenizer(PROMPTS[i]).input_ids) for i in (0, 2)]
    assert part.query.shape == (2, max(lengths))
    assert part.query_mask.sum(1).tolist() == lengths
    assert part.response.tolist() == [RESPONSES[0], [77, PAD, PAD, PAD, PAD]]
    short = rollout_of(model, tokenizer, RESPONSES).rows(tensor([1, 2]))
    assert short.response.tolist() == [[EOS], [77]] and short.mask.tolist() == [[1], [1]]


def test_mini_batches_hold_every_row_once_and_in_order() -> None:
    assert [part.tolist() for part in mini_batches(5, 2)] == [[0, 1], [2, 3], [4]]


# value head and reference


def test_the_value_head_starts_at_0(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    head = ValueHead(model.config.hidden_size)
    rollout = rollout_of(model, tokenizer, RESPONSES)
    _, _, values = assess(ActorCritic(model, head), rollout, 3)
    assert values.tolist() == torch.zeros(3, 5).tolist()
    head.linear.bias.data.fill_(2.0)
    _, _, values = assess(ActorCritic(model, head), rollout, 3)
    assert values.tolist() == (2 * rollout.mask).tolist()


def test_the_reference_is_the_policy_without_its_adapter(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    rollout = rollout_of(model, tokenizer, RESPONSES)
    head = ValueHead(model.config.hidden_size)
    base, same, _ = assess(ActorCritic(model, head), rollout, 3)
    assert_close(base, same, rtol=0, atol=0)  # without an adapter it is its own reference
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    adapted = add_adapter(model, Lora(r=4, alpha=8), task, 0).eval()
    # a fresh adapter changes nothing, not even by rounding: the first KL is exactly 0
    fresh, reference, _ = assess(ActorCritic(adapted, head), rollout, 3)
    assert torch.equal(fresh, reference) and torch.equal(fresh, base)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, 0, 0.3)
    moved, reference, _ = assess(ActorCritic(adapted, head), rollout, 3)
    assert_close(reference, base, rtol=0, atol=0)
    assert (moved - base)[rollout.mask.bool()].abs().min() > 1e-4
    with torch.no_grad(), adapter_off(adapted):
        logits, _ = forward(adapted, rollout)
    assert_close(token_logprobs(logits, rollout.response) * rollout.mask, base, atol=1e-6, rtol=0)
    # and it is switched on again afterwards
    assert torch.equal(assess(ActorCritic(adapted, head), rollout, 3)[0], moved)


def test_what_was_heard_at_the_drawing_is_what_a_pass_says(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    adapted = add_adapter(model, Lora(r=4, alpha=8), task, 0).eval()
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, 0, 0.1)
    head = ValueHead(model.config.hidden_size)
    torch.nn.init.normal_(head.linear.weight)
    rollout = sample(adapted, tokenizer, encode_queries(tokenizer, PROMPTS), draws(3, 3, 9))
    actor = ActorCritic(adapted, head)
    passed = assess(actor, rollout, 2)
    drawn = assess(actor, rollout, 2, as_drawn=True)
    assert passed[0].abs().max() > 1 and passed[2].abs().max() > 0.1
    for one, other in zip(passed, drawn, strict=True):
        assert_close(one, other, atol=1e-5, rtol=0)


def test_a_row_is_drawn_alike_in_any_company(policy: tuple[Any, Any]) -> None:
    model, tokenizer = policy
    queries, chances = encode_queries(tokenizer, PROMPTS), draws(7, 3, 10)
    together = sample(model, tokenizer, queries, chances)
    for row, query in enumerate(queries):
        alone = sample(model, tokenizer, [query], chances[row : row + 1])
        length = int(alone.mask.sum())
        assert int(together.mask[row].sum()) == length
        assert together.response[row, :length].tolist() == alone.response[0, :length].tolist()
