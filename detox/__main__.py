"""Makes ``python -m detox`` work."""

from detox.cli import run

run()
