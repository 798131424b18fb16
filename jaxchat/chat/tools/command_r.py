"""The formats of Command R: in the first models, calls after "Action:"; since R7B, calls between control tokens."""

from __future__ import annotations

from jaxchat.chat.tools.lists import ListToolFormat
from jaxchat.chat.tools.named_format import NamedToolFormat

_AROUND = (
    "<|START_RESPONSE|>",
    "<|END_RESPONSE|>",
    "<|START_TEXT|>",
    "<|END_TEXT|>",
)
COMMAND_R7B = ListToolFormat(
    opening="<|START_ACTION|>",
    markers=("<|START_ACTION|>", "<|END_ACTION|>", *_AROUND),
    name="tool_name",
    arguments="parameters",
    id_before="tool_call_id",
    before=("[\n    ",),
    between=(",\n    ",),
    after=("\n]", "<|END_ACTION|>"),
    around=_AROUND,
    ended=r"\s*\}\s*\]\s*<\|END_ACTION\|>",
)
COMMAND_R = NamedToolFormat(
    opening="Action:\n```json\n",
    markers=(),
    before=('[\n    {\n        "tool_name": "',),
    separator=('",\n        "parameters": ',),
    indent=" " * 8,
    end=("\n    }",),
    between=(',\n    {\n        "tool_name": "',),
    after=("\n]```",),
    shown=r"^(?!.*<\|START_ACTION\|>).*Action:.{0,40}```json.*tool_name",
)
