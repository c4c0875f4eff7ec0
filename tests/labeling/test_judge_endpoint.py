"""An endpoint as a judge: what it is sent, what it may answer, and what goes wrong on the way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from detox.errors import UserError
from labeling.judge import Case, Failure, Question, Verdict
from labeling.judge.endpoint import (
    FIRST_PAUSE,
    LONGEST_ASKED_PAUSE,
    LONGEST_PAUSE,
    Access,
    Endpoint,
    PassingError,
    read_answer,
)
from tests.labeling.endpoint import Reply, Request, Server, completion, prefers, said, serving

KEY = "sk-test-5ecret"
CASE = Case("p", "l", "r", "#Person1#: Hm.", "They talk.", "He is dumb.")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def cases(n: int) -> list[Case]:
    return [Case(f"p{i}", "l", "r", "Hm.", f"They talk {i}.", f"Dumb {i}.") for i in range(n)]


def access(server: Server, **given: Any) -> Access:
    return Access(server.url, "tiny/model", **({"timeout": 30.0} | given))


def ask(endpoint: Endpoint, case: Case = CASE) -> Verdict | Failure:
    ((found, outcome),) = endpoint.judge([case])
    assert found is case
    return outcome


def test_both_orders_are_asked_with_the_key_and_nothing_else() -> None:
    with serving(prefers("talk")) as server:
        verdict = ask(Endpoint(access(server, key=KEY), explain=True))
    assert isinstance(verdict, Verdict)
    assert (verdict.choice, verdict.explanation) == ("left", "It is kinder.")
    assert (verdict.forward.answer, verdict.backward.answer) == ("first", "second")
    one, two = server.requests
    assert one.path == two.path == "/v1/chat/completions"
    assert one.headers["Authorization"] == f"Bearer {KEY}"
    assert set(one.body) == {"model", "messages", "temperature", "max_tokens"}
    assert (one.body["model"], one.body["temperature"]) == ("tiny/model", 0)
    assert one.prompt.startswith(Question().of(CASE))
    assert two.prompt.startswith(Question().of(CASE, swapped=True))


def test_without_a_key_none_is_sent() -> None:
    with serving(prefers("talk")) as server:
        ask(Endpoint(access(server)))
    assert "Authorization" not in server.requests[0].headers


def test_the_key_is_kept_nowhere() -> None:
    endpoint = Endpoint(Access("http://localhost/v1?key=hidden", "m", key=KEY))
    for kept in (repr(endpoint.access), endpoint.name, json.dumps(endpoint.settings)):
        assert KEY not in kept
    assert "hidden" not in json.dumps(endpoint.settings) + endpoint.name
    assert endpoint.access.address.query == b"key=hidden"


def test_a_judge_that_always_says_a_makes_ties() -> None:
    with serving(lambda _: said("A")) as server:
        verdict = ask(Endpoint(access(server), explain=True))
    assert isinstance(verdict, Verdict)
    # An explanation of A is none of a tie; both are kept with their answers.
    assert (verdict.choice, verdict.explanation) == ("tie", "")
    assert verdict.forward.explanation == verdict.backward.explanation == "It is kinder."


@pytest.mark.parametrize(
    ("content", "answer", "explanation"),
    [
        ('{"answer": "A"}', "first", ""),
        ('{"answer": " b "}', "second", ""),
        ('```json\n{"explanation": "Hm {x}.", "answer": "TIE"}\n```', "tie", "Hm {x}."),
        ('<think>{"answer": "A"} or {</think> {"answer": "B"}', "second", ""),
        ('{"answer": "A", "explanation": {"not": "text"}}', "first", ""),
    ],
)
def test_answers_are_read_in_what_models_write_around_them(
    content: str, answer: str, explanation: str
) -> None:
    found = read_answer(content)
    assert (found.answer, found.explanation) == (answer, explanation)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "A",
        "Summary A is better.",
        '{"answer": "C"}',
        '{"answer": "both"}',
        '{"answer": null}',
        '{"answer": ["A"]}',
        '["answer", "A"]',
        '{"answer": "A"',
        '{"better": "A"}',
        "{" * 30_000,
        '{"a":' * 5_000,
    ],
    ids=range(12),
)
def test_anything_else_is_no_answer(content: str) -> None:
    with pytest.raises(PassingError, match="no answer A, B or tie"):
        read_answer(content)


WRONG = [
    Reply(500, b"oops"),
    Reply(503),
    Reply(429, headers={"Retry-After": "7"}),
    Reply(200, b"<html>not JSON"),
    Reply(200, b'{"choices": []}'),
    Reply(200, b'{"choices": [{"message": null}]}'),
    Reply(200, b"[" * 100_000),
    completion(None),
    completion("I would rather not say."),
]


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_what_goes_wrong_is_tried_again_after_a_pause(wrong: Reply) -> None:
    paused: list[float] = []

    def answer(request: Request) -> Reply:
        return wrong if request.number == 0 else prefers("talk")(request)

    with serving(answer) as server:
        verdict = ask(Endpoint(access(server), sleep=paused.append))
    assert isinstance(verdict, Verdict) and verdict.choice == "left"
    assert len(server.requests) == 3 and len(paused) == 1
    assert paused[0] == 7 if wrong.status == 429 else FIRST_PAUSE / 2 <= paused[0] <= FIRST_PAUSE


def test_pauses_double_up_to_a_bound_and_then_the_pair_fails() -> None:
    paused: list[float] = []
    with serving(lambda _: Reply(503)) as server:
        outcome = ask(Endpoint(access(server, attempts=10), sleep=paused.append))
    assert outcome == Failure("it answered 503, asked 10 times")
    assert len(server.requests) == 10 and len(paused) == 9
    for number, pause in enumerate(paused):
        most = min(LONGEST_PAUSE, FIRST_PAUSE * 2**number)
        assert most / 2 <= pause <= most


@pytest.mark.parametrize(
    ("said_pause", "least", "most"),
    [
        ("3", 3, 3),
        ("100000000", LONGEST_ASKED_PAUSE, LONGEST_ASKED_PAUSE),
        ("9" * 400, LONGEST_ASKED_PAUSE, LONGEST_ASKED_PAUSE),
        ("soon", 0, 1),
        ("-5", 0, 1),
        ("", 0, 1),
    ],
)
def test_the_pause_a_server_asks_for_is_kept_within_bounds(
    said_pause: str, least: float, most: float
) -> None:
    assert least <= pause_after(said_pause) <= most


@pytest.mark.parametrize(("seconds", "least", "most"), [(200, 60, 200), (-200, 0, 1)])
def test_a_server_may_name_a_date(seconds: int, least: float, most: float) -> None:
    date = datetime.now(UTC) + timedelta(seconds=seconds)
    assert least <= pause_after(format_datetime(date, usegmt=True)) <= most


def pause_after(retry_after: str) -> float:
    """The pause after a 429 with this header."""
    paused: list[float] = []

    def answer(request: Request) -> Reply:
        busy = Reply(429, headers={"Retry-After": retry_after})
        return busy if request.number == 0 else said("A")

    with serving(answer) as server:
        ask(Endpoint(access(server), sleep=paused.append))
    return paused[0]


@pytest.mark.parametrize(
    "slow",
    [Reply(delay=1.0), Reply(body=b"x" * 400, drip=0.02)],
    ids=["silent", "dripping"],
)
def test_a_reply_that_takes_too_long_is_no_answer(slow: Reply) -> None:
    with serving(lambda _: slow) as server:
        endpoint = Endpoint(access(server, timeout=0.1, attempts=2), sleep=lambda _: None)
        assert ask(endpoint) == Failure("it did not reply in time, asked 2 times")


def test_a_reply_without_end_is_cut() -> None:
    with serving(lambda _: Reply(body=b" " * 1_500_000)) as server:
        endpoint = Endpoint(access(server, attempts=1))
        assert ask(endpoint) == Failure("its reply has no end, asked once")


def test_an_endpoint_that_is_not_there_fails() -> None:
    with serving(lambda _: said("A")) as server:
        pass
    endpoint = Endpoint(access(server, attempts=2), sleep=lambda _: None)
    assert ask(endpoint) == Failure("it cannot be reached, asked 2 times")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_is_not_sent_again(status: int) -> None:
    message = f"max_tokens is too large for {KEY}\n" + "x" * 500
    body = json.dumps({"error": {"message": message}}).encode()
    with serving(lambda _: Reply(status, body)) as server:
        outcome = ask(Endpoint(access(server, key=KEY)))
    assert isinstance(outcome, Failure) and len(server.requests) == 1
    assert outcome.reason.startswith(f"it answered {status} (max_tokens is too large for …")
    assert KEY not in outcome.reason and len(outcome.reason) < 250


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error": "no"}', b'{"error": {"message": ""}}'])
def test_a_refusal_without_words_is_told_by_its_number(body: bytes) -> None:
    with serving(lambda _: Reply(400, body)) as server:
        assert ask(Endpoint(access(server))) == Failure("it answered 400")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "refused the key"), (403, "refused the key"), (404, "check the address"), (302, "302")],
)
def test_an_endpoint_that_cannot_answer_at_all_stops_the_run(status: int, sentence: str) -> None:
    body = json.dumps({"error": {"message": f"Incorrect key {KEY}"}}).encode()
    with serving(lambda _: Reply(status, body, {"Location": "/elsewhere"})) as server:
        endpoint = Endpoint(access(server, key=KEY, concurrency=2))
        with pytest.raises(UserError, match=sentence) as told:
            list(endpoint.judge(cases(20)))
    assert KEY not in str(told.value)
    assert len(server.requests) <= 4
    assert {request.path for request in server.requests} == {"/v1/chat/completions"}


def test_pairs_are_asked_about_several_at_a_time() -> None:
    # Nobody is answered before four have asked: with fewer workers this would never end.
    together = threading.Barrier(4, timeout=20)

    def answer(request: Request) -> Reply:
        together.wait()
        return prefers("talk")(request)

    with serving(answer) as server:
        found = list(Endpoint(access(server, concurrency=4)).judge(cases(8)))
    assert server.most == 4
    assert {case.pair_id for case, _ in found} == {case.pair_id for case in cases(8)}
    assert all(isinstance(v, Verdict) and v.choice == "left" for _, v in found)


def test_closed_early_it_asks_no_more_and_waits_no_more() -> None:
    def answer(request: Request) -> Reply:
        return prefers("talk")(request) if request.number < 2 else Reply(503)

    with serving(answer) as server:
        # The real pauses: a minute and more if they were waited for.
        outcomes = Endpoint(access(server, concurrency=1, attempts=10)).judge(cases(50))
        next(outcomes)
        outcomes.close()
        heard = len(server.requests)
    assert heard <= 3


def test_more_fields_are_sent_or_left_out_and_make_another_judge() -> None:
    with serving(prefers("talk")) as server:
        body = {"max_tokens": None, "max_completion_tokens": 90, "messages": "mine"}
        endpoint = Endpoint(access(server, body=body))
        ask(endpoint)
    sent = server.requests[0].body
    assert sent["max_completion_tokens"] == 90 and "max_tokens" not in sent
    assert sent["messages"] != "mine"
    assert endpoint.name != Endpoint(access(server)).name


@pytest.fixture
def urls() -> Iterator[dict[str, str]]:
    yield {
        "http://h:8000/v1": "http://h:8000/v1/chat/completions",
        "http://h/v1/": "http://h/v1/chat/completions",
        "https://h/v1/chat/completions": "https://h/v1/chat/completions",
        "https://h/d/m?api-version=1": "https://h/d/m/chat/completions?api-version=1",
    }


def test_an_address_is_a_base_or_whole(urls: dict[str, str]) -> None:
    assert {url: str(Access(url, "m").address) for url in urls} == urls


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"url": "localhost:8000"}, "begins with http"),
        ({"url": "ftp://h/v1"}, "begins with http"),
        ({"url": "http://"}, "begins with http"),
        ({"url": "http://h:port/v1"}, "begins with http"),
        ({"url": "https://me:secret@h/v1"}, "must not hold a password"),
        ({"model": ""}, "Name the model"),
        ({"key": "a b"}, "printable"),
        ({"key": "a\nb"}, "printable"),
        ({"key": "schlüssel"}, "printable"),
        ({"key": ""}, "printable"),
        ({"timeout": 0}, "time-out"),
        ({"timeout": float("nan")}, "time-out"),
        ({"concurrency": 0}, "Concurrency"),
        ({"attempts": 0}, "attempts"),
        ({"body": {"x": float("nan")}}, "must be JSON"),
        ({"body": {"stream": True}}, "leave `stream` out"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as told:
        Access(**({"url": "http://h/v1", "model": "m"} | given))
    assert "secret" not in str(told.value)


def test_a_proxy_that_cannot_be_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "nonsense://proxy")
    with pytest.raises(UserError, match="proxy that the environment names"):
        list(Endpoint(Access("http://h.invalid/v1", "m", attempts=1)).judge([CASE]))
