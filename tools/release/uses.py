"""Uses an installed jaxchat as its documents say, and compares the answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from openai import OpenAI

from tools.release.installs import Install
from tools.server_process import ServerProcess

QUESTION, SEED = "What is 47 + 38?", 7
ASK = f"""
import sys
from importlib.util import find_spec
import jaxchat

assert find_spec("jax") is None and find_spec("numpy") is None, "the client's environment has the engine"
with jaxchat.Client(sys.argv[1]) as client:
    messages = [{{"role": "user", "content": {QUESTION!r}}}]
    answer = client.chat.completions.create(model=sys.argv[2], messages=messages, seed={SEED})
    print(answer.choices[0].message.content)
"""
REFUSED = """
import jaxchat

try:
    jaxchat.load()
except ImportError as error:
    print(error)
"""


def ask_in_terminal(install: Install) -> str:
    """Returns the answer that `jaxchat chat` prints. Raises RuntimeError if the command fails."""
    return install.run(install.command, "chat", QUESTION, "--seed", str(SEED)).strip()


def ask_over_rest(server: ServerProcess) -> str:
    """Returns the answer that the openai package gets."""
    with OpenAI(base_url=server.rest, api_key="none") as client:
        answer = client.chat.completions.create(
            model=server.model, messages=[{"role": "user", "content": QUESTION}], seed=SEED
        )
    return answer.choices[0].message.content or ""


def ask_over_grpc(client: Install, server: ServerProcess) -> str:
    """Returns the answer that the client gets in an environment without jax. Raises RuntimeError if it fails."""
    return client.run(client.python, "-c", ASK, server.grpc, server.model).strip()


def engine_is_named(client: Install) -> bool:
    """Returns whether a client without the engine says what to install for it."""
    return "pip install jaxchat" in client.run(client.python, "-c", REFUSED)


@contextmanager
def serving(install: Install) -> Iterator[ServerProcess]:
    """Yields a server for the bundled model, started by the installed command. Raises RuntimeError if none starts."""
    program = (install.command,)
    with ServerProcess(program=program, folder=install.home, environment=install.environment) as server:
        yield server
