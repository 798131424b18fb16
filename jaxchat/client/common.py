"""What both clients share: channel options, call metadata, error mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from jaxchat.client.grpc_errors import from_rpc
from jaxchat.errors import ChatError

Metadata = tuple[tuple[str, str], ...]

CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 8 * 1024 * 1024),
)


def metadata_for(api_key: str | None, headers: Mapping[str, str] | None) -> Metadata:
    """Call metadata: the API key as a bearer token, and further headers, whose keys become lower case."""
    pairs = [(key.lower(), value) for key, value in (headers or {}).items()]
    if api_key is not None:
        pairs.append(("authorization", f"Bearer {api_key}"))
    return tuple(pairs)


def error_of(error: grpc.RpcError) -> ChatError:
    """The `ChatError` behind an RPC error of either kind of channel. Type stubs of the two differ, duck typing fits."""
    code: grpc.StatusCode = error.code()
    trailers: Any = error.trailing_metadata()
    return from_rpc(code, error.details(), trailers)
