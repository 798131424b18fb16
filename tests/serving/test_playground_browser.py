"""The playground in a real browser: what it shows is what the API says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jaxchat.client import Client
from jaxchat.client.local import LocalTransport
from tests.contract.echo import END, PAUSE, EchoRunner, echo_session
from tests.contract.place import Place
from tests.contract.test_reasoning import THINKING, thinking_tokenizer

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.keys import Keys

from tests.serving.browser import Start, needs_chromium

pytestmark = needs_chromium


def chat_ids(place: Place, **fields: Any) -> tuple[list[int], list[int]]:
    """Returns the token ids of the prompt and of the answer that the API gives."""
    body = {"model": place.model, "messages": [{"role": "user", "content": "Hello"}], "return_token_ids": True}
    answer = place.http.post("/v1/chat/completions", json=body | fields).json()
    return answer["prompt_token_ids"], answer["choices"][0]["token_ids"]


def text_ids(place: Place, prompt: list[int], **fields: Any) -> list[int]:
    body = {"model": place.model, "prompt": prompt, "return_token_ids": True, **fields}
    return place.http.post("/v1/completions", json=body).json()["choices"][0]["token_ids"]


def test_tokens_are_inspected_and_branched_by_keyboard_as_the_api_says(start: Start, tiny_place: Place) -> None:
    browser = start()
    browser.open(tiny_place.rest)
    prompt, ids = chat_ids(tiny_place, seed=7, max_tokens=12)
    assert browser.ask("Hello", seed="7", max_completion_tokens="12") == ids[: len(browser.shown_ids())]
    shown = len(browser.shown_ids())
    assert shown >= len(ids) - 1

    browser.run("document.querySelector('.turn.assistant .token').focus()")
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    candidates = browser.alternatives()
    assert 20 <= len(candidates) <= 21 and ids[2] in candidates
    assert 0 < float(browser.one("[data-total]").get_attribute("data-total") or "nan") <= 1 + 1e-6
    browser.press(Keys.ENTER)
    target = next(index for index, token in enumerate(candidates) if token != ids[2])
    browser.press(*[Keys.ARROW_DOWN] * target, Keys.ENTER)
    browser.until(lambda: len(browser.all(".branches [role=tab]")) == 2)
    prefix = [*ids[:2], candidates[target]]
    rest = text_ids(tiny_place, [*prompt, *prefix], seed=7, max_tokens=12 - len(prefix))
    assert browser.wait_for_answer() == [*prefix, *rest]

    browser.run("document.querySelector('.branches [role=tab]').click()")
    assert browser.shown_ids() == ids[:shown]


@pytest.mark.exhaustive
def test_answers_are_text_and_never_markup(start: Start, echo: tuple[Place, EchoRunner]) -> None:
    place, _ = echo
    browser = start()
    browser.open(place.rest)
    hostile = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"> \u00e9\u6f22"
    browser.ask(hostile)
    answer = browser.one(".turn.assistant .tokens")
    assert (
        browser.run(
            "return [...arguments[0].children].filter(t => !t.matches('.piece')).map(t => t.textContent).join('')",
            answer,
        )
        == hostile
    )
    assert browser.one(".turn.user .said").text == hostile
    assert len(browser.all("script")) == 1 and not browser.all("img")
    assert browser.driver.title == "jaxchat playground"


@pytest.mark.exhaustive
def test_an_answer_is_shown_while_it_streams_and_can_be_stopped(start: Start, echo: tuple[Place, EchoRunner]) -> None:
    place, runner = echo
    browser = start()
    browser.open(place.rest)
    try:
        browser.send(f"first part{PAUSE}second")
        browser.until(lambda: "first" in browser.one("#conversation .tokens").text)
        assert browser.one(".turn.assistant").get_attribute("aria-busy") == "true"
        browser.one("#stop").click()
    finally:
        runner.gate.set()
    browser.wait_for_answer()
    assert "stopped" in browser.one(".meta").text and "second" not in browser.one(".tokens").text
    place.wait_until_idle()


@pytest.mark.exhaustive
def test_tokens_within_a_character_have_their_bytes_and_branches(start: Start, tiny_place: Place) -> None:
    browser = start()
    browser.open(tiny_place.rest)
    seeds = (seed for seed in range(50) if chat_ids(tiny_place, seed=seed, max_tokens=24))
    for seed in seeds:
        browser.one("#new").click()
        ids = browser.ask("Hello", seed=str(seed), max_completion_tokens="24")
        if pieces := browser.all(".token.piece"):
            break
    else:
        pytest.fail("no answer has a token within a character")
    place = int(pieces[0].get_attribute("data-index") or "")
    browser.run("arguments[0].focus()", pieces[0])
    assert browser.one(".facts").text.count(pieces[0].text) == 1
    chosen = next(token for token in browser.alternatives() if token != ids[place])
    browser.run("document.querySelector(`.alternative[data-id='${arguments[0]}']`).click()", chosen)
    prompt, _ = chat_ids(tiny_place, seed=seed, max_tokens=1)
    prefix = [*ids[:place], chosen]
    rest = text_ids(tiny_place, [*prompt, *prefix], seed=seed, max_tokens=24 - len(prefix))
    assert browser.wait_for_answer() == [*prefix, *rest]


def answers_that_might_end(place: Place) -> Iterator[tuple[int, int, list[int]]]:
    """Yields seeds, a token of whose answer might have been the end of the turn, its index, and the answer's ids."""
    body = {"model": place.model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 24}
    asked = body | {"logprobs": True, "top_logprobs": 20, "return_token_ids": True}
    for seed in range(100):
        answer = place.http.post("/v1/chat/completions", json=asked | {"seed": seed}).json()
        entries = answer["choices"][0]["logprobs"]["content"]
        for index, entry in enumerate(entries):
            if END in [top["token_id"] for top in entry["top_logprobs"]]:
                yield seed, index, [entry["token_id"] for entry in entries]


