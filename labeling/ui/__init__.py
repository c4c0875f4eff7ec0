"""The Label, Results and Export tabs; ``CSS`` belongs into ``launch``, beside the theme's."""

from pathlib import Path

from labeling.ui.export import export_tab
from labeling.ui.label import label_tab
from labeling.ui.results import results_tab

CSS = (Path(__file__).parents[1] / "assets" / "label.css").read_text(encoding="utf-8")

__all__ = ["CSS", "export_tab", "label_tab", "results_tab"]
