"""Finds values of template variables that have no effect, or the wrong type, by rendering probes of a chat template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxchat import v1
from jaxchat.chat.prompt.template import ChatTemplate
from jaxchat.chat.tools.format import LimitsEfforts

_NO_LEVEL = (v1.REASONING_EFFORT_UNSPECIFIED,)
LEVELS = tuple(
    name.removeprefix("REASONING_EFFORT_").lower()
    for name, number in v1.ReasoningEffort.items()
    if number not in _NO_LEVEL
)
_USER = {"role": "user", "content": "probed_question"}
_TOOL = {"type": "function", "function": {"name": "probed", "description": "text", "parameters": {"type": "object"}}}
_OTHER = "probed_value"  # a text that no template tests for


@dataclass(frozen=True)
class TemplateEffects:
    """A comparison of prompts that a chat template renders with different values of one variable.

    Args:
        template: the model's chat template.
        tools: whether the request shows tools to the model.
        kwargs: the values of template variables that the request sets, by name.
    """

    template: ChatTemplate
    tools: bool
    kwargs: Mapping[str, Any]

    def levels(self, name: str) -> tuple[str, ...]:
        """Returns the levels of effort that have an effect when they are the value of the variable `name`.

        A level has an effect if the prompt with this level differs from the prompt without any level. If the two
        prompts are equal for exactly one level, this level is the template's default and is returned too. If the two
        prompts are equal for all levels, the probe has shown nothing, and all levels are returned.
        """
        allowed = LEVELS
        if isinstance(self.template.tool_format, LimitsEfforts):
            allowed = self.template.tool_format.efforts
        absent = self._rendered({key: value for key, value in self.kwargs.items() if key != name})
        prompts = {level: self._with(name, level) for level in allowed}
        same = {level for level, prompt in prompts.items() if prompt == absent}
        ignored = same if len(same) > 1 and len(same) < len(allowed) else set()
        return tuple(level for level in allowed if level not in ignored)

    def mistyped(self) -> Iterator[str]:
        """Yields the names of boolean variables that the request sets to a text or a number.

        A variable is considered boolean if true and false give different prompts, and the request's value gives the
        same prompt as an arbitrary text.
        """
        for name, value in self.kwargs.items():
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                on, off, text, other = (self._with(name, probe) for probe in (True, False, value, _OTHER))
                if None not in (on, off, text) and on != off and text == other:
                    yield name

    def _with(self, name: str, value: Any) -> str | None:
        return self._rendered({**self.kwargs, name: value})

    def _rendered(self, kwargs: Mapping[str, Any]) -> str | None:
        """Returns a prompt with the operator's values and `kwargs`, or None if the template refuses the values."""
        variables = replace(self.template.variables(), kwargs=kwargs)
        try:
            return self.template.render([_USER], [_TOOL] if self.tools else None, variables=variables)
        except Exception:  # templates are programs, which may raise anything
            return None
