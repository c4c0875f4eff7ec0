"""Tables of rows in files: JSONL, JSON lists, CSV and Parquet in; JSONL, CSV and Parquet out."""

from labeling.files.read import Table, open_table, read_jsonl
from labeling.files.sources import open_source
from labeling.files.text import CELL_LIMIT, FILE_LIMIT, LINE_LIMIT
from labeling.files.write import (
    Write,
    csv_writer,
    jsonl_writer,
    parquet_writer,
    sha256,
)

__all__ = [
    "CELL_LIMIT",
    "FILE_LIMIT",
    "LINE_LIMIT",
    "Table",
    "Write",
    "csv_writer",
    "jsonl_writer",
    "open_source",
    "open_table",
    "parquet_writer",
    "read_jsonl",
    "sha256",
]
