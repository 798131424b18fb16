"""gradio's `load_chat`: its function is called with the history as the page in a browser keeps it.

gradio sends no temperature, so texts may vary.
"""

from __future__ import annotations

import gradio as gr
from checks import MODEL, NAME, SUM, URL, run

QUESTIONS = ("I am Bob.", NAME, SUM)


def talk(page: gr.ChatInterface) -> list[str]:
    """Asks all questions in one conversation. Returns the answers."""
    history: list[dict[str, str]] = []
    for question in QUESTIONS:
        shown = page.chatbot.preprocess(page.chatbot.postprocess(history))
        answer = page.fn(question, shown)
        *_, text = [answer] if isinstance(answer, str) else answer
        history += [{"role": "user", "content": question}, {"role": "assistant", "content": text}]
    return [message["content"] for message in history if message["role"] == "assistant"]


def plain() -> None:
    answers = talk(gr.load_chat(URL, MODEL, token="none", streaming=False))
    assert "Bob" in answers[1] and answers[2].startswith("47 + 38 = "), answers


def streamed() -> None:
    answers = talk(gr.load_chat(URL, MODEL, token="none"))
    assert "Bob" in answers[1] and answers[2].startswith("47 + 38 = "), answers


run(plain, streamed)
