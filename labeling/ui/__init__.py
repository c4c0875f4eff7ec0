"""The Label, Results, Export and Manage tabs, and who may use them.

``CSS`` belongs into ``launch``, beside the theme's.
"""

from pathlib import Path

from labeling.ui.export import export_tab
from labeling.ui.identity import WELCOME, Entrance, Gate, doorkeeper, who_line
from labeling.ui.label import label_tab
from labeling.ui.manage import manage_tab
from labeling.ui.results import results_tab

_ASSETS = Path(__file__).parents[1] / "assets"
CSS = "\n".join(
    (_ASSETS / name).read_text(encoding="utf-8") for name in ("label.css", "manage.css")
)

__all__ = [
    "CSS",
    "WELCOME",
    "Entrance",
    "Gate",
    "doorkeeper",
    "export_tab",
    "label_tab",
    "manage_tab",
    "results_tab",
    "who_line",
]