@pytest.mark.exhaustive
def test_a_chosen_end_ends_the_branch(start: Start, tiny_place: Place) -> None:
    seed, place, ids = next(answers_that_might_end(tiny_place))
    browser = start()
    browser.open(tiny_place.rest)
    assert browser.ask("Hello", seed=str(seed), max_completion_tokens="24") == ids
    browser.branch(place, END)
    assert browser.wait_for_answer() == [*ids[:place], END]
    assert browser.all(".turn.assistant .tokens > *")[-1].text == "<|im_end|>"

    browser.press_button("Copy link")
    link = browser.until(lambda: "#replay=" in browser.driver.current_url and browser.driver.current_url)
    other = start()
    other.open(link)
    other.until(lambda: other.one("#replay").get_attribute("data-same") == "true")
    assert other.shown_ids() == [*ids[:place], END]


@pytest.mark.exhaustive
def test_thoughts_are_folded_and_all_tokens_can_be_shown(start: Start) -> None:
    session, _ = echo_session(template=THINKING, source=thinking_tokenizer())
    said = "<think>\nFour.\n</think>\n\nFour."
    with Client(LocalTransport(session)) as client, Place(client) as place:
        prompt, ids = chat_ids(place, messages=[{"role": "user", "content": said}])
        browser = start()
        browser.open(place.rest)
        content = browser.ask(said)
        thoughts = browser.one(".thoughts")
        assert thoughts.get_attribute("open") is None
        assert browser.run("return arguments[0].querySelector('.said').textContent", thoughts) == "Four."
        assert content == ids[-1 - len(content) : -1]

        chosen = browser.branch(2)
        before = [*ids[: len(ids) - 1 - len(content) + 2], chosen]
        after = text_ids(place, [*prompt, *before], max_tokens=len(ids) + 4)
        assert browser.wait_for_answer() == [*content[:2], chosen, *after]

        browser.run("document.querySelector('.branches [role=tab]').click()")
        browser.press_button("Show all tokens")
        browser.until(lambda: browser.shown_ids() == ids)


@pytest.mark.exhaustive
def test_the_prompt_tells_what_came_from_the_cache(start: Start, echo: tuple[Place, EchoRunner]) -> None:
    place, _ = echo
    browser = start()
    browser.open(place.rest)
    browser.ask("word " * 20)
    browser.ask("and another")
    summary = browser.all(".prompt summary")[-1]
    tokens, cached = (int(word) for word in summary.text.split() if word.isdigit())
    assert tokens > cached > 0
    summary.click()
    browser.until(lambda: browser.all(".prompt[open] .token"))
    marks = [token.get_attribute("data-marks") for token in browser.all(".prompt[open] .token")]
    assert marks == ["cached"] * cached + [""] * (tokens - cached)


@pytest.mark.exhaustive
def test_a_link_gives_the_same_tokens_in_another_profile(start: Start, tiny_place: Place) -> None:
    browser = start()
    browser.open(tiny_place.rest)
    browser.ask("Hello", seed=str(2**62 + 1), max_completion_tokens="10", temperature="0.9")
    browser.branch(4)
    ids = browser.wait_for_answer()
    browser.press_button("Copy link")
    link = browser.until(lambda: "#replay=" in browser.driver.current_url and browser.driver.current_url)

    other = start()
    other.open(link)
    other.until(lambda: other.one("#replay").get_attribute("data-same"))
    assert other.one("#replay").text == "Same tokens, bit for bit."
    assert other.shown_ids() == ids
    assert other.one("#field-seed").get_attribute("value") == str(2**62 + 1)

    altered = other.driver.execute_async_script(
        """
        const done = arguments[arguments.length - 1];
        import(new URL("playground/share.js", location.href.split("#")[0])).then(async (share) => {
          const record = await share.recordOfAddress();
          record.steps[0].ids[2] += 1;
          record.steps[0].fingerprint = "fp_other";
          done(await share.linkOf(record));
        });
        """
    )
    third = start()
    third.open(altered)
    third.until(lambda: third.one("#replay").get_attribute("data-same"))
    said = third.one("#replay").text
    assert said.startswith("Token 3 of the answer differs") and "fp_other" in said
