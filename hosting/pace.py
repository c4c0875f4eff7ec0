"""How often one address may ask: a flood of events, or of passwords, is answered with 429."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from labeling.allowance import Allowance

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

# Within a minute. A class of thirty who label from one address posts about a thousand times.
EVENTS, UPLOADS, SIGN_INS = 2_400, 60, 20


class Pace:
    """ASGI middleware that counts what an address posts, by kind, over the last minute.

    Behind a proxy the address is the last one in ``X-Forwarded-For``, which the proxy wrote; what
    stands before it anybody could have written.
    """

    def __init__(
        self,
        app: App,
        events: int = EVENTS,
        uploads: int = UPLOADS,
        sign_ins: int = SIGN_INS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app = app
        self.limits = {"events": events, "uploads": uploads, "sign-ins": sign_ins}
        self._posts = Allowance(clock)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Passes a request on, or answers it with 429 and a sentence."""
        kind = _kind(scope)
        wait = self.ask(_address(scope), kind) if kind else 0.0
        if not wait:
            await self.app(scope, receive, send)
            return
        seconds = max(1, round(wait))
        said = json.dumps({"detail": f"Too many {kind} at once: try again in {seconds} s."})
        headers = [(b"content-type", b"application/json"), (b"retry-after", b"%d" % seconds)]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": said.encode()})

    def ask(self, address: str, kind: str) -> float:
        """0 where one more of ``kind`` is allowed, and counted; else the seconds to wait."""
        return self._posts.ask((address, kind), self.limits[kind])


def _kind(scope: Scope) -> str:
    if scope["type"] != "http" or scope["method"] != "POST":
        return ""
    path = str(scope["path"]).rstrip("/")
    if path.endswith("/login"):
        return "sign-ins"
    return "uploads" if path.endswith("/upload") else "events"


def _address(scope: Scope) -> str:
    forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    if forwarded:
        return str(forwarded[-1].decode("latin-1").rpartition(",")[2].strip())
    return str((scope.get("client") or ("",))[0])
