"""What models say, how it is scored, and how they are tuned to be gentler."""

__version__ = "0.1.0"
