"""Registers the chat service's methods with a parser that never fails.

For malformed bytes, gRPC itself would answer UNKNOWN. The servicer answers INVALID_ARGUMENT instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from jaxchat.v1 import service_pb2

_SERVICE = service_pb2.DESCRIPTOR.services_by_name["ChatService"]
SERVICE: str = _SERVICE.full_name


class Undecodable:
    """A placeholder for a request whose bytes could not be parsed. The servicer rejects it."""


def add_methods(servicer: Any, server: grpc.aio.Server) -> None:
    """Registers all methods of `servicer`. A method gets `Undecodable` in place of a request that cannot be parsed."""
    handlers = {}
    for method in _SERVICE.methods:
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        handlers[method.name] = make(
            getattr(servicer, method.name),
            request_deserializer=_decoder(GetMessageClass(method.input_type)),
            response_serializer=GetMessageClass(method.output_type).SerializeToString,
        )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


def _decoder(kind: type[Message]) -> Callable[[bytes], Message | Undecodable]:
    def decode(data: bytes) -> Message | Undecodable:
        try:
            return kind.FromString(data)
        except DecodeError:
            return Undecodable()

    return decode
