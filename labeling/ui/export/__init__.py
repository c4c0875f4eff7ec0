"""The Export tab: the picks as files in the format of each tool, and files of picks back in."""

from labeling.ui.export.files import Exported, Imported, check_import, do_import, write_export
from labeling.ui.export.tab import export_tab
from labeling.ui.export.words import NAMES, forecast, import_report, overview, refused, summary

__all__ = [
    "NAMES",
    "Exported",
    "Imported",
    "check_import",
    "do_import",
    "export_tab",
    "forecast",
    "import_report",
    "overview",
    "refused",
    "summary",
    "write_export",
]
