"""Everyday tasks with real text: to edit code, to extract JSON, to summarise, to chat, to call tools.

The texts of the tasks are files of this repository and short texts in this file, so that everyone measures the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Request:
    """A chat request: its messages, the limit of its answer in tokens, and further fields of the request."""

    messages: tuple[dict[str, str], ...]
    max_tokens: int = 400
    more: dict[str, Any] = field(default_factory=dict)

    def fields(self, model: str) -> dict[str, Any]:
        """Returns the fields of `chat.completions.create`. The answer is greedy."""
        messages = list(self.messages)
        return dict(model=model, messages=messages, max_tokens=self.max_tokens, temperature=0, **self.more)


def _ask(text: str, max_tokens: int = 400, system: str = "You are a helpful assistant.", **more: Any) -> Request:
    return Request(({"role": "system", "content": system}, {"role": "user", "content": text}), max_tokens, more)


EDITS = (
    ("jaxchat/engine/page_pool.py", 60, 137, "Rename the method `reserve` to `book` everywhere"),
    ("jaxchat/arithmetic.py", 0, 40, "Rename `token_bits` to `pack_tokens` and its argument `tokens` to `ids`"),
    ("jaxchat/engine/prefill_policy.py", 0, 60, "Add the argument `verbose: bool = False` to `__init__`"),
    ("tools/bench/probe.py", 0, 61, "Replace every `float` annotation by `Seconds`"),
)


def edit() -> tuple[Request, ...]:
    """Returns requests to change a piece of code and to write all of it again."""
    return tuple(
        _ask(
            f"{wish} in this code. Answer with the whole code after the change and nothing else.\n\n"
            f"```python\n{_lines(path, first, last)}\n```",
            900,
            "You are an expert programmer.",
        )
        for path, first, last, wish in EDITS
    )


NOTES = (
    "Anna Berg (anna.berg@example.org, 34) joined as a data engineer in Oslo on 2024-03-01. She reports to Tom Lund.",
    "Order 5512: 3 x lamp at 24.90 EUR, 1 x oak shelf at 189.00 EUR, shipped to Marie Curie, 12 Rue Cuvier, Paris.",
    "The meeting on 12 May moved to room 4b at 14:30. Present: Li Wei, Omar Haddad, Sofia Rossi. Next: budget review.",
    "Flight SK 1473 from Stavanger to Copenhagen leaves gate A12 at 06:55, seat 14C, passenger Kari Nordmann.",
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "document_type": {"type": "string", "enum": ["person", "order", "meeting", "flight"]},
        "people": {
            "type": "array",
            "maxItems": 4,
            "items": {
                "type": "object",
                "properties": {
                    "full_name": {"type": "string", "maxLength": 40},
                    "email_address": {"type": ["string", "null"], "maxLength": 40},
                    "role_description": {"type": ["string", "null"], "maxLength": 60},
                },
                "required": ["full_name", "email_address", "role_description"],
                "additionalProperties": False,
            },
        },
        "location": {"type": ["string", "null"], "maxLength": 60},
        "date_or_time": {"type": ["string", "null"], "maxLength": 40},
        "one_line_summary": {"type": "string", "maxLength": 120},
    },
    "required": ["document_type", "people", "location", "date_or_time", "one_line_summary"],
    "additionalProperties": False,
}


def extract() -> tuple[Request, ...]:
    """Returns requests to extract facts from a note, as JSON under a schema."""
    schema = {"name": "facts", "strict": True, "schema": SCHEMA}
    response_format = {"type": "json_schema", "json_schema": schema}
    return tuple(
        _ask(f"Extract the facts from this note as JSON.\n\n{note}", 300, response_format=response_format)
        for note in NOTES
    )


def summarise() -> tuple[Request, ...]:
    """Returns requests to summarise a document."""
    pieces = (("README.md", 0, 60), ("docs/operations.md", 0, 50), ("CONTRIBUTING.md", 0, 60), ("SECURITY.md", 0, 60))
    return tuple(
        _ask(f"Summarise this document in ten sentences.\n\n{_lines(path, first, last)}", 300)
        for path, first, last in pieces
    )


QUESTIONS = (
    "Write a short story about a lighthouse keeper and a letter that came in a bottle.",
    "Why is the sky blue in the day and red in the evening?",
    "Plan a weekend in Lisbon for two people who like food and old trams.",
    "Explain to a ten-year-old how a computer adds two numbers.",
)


def chat() -> tuple[Request, ...]:
    """Returns questions whose answers repeat little of what was said."""
    return tuple(_ask(question, 300) for question in QUESTIONS)


def _tool(name: str, description: str, **properties: str) -> dict[str, Any]:
    types = {key: {"type": kind} for key, kind in properties.items()}
    parameters = {"type": "object", "properties": types, "required": [*types], "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = [
    _tool("search_calendar_events", "Finds events", start_date="string", end_date="string", title_contains="string"),
    _tool("create_calendar_event", "Adds an event", title="string", start_time="string", duration_minutes="integer"),
    _tool("send_email_message", "Sends an email", recipient_address="string", subject_line="string", body="string"),
]
WISHES = (
    "Put a dentist appointment on 2025-06-03 at 09:00 for 45 minutes into my calendar.",
    "Write to omar@example.org that the budget review starts at 14:30 in room 4b.",
    "Which events with 'review' in the title do I have between 2025-06-01 and 2025-06-30?",
    "Add lunch with Sofia on 2025-06-05 at 12:30, one hour.",
)


def call_tools() -> tuple[Request, ...]:
    """Returns requests that need a function call."""
    return tuple(_ask(wish, 200, tools=TOOLS, tool_choice="required") for wish in WISHES)


TASKS: dict[str, Callable[[], tuple[Request, ...]]] = {
    "edit": edit,
    "extract": extract,
    "summarise": summarise,
    "chat": chat,
    "tools": call_tools,
}


def _lines(path: str, first: int, last: int) -> str:
    return "\n".join((ROOT / path).read_text("utf-8").splitlines()[first:last])
