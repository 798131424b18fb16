"""The commands of `jaxchat`: their list, usage and errors, and how they end on signals and closed pipes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from serving.cli import sections
from serving.cli.commands import COMMANDS
from serving.cli.main import main
from tests.serving.process import FREE_PORTS, PATIENCE

ROOT = Path(__file__).resolve().parents[3]
JAXCHAT = [sys.executable, "-m", "jaxchat"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*JAXCHAT, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("help",)])
def test_jaxchat_lists_its_commands(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\w", result.stdout, re.M)
    assert result.stdout.count("\n  jaxchat ") == 2  # examples


def test_the_module_is_the_command() -> None:
    assert run("--version").stdout == f"jaxchat {version('jaxchat')}\n"
    assert run("help", "plan").stdout.startswith("usage: jaxchat plan --topology CHIPS MODEL [FLAG ...]\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serv"], "jaxchat: error: unknown command serv: did you mean serve?"),
        (["zebra"], "jaxchat: error: unknown command zebra"),
        (["--verison"], "jaxchat: error: unknown flag --verison: did you mean --version?"),
        (["serve", "--modle", "x"], "jaxchat serve: error: unknown flag --modle: did you mean --model?"),
        (["serve", "x/y"], "jaxchat serve: error: unexpected argument: x/y: did you mean --model x/y?"),
        (["plan", "m", "--topolgy=a"], "jaxchat plan: error: unknown flag --topolgy: did you mean --topology?"),
        (["plan", "m"], "jaxchat plan: error: the following arguments are required: --topology"),
        (["serve", "-x"], "jaxchat serve: error: unknown flag -x"),
    ],
)
def test_wrong_usage_is_told_in_three_lines(capsys, arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    output = capsys.readouterr()
    usage, error, hint = output.err.splitlines()
    assert usage.startswith("usage: jaxchat") and error == message and "--help` lists the" in hint
    assert output.out == ""


def test_a_question_may_look_like_a_flag(capsys) -> None:
    assert main(["chat", "--connect", "127.0.0.1:1", "--system", "-- be brief", "--", "--slots?"]) == 1
    assert "unknown flag" not in capsys.readouterr().err


def test_the_help_of_serve_has_each_flag_once_under_a_heading(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = capsys.readouterr().out
    for title, names in (sections.SERVER | sections.REQUESTS | sections.ENGINE).items():
        section = text.partition(f"\n{title}:\n")[2].partition("\n\n")[0]
        flags = re.findall(r"^  (--[\w-]+)", section, re.M)
        assert flags == ["--" + name.replace("_", "-") for name in names]
    flags = re.findall(r"^  (--[\w-]+)", text, re.M)
    assert len(flags) == len(set(flags)) > 50


@pytest.mark.parametrize(
    ("arguments", "status"),
    [([], 0), (["serve", "--help"], 0), (["plan", "llama-3-8b", "--topology", "h200:1"], 141)],
)
def test_a_closed_pipe_ends_quietly(arguments: list[str], status: int) -> None:
    with subprocess.Popen([*JAXCHAT, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == status


INTERRUPTED_IMPORT = """
import sys
from serving.cli.main import main

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "serving.cli.serve":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
sys.exit(main(["serve"]))
"""
LOADING = """
import sys, threading, time, types

def load_session(*arguments, **options):
    threading.Thread(target=time.sleep, args=[600]).start()  # as a thread that compiles
    print("loading", flush=True)
    threading.Event().wait()

sys.modules["jaxchat.api"] = types.SimpleNamespace(load_session=load_session)
from serving.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_while_a_command_is_imported() -> None:
    command = [sys.executable, "-c", INTERRUPTED_IMPORT]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (130, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [["serve", *FREE_PORTS], ["chat", "Hello"]], ids=lambda words: words[0])
def test_a_signal_ends_loading_although_a_thread_compiles(arguments: list[str], number: signal.Signals) -> None:
    command = [sys.executable, "-c", LOADING, *arguments, "--cache-dir", "none"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "loading\n"
        process.send_signal(number)
        assert process.wait(PATIENCE) == 128 + number
        assert process.stderr.read() == ""
