"""The Compare tab."""

from detox.ui.tab import compare_tab, page_header

__all__ = ["compare_tab", "page_header"]
