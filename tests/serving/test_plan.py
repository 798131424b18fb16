"""The command `jaxchat plan`."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from jaxchat import bundled
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


@pytest.mark.parametrize(
    ("arguments", "says", "model"),
    [
        (["bundled", "--topology", "v5e:1x1"], "To serve it:", "bundled"),
        (
            ["llama-3-8b", "--topology", "v5p:2x2x2"],
            "To serve it, with the directory of your copy of the model in place of path/to/llama-3-8b; on each of 2 "
            "hosts, with their numbers 0 and 1 for I and host 0's address for HOST:",
            "path/to/llama-3-8b",
        ),
    ],
)
def test_the_last_line_is_a_command_to_paste(capsys, arguments, says, model):
    assert main(["plan", *arguments]) == 0
    *_, note, command = capsys.readouterr().out.splitlines()
    assert note == says and command.startswith(f"jaxchat serve --model {model} --slots 64 ")


def test_a_config_file_is_served_by_its_directory_whose_name_is_quoted(capsys, tmp_path):
    directory = tmp_path / "a model"
    directory.mkdir()
    config = directory / "config.json"
    config.write_bytes((bundled.path() / "config.json").read_bytes())
    for path in (config, directory):
        assert main(["plan", str(path), "--topology", "v5e:1x1"]) == 0
        words = shlex.split(capsys.readouterr().out.splitlines()[-1])
        assert words[:4] == ["jaxchat", "serve", "--model", str(directory)]


def test_numbers_have_units_that_fit_them(capsys):
    assert main(["plan", "bundled", "--topology", "v5e:1x1"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"bundled, \d\.\d M parameters", output) and re.search(r"weights +\d\.\d\d MiB", output)
    assert re.search(r"decode, 1 sequence +\d+\.\d us", output)
