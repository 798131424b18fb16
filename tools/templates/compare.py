"""Compares the prompts of jaxchat and `transformers`, and finds the rules that explain a difference."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from jaxchat.chat.prompt.adapt import adapt, fold_system, with_parts
from jaxchat.chat.prompt.messages import template_messages, template_tool
from jaxchat.chat.request.validate import validate
from jaxchat.chat.tools.format import WritesCalls
from jaxchat.errors import ChatError
from jaxchat.openai_json.request import request_from_json
from tools.templates.conversations import Conversation, Json
from tools.templates.engines import Jaxchat, Prompt, Transformers, plain_form
from tools.templates.rules import ALWAYS, Form, restored, rules_between

_NOTHING = ("", "null", "{}")  # contents and arguments that need not be shown
_TIME = re.compile(r"\b\d\d:\d\d(?::\d\d)?\b")
Status = Literal["equal", "refused by both", "by rule", "only jaxchat refuses", "differs"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A comparison of two prompts for a conversation: the prompt of jaxchat, and the prompt of `transformers`.

    `transformers` gets the conversation in its `plain_form`.

    Attributes:
        conversation: the name of the conversation.
        status: the result. A status "by rule" is not a fault.
        rules: names of the rules that explain the difference.
        gains: whether jaxchat handles the conversation better. This is so if the template refuses the plain form, if
            the template omits a part that jaxchat shows or refuses, or if only times of day differ.
        ours: the prompt of jaxchat.
        theirs: the prompt of `transformers`.
    """

    conversation: str
    status: Status
    rules: tuple[str, ...] = ()
    gains: bool = False
    ours: Prompt
    theirs: Prompt


def compare_all(ours: Jaxchat, theirs: Transformers, conversations: Sequence[Conversation]) -> list[Comparison]:
    """Returns the comparison of each conversation.

    A rule is accepted if it is in `ALWAYS`, or if it explains a comparison in which jaxchat does better, as `gains`
    says. The status of a comparison with a rule that is not accepted becomes "differs".

    Args:
        ours: jaxchat's renderer.
        theirs: the renderer of `transformers`, with the same template.
        conversations: the conversations to render with both.
    """
    compared = [_compare(ours, theirs, conversation) for conversation in conversations]
    needed = ALWAYS.union(*(comparison.rules for comparison in compared if comparison.gains))
    return [
        replace(comparison, status="differs") if not needed.issuperset(comparison.rules) else comparison
        for comparison in compared
    ]


def _compare(ours: Jaxchat, theirs: Transformers, conversation: Conversation) -> Comparison:
    plain = plain_form(conversation)
    prompt, reference = ours.prompt(conversation), theirs.prompt(*plain)
    made = dict(conversation=conversation.name, ours=prompt, theirs=reference)
    if prompt.refused:
        if reference.refused:
            return Comparison(status="refused by both", **made)
        lost = _loses_refused_part(plain, prompt, reference)
        rules = ("refused: the template leaves it out",) if lost else ()
        return Comparison(status="by rule" if lost else "only jaxchat refuses", rules=rules, gains=lost, **made)
    if _at_other_times(prompt.text, reference.text):
        return Comparison(status="by rule", rules=("time of day",), gains=True, **made)
    if not _controls_are_the_templates(ours, theirs, conversation, prompt):
        return Comparison(status="differs", **made)
    if prompt.text == reference.text:
        return Comparison(status="equal", **made)
    for adapted in _adapted_forms(ours, conversation):
        same = theirs.prompt(*adapted)
        if same.text == prompt.text and (conversation.control or same.ids == prompt.ids):
            before, after = (_shown(plain, text) for text in (reference.text, prompt.text))
            gains = bool(reference.refused) or bool(after - before)
            rules = tuple(_effective(theirs, plain, adapted, prompt))
            status: Status = "by rule" if rules and not before - after else "differs"
            return Comparison(status=status, rules=rules, gains=gains, **made)
    return Comparison(status="differs", **made)


