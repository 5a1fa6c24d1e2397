"""Durations as people write them."""

import pytest

from probcat.errors import InputError
from probcat.numerics.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(90, 90.0), (2.5, 2.5), ("90", 90.0), ("90s", 90.0), ("10m", 600.0), (" 1.5 h ", 5400.0)],
)
def test_durations_are_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "10 minutes", "-5s", "0", 0, -3, "nan", float("inf")])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InputError, match="is no duration; give seconds"):
        parse_duration(text)
