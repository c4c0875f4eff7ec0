"""The tabs that show what models write: Compare, Playground and Evaluate."""

from detox.ui.evaluate import evaluate_tab
from detox.ui.playground import playground_tab
from detox.ui.tab import compare_tab, page_header

__all__ = ["compare_tab", "evaluate_tab", "page_header", "playground_tab"]
