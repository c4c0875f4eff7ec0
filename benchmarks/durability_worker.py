"""The process that ``durability.py`` kills."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.durability import work

if __name__ == "__main__":
    work(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
