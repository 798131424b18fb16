"""Variables of the chat template, and the day that it gets, through every door."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from jaxchat.client import Client
from jaxchat.client.local import LocalTransport
from tests.contract.covering import covers
from tests.contract.doors import NAMES, Door
from tests.contract.echo import TEMPLATE, EchoRunner, echo_session
from tests.contract.place import Place

READS = "{% if thinking is defined and not thinking %}/no_think{% endif %}{{ persona }}|{{ reasoning_effort }}|"
DAYS = [date(2026, 3, 9), date(2026, 3, 10)]


class Calendar:
    """Today, as the test decides."""

    def __init__(self) -> None:
        self.day = DAYS[0]

    def __call__(self) -> date:
        return self.day


class Dated:
    """Servers whose template prints variables, and servers whose template also prints the day."""

    def __init__(self, template: str) -> None:
        self.calendar = Calendar()
        session, self.runner = echo_session(template=template + TEMPLATE, today=self.calendar)
        self.client = Client(LocalTransport(session))
        self.place = Place(self.client)

    def ask(self, name: str, **fields) -> tuple[str, str]:
        """The template's own text in front of the conversation, and the fingerprint."""
        answer = self.place.door(name).ask(**fields)
        return self.runner.prompts[-1].partition("<|im_start|>user\n")[0], answer.fingerprint


def serve_template(template: str) -> Iterator[Dated]:
    dated = Dated(template)
    with dated.client, dated.place:
        yield dated


@pytest.fixture(scope="module")
def reading() -> Iterator[Dated]:
    yield from serve_template(READS)


@pytest.fixture(scope="module")
def dated() -> Iterator[Dated]:
    yield from serve_template(READS + "{{ strftime_now('%d %b %Y %H:%M:%S.%f') }}|")


@covers("ChatCompletionRequest.chat_template_kwargs", "ChatCompletionRequest.reasoning_effort")
@pytest.mark.parametrize("name", NAMES)
def test_the_template_gets_the_values_of_the_request(reading: Dated, name: str) -> None:
    values = {"thinking": False, "persona": "Zoë"}
    assert reading.ask(name, chat_template_kwargs=values, reasoning_effort="xhigh")[0] == "/no_thinkZoë|xhigh|"
    assert reading.ask(name, chat_template_kwargs={"thinking": True})[0] == "||"
    assert reading.ask(name, chat_template_kwargs={}, reasoning_effort=None)[0] == "||"
    assert reading.ask(name, chat_template_kwargs=None)[0] == "||"
    assert reading.ask(name, chat_template_kwargs={"enable_thinking": None})[0] == "||"


@pytest.mark.parametrize("name", NAMES)
def test_what_the_template_does_not_read_is_refused_by_name(reading: Dated, name: str) -> None:
    door = reading.place.door(name)
    refusal = door.refused(chat_template_kwargs={"persona": "x", "enable_thinking": False})
    assert (refusal.status, refusal.param) == (400, "chat_template_kwargs.enable_thinking")
    assert refusal.message.endswith("Variables that it reads: persona, reasoning_effort, thinking.")
    for owned in ("messages", "tools", "bos_token", "strftime_now", "add_generation_prompt", "namespace"):
        refusal = door.refused(chat_template_kwargs={owned: []})
        assert refusal.param == f"chat_template_kwargs.{owned}" and "server itself" in refusal.message
    refusal = door.refused(chat_template_kwargs={"reasoning_effort": "low"}, reasoning_effort="low")
    assert refusal.param == "reasoning_effort" and "chat_template_kwargs.reasoning_effort" in refusal.message


@pytest.mark.parametrize("name", NAMES)
def test_the_day_is_part_of_the_prompt_and_of_the_fingerprint(dated: Dated, name: str) -> None:
    seen = []
    for dated.calendar.day in (*DAYS, DAYS[0]):
        asked = [dated.ask(name, seed=seed) for seed in (1, 2)]
        assert asked[0] == asked[1]
        seen.append(asked[0])
    first, second, again = seen
    assert first[0] == "||09 Mar 2026 00:00:00.000000|" and second[0] == "||10 Mar 2026 00:00:00.000000|"
    assert first == again and first[1] != second[1]
    assert {len(fingerprint) for _, fingerprint in seen} == {13}
    assert dated.place.session.summary()[-1] == ("fingerprint", first[1])


def test_the_fingerprint_of_a_day_is_the_same_through_every_door(dated: Dated) -> None:
    dated.calendar.day = DAYS[1]
    assert len({dated.ask(name) for name in NAMES}) == 1


def test_templates_that_ask_for_no_day_keep_one_fingerprint(reading: Dated) -> None:
    found = set()
    for reading.calendar.day in DAYS:
        found.add(reading.ask("client"))
    assert found == {("||", "fp_0123456789")}


def test_prompts_of_equal_variables_share_their_prefix(reading: Dated) -> None:
    runner: EchoRunner = reading.runner
    door: Door = reading.place.door("client")
    question = {"messages": [{"role": "user", "content": "x" * 200}]}

    def count_steps(persona: str) -> int:
        before = runner.steps
        door.ask(**question, chat_template_kwargs={"persona": persona}, max_tokens=1)
        return runner.steps - before

    cold, warm, other = count_steps("one"), count_steps("one"), count_steps("two")
    assert warm < cold == other
