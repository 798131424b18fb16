"""The formats of GigaChat 3 and 3.1: at most one call, in a separate message or after a control token."""

from __future__ import annotations

from jaxchat.chat.tools.json_format import JsonToolFormat


class _GigaChat3(JsonToolFormat):
    """The format of GigaChat 3, whose template does not contain the opening in one piece."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template writes messages of the role "function call", and not `<|function_call|>`."""
        return "'function call'" in template and "<|role_sep|>" in template and "<|function_call|>" not in template


GIGACHAT3 = _GigaChat3(
    opening="function call<|role_sep|>\n",
    markers=("<|role_sep|>", "<|message_sep|>"),
    around=("<|message_sep|>",),
)
GIGACHAT31 = JsonToolFormat(opening="<|function_call|>", markers=("<|function_call|>",))
