"""The world that tests live in: no network, no disk where memory will do, one core each.

Imported before anything that reads the environment; the processes that tests start, those that
the tests are handed out to among them, inherit it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import certifi

MEMORY = Path("/dev/shm")
END = "-----END CERTIFICATE-----\n"


def _in_memory() -> bool:
    """Whether temporary files may lie in memory: with room, and where they can be run."""
    return (
        MEMORY.is_dir()
        and shutil.disk_usage(MEMORY).free > 4e9
        and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    )


# Nothing that tests write has to outlive them, and half of their time was waiting for the disk to
# say that it has it. TMPDIR=/tmp keeps what failing tests have written.
if "TMPDIR" not in os.environ:
    _scratch = tempfile.TemporaryDirectory(
        prefix="detox-tests-",
        dir=MEMORY if _in_memory() else None,
        ignore_cleanup_errors=True,  # a process may still be closing what it wrote
    )
    os.environ["TMPDIR"] = tempfile.tempdir = _scratch.name

_home = tempfile.TemporaryDirectory(prefix="detox-tests-")
# The hub client reads these once, when it is first imported.
os.environ |= {"HF_HOME": _home.name, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

# A client that asks the app reads all certificates of the world first, each time, and needs none.
_certificate = Path(_home.name, "one.pem")
_certificate.write_text(Path(certifi.where()).read_text("utf-8").partition(END)[0] + END, "utf-8")
os.environ["SSL_CERT_FILE"] = str(_certificate)

# As in ``app.py``, which not every test imports.
os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = "1000"

# Tiny models spend more time on handing work to a second thread than on the work, and other
# workers need the cores.
os.environ["OMP_NUM_THREADS"] = "1"
