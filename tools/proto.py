"""Generates jaxchat's protobuf and gRPC modules from `proto/`: `python -m tools.proto [OUT]`.

OUT defaults to the repository root.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]
MESSAGES = (
    "jaxchat/v1/chat.proto",
    "jaxchat/v1/text.proto",
    "jaxchat/v1/service.proto",
    "jaxchat/multihost/v1/multihost.proto",
)
SERVICES = ("jaxchat/v1/service.proto", "jaxchat/multihost/v1/multihost.proto")


def generate(out: Path) -> None:
    """Writes modules for messages and services, and type stubs, to `out`. Raises RuntimeError if protoc fails."""
    well_known = files("grpc_tools") / "_proto"
    common = ["protoc", f"-I{ROOT / 'proto'}", f"-I{well_known}"]
    messages = [f"--python_out={out}", f"--pyi_out={out}", *MESSAGES]
    services = [f"--grpc_python_out={out}", *SERVICES]
    for arguments in (messages, services):
        if protoc.main(common + arguments):
            raise RuntimeError("protoc failed")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
