"""The values that a chat template reads besides the conversation: the day, and variables.

The operator of the server sets defaults of the variables, and a request may override them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any

from jaxchat.chat.prompt.template_traits import TemplateTraits

CLOCK = "strftime_now"
SERVER_VARIABLES = frozenset({"messages", "tools", "documents", "add_generation_prompt", CLOCK})
SPECIAL_TOKENS = frozenset(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
PROBE_DAY = date(2000, 1, 1)


@dataclass(frozen=True, kw_only=True)
class TemplateVariables:
    """The template variables of one rendering.

    Attributes:
        defaults: the operator's values by name.
        kwargs: the request's values by name. They override the defaults. Spellings of control tokens in these values
            are text, as in messages.
        day: the day that the template reads as the current day.
        traits: the traits of the template with these values.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    day: date = PROBE_DAY
    traits: TemplateTraits = field(default_factory=TemplateTraits)

    @property
    def values(self) -> dict[str, Any]:
        """The values that operator and request set, by name."""
        return {**self.defaults, **self.kwargs}


def clock(day: date) -> Callable[[str], str]:
    """Returns the function `strftime_now` for templates.

    The function formats midnight of `day`, so that all prompts of one day are equal.
    """
    return datetime.combine(day, time()).strftime


def utc_today() -> date:
    """Returns the current day in UTC, so that servers in several time zones agree."""
    return datetime.now(UTC).date()


def day_source(fixed: date | None) -> Callable[[], date]:
    """Returns a function that returns the day for templates: `fixed`, or the current day in UTC for None."""
    return utc_today if fixed is None else lambda: fixed
