"""The format of Mistral: a JSON list of calls after `[TOOL_CALLS]`."""

from __future__ import annotations

from jaxchat.chat.tools.json_format import JsonToolFormat
from jaxchat.errors import ModelError


class _Mistral(JsonToolFormat):
    """The format of Mistral up to version 0.3. Later versions write name and arguments separately."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template contains the opening. Raises ModelError for the later format."""
        if self.opening not in template:
            return False
        if "[ARGS]" in template:
            raise ModelError("the chat template writes tool calls as [TOOL_CALLS]name[ARGS], which is not supported")
        return True


MISTRAL = _Mistral(
    opening="[TOOL_CALLS]",
    markers=("[TOOL_CALLS]",),
    before=(" [",),
    between=(", ",),
    after=("]",),
    lead=r"(?:\s*\[)?",
    more=r"\s*\}\s*,",
    ended=r"\s*\}\s*\]",
    id_length=9,
)
