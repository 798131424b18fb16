"""The formats of Mistral: `[TOOL_CALLS]`, followed by either a JSON list of calls, or a name and arguments."""

from __future__ import annotations

from dataclasses import replace

from jaxchat.chat.tools.lists import ListToolFormat
from jaxchat.chat.tools.named_format import NamedToolFormat


class _Mistral(ListToolFormat):
    """The format of Mistral up to Nemo. Later versions write name and arguments separately."""

    def recognises(self, template: str) -> bool:
        """Returns whether a template contains the opening, and not `[ARGS]`, which later formats have.

        `MISTRAL_NEMO` also requires a `[` directly after the opening. `MISTRAL` requires that this `[` is missing.
        """
        if self.opening not in template or "[ARGS]" in template:
            return False
        return (self is MISTRAL_NEMO) == ("[TOOL_CALLS][" in template)


MISTRAL = _Mistral(
    opening="[TOOL_CALLS]",
    markers=("[TOOL_CALLS]",),
    before=(" [",),
    id_after="id",
    id_form="[A-Za-z0-9]{9}",
    id_length=9,
)
MISTRAL_NEMO = replace(MISTRAL, before=("[",))
MISTRAL_ARGS = NamedToolFormat(
    opening="[TOOL_CALLS]",
    markers=("[TOOL_CALLS]", "[ARGS]"),
    separator=("[ARGS]",),
    between=("[TOOL_CALLS]",),
    shown=r"^(?!.*\[CALL_ID\]).*\[TOOL_CALLS\].*\[ARGS\]",
    id_length=9,
)
MISTRAL_CALL_ID = replace(
    MISTRAL_ARGS,
    markers=("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
    number="[CALL_ID]",
    number_form="[A-Za-z0-9]{9}",
    number_digits=9,
    shown=r"\[TOOL_CALLS\].*\[CALL_ID\].*\[ARGS\]",
)
