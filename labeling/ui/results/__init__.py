"""The Results tab: what the picks say so far, how sure that is, and what is still needed."""

from labeling.analysis.report import Counts, count
from labeling.ui.results.page import page
from labeling.ui.results.tab import results_tab
from labeling.ui.results.words import plural

__all__ = ["Counts", "count", "page", "plural", "results_tab"]
