"""The parameters of `create` are the fields that requests have."""

from __future__ import annotations

from jaxchat.client import ChatParams, TextParams, TokenizeParams
from jaxchat.client import params as parameters
from jaxchat.openai_json import request, text

PAIRS = [
    ("MessageParam", request.MESSAGE),
    ("ToolCallParam", request.TOOL_CALL),
    ("FunctionCallParam", request.CALLED_FUNCTION),
    ("StreamOptionsParam", request.STREAM_OPTIONS),
    ("ToolParam", request.TOOL),
    ("FunctionParam", request.FUNCTION),
    ("NamedToolChoiceParam", request.NAMED_TOOL),
    ("ResponseFormatParam", request.RESPONSE_FORMAT),
    ("JsonSchemaParam", request.JSON_SCHEMA),
    ("StructuredOutputsParam", request.STRUCTURED_OUTPUTS),
    ("PredictionParam", request.PREDICTION),
]


def test_the_typed_keywords_are_the_fields_of_a_request():
    assert set(ChatParams.__annotations__) == set(request.REQUEST)


def test_the_typed_keywords_of_text_completions_are_the_fields_of_their_requests():
    assert set(TextParams.__annotations__) == set(text.TEXT_REQUEST)
    assert set(TokenizeParams.__annotations__) == set(text.TOKENIZE)


def test_the_typed_objects_have_the_keys_of_a_request():
    for name, table in PAIRS:
        assert set(getattr(parameters, name).__annotations__) == set(table), name
    parts = {*parameters.TextPartParam.__annotations__, *parameters.RefusalPartParam.__annotations__}
    assert parts == set(request.PART)