def _at_other_times(ours: str, theirs: str) -> bool:
    """Returns whether two prompts differ in times of day only."""
    return ours != theirs and _TIME.sub("", ours) == _TIME.sub("", theirs)


def _controls_are_the_templates(
    ours: Jaxchat, theirs: Transformers, conversation: Conversation, prompt: Prompt
) -> bool:
    """Returns whether a prompt has the same control tokens as the prompt of `conversation.harmless()`.

    If `transformers` renders `conversation.harmless()` to the text of `prompt`, all token ids must be equal.
    """
    reference = theirs.prompt(*plain_form(conversation.harmless()))
    if prompt.text == reference.text:
        return prompt.ids == reference.ids
    harmless = ours.prompt(conversation.harmless())
    controls = ours.tokenizer.control_tokens.ids
    return [id_ for id_ in prompt.ids if id_ in controls] == [id_ for id_ in harmless.ids if id_ in controls]


def _effective(theirs: Transformers, plain: Form, adapted: Form, prompt: Prompt) -> Iterator[str]:
    """Yields each rule that matters: if it is undone, `transformers` no longer renders the text of `prompt`."""
    for rule in rules_between(plain, adapted):
        without = restored(plain, adapted, rule)
        if theirs.prompt(*without).text != prompt.text:
            yield rule


def _adapted_forms(ours: Jaxchat, conversation: Conversation) -> Iterator[Form]:
    """Yields the forms in which jaxchat may give a conversation to the template."""
    template = ours.template
    request = request_from_json(conversation.request()).request
    choice = validate(request, vocab_size=ours.tokenizer.size, model_ids=("m",), streamed=False)
    messages = template_messages(
        request.messages,
        id_length=template.tool_format.id_length,
        arguments_as_text=template.traits.arguments_as_text,
    )
    tools = [template_tool(function) for function in choice.functions]
    write = template.tool_format.write_calls if isinstance(template.tool_format, WritesCalls) else None
    try:
        adapted, functions = adapt(messages, tools, template.traits, write)
    except ChatError:
        return
    parts = partial(with_parts, roles=template.traits.content_parts)
    yield parts(adapted), functions or []
    if adapted and adapted[0]["role"] == "system":
        yield parts(fold_system(adapted)), functions or []


def _loses_refused_part(plain: Form, prompt: Prompt, reference: Prompt) -> bool:
    """Returns whether `transformers` omits the part of a conversation that jaxchat refuses."""
    place, _, rest = prompt.param.partition(".")
    if place == "tools":
        return any(_texts(tool) - _shown(plain, reference.text) for tool in plain[1])
    index = re.match(r"\d+", rest)
    if place != "messages" or not index:
        return False
    lost = _all_texts(plain) - _shown(plain, reference.text)
    return not lost.keys().isdisjoint(_texts(plain[0][int(index[0])]))


def _shown(form: Form, text: str) -> Counter[str]:
    """Counts in the prompt `text` each text of the conversation `form`.

    A count is at most the number of times that the text occurs in the conversation. Texts that the prompt lacks have no
    entry.
    """
    texts = _all_texts(form)
    return Counter({each: min(count, text.count(each)) for each, count in texts.items() if each in text})


def _all_texts(form: Form) -> Counter[str]:
    return sum((_texts(part) for part in (*form[0], *form[1])), Counter())


def _texts(part: Json) -> Counter[str]:
    """Returns the texts in a message or tool that a prompt should show, with the numbers of their occurrences."""
    return Counter(text for text in _walk(part) if text not in _NOTHING)


def _walk(part: Json) -> Iterator[str]:
    """Yields contents, names, descriptions and arguments of a message, a call or a tool."""
    for value in (part.get(key) for key in ("content", "name", "description", "arguments")):
        values = value.values() if isinstance(value, dict) else [value]
        yield from (text.strip() for text in values if isinstance(text, str))
    for inner in (part, *part.get("tool_calls", ())):
        if "function" in inner:
            yield from _walk(inner["function"])
