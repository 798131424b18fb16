"""The generated code is what `make proto` makes of the protocol files."""

from __future__ import annotations

import pytest

pytest.importorskip("grpc_tools")

from tools.proto import ROOT, generate


def test_generated_code_is_fresh(tmp_path):
    generate(tmp_path)
    for package in ("jaxchat/v1", "jaxchat/multihost/v1"):
        made = {path.name: path.read_text() for path in (tmp_path / package).iterdir()}
        kept = {path.name: path.read_text() for path in (ROOT / package).glob("*_pb2*")}
        assert kept == made, "run `make proto`"
