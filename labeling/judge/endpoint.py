"""An OpenAI-compatible endpoint as a judge: chat completions, asked over HTTP.

What goes wrong on the way (a time-out, a busy or broken server, an answer that cannot be read) is
tried again after growing pauses, and is never taken for an answer.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from detox.errors import UserError
from labeling.judge.question import Case, Question
from labeling.judge.verdict import (
    Answer,
    Failure,
    Outcome,
    Outcomes,
    Verdict,
    combine,
    judge_name,
)

# Pauses in seconds before the second, third, … try: they double up to the longest one.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
# A server that asks for a longer pause than this gets this one.
LONGEST_ASKED_PAUSE = 300.0
LARGEST_REPLY = 1_000_000
# Where the answer stands in a longer text, it stands at the end.
_TAIL = 20_000
_ANSWERS = {"a": "first", "b": "second", "tie": "tie"}
_SIDES = {"first": "left", "second": "right", "tie": "tie"}
_EXPLAINED = (
    'Reply with JSON only: {"explanation": "one short sentence", "answer": "A"}, where "answer" '
    'is "A", "B", or "tie" where neither is better.'
)
_BARE = 'Reply with JSON only: {"answer": "A"}, where "answer" is "A", "B", or "tie" where '
_BARE += "neither is better."
# The request is at fault, not the moment: to send it again is no use.
_OUR_FAULT = (400, 413, 422)
_TRY_AGAIN = (408, 409, 425, 429)
Sleep = Callable[[float], None]


@dataclass(frozen=True)
class Access:
    """Where an endpoint is and how it is treated. Raises ``UserError`` for what cannot be."""

    url: str
    """Base, such as http://localhost:8000/v1, or the whole address of chat/completions."""
    model: str
    """As the endpoint calls it."""
    key: str | None = field(default=None, repr=False)
    """Sent as a bearer token, and kept nowhere."""
    timeout: float = 60.0
    """Seconds for one reply, from the request to its last byte."""
    concurrency: int = 4
    """Pairs asked about at a time."""
    attempts: int = 5
    """Times one question is asked, the first one included."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """Added to each request, such as {"max_completion_tokens": 300}; null takes a field out."""

    def __post_init__(self) -> None:
        try:
            url = httpx.URL(self.url)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise UserError(f"{self._odd} begins with http:// or https://.") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise UserError(f"{self._odd} begins with http:// or https://.")
        if url.userinfo:
            raise UserError("An address must not hold a password: name the key's variable instead.")
        if not self.model:
            raise UserError("Name the model as the endpoint calls it.")
        if self.key is not None and not (
            self.key.isascii() and self.key.isprintable() and " " not in self.key and self.key
        ):
            raise UserError("The key must be printable characters without a blank: set it anew.")
        if not 0 < self.timeout <= 3600:
            raise UserError("The time-out must lie above 0 and be at most 3,600 seconds.")
        if not 1 <= self.concurrency <= 64 or not 1 <= self.attempts <= 20:
            raise UserError("Concurrency must lie between 1 and 64, attempts between 1 and 20.")
        if self.body.get("stream"):
            raise UserError("A judge's replies are read whole: leave `stream` out of the body.")
        try:
            json.dumps(dict(self.body), allow_nan=False)
        except ValueError as error:
            raise UserError("The body must be JSON, in which NaN and Infinity are none.") from error

    @property
    def _odd(self) -> str:
        return f"'{self.url[:80]}' is not the address of an endpoint, which"

    @property
    def address(self) -> httpx.URL:
        """Where requests go."""
        url = httpx.URL(self.url)
        path = url.path.rstrip("/")
        whole = path if path.endswith("/chat/completions") else f"{path}/chat/completions"
        return url.copy_with(path=whole)

    @property
    def place(self) -> str:
        """The address as it may be shown and kept: without a query, which may hold a key."""
        return str(self.address.copy_with(query=None, fragment=None))


class LastingError(Exception):
    """A question stays without an answer, for the reason given."""


class PassingError(Exception):
    """This try failed; the next one may come after ``pause`` seconds, if the server said so."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.pause = reason, pause


