"""A small OpenAI-compatible server on this machine that says what a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What the server answers, after ``delay`` seconds, ``drip`` seconds between its bytes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0


@dataclass(frozen=True)
class Request:
    """What it was asked; ``number`` counts from 0."""

    number: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        """The text of the only message."""
        (message,) = self.body["messages"]
        return str(message["content"])


@dataclass
class Server:
    """Where it listens and what it has heard; ``most`` requests were open at a time."""

    url: str
    requests: list[Request] = field(default_factory=list)
    open: int = 0
    most: int = 0


Answerer = Callable[[Request], Reply]


def completion(content: object) -> Reply:
    """A chat completion that says ``content``."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    return Reply(body=json.dumps({"object": "chat.completion", "choices": [choice]}).encode())


def said(answer: str, explanation: str = "It is kinder.") -> Reply:
    """A chat completion as it should be."""
    return completion(json.dumps({"explanation": explanation, "answer": answer}))


def prefers(word: str) -> Answerer:
    """A judge that prefers the summary with ``word`` in it, wherever it stands."""

    def answer(request: Request) -> Reply:
        first, second = request.prompt.split("Summary A:")[1].split("Summary B:")
        if (word in first) == (word in second):
            return said("tie")
        return said("A" if word in first else "B")

    return answer


@contextmanager
def serving(answer: Answerer) -> Iterator[Server]:
    """A server whose replies ``answer`` gives, until the block ends."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                request = Request(len(server.requests), self.path, dict(self.headers), body)
                server.requests.append(request)
                server.open += 1
                server.most = max(server.most, server.open)
            try:
                reply = answer(request)
                time.sleep(reply.delay)
            finally:
                # Before the reply: who has it may ask again at once.
                with lock:
                    server.open -= 1
            with suppress(OSError):  # who asked may have gone
                self.send(reply)

        def send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            step = 1 if reply.drip else max(1, len(reply.body))
            for start in range(0, len(reply.body), step):
                self.wfile.write(reply.body[start : start + step])
                time.sleep(reply.drip)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server = Server(f"http://127.0.0.1:{listening.server_port}/v1")
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()
