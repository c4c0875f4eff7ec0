"""Preferences made elsewhere, or exported from here, back into the record."""

from labeling.imports.rows import LABELER, UNKNOWN_POLICY, Comparison
from labeling.imports.run import IMPORT_FORMATS, ImportReport, import_file

__all__ = [
    "IMPORT_FORMATS",
    "LABELER",
    "UNKNOWN_POLICY",
    "Comparison",
    "ImportReport",
    "import_file",
]
