"""Templates that show no ids tell calls and their results apart by order alone."""

from __future__ import annotations

from typing import Any

import pytest

from jaxchat.chat.prompt.template import ChatTemplate
from tests.chat.prompt.test_template_traits import ASKED, CALLS, END, LOOP, prompt

NO_IDS = LOOP + "{{ m.content or '' }}" + CALLS + END


def calls(*cities: str, content: str | None = None) -> dict[str, Any]:
    """Returns an assistant message with a call for each city. The id of a call is the city in lower case."""
    made = [
        {
            "id": city.lower(),
            "type": "function",
            "function": {"name": f"in_{city.lower()}", "arguments": f'{{"c": "{city}"}}'},
        }
        for city in cities
    ]
    return {"role": "assistant", "content": content, "tool_calls": made}


def result(city: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": city.lower(), "content": f"result of {city}"}


@pytest.mark.parametrize("order", [("Oslo", "Roma", "Bonn"), ("Bonn", "Roma", "Oslo"), ("Roma", "Bonn", "Oslo")])
def test_results_come_in_the_order_of_the_calls(order: tuple[str, ...]) -> None:
    talk = [ASKED, calls("Oslo", "Roma", "Bonn"), *map(result, order), ASKED]
    assert "[tool]result of Oslo[tool]result of Roma[tool]result of Bonn[user]" in prompt(NO_IDS, messages=talk)


def test_each_group_of_results_is_ordered_alone() -> None:
    first, second = [calls("Oslo", "Roma"), result("Roma"), result("Oslo")], [calls("Bonn"), result("Bonn")]
    third = [calls("Wien", "Bern"), result("Bern"), result("Wien")]
    shown = prompt(NO_IDS, messages=[ASKED, *first, *second, *third])
    places = [shown.index(f"result of {city}") for city in ("Oslo", "Roma", "Bonn", "Wien", "Bern")]
    assert places == sorted(places)


def test_incomplete_results_keep_their_order() -> None:
    talk = [ASKED, calls("Oslo", "Roma", "Bonn"), result("Bonn"), result("Oslo"), ASKED, result("Roma")]
    assert "[tool]result of Bonn[tool]result of Oslo[user]" in ChatTemplate(NO_IDS, {}).render(talk, None)
