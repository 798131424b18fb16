"""A headless Chromium with a fresh profile, and what tests do with the playground in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 30  # seconds until a test gives up on what should happen at once
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium or chromedriver is not installed")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server"),
    *("--disable-background-networking", "--no-first-run", "--force-prefers-reduced-motion"),
)


class Browser:
    """A browser that shows one page.

    Args:
        profile: an empty folder for the profile.
        width: width of the page in CSS pixels.
        height: height of the page in CSS pixels.
    """

    def __init__(self, profile: Path, width: int = 1280, height: int = 800) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def close(self) -> None:
        self.driver.quit()

    def open(self, url: str, *, ready: str = "#model option") -> None:
        """Opens a page and waits for an element."""
        self.driver.get(url)
        self.until(lambda: self.all(ready))

    def until(self, condition: Callable[[], Any]) -> Any:
        """Waits until a condition is true, and returns its value."""
        return WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05).until(lambda _: condition())

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs JavaScript and returns its value."""
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        """Presses keys in the focused element."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def fill(self, field: str, value: str) -> None:
        """Puts a value into a field of the settings."""
        self.run("const e = document.getElementById(arguments[0]); e.value = arguments[1];", f"field-{field}", value)

    def send(self, text: str) -> None:
        """Sends a message by keyboard. JavaScript puts it in, because drivers cannot type control characters."""
        self.run("arguments[0].value = arguments[1]", self.one("#message"), text)
        self.one("#message").send_keys(Keys.ENTER)

    def ask(self, text: str, **fields: str) -> list[int]:
        """Sends a message with settings. Returns the token ids of the answer."""
        for name, value in fields.items():
            self.fill(name, value)
        answers = len(self.all(".turn.assistant"))
        self.send(text)
        self.until(lambda: len(self.all(".turn.assistant")) > answers)
        return self.wait_for_answer()

    def wait_for_answer(self) -> list[int]:
        """Waits until the last answer has ended, and returns the token ids that it shows."""
        self.until(lambda: self.all(".turn.assistant[aria-busy='false'] .meta") and not self.all("[aria-busy='true']"))
        return self.shown_ids()

    def shown_ids(self) -> list[int]:
        script = "return [...document.querySelectorAll('.turn.assistant > div .token')].map(t => +t.dataset.id)"
        return list(self.run(script))

    def alternatives(self) -> list[int]:
        """Returns the ids of the tokens that the inspector lists."""
        return list(self.run("return [...document.querySelectorAll('.alternative')].map(a => +a.dataset.id)"))

    def branch(self, index: int, token: int | None = None) -> int:
        """Branches from a token of the answer to the alternative `token`, or to the first one. Returns its id."""
        script = "document.querySelectorAll('.turn.assistant > div .token')[arguments[0]].focus()"
        self.run(script, index)
        other = self.one(".alternative:not([aria-disabled])" if token is None else f".alternative[data-id='{token}']")
        chosen = int(other.get_attribute("data-id") or "")
        self.run("arguments[0].click()", other)
        return chosen

    def press_button(self, label: str) -> None:
        """Presses a button of the last answer, also one that is shown only while the pointer is on the answer."""
        script = (
            "[...document.querySelectorAll('.turn.assistant .actions button')]"
            ".findLast(button => button.textContent === arguments[0]).click()"
        )
        self.run(script, label)

    def complaints(self) -> list[str]:
        """Returns errors and violations of the content security policy that the browser logged since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


Start = Callable[..., Browser]
"""Starts a browser with a fresh profile. Keywords: width and height."""
