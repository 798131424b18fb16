"""The format of Llama 3: one call is the complete answer, with or without `<|python_tag|>` before it."""

from __future__ import annotations

from jaxchat.chat.tools.json_format import JsonToolFormat


class _Llama3(JsonToolFormat):
    """The format of Llama 3, whose templates may lack the opening."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template shows calls with "parameters", but without those of Hermes."""
        return "<tool_call>" not in template and (self.opening in template or '"parameters": ' in template)


LLAMA3 = _Llama3(opening="<|python_tag|>", markers=("<|python_tag|>",), arguments="parameters", bare=True)
