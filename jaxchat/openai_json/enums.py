"""The JSON strings of protobuf enum values."""

from __future__ import annotations

from jaxchat import v1

ROLES = {
    "system": v1.ROLE_SYSTEM,
    "user": v1.ROLE_USER,
    "assistant": v1.ROLE_ASSISTANT,
    "tool": v1.ROLE_TOOL,
    "function": v1.ROLE_FUNCTION,
    "developer": v1.ROLE_DEVELOPER,
}
TOOL_TYPES = {"function": v1.TOOL_TYPE_FUNCTION}
PART_TYPES = {"text": v1.CONTENT_PART_TYPE_TEXT, "refusal": v1.CONTENT_PART_TYPE_REFUSAL}
TOOL_CHOICES = {
    "none": v1.TOOL_CHOICE_MODE_NONE,
    "auto": v1.TOOL_CHOICE_MODE_AUTO,
    "required": v1.TOOL_CHOICE_MODE_REQUIRED,
}
FUNCTION_CALLS = {"none": v1.TOOL_CHOICE_MODE_NONE, "auto": v1.TOOL_CHOICE_MODE_AUTO}
PREDICTION_TYPES = {"content": v1.PREDICTION_TYPE_CONTENT}
RESPONSE_FORMATS = {
    "text": v1.RESPONSE_FORMAT_TYPE_TEXT,
    "json_object": v1.RESPONSE_FORMAT_TYPE_JSON_OBJECT,
    "json_schema": v1.RESPONSE_FORMAT_TYPE_JSON_SCHEMA,
}
REASONING_EFFORTS = {
    "none": v1.REASONING_EFFORT_NONE,
    "minimal": v1.REASONING_EFFORT_MINIMAL,
    "low": v1.REASONING_EFFORT_LOW,
    "medium": v1.REASONING_EFFORT_MEDIUM,
    "high": v1.REASONING_EFFORT_HIGH,
    "xhigh": v1.REASONING_EFFORT_XHIGH,
    "max": v1.REASONING_EFFORT_MAX,
}
FINISH_REASONS = {
    v1.FINISH_REASON_UNSPECIFIED: None,
    v1.FINISH_REASON_STOP: "stop",
    v1.FINISH_REASON_LENGTH: "length",
    v1.FINISH_REASON_TOOL_CALLS: "tool_calls",
    v1.FINISH_REASON_CONTENT_FILTER: "content_filter",
    v1.FINISH_REASON_FUNCTION_CALL: "function_call",
}
PROMPT_WRITERS = {
    v1.PROMPT_WRITER_TEMPLATE: "template",
    v1.PROMPT_WRITER_SERVER: "server",
    v1.PROMPT_WRITER_NONE: "rejected",
}
