"""Which schema a request asks its answers to follow."""

from __future__ import annotations

from collections.abc import Iterable

from jaxchat import v1
from jaxchat.chat.grammar.given import checked
from jaxchat.chat.grammar.piece import ANY_OBJECT, ANY_VALUE, Piece
from jaxchat.chat.validate_fields import check_name
from jaxchat.errors import invalid

PARAM = "response_format.json_schema.schema"


def asked_schema(request: v1.ChatCompletionRequest, *, word_json: bool) -> Piece | None:
    """The schema of a request's answers, None for any text. Raises `ChatError` 400."""
    if not request.HasField("response_format"):
        return None
    given = request.response_format
    if given.type == v1.RESPONSE_FORMAT_TYPE_JSON_OBJECT:
        if word_json and not any("json" in text.lower() for text in _texts(request)):
            message = (
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
            )
            raise invalid("messages", message)
        return Piece(ANY_OBJECT, PARAM)
    if given.type != v1.RESPONSE_FORMAT_TYPE_JSON_SCHEMA:
        return None
    if not given.json_schema.HasField("name"):
        raise invalid("response_format.json_schema.name", "A schema must have a name.")
    check_name(given.json_schema.name, "response_format.json_schema.name")
    has_schema = given.json_schema.HasField("schema")
    return Piece(checked(given.json_schema.schema, PARAM) if has_schema else ANY_VALUE, PARAM)


def _texts(request: v1.ChatCompletionRequest) -> Iterable[str]:
    for message in request.messages:
        yield message.text
        yield from (part.text for part in message.parts.parts)
