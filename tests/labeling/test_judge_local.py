"""A causal model judges by likelihood; what it says is checked against whole-sequence sums."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from detox.errors import UserError
from detox.models import Policy, load_policy
from labeling.judge import Case, Failure, Question, Verdict, combine
from labeling.judge.local import CHAT, PLAIN, LocalJudge, answer_log_odds, load_judge

TEMPLATE = (
    "{% for message in messages %}<s>{{ message.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>{% endif %}"
)
SHORT = Question("{dialogue}\nA: {first}\nB: {second}")


@pytest.fixture(scope="module")
def policy(tiny_causal: Path) -> Policy:
    return load_policy(str(tiny_causal))


def cases(n: int = 5) -> list[Case]:
    return [
        Case(
            f"pair{i}",
            f"left{i}",
            f"right{i}",
            "#Person1#: You forgot the tickets again." * (1 + i % 3),
            f"They talk about {i} tickets.",
            "The movie was terrible, dumb and stupid.",
        )
        for i in range(n)
    ]


def whole(folder: Path, text: str) -> float:
    """log P(text) under the model, token by token, without any padding."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids
    with torch.no_grad():
        logprobs = model(ids).logits[0].log_softmax(-1)
    return float(logprobs[:-1].gather(1, ids[0, 1:, None]).sum())


@pytest.mark.parametrize("answers", [PLAIN[1], CHAT[1], (" tickets", " the tickets again")])
def test_log_odds_are_those_of_the_whole_texts(
    policy: Policy, tiny_causal: Path, answers: tuple[str, str]
) -> None:
    prompts = ["Which one?\nAnswer:", "#Person2#: I am sorry.\nAnswer (A or B):", "x"]
    odds = answer_log_odds(policy, prompts, answers)
    assert odds.dtype == torch.float32 and odds.shape == (3,)
    expected = [
        whole(tiny_causal, prompt + answers[0]) - whole(tiny_causal, prompt + answers[1])
        for prompt in prompts
    ]
    torch.testing.assert_close(odds, torch.tensor(expected), atol=1e-3, rtol=1e-4)


def test_both_orders_are_asked_and_averaged(policy: Policy) -> None:
    judge = LocalJudge(policy, SHORT, margin=0.01)
    found = dict(judge.judge(cases()))
    assert set(found) == set(cases())
    asked = []
    for case, verdict in found.items():
        assert isinstance(verdict, Verdict)
        both = verdict.forward, verdict.backward
        prompts = [SHORT.of(case, swapped=swapped) + PLAIN[0] for swapped in (False, True)]
        odds = answer_log_odds(policy, prompts, PLAIN[1]).tolist()
        assert [answer.log_odds for answer in both] == pytest.approx(odds, abs=1e-4)
        assert verdict.choice == combine(*both, 0.01)
        assert verdict.seconds is not None and verdict.seconds > 0
        asked.append(odds[0] != odds[1])
    assert all(asked)


def test_batches_do_not_change_a_verdict(policy: Policy) -> None:
    odds = []
    for size in (1, 3, 5):
        found = dict(LocalJudge(policy, SHORT, batch_size=size).judge(cases()))
        verdicts = [found[case] for case in cases()]
        odds.append([v.forward.log_odds for v in verdicts if isinstance(v, Verdict)])
    assert odds[1] == pytest.approx(odds[0], abs=1e-4)
    assert odds[2] == pytest.approx(odds[0], abs=1e-4)


def test_an_explanation_comes_after_the_verdict(policy: Policy) -> None:
    bare = dict(LocalJudge(policy, SHORT, margin=0).judge(cases()))
    explained = dict(LocalJudge(policy, SHORT, margin=0, explain=True).judge(cases()))
    for case in cases():
        one, two = bare[case], explained[case]
        assert isinstance(one, Verdict) and isinstance(two, Verdict)
        assert one.choice == two.choice != "tie"
        assert one.explanation == "" and "\n" not in two.explanation
    assert any(v.explanation for v in explained.values() if isinstance(v, Verdict))


