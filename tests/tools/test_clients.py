"""The runner of `make clients`, without a client: definitions, reports of programs, and the table."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tools.clients.__main__ import select
from tools.clients.definitions import CLIENTS, PROGRAMS, ROOT, ChatClient
from tools.clients.environments import STAMP, Environment, environment_of
from tools.clients.results import read, run, table

CLIENT = ChatClient(name="mine", program="mine.py", packages=("mine[fast]==1.2",))
SERVER = dict(rest="http://localhost:1/v1", grpc="localhost:2", model="m")
PROGRAM = """
import os
from checks import MODEL, URL, equal, run

def plain() -> None:
    assert "OPENAI_BASE_URL" not in os.environ
    equal((URL, MODEL), ("http://localhost:1/v1", "m"))

def tools() -> None:
    equal(1, 2)

run(plain, tools)
"""


def installed(folder: Path, client: ChatClient) -> Environment:
    """Returns an environment that counts as installed and has this process's interpreter."""
    environment = Environment(folder, "Python", client.packages)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / STAMP).write_text(environment.recipe)
    return environment


def test_every_program_belongs_to_one_client() -> None:
    programs = [path.name for path in PROGRAMS.iterdir() if path.suffix in (".py", ".mjs") and path.stem != "checks"]
    assert sorted(programs) == sorted(client.program for client in CLIENTS)
    assert len({client.name for client in CLIENTS}) == len(CLIENTS)


def test_versions_are_exact() -> None:
    for client in CLIENTS:
        separator = "@" if client.language == "JavaScript" else "=="
        assert all(re.fullmatch(rf".+{separator}\d+(\.\d+)*", package) for package in client.packages), client.name


def test_the_document_has_the_clients_at_these_versions() -> None:
    rows = re.findall(r"^\| ([^|]+) \| (\d[^|]*) \|", (ROOT / "docs" / "clients.md").read_text("utf-8"), re.MULTILINE)
    assert rows == [(client.name, client.version) for client in CLIENTS]


def test_clients_of_one_environment_are_installed_together(tmp_path: Path) -> None:
    one = replace(CLIENT, environment="shared")
    two = replace(CLIENT, name="other", packages=("other==2", *CLIENT.packages), environment="shared")
    environment = environment_of(two, [one, two, CLIENT], tmp_path)
    assert environment == Environment(tmp_path / "shared", "Python", ("mine[fast]==1.2", "other==2"))
    assert environment_of(CLIENT, [one, two, CLIENT], tmp_path).folder == tmp_path / "mine"


def test_a_program_reports_each_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere")
    (tmp_path / "mine.py").write_text(PROGRAM)
    (tmp_path / "checks.py").write_text((PROGRAMS / "checks.py").read_text("utf-8"))
    client = replace(CLIENT, program=str(tmp_path / "mine.py"))
    result = run(client, installed(tmp_path / "environment", client), **SERVER)
    assert not result.passed and dict(result.checks) == {"plain": True, "tools": False}
    assert "expected 2, got 1" in result.output


def test_a_client_that_cannot_be_installed_has_failed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run(CLIENT, Environment(tmp_path / "file", "JavaScript", CLIENT.packages), **SERVER)
    assert not result.passed and result.output.startswith("cannot install: ")


@pytest.mark.parametrize(
    ("output", "status", "passed"),
    [
        ("check plain: passed\n", 0, True),
        ("check plain: passed\n", 1, False),
        ("check plain: passed\ncheck tools: failed\n", 0, False),
        ("no report\n", 0, False),
    ],
)
def test_a_program_passes_if_it_ends_well_and_all_its_checks_pass(output: str, status: int, passed: bool) -> None:
    assert read(CLIENT, output, status).passed == passed


def test_the_table_has_a_cell_for_each_check() -> None:
    output = "check plain: passed\ncheck tools: failed\ncheck overflow: passed\ncheck retries: failed\n"
    assert table([read(CLIENT, output, 1)]).splitlines() == [
        "| client | version | plain | streamed | tools | structured | also |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| mine | 1.2 | yes | - | **no** | - | overflow, **not retries** |",
    ]


def test_clients_are_chosen_by_name() -> None:
    assert select([]) == list(CLIENTS) and [client.name for client in select(["litellm"])] == ["litellm"]
    with pytest.raises(ValueError, match="unknown client 'lite': one of openai 1, openai"):
        select(["lite"])
