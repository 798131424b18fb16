"""Flags of the command line, made from the configurations."""

from __future__ import annotations

import argparse
import re

import pytest

from jaxchat.config import ChatConfig, EngineConfig
from jaxchat.settings import setting_types, without_none
from serving.cli.flags import add_flags, from_flags, to_flags
from serving.cli.main import _parser, main
from serving.config import BackendConfig, LogConfig, MultihostConfig, ServeConfig


def test_flags_come_from_the_configuration():
    parser = _parser()
    args = parser.parse_args(
        ["serve", "--slots", "4", "--shutdown-grace", "1.5", "--allow-unknown-fields", "--dtype", "bfloat16"]
    )
    assert from_flags(args, EngineConfig) == EngineConfig(slots=4, dtype="bfloat16")
    assert from_flags(args, ServeConfig) == ServeConfig(shutdown_grace=1.5, allow_unknown_fields=True)
    defaults = parser.parse_args(["serve"])
    assert from_flags(defaults, EngineConfig) == EngineConfig()
    assert to_flags(EngineConfig()) == []
    add_flags(parser, EngineConfig, "engine")
    assert "--page-size" in parser.format_help()


@pytest.mark.parametrize(
    "config",
    [
        EngineConfig(slots=3, prefill_buckets=(128, 256), expert_parallel=True, dtype="bfloat16"),
        EngineConfig(prefill_buckets=(), decode_buckets=(), quantize="int8", pages=100, max_seq_len=512),
        EngineConfig(cache_dir=None, attention="xla", cpu_matmul="xla"),
        ServeConfig(rest_port=None, startup_prompt=None, metrics_port=0, api_keys="keys", shutdown_grace=1.5),
        ChatConfig(template_date="2026-03-09", chat_template_kwargs='{"enable_thinking": false}'),
        ServeConfig(grpc_port=None, otlp_endpoint="http://collector:4317", allow_unknown_fields=True),
    ],
)
def test_the_flags_of_a_configuration_describe_it(config):
    assert from_flags(_parser().parse_args(["serve", *to_flags(config)]), type(config)) == config


@pytest.mark.parametrize("word", ["none", "None", "NONE"])
def test_none_is_a_word_for_every_setting_that_may_be_none(word):
    for config in (EngineConfig, ChatConfig, ServeConfig, MultihostConfig):
        for name, kind in setting_types(config).items():
            if without_none(kind)[1]:
                args = _parser().parse_args(["serve", "--" + name.replace("_", "-"), word])
                assert getattr(from_flags(args, config), name) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--products", "xla"], "serve: error: unknown flag --products: it is now --cpu-matmul"),
        (["serve", "--queue", "4"], "unknown flag --queue: it is now --max-queued"),
        (["serve", "--chunk=32"], "unknown flag --chunk: it is now --prefill-chunk"),
        (["serve", "--context", "64"], "unknown flag --context: it is now --max-seq-len"),
        (["serve", "--grace", "1"], "unknown flag --grace: it is now --shutdown-grace"),
        (["serve", "--max-held", "4096"], "unknown flag --max-held: it is now --max-buffered-bytes"),
        (["serve", "--max-seconds", "4"], "unknown flag --max-seconds: it is now --request-timeout"),
        (["serve", "--greeting", "hi"], "unknown flag --greeting: it is now --startup-prompt"),
        (["serve", "--decode-shapes", "4"], "unknown flag --decode-shapes: it is now --decode-buckets"),
        (["serve", "--prefill-chunks", "4"], "unknown flag --prefill-chunks: it is now --prefill-buckets"),
        (["serve", "--tool-syntax", "auto"], "unknown flag --tool-syntax: it is now --tool-format"),
        (["rest", "--grace", "1"], "rest: error: unknown flag --grace: it is now --shutdown-grace"),
        (["plan", "m", "--topology", "v5e:1x1", "--context", "9"], "unknown flag --context: it is now --max-seq-len"),
        (["serve", "--slot", "4"], "unknown flag --slot: did you mean --slots?"),
        (["rest", "--backend-certificate", "a"], "unknown flag --backend-certificate: did you mean --backend-cert?"),
        (["serve", "--zebra"], "unknown flag --zebra\n"),
        (["keys", "spare"], "keys: error: unexpected argument: spare"),
        (["serve", "--quantize", "int3"], "invalid choice: 'int3'"),
        (["serve", "--pages", "few"], "invalid int value: 'few'"),
    ],
)
def test_unknown_flags_name_the_nearest_one(capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_help_says_what_a_value_is():
    parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=1000))
    for config in (EngineConfig, ChatConfig, ServeConfig, MultihostConfig, LogConfig, BackendConfig):
        add_flags(parser, config, config.__name__)
    text = parser.format_help()
    for flag in (
        "--tls-cert FILE",
        "--cache-dir FOLDER|none",
        "--backend [HOST:PORT ...]",
        "--rest-port PORT|none",
        "--request-timeout SECONDS",
        "--max-body BYTES",
        "--prefill-buckets [TOKENS ...]",
        "--quantize {int8,int4,none}",
        "--attention NAME",
    ):
        assert re.search(rf"^  {re.escape(flag)}(  |$)", text, re.MULTILINE)
    assert "(default: 64 and 256, where multiples of the chunk)" in text
    assert not re.search(r"\b(INT|STR|FLOAT)\b|False|True|None", text)
