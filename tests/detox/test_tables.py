"""Tables of reports: each cell knows its column, which a phone shows beside it."""

from __future__ import annotations

import pytest

from detox.tables import table


def test_each_cell_says_its_column() -> None:
    page = table(("run", "a <b>"), [("<i>x</i>", "1"), ("y", "")])
    assert "<th>a &lt;b&gt;</th>" in page
    assert '<tr><th><i>x</i></th><td data-label="a &lt;b&gt;">1</td></tr>' in page
    assert '<td data-label="a &lt;b&gt;"></td>' in page


def test_a_row_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError):
        table(("run", "n"), [("x", "1", "2")])
