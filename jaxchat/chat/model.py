"""Describes the served model: its object in the API, and its facts in the start-up message."""

from __future__ import annotations

from jaxchat import v1
from jaxchat.chat.context import ModelInfo
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.prompt.tokenizer import ChatTokenizer
from jaxchat.chat.response.reasoning import facts_of_thoughts
from jaxchat.chat.tools.format import TOOL_FORMATS, UNKNOWN, ToolFormat, facts_of
from jaxchat.errors import ChatError

_PROBE = [{"role": "system", "content": "probe"}, {"role": "user", "content": "probe"}]


def model_of(info: ModelInfo, template: ChatTemplate) -> v1.Model:
    """Returns the API's model object.

    The object has an entry for each part of a conversation. The entry says whether the chat template or the server
    writes the part into the prompt, or whether requests with the part are rejected.

    Args:
        info: facts about the model.
        template: the model's chat template.
    """
    traits = template.traits
    written = v1.PROMPT_WRITER_SERVER if traits.writes_calls else v1.PROMPT_WRITER_NONE
    tools = v1.PROMPT_WRITER_TEMPLATE if traits.tools != "text" else written
    described = v1.ChatTemplate(
        tool_format=format_name(template.tool_format),
        tools=v1.PROMPT_WRITER_NONE if template.tool_format is UNKNOWN else tools,
        calls=v1.PROMPT_WRITER_TEMPLATE if traits.calls else written,
        results=v1.PROMPT_WRITER_TEMPLATE if traits.results else v1.PROMPT_WRITER_SERVER,
        system=_system_writer(template),
    )
    return v1.Model(id=info.id, created=info.created, owned_by="jaxchat", chat_template=described)


def facts_about(info: ModelInfo, template: ChatTemplate, tokenizer: ChatTokenizer) -> list[tuple[str, str]]:
    """Returns the lines of the start-up message, as (name, value)."""
    facts = *info.facts, *facts_of(template.tool_format), *facts_of_thoughts(template.reasoning_format, tokenizer)
    return [("model", ", ".join(info.names)), *facts, ("fingerprint", info.fingerprint_on(template.day))]


def format_name(tool_format: ToolFormat) -> str:
    """Returns the name under which a tool format is registered, or "unknown"."""
    return next((name for name, known in TOOL_FORMATS.items() if known is tool_format), "unknown")


def _system_writer(template: ChatTemplate) -> v1.PromptWriter:
    if template.traits.takes_system:
        return v1.PROMPT_WRITER_TEMPLATE
    try:
        template.render(_PROBE, None)
    except ChatError:
        return v1.PROMPT_WRITER_NONE
    return v1.PROMPT_WRITER_SERVER
