"""JSON is read as the standard library reads it, except that keys given twice are errors that name their place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxchat.json_text import RepeatedKeyError, parse_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_other_texts_are_read_as_by_the_standard_library(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"a": 1, "a": 1}', "a"),
        ('{"": 1, "": 2}', ""),
        ('{"a": {"b": [0, {"c": 1, "d": 2, "c": {}}]}}', "a.b.1.c"),
        ('[[{"x": 1, "\\u0078": 2}]]', "0.0.x"),
        ('{"a": {"b": 1, "b": 2}, "a": 0}', "a"),  # the inner one is dropped with the first value
        ('{"a": 0, "a": {"b": 1, "b": 2}}', "a"),
        ('{"p": {"x": 1, "x": 1}, "q": {"y": 1, "y": 1}}', "p.x"),
        ('{"a": 1, "b": 2, "b": 3, "a": 4}', "b"),
    ],
)
def test_a_key_given_twice_is_named_with_its_path(text: str, path: str) -> None:
    with pytest.raises(RepeatedKeyError) as caught:
        parse_json(text)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("9" * 5000, "a number has 5000 digits"),
        ("[" * 100_000, "nested too deep"),
        ("{", "Expecting property name"),
        ("", "Expecting value"),
    ],
)
def test_other_errors_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse_json(text)
    assert not isinstance(caught.value, RepeatedKeyError)
