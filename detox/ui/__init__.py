"""The tabs that show what models write and learn: Compare, Playground, Evaluate and Train."""

from detox.ui.evaluate import evaluate_tab
from detox.ui.playground import playground_tab
from detox.ui.tab import compare_tab, page_header
from detox.ui.train import train_tab
from detox.ui.versions import offer_versions

__all__ = [
    "compare_tab",
    "evaluate_tab",
    "offer_versions",
    "page_header",
    "playground_tab",
    "train_tab",
]
