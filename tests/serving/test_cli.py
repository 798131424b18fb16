"""The command line, with a fake in place of the engine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxchat.config import ChatConfig
from serving.cli.environment import quiet_compiler
from serving.cli.main import main
from tests.serving.process import FREE_PORTS

ROOT = Path(__file__).resolve().parents[2]

FAKE_SERVE = """
import sys, types
from tests.serving.fake_session import FakeSession
sys.modules["jaxchat.api"] = types.SimpleNamespace(load_session=lambda *arguments, **options: FakeSession())
from serving.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def start(*arguments):
    command = [sys.executable, "-c", FAKE_SERVE, "serve", "--grpc-port", "0", "--rest-port", "0", *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def read_until_ready(process):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("Ready"):
            return "".join(lines)
    raise AssertionError(process.stderr.read())


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"jaxchat {version('jaxchat')}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_until_a_signal(number):
    with start() as process:
        text = read_until_ready(process)
        address = re.search(r"http://[\d.:]+", text).group()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{address}/v1/models") as reply:
            assert json.load(reply)["data"][0]["id"] == "fake"
        assert f"curl {address}/v1/chat/completions" in text
        process.send_signal(number)
        assert process.wait(60) == 0
        assert "Traceback" not in process.stderr.read()


def test_serve_lets_answers_finish_only_for_the_grace_time():
    with start("--shutdown-grace", "0.05") as process:
        address = re.search(r"http://[\d.:]+", read_until_ready(process)).group()
        body = json.dumps({"model": "fake", "messages": [{"role": "user", "content": "hang"}], "stream": True})
        request = urllib.request.Request(
            f"{address}/v1/chat/completions", body.encode(), {"content-type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request) as reply:
            assert reply.readline().startswith(b"data:")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--slots", "0"], "slots must be at least 1, got 0"),
        (["serve", "--grpc-port", "none", "--rest-port", "none"], "nothing to serve"),
        (["rest", "--rest-port", "None"], "nothing to serve"),
        (["serve", "--rest-port", "-1"], "rest_port must be from 0 to 65535 or None, got -1"),
        (["serve", "--served-model-name", ""], "each of served_model_name must be a non-empty string, got ''"),
        (["serve", "--served-model-name", "a", "a"], "served_model_name must have each name once, got 'a' twice"),
        (
            ["serve", "--model", "/a/x", "--model", "/b/y", "--served-model-name", "z"],
            "--served-model-name belongs to one --model each: 2 --model, 1 --served-model-name",
        ),
        (
            ["serve", "--model", "bundled", "--model", "bundled"],
            "two models would have the name 'jaxchat-bundled': bundled and bundled; --served-model-name gives",
        ),
        (
            ["serve", "--model", "a/x", "--served-model-name", "y", "--model", "a/y", "--served-model-name", "x", "y"],
            "two models would have the name 'y': a/x and a/y",
        ),
        (["serve", "--model", "a", "--model", "b", "--tensor-parallel", "2"], "tensor_parallel 2: the collectives"),
        (
            ["serve", "--model", "a", "--model", "b", "--processes", "2", "--coordinator", "a:1"],
            "processes 2: a multihost group serves one --model, got 2",
        ),
        (
            ["serve", "--model", "a", "--model", "b", "--kv-events", "tcp://*:5557"],
            "kv_events are those of one model, so they need one --model, got 2",
        ),
        (["serve", "--pages", "0"], "pages must be at least 1 or None, got 0"),
        (["serve", "--api-keys", ""], "api_keys must be a non-empty string or None, got ''"),
        (["serve", "--attention", "plain"], "attention 'plain' is now 'xla'"),
        (
            ["serve", *FREE_PORTS, "--tool-format", "xml"],
            "unknown tool format 'xml'; known: apertus, apriel",
        ),
        (["serve", "--cache-dir", "off"], "cache_dir 'off' is now None"),
        (["serve", "--prefill-buckets", "none", "64"], "'none' cannot stand beside other values"),
        (["rest", "--backend-cert", "a"], "backend_cert and backend_key belong together"),
        (["rest", "--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "--tls-cert /nowhere: No such file"),
        (["serve", "--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "--tls-cert /nowhere: No such file"),
        (["serve", "--metrics-port", "70000"], "metrics_port must be from 0 to 65535 or None, got 70000"),
        (
            ["serve", *FREE_PORTS, "--cache-dir", "/dev/null/x"],
            "cache_dir: /dev/null/x cannot be written (Not a directory)",
        ),
        (["chat", "--cache-dir", "/dev/null/x", "hi"], "cache_dir: /dev/null/x cannot be written (Not a directory)"),
        (["models", "/nonexistent"], "no config.json"),
        (["plan", "llama-3-8b", "--topology", "v5e:5x5"], "accepted: 1x1, 2x2, 2x4"),
        (["plan", "llama-3-8b", "--topology", "v5e"], "the slice is missing, as in v5e:2x4"),
        (["plan", "/nonexistent", "--topology", "v5e:2x4"], "or one of llama-3-8b"),
        (["plan", "llama-3-8b", "--topology", "h200:8", "--compile"], "ahead-of-time compilation supports TPUs only"),
        (["chat", "--connect", "127.0.0.1:1", "hi"], "jaxchat: "),
        (["batch", "/nonexistent", "/dev/null/out"], "No such file"),
        (["batch", "/dev/null", "/dev/null/out"], "/dev/null: no requests"),
        (["bench", "localhost:8000"], "the URL must be as http://host:8000, got 'localhost:8000'"),
        (["bench", "http://127.0.0.1:1"], "http://127.0.0.1:1: "),
        (["bench", "http://a", "--rate", "1", "--concurrency", "2"], "rate and concurrency are two kinds of load"),
        (["replay", "/dev/null"], "/dev/null: the file is empty"),
        (["serve", "--template-date", "tomorrow"], "template_date must be a day as YYYY-MM-DD or None, got 'tomorrow'"),
        (["chat", "--template-date", "2026-3-9", "hi"], "template_date must be a day as YYYY-MM-DD or None"),
        (["chat", "--connect", "a:1", "--template-date", "2026-03-09"], "template_date is a setting of the server"),
    ],
)
def test_errors_are_one_line(capsys, arguments, message):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--url", "http://a", "--model", "b"], "--model loads a model, so it cannot stand beside --url"),
        (["--url", "http://a", "--slots", "4"], "slots is a setting of the server, so it cannot stand beside --url"),
        (["--url", "http://a", "--prefill-buckets", "64"], "prefill_buckets is a setting of the server"),
        (["--url", "http://a", "--allow-unknown-fields"], "allow_unknown_fields is a setting of the server"),
        (["--api-key-file", "key"], "api_key_file is for a server, so it needs --url"),
        (["--url", "ftp://a"], "the URL must be as http://host:8000, got 'ftp://a'"),
    ],
)
def test_flags_of_a_model_and_of_a_server_do_not_mix(tmp_path, capsys, flags, message):
    record = tmp_path / "record.json"
    record.write_text('{"request": {"seed": 1, "messages": []}, "response": {"choices": []}}')
    assert main(["replay", str(record), *flags]) == 1
    assert message in capsys.readouterr().err


def test_rest_without_its_packages(monkeypatch, capsys):
    monkeypatch.setattr("serving.observability.observers.find_spec", lambda name: None)
    assert main(["serve"]) == 1
    assert "starlette, uvicorn and prometheus_client" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "taken"),
    [({}, "0.9"), ({"XLA_CLIENT_MEM_FRACTION": "0.5"}, "0.5"), ({"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.5"}, None)],
)
def test_serve_takes_what_a_plan_counts_on_of_a_gpu_unless_told_otherwise(monkeypatch, given, taken):
    def load_session(*arguments, **options):
        seen.append(given.get("XLA_CLIENT_MEM_FRACTION"))
        raise ValueError("seen enough")

    seen = []
    monkeypatch.setattr(os, "environ", given)
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    monkeypatch.setitem(sys.modules, "jaxchat.api", SimpleNamespace(load_session=load_session))
    assert main(["serve", *FREE_PORTS, "--cache-dir", "none"]) == 1
    assert seen == [taken]


@pytest.mark.parametrize("command", ["serve", "chat"])
def test_the_day_of_the_template_reaches_the_model(monkeypatch, command):
    def load_session(model, engine, progress, chat, **options):
        seen.append(chat)
        raise ValueError("seen enough")

    seen = []
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    monkeypatch.setitem(sys.modules, "jaxchat.api", SimpleNamespace(load_session=load_session))
    flags = ["--template-date", "2026-03-09", "--chat-template-kwargs", '{"thinking": false}', "--cache-dir", "none"]
    assert main([command, *flags, *(["Hello"] if command == "chat" else FREE_PORTS)]) == 1
    assert seen == [ChatConfig(template_date="2026-03-09", chat_template_kwargs='{"thinking": false}')]


@pytest.mark.parametrize(
    ("given", "level", "taken"),
    [({}, "warning", "3"), ({}, "info", None), ({}, "debug", "0"), ({"TF_CPP_MIN_LOG_LEVEL": "1"}, "warning", "1")],
)
def test_the_compiler_is_quiet_unless_told_otherwise(monkeypatch, given, level, taken):
    monkeypatch.setattr(os, "environ", given)
    quiet_compiler(level)
    assert given.get("TF_CPP_MIN_LOG_LEVEL") == taken


def test_models_lists_directories(tmp_path, capsys):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        config = {"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2, "vocab_size": 7}
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    assert main(["models", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert [line.split()[0] for line in lines] == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert "LlamaForCausalLM, 2 layers, 7 tokens in the vocabulary" in lines[0]
    for name in ("c.gguf", "mmproj.gguf"):
        (tmp_path / name).write_bytes(bytes(2_000_000))
    assert main(["models", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{tmp_path / 'c.gguf'}  GGUF, 2.0 MB"


def test_models_names_a_config_that_is_no_object(tmp_path, capsys):
    (tmp_path / "config.json").write_text("[1]")
    assert main(["models", str(tmp_path)]) == 1
    assert "config.json: expected an object, got [1]" in capsys.readouterr().err
    (tmp_path / "config.json").write_text('{"architectures": 5}')
    assert main(["models", str(tmp_path)]) == 0
    assert "unknown architecture" in capsys.readouterr().out


def test_a_damaged_gguf_file_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "a.gguf").write_bytes(b"GGUF\3\0\0\0")
    assert main(["serve", *FREE_PORTS, "--model", str(tmp_path), "--cache-dir", "none"]) == 1
    assert capsys.readouterr().err == f"jaxchat: {tmp_path / 'a.gguf'}: ends in header; it is incomplete\n"


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, "-m", "serving.cli.main", "plan", "llama-3-8b", "--topology", "h200:1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_one_question(server, capsys):
    assert main(["chat", "--connect", server.grpc, "--system", "be", "--seed", "3", "hello you"]) == 0
    assert capsys.readouterr().out == "hello you \n"
    request = server.session.requests[-1]
    assert (request.messages[0].text, request.seed, request.model) == ("be", 3, "fake")
