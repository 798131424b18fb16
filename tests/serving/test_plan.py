"""The command `jaxchat plan`."""

from __future__ import annotations

import json
import re

import pytest

from jaxchat.config import EngineConfig
from serving.cli.flags import from_flags
from serving.cli.main import _parser, main


def test_a_plan_as_a_table_and_as_json(capsys):
    arguments = ["plan", "llama-3-8b", "--topology", "v5e:2x4", "--slots", "32"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    assert re.search(r"^fits +yes$", output, re.M) and "decode, 32 sequences" in output
    assert main([*arguments, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["fits"] and facts["kv"]["capacity_tokens"] > facts["kv"]["wanted_tokens"] == 32 * 8192
    assert facts["decode_all"]["seconds"] >= facts["decode_all"]["floor"] > 0
    serve = _parser().parse_args(facts["command"].split()[1:])  # what it prints can be run
    assert from_flags(serve, EngineConfig).tensor_parallel == 8


def test_a_plan_that_does_not_fit(capsys):
    assert main(["plan", "llama-3-70b", "--topology", "v5e:2x4"]) == 1
    assert "it fits on v5e:4x4" in capsys.readouterr().out


def test_a_plan_with_rounded_weights_keys_and_values(capsys):
    arguments = ["plan", "llama-3-70b", "--topology", "v5e:2x4", "--quantize", "int4", "--kv-dtype", "int8", "--json"]
    assert main(arguments) == 0
    facts = json.loads(capsys.readouterr().out)
    serve = from_flags(_parser().parse_args(facts["command"].split()[1:]), EngineConfig)
    assert (serve.quantize, serve.kv_dtype) == ("int4", "int8")
    assert facts["memory"]["weights"] < facts["parameters"] * 5 / 8 / 8 + 3e8  # 4.5 bits, and a table in bfloat16


@pytest.mark.parametrize(
    ("topology", "hosts"), [("v5e:2x4", 1), ("v5p:2x2x1", 1), ("V5P:2x2x2", 2), ("v6e:4x4", 4), ("h200:8", 1)]
)
def test_a_plan_says_how_many_processes_serve_it(capsys, topology, hosts):
    assert main(["plan", "Llama-3-8B", "--topology", topology, "--json"]) == 0
    words = json.loads(capsys.readouterr().out)["command"].split()
    assert words[words.index("--processes") + 1] == str(hosts) if hosts > 1 else "--processes" not in words


def test_replicas_share_a_slice(capsys):
    assert main(["plan", "qwen2.5-7b", "--topology", "v5e:16x16"]) == 0
    assert "replicas each on" in capsys.readouterr().out


def test_one_server_has_all_replicas_of_a_host(capsys):
    assert main(["plan", "qwen2.5-7b", "--topology", "v5e:2x4"]) == 0
    assert "--tensor-parallel 4 --data-parallel 2" in capsys.readouterr().out
