"""Rules for all fields of all protobuf messages, applied by reflection, and the rule for names."""

from __future__ import annotations

import math
import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from jaxchat.errors import invalid, safe_repr, unknown_parameter

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def check_name(name: str, path: str) -> None:
    """Checks the name of a participant, a function or a schema.

    Raises:
        ChatError: 400 on the field `path` unless the name is 1 to 64 letters, digits, underscores or dashes.
    """
    if not _NAME.fullmatch(name):
        message = f"expected 1 to 64 letters, digits, underscores or dashes, got {safe_repr(name)}."
        raise invalid(path, message)


def check_known(message: Message, path: str = "") -> None:
    """Rejects unknown fields, unknown enum numbers, NaN and infinities.

    Protobuf itself would silently ignore a newer client's fields.

    Args:
        message: a protobuf message.
        path: path of the message in the request, for errors.

    Raises:
        ChatError: 400 that names the first such field.
    """
    for unknown in UnknownFieldSet(message):  # type: ignore[attr-defined]  # missing in the stubs
        raise unknown_parameter(_join(path, f"field_{unknown.field_number}"))
    for field, value in message.ListFields():
        field_path = _join(path, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values = list(value.values())
        elif field.is_repeated:
            values = list(value)
        else:
            values = [value]
        for i, item in enumerate(values):
            _check_value(
                field, item, f"{field_path}.{i}" if isinstance(item, Message) and field.is_repeated else field_path
            )


def _check_value(field: FieldDescriptor, value: Any, path: str) -> None:
    if isinstance(value, Message):
        check_known(value, path)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise invalid(path, f"expected a finite number, got {value}.")
    elif field.enum_type is not None and value not in field.enum_type.values_by_number:
        raise invalid(path, f"unknown value {value} of {field.enum_type.name}.")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
