"""The base of every configuration: types, bounds, names."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from jaxchat.settings import RENAMED, Settings, setting


@dataclass(frozen=True, kw_only=True)
class Example(Settings):
    """One setting of each type."""

    text: str = setting("a", "")
    place: str | None = setting(None, "")
    count: int = setting(1, "", least=1)
    port: int | None = setting(None, "", least=0, most=9)
    ratio: float = setting(0.5, "", least=0)
    switch: bool = setting(False, "")
    sizes: tuple[int, ...] = setting((), "", least=2)
    more: tuple[int, ...] | None = setting(None, "")
    mode: Literal["fast", "exact"] = setting("fast", "")
    rounding: Literal["int8"] | None = setting(None, "")
    slots: int = setting(1, "")
    prefill_chunk: int = setting(1, "")


@pytest.mark.parametrize(
    ("setting_name", "value", "message"),
    [
        ("text", 3, "text must be a string, got 3"),
        ("text", None, "text must be a string, got None"),
        ("text", b"a", "text must be a string, got b'a'"),
        ("place", 3, "place must be a string or None, got 3"),
        ("count", "3", "count must be an integer, got '3'"),
        ("count", True, "count must be an integer, got True"),
        ("count", 1.0, "count must be an integer, got 1.0"),
        ("count", None, "count must be an integer, got None"),
        ("ratio", "0.5", "ratio must be a number, got '0.5'"),
        ("ratio", True, "ratio must be a number, got True"),
        ("switch", 1, "switch must be True or False, got 1"),
        ("switch", "no", "switch must be True or False, got 'no'"),
        ("sizes", 64, "sizes must be a tuple, got 64"),
        ("sizes", "64", "sizes must be a tuple, got '64'"),
        ("sizes", None, "sizes must be a tuple, got None"),
        ("sizes", (64, "a"), "each of sizes must be an integer, got 'a'"),
        ("more", 64, "more must be a tuple or None, got 64"),
        ("more", [None], "each of more must be an integer, got None"),
    ],
)
def test_another_type_is_refused(setting_name: str, value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        Example(**{setting_name: value})


@pytest.mark.parametrize(
    ("setting_name", "value", "message"),
    [
        ("text", "", "text must be a non-empty string, got ''"),
        ("place", "", "place must be a non-empty string or None, got ''"),
        ("count", 0, "count must be at least 1, got 0"),
        ("port", -1, "port must be from 0 to 9 or None, got -1"),
        ("port", 10, "port must be from 0 to 9 or None, got 10"),
        ("ratio", -0.1, "ratio must be at least 0, got -0.1"),
        ("ratio", float("nan"), "ratio must be a finite number, got nan"),
        ("ratio", float("inf"), "ratio must be a finite number, got inf"),
        ("sizes", (2, 1), "each of sizes must be at least 2, got 1"),
        ("mode", "exakt", "mode must be 'fast' or 'exact', got 'exakt'"),
        ("mode", None, "mode must be 'fast' or 'exact', got None"),
        ("rounding", "int4", "rounding must be 'int8' or None, got 'int4'"),
        ("rounding", ["int8"], "rounding must be 'int8' or None, got ['int8']"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(setting_name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Example(**{setting_name: value})


@pytest.mark.parametrize(
    ("setting_name", "value", "stored"),
    [
        ("sizes", [4, 2], (4, 2)),
        ("more", [], ()),
        ("ratio", 2, 2.0),
        ("count", np.int64(3), 3),
        ("ratio", np.float32(0.5), 0.5),
        ("place", Path("a/b"), "a/b"),
        ("port", None, None),
        ("rounding", "int8", "int8"),
    ],
)
def test_what_means_the_same_is_converted(setting_name: str, value: Any, stored: Any) -> None:
    example = Example(**{setting_name: value})
    assert getattr(example, setting_name) == stored
    assert type(getattr(example, setting_name)) is type(stored)
    assert hash(example) == hash(Example(**{setting_name: stored}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("slot", "unknown setting 'slot': did you mean 'slots'?"),
        ("chunk", "unknown setting 'chunk': it is now 'prefill_chunk'"),
        ("zebra", "unknown setting 'zebra': there are 'text', 'place', "),
    ],
)
def test_an_unknown_setting_names_the_nearest_one(name: str, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        Example(**{name: 1})
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        replace(Example(), **{name: 1})


def test_an_old_name_of_another_configuration_is_only_unknown() -> None:
    assert RENAMED["greeting"] == "startup_prompt"
    with pytest.raises(TypeError, match=r"^unknown setting 'greeting': there are"):
        Example(**{"greeting": ""})


def test_copies_are_equal_and_nothing_changes() -> None:
    example = Example(sizes=[2], place=Path("x"))
    assert pickle.loads(pickle.dumps(example)) == copy.deepcopy(example) == replace(example) == example
    with pytest.raises(FrozenInstanceError):
        example.count = 2