class Endpoint:
    """An endpoint that is asked both orders of each pair, several pairs at a time.

    ``sleep`` is told the seconds to wait; by default the wait ends early when nobody listens any
    more. ``rng`` spreads the pauses of several workers.
    """

    def __init__(
        self,
        access: Access,
        question: Question = Question(),
        *,
        explain: bool = False,
        name: str | None = None,
        sleep: Sleep | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.access, self.question = access, question
        self._stopped = threading.Event()
        self._sleep = sleep or self._wait
        self._rng = rng or random.Random(0)
        ending = _EXPLAINED if explain else _BARE
        self._ending = f"\n{ending}"
        base = {"model": access.model, "temperature": 0, "max_tokens": 500}
        body = {**base, **access.body}
        self._body = {key: value for key, value in body.items() if value is not None}
        self.settings: Mapping[str, Any] = {
            "kind": "endpoint",
            "model": access.model,
            "place": access.place,
            "question": question.text + self._ending,
            "body": self._body,
        }
        self.name = judge_name(access.model, self.settings, name)

    def judge(self, cases: Sequence[Case]) -> Outcomes:
        """Outcomes as they come. Raises ``UserError`` where no question can be answered at all.

        Closed early, it starts no further request and waits for those under way.
        """
        self._stopped.clear()
        limits = httpx.Limits(max_connections=self.access.concurrency)
        headers = {"Authorization": f"Bearer {self.access.key}"} if self.access.key else {}
        waiting = iter(cases)
        try:
            opened = httpx.Client(timeout=self.access.timeout, limits=limits, headers=headers)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise UserError(
                "The proxy that the environment names cannot be used: change HTTPS_PROXY, or set "
                "NO_PROXY."
            ) from error
        with opened as client, ThreadPoolExecutor(self.access.concurrency) as pool:
            running: dict[Future[Outcome], Case] = {}
            try:
                while True:
                    # A few at a time, so that a stop leaves nothing to be cancelled.
                    while len(running) < self.access.concurrency:
                        case = next(waiting, None)
                        if case is None:
                            break
                        running[pool.submit(self._judge, client, case)] = case
                    if not running:
                        return
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield running.pop(future), future.result()
            finally:
                self._stopped.set()

    def _judge(self, client: httpx.Client, case: Case) -> Outcome:
        began = time.monotonic()
        try:
            forward, backward = (
                self._answer(client, self.question.of(case, swapped=swapped) + self._ending)
                for swapped in (False, True)
            )
        except LastingError as failed:
            return Failure(str(failed))
        choice = combine(forward, backward)
        # Where the orders disagree, neither explanation is one of the tie.
        explanation = "" if _SIDES[forward.answer] != choice else forward.explanation
        return Verdict(choice, forward, backward, explanation, time.monotonic() - began)

    def _answer(self, client: httpx.Client, prompt: str) -> Answer:
        """The answer to one question, asked up to ``attempts`` times. Raises ``LastingError``."""
        for attempt in range(1, self.access.attempts + 1):
            if self._stopped.is_set():
                raise LastingError("stopped")
            try:
                return read_answer(self._content(client, prompt))
            except PassingError as problem:
                reason = problem.reason
                if attempt == self.access.attempts:
                    break
                self._sleep(self._pause(attempt, problem.pause))
        times = f"{self.access.attempts} times" if self.access.attempts > 1 else "once"
        raise LastingError(f"{reason}, asked {times}")

    def _pause(self, attempt: int, asked: float | None) -> float:
        """Seconds before the next try: at least half of the doubling pause, or what was asked."""
        most = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (attempt - 1))
        drawn = most * (0.5 + self._rng.random() / 2)
        return max(drawn, min(asked or 0.0, LONGEST_ASKED_PAUSE))

    def _wait(self, seconds: float) -> None:
        self._stopped.wait(seconds)

    def _content(self, client: httpx.Client, prompt: str) -> str:
        """The text of one reply. Raises ``PassingError``, ``LastingError`` and ``UserError``."""
        body = {**self._body, "messages": [{"role": "user", "content": prompt}]}
        deadline = time.monotonic() + self.access.timeout
        data = bytearray()
        try:
            with client.stream("POST", self.access.address, json=body) as response:
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > LARGEST_REPLY:
                        raise PassingError("its reply has no end")
                    if time.monotonic() > deadline:
                        raise PassingError("it did not reply in time")
        except httpx.TimeoutException as error:
            raise PassingError("it did not reply in time") from error
        except httpx.HTTPError as error:
            raise PassingError("it cannot be reached") from error
        self._check(response, bytes(data))
        try:
            content = json.loads(data)["choices"][0]["message"]["content"]
        except (ValueError, RecursionError, LookupError, TypeError) as error:
            raise PassingError("its reply is not a chat completion") from error
        if not isinstance(content, str):
            raise PassingError("its reply holds no text")
        return content

    def _check(self, response: httpx.Response, data: bytes) -> None:
        status = response.status_code
        if response.is_success:
            return
        if status in _TRY_AGAIN or status >= 500:
            raise PassingError(f"it answered {status}", _asked_pause(response.headers))
        if status in _OUR_FAULT:
            raise LastingError(f"it answered {status}{self._said(data)}")
        if status in (401, 403):
            raise UserError(
                f"{self.access.place} refused the key (status {status}): check the variable that "
                "holds it."
            )
        raise UserError(
            f"{self.access.place} answered {status}: check the address and the model's name."
        )

    def _said(self, data: bytes) -> str:
        """The server's own words on what is wrong with a request, short and without the key."""
        try:
            message = json.loads(data)["error"]["message"]
        except (ValueError, RecursionError, LookupError, TypeError):
            return ""
        text = " ".join(str(message).split())
        if self.access.key:
            text = text.replace(self.access.key, "…")
        return f" ({text[:200]})" if text.isprintable() and text else ""


def read_answer(content: str) -> Answer:
    """The answer in a reply: the last JSON object in it that has one.

    Models put code fences, or their thoughts, around it. Raises ``PassingError`` where there is
    none.
    """
    text, found = content[-_TAIL:], None
    decoder, place = json.JSONDecoder(), 0
    while (place := text.find("{", place)) >= 0:
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        if isinstance(value, dict) and "answer" in value:
            found = value
    answer = _ANSWERS.get(str(found["answer"]).strip().lower()) if found else None
    if found is None or answer is None:
        raise PassingError("its reply holds no answer A, B or tie")
    explanation = found.get("explanation")
    return Answer(answer, explanation=explanation if isinstance(explanation, str) else "")


def _asked_pause(headers: httpx.Headers) -> float | None:
    """The seconds of a ``Retry-After`` header, which holds a number or a date (RFC 9110)."""
    value = headers.get("retry-after", "").strip()
    try:
        if value.isdigit():
            return float(value)
        moment = parsedate_to_datetime(value)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None
