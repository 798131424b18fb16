"""The format of Llama 3: one call is the complete answer, with or without `<|python_tag|>` before it."""

from __future__ import annotations

import re

from jaxchat.chat.tools.json_format import JsonToolFormat

_SHOWN = re.compile(r'\{\\*"name\\*": .{1,80}?"parameters\\*": ', re.DOTALL)
_OTHERS = ("<tool_call>", "<function=", "<|START_ACTION|>", "Action:", "[TOOL_CALLS]", "<|tool_call|>", "functools")


class _Llama3(JsonToolFormat):
    """The format of Llama 3. It is recognised even if the template does not mention `<|python_tag|>`."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template shows JSON calls with the key "parameters", and no marker of another format."""
        return bool(_SHOWN.search(template)) and not any(other in template for other in _OTHERS)


LLAMA3 = _Llama3(opening="<|python_tag|>", markers=("<|python_tag|>",), arguments="parameters", bare=True, typed=True)
