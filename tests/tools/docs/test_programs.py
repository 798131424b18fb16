"""Programs in documents run, and print what the document says: in process and against a server of the bundled model."""

from __future__ import annotations

import ast
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxchat
from tests.serving.process import Process, start

pytestmark = pytest.mark.exhaustive

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
ELSEWHERE = ("extending.md", "clients.md")  # tests/test_extending.py and `make clients` run them
INSTALLED = {"jaxchat", "openai", "pydantic", "json"}
MACHINE = (
    "attention",
    "products",
    "fingerprint",
    "gRPC",
    "REST",
    "playground",
)  # lines that differ between machines and runs


def runs(code: str) -> bool:
    """Says whether a program is complete, and needs no more than the bundled model on the ports of `make run`."""
    tree = ast.parse(code)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    models = set(re.findall(r'model="([^"]+)"', code))
    at_home = "load()" in code or "localhost:50051" in code or "localhost:8000" in code
    return at_home and imported <= INSTALLED and models <= {"jaxchat-bundled"}


def programs() -> Iterator[tuple[str, str, str]]:
    """Yields the name of a document, a program in it, and what it prints, empty where the document does not say."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        if path.name not in ELSEWHERE:
            for code, printed in PROGRAM.findall(path.read_text("utf-8")):
                if runs(code):
                    yield path.name, code, printed


PROGRAMS = list(programs())


@pytest.fixture(scope="module")
def server() -> Iterator[Process]:
    """Yields a server as `make run` starts it, on other ports."""
    process = start("serve", "--model", "bundled", "--grpc-port", "0")
    yield process
    assert process.stop(signal.SIGTERM) == 0


@pytest.fixture(scope="module")
def client() -> Iterator[jaxchat.Client]:
    with jaxchat.load() as client:
        yield client


@pytest.mark.parametrize(("name", "code", "printed"), PROGRAMS, ids=[name for name, *_ in PROGRAMS])
def test_a_program_prints_what_the_document_says(
    name: str,
    code: str,
    printed: str,
    server: Process,
    client: jaxchat.Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jaxchat, "load", lambda: client)
    code = code.replace("http://localhost:8000/v1", server.rest).replace("localhost:50051", server.grpc)
    exec(compile(code, name, "exec"), {"__name__": "__main__"})
    out = capsys.readouterr().out
    assert not printed or out.strip() == printed.strip()


def test_there_are_programs() -> None:
    assert sum(name == "quickstart.md" for name, *_ in PROGRAMS) == 4
    assert len({name for name, *_ in PROGRAMS}) > 3


def test_the_start_up_message_is_the_one_that_its_page_explains(server: Process) -> None:
    page = (ROOT / "docs/startup-message.md").read_text("utf-8")
    message = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[0]
    documented, said = message.split("Try it:"), server.said.split("Try it:")
    for expected, line in zip(documented[0].splitlines(), said[0].splitlines(), strict=True):
        if not expected:
            assert not line
            continue
        name = expected.split("  ")[0]
        assert line.split("  ")[0] == name
        assert line == expected or name in MACHINE
        assert f"`{name}`" in page.split("```")[2]
    assert documented[1].split("\n\n")[1] == said[1].split("\n\n")[1]


def test_the_picture_of_a_request_has_the_numbers_of_the_bundled_model(client: jaxchat.Client) -> None:
    picture = (ROOT / "docs/images/request.svg").read_text("utf-8")
    message = {"role": "user", "content": "Hello!"}
    answer = client.chat.completions.create(messages=[message], temperature=0, return_token_ids=True)
    prompt, ids = answer.prompt_token_ids, answer.choices[0].token_ids
    assert f">{' '.join(map(str, prompt or ()))}<" in picture
    assert ids is not None and f"samples the first: {ids[0]}<" in picture
    assert f">{' '.join(map(str, ids[1:6]))} ... {ids[-1]}<" in picture
    assert f"decode[2], {len(ids) - 1} times" in picture
    assert f">{answer.choices[0].message.content}<" in picture
