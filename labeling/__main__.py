"""``python -m labeling``."""

from labeling.cli import run

if __name__ == "__main__":
    run()
