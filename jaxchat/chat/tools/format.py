"""How models write tool calls. The parser and the grammar are both made of what is said here."""

from __future__ import annotations

from dataclasses import dataclass

from jaxchat.config import ToolFormatName
from jaxchat.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class ToolFormat:
    """Each call is a JSON object of a name and arguments. Around the objects stand texts, in parts.

    Or, with `channels`, an answer is made of messages, and a call is one whose header names the function.

    A part that is one of `markers` is a control token in some models and ordinary text in others.
    """

    opening: str  # what begins the calls
    markers: tuple[str, ...]
    channels: bool = False  # then no other field applies
    arguments: str = "arguments"  # the key of the arguments
    before: tuple[str, ...] = ()  # between the opening and the first call
    between: tuple[str, ...] | None = None  # between two calls; None: an answer has one at most
    after: tuple[str, ...] = ()  # behind the last call
    bare: bool = False  # calls stand at the very beginning of an answer, and the opening may be left out
    lead: str = ""  # pattern of what may stand before an object when the text is read
    more: str = ""  # pattern from the end of the arguments to the next object, where no opening stands between them
    ended: str = r"\s*\}"  # pattern from the end of the arguments to the end of calls or to the next opening
    id_length: int = 0  # the exact length, of letters and digits, that the template wants ids to have; 0: any


HERMES = ToolFormat(
    opening="<tool_call>",
    markers=("<tool_call>", "</tool_call>"),
    before=("\n",),
    between=("\n", "</tool_call>", "\n", "<tool_call>", "\n"),
    after=("\n", "</tool_call>"),
    ended=r"\s*\}\s*</tool_call>",
)
LLAMA_3 = ToolFormat(opening="<|python_tag|>", markers=("<|python_tag|>",), arguments="parameters", bare=True)
MISTRAL = ToolFormat(
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
CHANNEL, MESSAGE, CONSTRAIN, START, END = "<|channel|>", "<|message|>", "<|constrain|>", "<|start|>", "<|end|>"
HARMONY = ToolFormat(opening=CHANNEL, markers=(CHANNEL, MESSAGE, CONSTRAIN, START, END), channels=True)
SYNTAXES: dict[str, ToolFormat] = {"hermes": HERMES, "llama3": LLAMA_3, "mistral": MISTRAL, "harmony": HARMONY}
MARKERS = frozenset(marker for tool_format in SYNTAXES.values() for marker in tool_format.markers)


def find_tool_format(name: ToolFormatName, template: str) -> ToolFormat:
    """The syntax of that name; for "auto" the one whose words the source of the chat template holds, else Hermes.

    Raises:
        ModelError: the template writes calls in a way that is not known.
    """
    if name != "auto":
        return SYNTAXES[name]
    if CHANNEL in template:
        return HARMONY
    if "[TOOL_CALLS]" in template:
        if "[ARGS]" in template:
            raise ModelError("the chat template writes tool calls as [TOOL_CALLS]name[ARGS], which is not supported")
        return MISTRAL
    if "<tool_call>" not in template and ("<|python_tag|>" in template or '"parameters": ' in template):
        return LLAMA_3
    return HERMES
