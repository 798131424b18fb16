"""The playground in a real browser: widths, errors, keys and calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from jaxchat.client import Client
from tests.contract.echo import EchoRunner
from tests.contract.place import Place

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.keys import Keys

from tests.serving.browser import Start, needs_chromium

pytestmark = needs_chromium


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_width_scrolls_sideways(start: Start, tiny_place: Place, width: int) -> None:
    browser = start(width=width, height=740)
    browser.open(tiny_place.rest)

    def fits() -> bool:
        edges = browser.run(
            """
            const parts = [document.documentElement, ...document.querySelectorAll(".top *, main, #side[data-open] *")];
            return parts.filter((part) => part.checkVisibility() && !part.closest(".unseen"))
              .map((part) => part.getBoundingClientRect()).map(({ left, right }) => [left, right]);
            """
        )
        inside = all(left >= 0 and right <= width for left, right in edges)
        return inside and browser.run("return document.documentElement.scrollWidth") <= width

    assert fits()
    browser.ask("word" * 60, seed="3", max_completion_tokens="40")
    assert fits()
    browser.run("document.querySelector('.turn.assistant .token').click()")
    browser.until(lambda: browser.one(".alternative").is_displayed())
    browser.run("document.querySelector('.alternative:not([aria-disabled])').click()")
    browser.wait_for_answer()
    assert fits()


@pytest.mark.exhaustive
def test_errors_of_the_server_are_shown_beside_their_field(start: Start, tiny_place: Place) -> None:
    browser = start()
    browser.open(tiny_place.rest)
    body = {"model": tiny_place.model, "messages": [{"role": "user", "content": "Hello"}], "temperature": 9}
    error = tiny_place.http.post("/v1/chat/completions", json=body).json()["error"]["message"]
    browser.ask("Hello", temperature="9")
    assert browser.one("#error-temperature").text == error
    assert browser.one(".turn.assistant .error").text == error
    browser.ask("Hello", temperature="hot")
    assert "got 'hot'" in browser.one("#error-temperature").text
    browser.fill("tools", "[{")
    answers = len(browser.all(".turn.assistant"))
    browser.send("Hello")
    assert browser.one("#error-tools").text.startswith("Not JSON")
    assert len(browser.all(".turn.assistant")) == answers


@pytest.mark.exhaustive
def test_a_key_is_asked_for_and_stays_in_the_tab(start: Start, tiny_client: Client, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret\n")
    with Place(tiny_client, api_keys=str(tmp_path / "keys")) as place:
        browser = start()
        browser.open(place.rest, ready="#key-form:not([hidden])")
        browser.one("#key-field").send_keys("wrong", Keys.ENTER)
        browser.until(lambda: browser.one("#key-error").text)
        browser.one("#key-field").send_keys("secret", Keys.ENTER)
        browser.until(lambda: browser.all("#model option"))
        assert browser.ask("Hello", seed="1", max_completion_tokens="4")
        assert browser.run("return [JSON.stringify(localStorage), document.cookie]") == ["{}", ""]
        assert "secret" in browser.run("return JSON.stringify(sessionStorage)")


@pytest.mark.exhaustive
def test_calls_are_shown_and_answered(start: Start, echo: tuple[Place, EchoRunner]) -> None:
    place, runner = echo
    browser = start()
    browser.open(place.rest)
    tools = (
        '[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {}}}}}]'
    )
    browser.ask('<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>', tools=tools)
    assert browser.one(".call-name").text == "f"
    result = browser.until(lambda: browser.one(".results textarea"))
    result.send_keys("seven")
    browser.run("arguments[0].form.requestSubmit()", result)
    browser.until(lambda: len(browser.all(".turn")) == 4)
    browser.wait_for_answer()
    assert browser.one(".turn.tool .said").text == "seven"
    assert "seven" in runner.prompts[-1]
