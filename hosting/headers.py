"""What a browser may do with a page of ours: run its own scripts, and talk to nobody else."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

from hosting.pace import App, Scope

_SCRIPT = re.compile(rb"<script(?P<about>[^>]*)>(?P<code>.*?)</script>", re.DOTALL | re.IGNORECASE)
# gradio makes functions out of text (its own, and the ``js`` of events) and styles elements one by
# one; recordings and drawings are blobs.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'{scripts}; "
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'{forms}; frame-ancestors 'self'{frames}"
)
# A Space is shown within a page of the Hub, which also signs people in.
_HUB = " https://huggingface.co https://*.hf.space"
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
)


class Headers:
    """ASGI middleware that sends a content-security policy with every page.

    Scripts within a page are allowed by their hashes, so those that a dialogue or a name might
    bring into it later are not. ``on_hub`` lets the Hub show the page.
    """

    def __init__(self, app: App, on_hub: bool = False) -> None:
        self.app, self.on_hub = app, on_hub

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Passes a request on; a page is held back until its scripts are known."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: dict[str, Any] = {}
        body = bytearray()

        async def sent(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_ALWAYS]}
                if _is_page(message["headers"]):
                    start.update(message)
                    return
            elif start:
                body.extend(message.get("body", b""))
                if message.get("more_body"):
                    return
                policy = (b"content-security-policy", content_policy(bytes(body), self.on_hub))
                await send({**start, "headers": [*start["headers"], policy]})
                message = {**message, "body": bytes(body)}
            await send(message)

        await self.app(scope, receive, sent)


def content_policy(page: bytes, on_hub: bool = False) -> bytes:
    """The policy for ``page``, as the header's value."""
    codes = (
        found["code"]
        for found in _SCRIPT.finditer(page)
        if b"src=" not in found["about"].lower() and found["code"]
    )
    hashes = dict.fromkeys(base64.b64encode(hashlib.sha256(code).digest()) for code in codes)
    scripts = "".join(f" 'sha256-{digest.decode()}'" for digest in hashes)
    hub = _HUB if on_hub else ""
    return _POLICY.format(scripts=scripts, forms=hub, frames=hub).encode()


def _is_page(headers: list[tuple[bytes, bytes]]) -> bool:
    about = {name.lower(): value for name, value in headers}
    compressed = about.get(b"content-encoding")
    return about.get(b"content-type", b"").startswith(b"text/html") and not compressed
