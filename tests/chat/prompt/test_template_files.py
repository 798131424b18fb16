"""The files in which models store templates and special tokens. `transformers` reads the same from each directory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from jaxchat.api import load_session
from jaxchat.chat.context import RequestContext
from jaxchat.chat.prompt.template_files import load_template
from jaxchat.chat.prompt.tokenizer import load_tokenizer
from jaxchat.chat.session import ChatSession
from jaxchat.config import EngineConfig
from jaxchat.errors import ChatError, ModelError
from jaxchat.openai_json.request import request_from_kwargs
from tests import tiny

ASKED = [{"role": "user", "content": "Hi"}]
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
PRINTS_TOKENS = (
    "{{ bos_token }}|{{ eos_token }}|{{ image_token }}|{{ audio_token }}|"
    "{% for m in messages %}{{ m.content }}{% endfor %}"
)
END = Tokenizer.from_str(tiny.tokenizer_json()).token_to_id("<|im_end|>")
TOKENS: dict[str, dict[str, Any]] = {
    "map alone": {"special_tokens_map.json": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}},
    "map of objects": {"special_tokens_map.json": {"eos_token": {"content": "<|im_end|>", "lstrip": False}}},
    "map beside config": {
        "special_tokens_map.json": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"},
        "tokenizer_config.json": {"model_max_length": 100},
    },
    "both differ": {
        "special_tokens_map.json": {"eos_token": "<|im_end|>"},
        "tokenizer_config.json": {"eos_token": "<|endoftext|>", "bos_token": "<|im_start|>"},
    },
    "extra tokens": {
        "tokenizer_config.json": {"eos_token": "<|im_end|>", "extra_special_tokens": {"image_token": "<|im_start|>"}}
    },
    "own keys": {
        "tokenizer_config.json": {"eos_token": "<|im_end|>", "image_token": "<|im_start|>", "add_bos_token": True}
    },
}


def write(directory: Path, files: dict[str, Any]) -> Path:
    (directory / "tokenizer.json").write_text(tiny.tokenizer_json())
    for name, content in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return directory


@pytest.mark.parametrize("form", TOKENS)
def test_special_tokens_are_read_from_every_file(tmp_path: Path, form: str) -> None:
    write(tmp_path, {"chat_template.jinja": PRINTS_TOKENS, **TOKENS[form]})
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    expected = theirs.apply_chat_template(ASKED, tokenize=False)
    assert load_template(tmp_path).render(ASKED, None) == expected
    assert load_tokenizer(tmp_path).stop_tokens == {END}


DEFAULT, WITH_TOOLS = "plain", "tools {{ tools | tojson }}"
FORMS: dict[str, dict[str, Any]] = {
    "additional folder": {
        "chat_template.jinja": DEFAULT,
        "additional_chat_templates/tool_use.jinja": WITH_TOOLS,
    },
    "object": {"tokenizer_config.json": {"chat_template": {"default": DEFAULT, "tool_use": WITH_TOOLS}}},
    "list": {
        "tokenizer_config.json": {
            "chat_template": [{"name": "default", "template": DEFAULT}, {"name": "tool_use", "template": WITH_TOOLS}]
        }
    },
    "config and folder": {
        "tokenizer_config.json": {"chat_template": DEFAULT},
        "additional_chat_templates/tool_use.jinja": WITH_TOOLS,
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_a_template_for_tools_is_read_in_every_form(tmp_path: Path, form: str) -> None:
    template = load_template(write(tmp_path, FORMS[form]))
    assert template.render(ASKED, None) == "plain"
    assert template.render(ASKED, [TOOL]) == f"tools {json.dumps([TOOL])}"


LINES = "{% for m in messages %}\n[{{ m.role }}]\n{{ m.content }}\n{% endfor %}\n{{ bos_token }}"
TEXTS = {
    "as it is": LINES,
    "ends a line": LINES + "\n",
    "ends two lines": LINES + "\n\n",
    "lines of Windows": LINES.replace("\n", "\r\n") + "\r\n",
    "byte order mark": "\ufeff" + LINES,
}


@pytest.mark.parametrize("place", ["file", "config"])
@pytest.mark.parametrize("text", TEXTS)
def test_line_ends_and_marks_of_a_template_are_read_as_transformers_reads_them(
    tmp_path: Path, text: str, place: str
) -> None:
    config: dict[str, Any] = {"bos_token": {"content": "<|im_start|>", "lstrip": False, "__type": "AddedToken"}}
    if place == "config":
        write(tmp_path, {"tokenizer_config.json": config | {"chat_template": TEXTS[text]}})
    else:
        write(tmp_path, {"tokenizer_config.json": config})
        (tmp_path / "chat_template.jinja").write_bytes(TEXTS[text].encode())
    theirs = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert load_template(tmp_path).render(ASKED, None) == theirs.apply_chat_template(ASKED, tokenize=False)


def test_an_object_of_something_else_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"tokenizer_config.json": {"chat_template": {"default": 1}}})
    with pytest.raises(ModelError, match="chat_template must list objects"):
        load_template(tmp_path)


NEXT = Tokenizer.from_str(tiny.tokenizer_json()).get_vocab_size()
ADDED: dict[str, dict[str, Any]] = {
    "older file": {
        "added_tokens.json": {"<|turn|>": NEXT},
        "special_tokens_map.json": {"eos_token": "<|turn|>"},
    },
    "config": {
        "tokenizer_config.json": {
            "eos_token": "<|turn|>",
            "added_tokens_decoder": {str(NEXT): {"content": "<|turn|>", "special": True, "lstrip": False}},
        }
    },
}


@pytest.mark.parametrize("form", ADDED)
def test_added_tokens_of_other_files_are_tokens(tmp_path: Path, form: str) -> None:
    write(tmp_path, {**ADDED[form], "chat_template.jinja": "x<|turn|>"})
    ours, theirs = load_tokenizer(tmp_path), PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert ours.encode("x<|turn|>") == theirs.encode("x<|turn|>", add_special_tokens=False)
    assert ours.stop_tokens == {NEXT} == {theirs.eos_token_id}
    assert ours.special_tokens[NEXT] == "<|turn|>" and ours.bytes_of(NEXT) == b""


@pytest.mark.parametrize("config", [{"eos_token_id": [END, 1]}, {"text_config": {"eos_token_id": [END, 1]}}], ids=str)
def test_an_answer_ends_at_every_stop_token_that_a_file_names(tmp_path: Path, config: dict[str, Any]) -> None:
    for other in (2, None):
        write(tmp_path, {"generation_config.json": {"eos_token_id": other}, "config.json": config})
        assert load_tokenizer(tmp_path).stop_tokens == {END, 1, other} - {None}


def test_an_added_token_that_cannot_have_its_id_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"added_tokens.json": {"<|turn|>": NEXT + 5}})
    with pytest.raises(ModelError, match=r"'<\|turn\|>' has id"):
        load_tokenizer(tmp_path)


SAME = {"tokenizer_config.json": {"chat_template": "x{{ bos_token }}", "bos_token": "<|im_start|>"}}
DIFFERENT: dict[str, dict[str, Any]] = {
    "an end token": {"special_tokens_map.json": {"eos_token": "<|im_end|>"}},
    "an end token's id": {"generation_config.json": {"eos_token_id": END}},
    "a token of the template": {"tokenizer_config.json": SAME["tokenizer_config.json"] | {"bos_token": "<|im_end|>"}},
    "an added token": {"added_tokens.json": {"[PAD]": NEXT}},
    "a template for tools": {"additional_chat_templates/tool_use.jinja": "y"},
}


def digests(directory: Path) -> str:
    return load_tokenizer(directory).digest + load_template(directory).digest


@pytest.mark.parametrize("difference", DIFFERENT)
def test_models_that_tokenise_differently_have_different_digests(tmp_path: Path, difference: str) -> None:
    write(tmp_path, SAME)
    before = digests(tmp_path)
    assert digests(tmp_path) == before
    assert digests(write(tmp_path, DIFFERENT[difference])) != before


@pytest.mark.usefixtures("greedy_sampler")
def test_a_model_that_lacks_a_stop_token_and_a_row_for_an_added_token_is_warned_of(tmp_path: Path) -> None:
    directory, size = tiny.write(tmp_path), tiny.CONFIG["vocab_size"]
    added = {f"<{id_}>": id_ for id_ in range(NEXT, size)} | {"[PAD]": size}
    (directory / "generation_config.json").unlink()
    (directory / "tokenizer_config.json").write_text(json.dumps({"chat_template": tiny.TEMPLATE}))
    (directory / "added_tokens.json").write_text(json.dumps(added))
    sizes = EngineConfig(slots=1, max_seq_len=128, prefill_chunk=64, prefill_buckets=(64,), determinism="fast")
    with (
        pytest.warns(UserWarning, match="no file names a stop token"),
        pytest.warns(UserWarning, match=r"has 273 token ids, the model 272: .*\['\[PAD\]'\] are refused"),
    ):
        session = load_session(str(directory), sizes)
    assert "does not show calls" in dict(session.summary())["chat template"]
    asyncio.run(_run(session))


async def _run(session: ChatSession) -> None:
    await session.start()
    for text, refused in (("a PAD", False), ("a [PAD] b", True)):
        asked = request_from_kwargs(model=session.model_id, messages=[{"role": "user", "content": text}], max_tokens=1)
        try:
            await session.complete(asked.request, RequestContext(request_id="x"))
        except ChatError as error:
            assert refused and error.http_status == 400 and error.param == "messages"
            assert "'[PAD]', id 272, but the model knows 272 tokens" in error.message
        else:
            assert not refused
    await session.close()


def test_the_file_of_a_processor_is_read_last(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    write(tmp_path, {"tokenizer_config.json": {}, "chat_template.json": {"chat_template": template + "json"}})
    assert load_template(tmp_path).render(ASKED, None) == "Hijson"
    write(tmp_path, {"tokenizer_config.json": {"chat_template": template + "config"}})
    assert load_template(tmp_path).render(ASKED, None) == "Hiconfig"
    write(tmp_path, {"chat_template.jinja": template + "jinja"})
    assert load_template(tmp_path).render(ASKED, None) == "Hijinja"


def test_an_unusable_template_names_its_file(tmp_path: Path) -> None:
    write(tmp_path, {"chat_template.json": {"chat_template": "{% if %}"}})
    with pytest.raises(ModelError, match=r"chat_template\.json: "):
        load_template(tmp_path)