def test_a_tie_is_not_explained(policy: Policy) -> None:
    judge = LocalJudge(policy, SHORT, margin=0.499, explain=True)
    verdicts = [v for _, v in judge.judge(cases()) if isinstance(v, Verdict)]
    assert {(v.choice, v.explanation) for v in verdicts} == {("tie", "")}


def test_a_pair_that_is_too_long_fails_by_itself(policy: Policy) -> None:
    long = Case("long", "l", "r", "word " * 3_000, "One.", "Two.")
    found = dict(LocalJudge(policy, SHORT).judge([*cases(2), long]))
    failure = found.pop(long)
    assert isinstance(failure, Failure) and failure.own
    assert "the model reads 1,024" in failure.reason
    assert all(isinstance(verdict, Verdict) for verdict in found.values()) and len(found) == 2


def test_the_chat_template_is_used_where_it_should_be(tiny_causal: Path, tmp_path: Path) -> None:
    policy = load_policy(str(tiny_causal))
    policy.tokenizer.chat_template = TEMPLATE
    chat, plain = LocalJudge(policy, SHORT), LocalJudge(policy, SHORT, chat=False)
    assert chat.chat and not plain.chat and chat.name != plain.name
    (case,) = cases(1)
    expected = f"<s>{SHORT.of(case)}{CHAT[0]}</s><s>"
    assert chat._prompt(case, swapped=False) == expected
    assert isinstance(dict(chat.judge([case]))[case], Verdict)
    # A policy whose adapter was trained on plain prompts is asked plainly.
    adapted = Policy("x", policy.model, policy.tokenizer, "v0", "f")
    assert not LocalJudge(adapted, SHORT).chat


def test_a_start_mark_is_not_doubled(tiny_causal: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    policy = load_policy(str(tiny_causal))
    policy.tokenizer.chat_template = TEMPLATE
    policy.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", policy.tokenizer.bos_token_id)]
    )
    prompt = LocalJudge(policy, SHORT)._prompt(cases(1)[0], swapped=False)
    ids = policy.tokenizer(prompt).input_ids
    bos = policy.tokenizer.bos_token_id
    assert ids[0] == bos and ids[1] != bos


def test_settings_hold_what_decides_and_no_path_or_policy(policy: Policy) -> None:
    judge = LocalJudge(policy, SHORT, margin=0.1)
    folder = policy.name.rsplit("/", 1)
    assert folder[0] not in str(judge.settings) and judge.name.startswith(f"judge:{folder[1]}@")
    assert judge.settings["fingerprint"] == policy.fingerprint
    other = LocalJudge(policy, SHORT, margin=0.2)
    assert other.name != judge.name
    assert LocalJudge(policy, SHORT, margin=0.1, explain=True).name == judge.name
    assert LocalJudge(policy, SHORT, name="mine").name == "mine"


def test_what_cannot_judge_is_refused(tiny_t5: Path, tiny_causal: Path, policy: Policy) -> None:
    with pytest.raises(UserError, match="must be a causal model"):
        load_judge(str(tiny_t5))
    with pytest.raises(UserError, match="no chat template"):
        LocalJudge(policy, chat=True)
    for margin in (-0.1, 0.5, float("nan")):
        with pytest.raises(UserError, match="tie margin"):
            LocalJudge(policy, margin=margin)
    assert load_judge(str(tiny_causal), SHORT, "n", margin=0.2).margin == 0.2


def test_likelihoods_that_are_no_numbers_are_no_verdict(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "labeling.judge.local.answer_log_odds",
        lambda policy, prompts, answers: torch.full((len(prompts),), torch.nan),
    )
    found = [outcome for _, outcome in LocalJudge(policy, SHORT).judge(cases(2))]
    assert [type(outcome) for outcome in found] == [Failure, Failure]
