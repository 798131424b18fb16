"""The reference has every public name, every flag, and every method, message and field of the protocol."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor

import jaxchat
import jaxchat.client
from jaxchat.v1 import chat_pb2, service_pb2, text_pb2
from tests.test_docs import COMMANDS, flags_of
from tests.tools.docs.html_page import parse
from tools.docs.docstrings import markdown_of


def codes(site: Path, name: str) -> list[str]:
    """Returns the pieces of code of a page of the reference."""
    return parse((site / "reference" / name).read_text("utf-8")).codes


def test_python_has_every_public_name(site: Path) -> None:
    names = {f"jaxchat.{name}" for name in jaxchat.__all__ if name != "__version__"}
    assert names <= set(codes(site, "python.html"))
    assert set(jaxchat.client.__all__) - set(jaxchat.__all__) <= set(codes(site, "client.html"))


@pytest.mark.parametrize("name", ["load", "Client", "ChatError"])
def test_python_has_the_text_of_docstrings(site: Path, name: str) -> None:
    page = re.sub(r"<[^>]+>", "", (site / "reference/python.html").read_text("utf-8"))
    docstring = getattr(jaxchat, name).__doc__
    first = docstring.split("\n")[0].replace("`", "")
    assert first in page


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line_has_every_flag(site: Path, command: str) -> None:
    shown = {code.split()[0] for code in codes(site, "command-line.html") if code.startswith("--")}
    missing = {flag for flag in flags_of(command) - {"--help"} if not flag.startswith("--no-")} - shown
    assert not missing


def messages(message: Descriptor) -> Iterator[Descriptor]:
    """Yields a message and those that are defined inside it."""
    if not message.GetOptions().map_entry:
        yield message
    for nested in message.nested_types:
        yield from messages(nested)


@pytest.mark.parametrize("module", [chat_pb2, service_pb2, text_pb2])
def test_the_protocol_has_every_message_and_field(site: Path, module: object) -> None:
    page = parse((site / "reference/protocol.html").read_text("utf-8"))
    shown = set(page.codes)
    for top in module.DESCRIPTOR.message_types_by_name.values():  # type: ignore[attr-defined]
        for message in messages(top):
            assert message.full_name.removeprefix("jaxchat.v1.").lower().replace(".", "") in page.ids
            assert {field.name for field in message.fields} <= shown
    for service in module.DESCRIPTOR.services_by_name.values():  # type: ignore[attr-defined]
        assert {method.name for method in service.methods} <= shown


def test_sections_of_docstrings_become_lists() -> None:
    text = """Returns a <sum>.

    Args:
        first: a number,
            or `None`.
        second_one: another.

    Raises:
        ValueError: it is too large.
    """
    assert markdown_of(text) == (
        "Returns a \\<sum>.\n\n**Parameters**\n\n- `first`: a number,\n    or `None`.\n- `second_one`: another.\n\n"
        "**Raises**\n\n- `ValueError`: it is too large."
    )
