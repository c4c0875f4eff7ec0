"""The process of one training: ``python -m detox.worker FOLDER MODULE ARGUMENT …``.

It runs the command as a terminal would, at a lower priority than whoever labels or compares,
notes how it ended, and enters the policy that came of it among the versions.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from detox.errors import UserError
from detox.job import INTERRUPTED, POLICY, end_job, read_job
from detox.versions import enter_version

# Added to the niceness: whoever waits for a page gets the cores first.
NICENESS = 10


def main(arguments: Sequence[str]) -> int:
    """Runs the command that follows the folder in ``arguments``; returns its exit code.

    SIGTERM reaches the command as Ctrl-C would.
    """
    folder, argv = Path(arguments[0]), list(arguments[1:])
    signal.signal(signal.SIGTERM, _interrupt)
    if hasattr(os, "nice"):  # Windows has none
        os.nice(NICENESS)
    code = 1
    try:
        code = _command(argv)
        if code == 0 and read_job(folder).makes == POLICY:
            enter_version(folder)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except UserError as error:
        print(error)
        code = 2
    except OSError as error:  # a full disk, most of the time
        with suppress(OSError):
            print(f"{folder} cannot be written: {error.strerror or error}.")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with suppress(OSError):  # whoever looks sees that the process is gone
            end_job(folder, code)
    return code


def _command(argv: list[str]) -> int:
    """The exit code of ``python -m`` with the words of ``argv``."""
    sys.argv = argv
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code)
        return 1
    except Exception:
        with suppress(OSError):
            traceback.print_exc()
        return 1
    return 0


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
