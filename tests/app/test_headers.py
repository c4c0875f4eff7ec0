"""What the browser is told it may run, and that it runs nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import httpx
import pytest

from hosting.headers import content_policy
from tests.app.conftest import Visit


def hashed(code: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code).digest()).decode()}'"


def test_scripts_within_a_page_are_allowed_by_their_hashes() -> None:
    page = (
        b"<p>x</p><script>let a = 1;</script><SCRIPT data-x>\nlet b;\n</SCRIPT>"
        b'<script src="/assets/a.js"></script><script></script>'
    )
    policy = content_policy(page).decode()
    assert hashed(b"let a = 1;") in policy and hashed(b"\nlet b;\n") in policy
    assert policy.count("sha256-") == 2
    [scripts] = re.findall(r"script-src ([^;]*);", policy)
    assert "unsafe-inline" not in scripts
    assert (
        "huggingface" not in policy and "https://*.hf.space" in content_policy(b"", True).decode()
    )


def test_every_answer_has_the_headers_and_pages_a_policy(arena: Visit) -> None:
    page = httpx.get(arena.url, headers={"accept-encoding": "br"})
    assert "script-src 'self'" in page.headers["content-security-policy"]
    info = httpx.get(f"{arena.url}gradio_api/info")
    assert "content-security-policy" not in info.headers
    for answer in (page, info, httpx.get(f"{arena.url}nowhere")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"


def test_the_page_travels_compressed_with_its_policy(arena: Visit) -> None:
    plain = httpx.get(arena.url, headers={"accept-encoding": "identity"})
    packed = httpx.get(arena.url, headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.num_bytes_downloaded < 0.2 * plain.num_bytes_downloaded
    assert "sha256-" in packed.headers["content-security-policy"]
    assert "content-encoding" not in plain.headers


@pytest.mark.browser
def test_what_gets_into_a_page_later_does_not_run(arena: Visit, chromium: Any) -> None:
    context = chromium.new_context()
    try:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(arena.url)
        page.locator("#talk .da-turn").first.wait_for(timeout=60_000)
        assert not [text for text in said if "Content Security Policy" in text], "none of its own"
        page.evaluate(
            """() => {
                document.body.insertAdjacentHTML("beforeend",
                    '<img src=x onerror="window.hacked = 1">' +
                    '<a id=a href="javascript:window.hacked = 1">a</a>');
                const script = document.createElement("script");
                script.textContent = "window.hacked = 1";
                document.body.append(script);
                document.getElementById("a").click();
                return fetch("https://example.org").catch(() => 0);
            }"""
        )
        page.wait_for_timeout(500)
        assert page.evaluate("window.hacked") is None
        refused = [text for text in said if "Content Security Policy" in text]
        assert len(refused) >= 4, refused
    finally:
        context.close()
