"""The format of Mistral: a JSON list of calls after `[TOOL_CALLS]`."""

from __future__ import annotations

from jaxchat.chat.tools.json_format import JsonToolFormat


class _Mistral(JsonToolFormat):
    """The format of Mistral up to version 0.3. Later versions write name and arguments separately."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template contains the opening, but not the sign of the later format."""
        return self.opening in template and "[ARGS]" not in template


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
