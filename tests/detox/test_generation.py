"""Responses: the same ones whatever the batch, streamed or not, from one policy or several."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from detox import generation
from detox.config import Lora, Sampling
from detox.errors import UserError
from detox.generation import check_fits, compare, generate
from detox.models import Policy, add_adapter, load_policies, load_policy, save_adapter
from tests import tiny

GREEDY = Sampling(temperature=0, max_new_tokens=10)
SAMPLED = Sampling(temperature=1, top_p=1, max_new_tokens=10, seed=7)
# Far apart in length, and not in order of it.
PROMPTS = [
    "#Person1#: You forgot the tickets again, you useless fool. How stupid can one man be?",
    "Hello.",
    "#Person2#: I am sorry. I left them on the kitchen table and I will fetch them now. " * 2,
    "#Person1#: Hurry up!",
    "#Person2#: There is no need to insult me.",
]


@pytest.fixture(params=["t5", "causal"])
def base(request: pytest.FixtureRequest) -> Path:
    """Each kind of base model in turn."""
    folder: Path = request.getfixturevalue(f"tiny_{request.param}")
    return folder


@pytest.fixture
def policy(base: Path) -> Policy:
    return load_policy(str(base))


@pytest.fixture
def versions(base: Path, tmp_path: Path) -> dict[str, Policy]:
    """The base and two adapters on it, on one model."""
    specs = {"base": str(base)}
    for seed in (1, 2):
        loaded = load_policy(str(base))
        task = "SEQ_2_SEQ_LM" if loaded.is_encoder_decoder else "CAUSAL_LM"
        model = add_adapter(loaded.model, Lora(r=4, alpha=8), task, seed)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.normal_(0, 0.3)
        specs[f"v{seed}"] = str(tmp_path / f"v{seed}")
        save_adapter(model, tmp_path / f"v{seed}", {"base": str(base), "parent": None})
    return load_policies(specs)


def one_by_one(policy: Policy, prompt: str, limit: int) -> str:
    """The likeliest tokens of ``policy`` for one prompt, by plain forward passes."""
    tokenizer, model = policy.tokenizer, policy.model
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    written = [model.config.decoder_start_token_id] if policy.is_encoder_decoder else []
    for _ in range(limit):
        with torch.inference_mode():
            if policy.is_encoder_decoder:
                logits = model(input_ids=ids, decoder_input_ids=torch.tensor([written])).logits
            else:
                whole = torch.cat([ids, torch.tensor([written], dtype=torch.long)], 1)
                logits = model(input_ids=whole).logits
        written.append(int(logits[0, -1].argmax()))
        if written[-1] == tokenizer.eos_token_id:
            break
    return str(tokenizer.decode(written, skip_special_tokens=True)).strip()


def ends_often(policy: Policy) -> Policy:
    """``policy`` with an end mark that is drawn one time in four, and no other preference."""
    head = torch.nn.Linear(policy.model.config.hidden_size, policy.model.config.vocab_size)
    torch.nn.init.zeros_(head.weight)
    head.bias.data.zero_()[tiny.EOS] = torch.tensor(policy.model.config.vocab_size / 3).log()
    policy.model.set_output_embeddings(head)
    return policy


# batches


def test_greedy_responses_are_those_of_one_prompt_at_a_time(policy: Policy) -> None:
    expected = [one_by_one(policy, prompt, 10) for prompt in PROMPTS]
    assert len(set(expected)) > 1
    for batch_size in (1, 2, 16):
        assert generate(policy, PROMPTS, GREEDY, batch_size) == expected


def test_responses_come_in_the_order_of_their_prompts(policy: Policy) -> None:
    forward = generate(policy, PROMPTS, GREEDY, 2)
    assert generate(policy, PROMPTS[::-1], GREEDY, 2) == forward[::-1]


def test_prompts_of_similar_length_share_a_batch(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    plain = generation._batch

    def batch(policies: Any, prompts: Any, sampling: Sampling) -> list[str]:
        seen.append([len(policy.tokenizer(prompt).input_ids) for prompt in prompts])
        return plain(policies, prompts, sampling)

    monkeypatch.setattr(generation, "_batch", batch)
    generate(policy, PROMPTS, GREEDY, 2)
    assert [len(lengths) for lengths in seen] == [2, 2, 1]
    together = [length for lengths in seen for length in lengths]
    assert together == sorted(together)


def test_progress_counts_what_is_finished(policy: Policy) -> None:
    heard: list[tuple[int, int]] = []
    generate(policy, PROMPTS, GREEDY, 2, lambda finished, total: heard.append((finished, total)))
    assert heard == [(2, 5), (4, 5), (5, 5)]


def test_no_prompts_no_responses(policy: Policy) -> None:
    assert generate(policy, [], GREEDY) == []


def test_texts_hold_no_special_tokens(policy: Policy) -> None:
    texts = generate(ends_often(policy), PROMPTS * 8, SAMPLED)
    lengths = {len(policy.tokenizer(text, add_special_tokens=False).input_ids) for text in texts}
    assert len(lengths) > 4  # they ended early, at many places
    assert not any(mark in text for text in texts for mark in tiny.SPECIAL)
    assert all(text == text.strip() for text in texts)


# randomness


def test_a_seed_decides_the_responses(policy: Policy) -> None:
    torch.manual_seed(1)
    first = generate(policy, PROMPTS, SAMPLED)
    torch.manual_seed(2)
    assert generate(policy, PROMPTS, SAMPLED) == first
    other = Sampling(temperature=1, top_p=1, max_new_tokens=10, seed=8)
    assert generate(policy, PROMPTS, other) != first


def test_the_global_generator_stays_as_it_was(policy: Policy) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    generate(policy, PROMPTS, SAMPLED)
    assert torch.equal(torch.rand(4), expected)


def test_a_cold_sample_is_the_greedy_response(policy: Policy) -> None:
    one = Sampling(temperature=1, top_k=1, max_new_tokens=10)
    assert generate(policy, PROMPTS, one) == generate(policy, PROMPTS, GREEDY)
    narrow = Sampling(temperature=1, top_p=1e-6, max_new_tokens=10)
    assert generate(policy, PROMPTS, narrow) == generate(policy, PROMPTS, GREEDY)


def test_beams_find_a_likelier_response(policy: Policy) -> None:
    beams = replace(GREEDY, num_beams=4)
    prompt = PROMPTS[0]
    inputs = policy.tokenizer(prompt, return_tensors="pt")
    tokens = policy.model.generate(**inputs, do_sample=False, num_beams=4, max_new_tokens=10)
    start = 0 if policy.is_encoder_decoder else inputs.input_ids.shape[1]
    expected = policy.tokenizer.decode(tokens[0, start:], skip_special_tokens=True).strip()
    assert generate(policy, PROMPTS, beams)[0] == expected
    assert list(compare([policy], prompt, beams)) == [(expected,)]


def test_repeats_and_early_ends_can_be_forbidden(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[int]] = []
    decode = generation._decode

    def keep(policy: Policy, tokens: torch.Tensor) -> list[str]:
        written[:] = tokens.tolist()
        return decode(policy, tokens)

    monkeypatch.setattr(generation, "_decode", keep)

    def tokens(sampling: Sampling, **changes: Any) -> list[int]:
        generate(policy, PROMPTS[:1], replace(sampling, max_new_tokens=24, **changes))
        return written[0]

    assert len(set(tokens(GREEDY, repetition_penalty=5.0))) > len(set(tokens(GREEDY)))
    pairs = list(pairwise(tokens(GREEDY, no_repeat_ngram_size=2)))
    assert len(pairs) == len(set(pairs))
    ends_often(policy)
    drawn = Sampling(temperature=1, top_p=1, seed=3)
    start = int(policy.is_encoder_decoder)  # its first token only opens the response
    assert tiny.EOS in tokens(drawn)
    assert tiny.EOS not in tokens(drawn, min_new_tokens=20)[start : start + 20]


# several policies


@pytest.mark.parametrize("names", [["v1", "base", "v2"], ["v2", "v2"]])
def test_beams_of_several_policies_do_not_mix(
    versions: dict[str, Policy], names: list[str]
) -> None:
    beams = replace(GREEDY, num_beams=3)
    *_, last = compare([versions[name] for name in names], PROMPTS[0], beams)
    assert last == tuple(generate(versions[name], PROMPTS[:1], beams)[0] for name in names)


@pytest.mark.parametrize("names", [["base", "v1"], ["v2", "base", "v1"], ["v1"], ["v1", "v1"]])
def test_each_policy_answers_through_its_own_adapter(
    versions: dict[str, Policy], names: list[str]
) -> None:
    apart = {
        name: generate(versions[name], PROMPTS[:1], GREEDY)[0] for name in ("base", "v1", "v2")
    }
    assert len(set(apart.values())) == 3
    *_, last = compare([versions[name] for name in names], PROMPTS[0], GREEDY)
    assert last == tuple(apart[name] for name in names)


def test_a_mixed_batch_equals_each_policy_by_itself(
    base: Path, tmp_path: Path, versions: dict[str, Policy]
) -> None:
    alone = load_policy(str(tmp_path / "v1"))  # a model of its own, with this adapter only
    assert generate(alone, PROMPTS, GREEDY) == generate(versions["v1"], PROMPTS, GREEDY)
    plain = load_policy(str(base))
    assert generate(plain, PROMPTS, GREEDY) == generate(versions["base"], PROMPTS, GREEDY)


def test_policies_without_shared_weights_take_turns(tiny_t5: Path, tiny_causal: Path) -> None:
    policies = load_policies({"t5": str(tiny_t5), "causal": str(tiny_causal)})
    chosen = [policies["causal"], policies["t5"]]
    partials = list(compare(chosen, PROMPTS[0], GREEDY))
    assert partials[-1] == tuple(generate(policy, PROMPTS[:1], GREEDY)[0] for policy in chosen)
    assert partials[0][1] == ""  # the second is still waiting


# streaming


def test_a_stream_grows_to_the_response_that_is_not_streamed(versions: dict[str, Policy]) -> None:
    chosen = [versions["v1"], versions["v2"]]
    for sampling in (GREEDY, SAMPLED):
        partials = list(compare(chosen, PROMPTS[0], sampling))
        assert 1 < len(partials) <= 10
        for side in range(2):
            lengths = [len(partial[side]) for partial in partials]
            assert lengths[0] < lengths[-1]
        with generation._seeded(sampling.seed, torch.device("cpu")):
            expected = generation._batch(chosen, [PROMPTS[0]] * 2, sampling)
        assert list(partials[-1]) == expected


def test_a_stream_leaves_the_global_generator_as_it_was(policy: Policy) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    assert len(list(compare([policy], PROMPTS[0], SAMPLED))) > 1
    assert torch.equal(torch.rand(4), expected)


def test_what_goes_wrong_in_the_thread_reaches_the_reader(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**inputs: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(policy.model, "generate", fail)
    with pytest.raises(MemoryError, match="no room"):
        list(compare([policy], PROMPTS[0], GREEDY))


def test_a_reader_who_leaves_stops_the_work(versions: dict[str, Policy]) -> None:
    chosen = [versions["v1"], versions["v2"]]
    running = threading.active_count()
    stream = compare(chosen, PROMPTS[0], Sampling(temperature=1, max_new_tokens=900))
    next(stream)
    started = time.perf_counter()
    stream.close()
    # the whole would take a hundred times as long as the first token
    assert threading.active_count() <= running
    stopped = time.perf_counter() - started
    *_, last = compare(chosen, PROMPTS[0], GREEDY)
    assert last == tuple(generate(policy, PROMPTS[:1], GREEDY)[0] for policy in chosen)
    assert stopped < 5


# prompts that do not fit


def test_a_prompt_that_leaves_no_room_is_refused_with_counts(tiny_causal: Path) -> None:
    policy = load_policy(str(tiny_causal), "tiny")
    room = 1024 - GREEDY.max_new_tokens
    fits = "!" * room  # the tokenizer knows no pair of these, so each is a token
    assert check_fits(policy, fits, GREEDY) == room
    sentence = rf"The prompt has {room + 1:,} tokens and 'tiny' reads at most {room:,}: shorten"
    with pytest.raises(UserError, match=sentence):
        check_fits(policy, fits + "!", GREEDY)
    with pytest.raises(UserError, match=sentence):
        generate(policy, ["short", fits + "!"], GREEDY)
    with pytest.raises(UserError, match=sentence):
        next(compare([policy], fits + "!", GREEDY))


def test_an_encoder_has_its_room_to_itself(tiny_t5: Path) -> None:
    policy = load_policy(str(tiny_t5), "tiny")
    assert check_fits(policy, "so " * 150, Sampling(max_new_tokens=1024)) <= 512
    with pytest.raises(UserError, match=r"tokens and 'tiny' reads at most 512: shorten the dial"):
        check_fits(policy, "so " * 1500, Sampling(max_new_tokens=1))
