"""Several copies of a model in one process: the same bits as one, and refusals that say what is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jaxchat.api import load
from jaxchat.client import Client
from jaxchat.config import MeshConfig
from jaxchat.models.families import read_config
from jaxchat.parallel.mesh import Placement

pytestmark = pytest.mark.first

REQUESTS = 10
SIZES = dict(slots=4, prefill_chunk=32, prefill_buckets=(32,), decode_buckets=(4,), max_seq_len=256)
SCRIPT = """
import json, sys
from jaxchat.api import load
from tests.greedy import sample_greedily
from tests.runtime.test_data_parallel import SIZES, answers
sample_greedily()
with load(sys.argv[1], **SIZES, data_parallel=2) as client:
    found = answers(client)
    print(json.dumps([found, client.transport.session.info.fingerprint, client.transport.session.compiles_after_ready]))
"""


def answers(client: Client) -> list[list[float]]:
    """Returns log-probabilities of concurrent answers, more of them than one copy has slots."""

    def ask(number: int) -> list[float]:
        messages = [{"role": "user", "content": f"{number} " * (1 + 9 * (number % 3))}]
        answer = client.chat.completions.create(messages=messages, seed=number, max_tokens=12, logprobs=True)
        return [entry.logprob for entry in answer.choices[0].logprobs.content]

    with ThreadPoolExecutor(REQUESTS) as pool:
        return list(pool.map(ask, range(REQUESTS)))


@pytest.mark.usefixtures("greedy_sampler")
def test_every_copy_gives_the_answers_of_one(tiny_model: Path) -> None:
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", SCRIPT, str(tiny_model)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    actual, fingerprint, compiles = json.loads(output)
    with load(str(tiny_model), **SIZES) as client:
        assert actual == answers(client)
        assert fingerprint == client.transport.session.info.fingerprint
    assert compiles == 0


def test_too_few_devices_are_refused(tiny_model: Path) -> None:
    with pytest.raises(ValueError, match=r"data_parallel 2 times tensor_parallel 1 needs 2 devices, .* only 1"):
        load(str(tiny_model), data_parallel=2)


def test_copies_over_processes_are_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(ValueError, match="data_parallel over 2 processes must be 1, got 2"):
        Placement.copies(MeshConfig(data=2), read_config(tiny_model))
