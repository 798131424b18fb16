"""Settings of the engine and of chat requests."""

from __future__ import annotations

import asyncio
import re
from datetime import date
from typing import Any

import pytest

import jaxchat
from jaxchat.config import ChatConfig, EngineConfig, MeshConfig


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (EngineConfig, {"quantize": "int3"}, "quantize must be 'int8' or 'int4' or None, got 'int3'"),
        (EngineConfig, {"kv_dtype": "float16"}, "kv_dtype must be 'int8' or None, got 'float16'"),
        (EngineConfig, {"quantize": "none"}, "quantize 'none' is now None"),
        (EngineConfig, {"determinism": "exakt"}, "determinism must be 'exact' or 'fast', got 'exakt'"),
        (EngineConfig, {"attention": "plain"}, "attention 'plain' is now 'xla'"),
        (EngineConfig, {"cache_dir": "off"}, "cache_dir 'off' is now None"),
        (EngineConfig, {"cache_dir": ""}, "cache_dir must be a non-empty string or None, got ''"),
        (EngineConfig, {"slots": 0}, "slots must be at least 1, got 0"),
        (EngineConfig, {"pages": 0}, "pages must be at least 1 or None, got 0"),
        (EngineConfig, {"max_seq_len": 0}, "max_seq_len must be at least 1 or None, got 0"),
        (EngineConfig, {"max_queued": -1}, "max_queued must be at least 0, got -1"),
        (EngineConfig, {"decode_buckets": (0,)}, "each of decode_buckets must be at least 1, got 0"),
        (EngineConfig, {"prefill_buckets": (48,)}, "prefill_buckets must be multiples of prefill_chunk 32, got 48"),
        (EngineConfig, {"page_size": 24}, "page_size must divide 128, got 24"),
        (EngineConfig, {"prefill_chunk": 24}, "prefill_chunk must be a multiple of page_size 16, got 24"),
        (MeshConfig, {"tensor": 0}, "tensor must be at least 1, got 0"),
        (ChatConfig, {"request_timeout": 0}, "request_timeout must be more than 0 seconds or None, got 0.0"),
        (ChatConfig, {"request_timeout": float("inf")}, "request_timeout must be a finite number or None, got inf"),
        (ChatConfig, {"max_buffered_bytes": 1}, "max_buffered_bytes must be at least 1024, got 1"),
        *[
            (ChatConfig, {"template_date": day}, f"template_date must be a day as YYYY-MM-DD or None, got {day!r}")
            for day in ("today", "2026-02-30", "2026-3-09", "20260309", "2026-W10-1", "2026-03-09T00:00")
        ],
        (ChatConfig, {"chat_template_kwargs": "[1]"}, "chat_template_kwargs must be a JSON object or None, got [1]"),
        (ChatConfig, {"chat_template_kwargs": '{"a": NaN}'}, "chat_template_kwargs must be a JSON object: NaN is not"),
        (ChatConfig, {"chat_template_kwargs": "{a: 1}"}, "chat_template_kwargs must be a JSON object: Expecting"),
        (
            ChatConfig,
            {"chat_template_kwargs": '{"a": {"b": 1, "b": 2}}'},
            "chat_template_kwargs must be a JSON object: the key 'a.b' occurs twice",
        ),
        *[
            (ChatConfig, {"served_model_name": ["a", name]}, f"each of served_model_name must {message}")
            for name, message in (
                ("", "be a non-empty string, got ''"),
                ("  ", "have 1 to 256 printable characters, got '  '"),
                ("x" * 257, "have 1 to 256 printable characters, got 'xxx"),
                ("a\nb", "have 1 to 256 printable characters, got 'a\\nb'"),
                ("\udcff", "have 1 to 256 printable characters, got '\\udcff'"),
            )
        ],
        (
            ChatConfig,
            {"served_model_name": ("a", "b", "a")},
            "served_model_name must have each name once, got 'a' twice",
        ),
        (ChatConfig, {"named_tool_finish_reason": "length"}, "named_tool_finish_reason must be 'tool_calls' or 'stop'"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(config: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        config(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slot": 4}, "unknown setting 'slot': did you mean 'slots'?"),
        ({"cachedir": "/tmp"}, "unknown setting 'cachedir': did you mean 'cache_dir'?"),
        ({"products": "xla"}, "unknown setting 'products': it is now 'cpu_matmul'"),
        ({"queue": 1}, "unknown setting 'queue': it is now 'max_queued'"),
        ({"context": 64}, "unknown setting 'context': it is now 'max_seq_len'"),
        ({"decode_shapes": (4,)}, "unknown setting 'decode_shapes': it is now 'decode_buckets'"),
        ({"prefill_chunks": (64,)}, "unknown setting 'prefill_chunks': it is now 'prefill_buckets'"),
        ({"slots": "8"}, "slots must be an integer, got '8'"),
        ({"template_day": "2026-03-09"}, "unknown setting 'template_day': did you mean 'template_date'?"),
        ({"template_date": date(2026, 3, 9)}, f"template_date must be a string or None, got {date(2026, 3, 9)!r}"),
    ],
)
def test_loading_names_the_setting_before_it_looks_for_the_model(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        jaxchat.load("/nonexistent", **settings)
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        asyncio.run(jaxchat.load_async("/nonexistent", **settings))


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({}, (32, 64, 256)),
        ({"prefill_chunk": 64}, (64, 256)),
        ({"prefill_chunk": 128}, (128, 256)),
        ({"prefill_chunk": 512}, (512,)),
        ({"prefill_buckets": ()}, (32,)),
        ({"prefill_buckets": [96, 32]}, (32, 96)),
    ],
)
def test_prefill_sizes(settings: dict[str, Any], sizes: tuple[int, ...]) -> None:
    assert EngineConfig(**settings).prefill_sizes == sizes


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({"slots": 12}, (2, 4, 8, 12)),
        ({"slots": 1}, (1,)),
        ({"slots": 8, "decode_buckets": ()}, (8,)),
        ({"slots": 8, "decode_buckets": (3, 8, 99, 1)}, (1, 3, 8)),
    ],
)
def test_decode_sizes(settings: dict[str, Any], sizes: tuple[int, ...]) -> None:
    assert EngineConfig(**settings).decode_sizes == sizes


@pytest.mark.parametrize(("speculate", "drafts"), [("auto", 15), ("off", 0), ("1", 1), ("15", 15)])
def test_speculate_bounds_the_drafts(speculate: str, drafts: int) -> None:
    assert EngineConfig(speculate=speculate).max_drafts == drafts


@pytest.mark.parametrize("wrong", ["0", "16", "-1", "on", "3.5", "٣"])
def test_other_values_of_speculate_are_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=f"speculate must be 'auto', 'off' or '1' to '15', got {wrong!r}"):
        EngineConfig(speculate=wrong)
