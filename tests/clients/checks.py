"""What the Python programs share: the server, questions that the bundled model can answer, and the report of checks.

Needs the standard library alone, because each program runs in its client's environment.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

URL = os.environ["JAXCHAT_URL"]  # ends in /v1
MODEL = os.environ["JAXCHAT_MODEL"]

SUM, SUM_ANSWER = "What is 47 + 38?", "47 + 38 = 85."
NAME, NAME_ANSWER = "What is my name?", "Your name is Bob."  # after "I am Bob."
WEATHER, WEATHER_ANSWER = "What is the weather in Oslo?", "It is 18 degrees and sunny in Oslo."
PERSON, PERSON_ANSWER = (
    "Extract name and age as JSON: Maria Lopez is 34 and lives in Oslo.",
    {"name": "Maria Lopez", "age": 34},
)
WEATHER_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    assert city == "Oslo", city
    return json.dumps({"temperature": 18, "condition": "sunny"})


def equal(actual: object, expected: object) -> None:
    """Raises AssertionError with both values if they differ."""
    assert actual == expected, f"expected {expected!r}, got {actual!r}"


def run(*checks: Callable[[], None]) -> None:
    """Runs all checks, prints a line for each, and exits with status 1 if one failed."""
    failed = False
    for check in checks:
        try:
            check()
            print(f"check {check.__name__}: passed", flush=True)
        except Exception:
            failed = True
            traceback.print_exc()
            print(f"check {check.__name__}: failed", flush=True)
    sys.exit(failed)
