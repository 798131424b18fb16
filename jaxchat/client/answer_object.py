"""The base of all answers. Each object has its protobuf message in `proto`, and `model_dump()` returns its JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from jaxchat.client import display
from jaxchat.openai_json import answer_to_json


@dataclass(frozen=True, repr=False, kw_only=True)
class AnswerObject:
    """An answer or a part of an answer. `proto` is the protobuf message that the object was made from."""

    proto: Message = field(compare=False, repr=False)

    def model_dump(self) -> dict[str, Any]:
        """Returns the JSON object that the REST API sends for this object. It omits `seed_used` and `token_id`."""
        return answer_to_json(self.proto)

    def __repr__(self) -> str:
        return display.short_repr(self)


def token_ids(proto: Any, name: str) -> tuple[int, ...] | None:
    """Returns the token ids in the field `name` of a message, or None if there are none."""
    return tuple(getattr(proto, name)) or None


def optional(proto: Any, name: str) -> Any:
    """Returns the field `name` of a message, or None if the field is not set."""
    return getattr(proto, name) if proto.HasField(name) else None
