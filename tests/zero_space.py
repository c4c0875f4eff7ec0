"""A Space that lends GPUs, as its own process: ``python -m tests.zero_space BEFORE AFTER JUDGE``.

The ``spaces`` package is the real one, with its forked processes, queues and patched torch. Made
up are the Hub, which decides who gets a GPU, and CUDA: the GPU that is lent is none. Prints what
happened as JSON.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


class Hub(ThreadingHTTPServer):
    """Lends to everybody, or to nobody; knows who asked, and which processes were allowed."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []
        self.allowed: list[int] = []
        self.generous = True
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        """One call of those that ``spaces`` makes."""
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.server.asked.append(url.path)
        if url.path == "/schedule" and not self.server.generous:
            return self._say(503, {})
        if url.path == "/allow":
            self.server.allowed.append(int(query["pid"]))
        lent = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "token"}
        self._say(200, lent if url.path == "/schedule" else {})

    def _say(self, code: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: stdout is for the outcome."""


def main(before: str, after: str, judge: str) -> None:
    hub = Hub()
    os.environ["SPACES_ZERO_GPU"] = "true"
    os.environ["SPACES_ZERO_DEVICE_API_URL"] = f"http://127.0.0.1:{hub.server_port}"

    import gradio as gr
    import torch
    from gradio_client import Client

    from detox.config import Sampling
    from detox.data import load_dialogues
    from detox.errors import UserError
    from detox.workbench import Workbench
    from detox.writers import Writers
    from hosting import zero

    assert zero.is_lending()
    # as in the build that Spaces installs
    torch.version.cuda = "12.8"
    torch._C._cuda_init = lambda: None  # type: ignore[attr-defined]
    torch.cuda._is_in_bad_fork = bool
    bench = Workbench({"before": before, "after": after}, judge, lend=zero.Lent)
    assert torch.cuda.is_available(), "this is where spaces pretends"
    lends = sys.modules["spaces.zero.torch"]
    lends.init = lambda uuid: None  # type: ignore[attr-defined]
    lends.move = lambda callback=None: None  # type: ignore[attr-defined]
    warnings: list[str] = []
    logging.getLogger("detox").addHandler(_Into(warnings))
    sampling = Sampling(temperature=0, max_new_tokens=8)
    dialogues = load_dialogues(split="test").select(range(2))
    found: dict[str, Any] = {"devices": []}

    def compare(dialogue: str, other: str) -> list[str]:
        *_, last = bench.compare(("before", other), dialogue, sampling)
        return [side.text for side in last]

    def evaluate() -> list[str]:
        return [
            row["after"]["text"]
            for rows in bench.evaluate("before", "after", dialogues, sampling)
            for row in rows
        ]

    def told(dialogue: str) -> str:
        try:
            compare(dialogue, "after")
        except UserError as error:
            return str(error)
        return ""

    with gr.Blocks() as page:
        gr.api(compare, api_name="compare")
        gr.api(evaluate, api_name="evaluate")
        gr.api(told, api_name="told")
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, _frontend=False)
    bench.wait()
    found["devices"] = sorted({str(p.model.device) for p in bench.policies.values()})
    found["dtypes"] = sorted({str(p.model.dtype) for p in bench.policies.values()})
    client = Client(url, verbose=False)
    text = dialogues[0]["dialogue"]
    found["lent"] = client.predict(text, "after", api_name="/compare")
    found["evaluated"] = client.predict(api_name="/evaluate")
    found["told"] = client.predict("word " * 7_000, api_name="/told")
    bench.learn("later", before)
    while "later" not in bench.policies:
        assert not bench.refused, bench.refused
        time.sleep(0.1)
    found["later"] = client.predict(text, "later", api_name="/compare")
    asked = len(hub.asked)
    hub.generous = False
    found["refused"] = client.predict(text, "after", api_name="/compare")
    found["asked_then"] = hub.asked[asked:]
    found["warnings"] = warnings
    found["here"], found["there"] = os.getpid(), hub.allowed
    found["asked"] = hub.asked[:asked]
    here = Writers(bench.policies)
    *_, last = here.stream(("before", "after"), _prompt(text), sampling)
    found["expected"] = list(last)
    print(json.dumps(found), flush=True)
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(0)


def _prompt(text: str) -> str:
    from detox.tasks import SUMMARIZE

    return SUMMARIZE.prompt(text.strip())


class _Into(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


if __name__ == "__main__":
    main(*sys.argv[1:4])
