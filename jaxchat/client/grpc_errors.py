"""Converts `ChatError` to a gRPC status with `google.rpc` details, and back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from jaxchat.errors import ChatError, internal, safe_text, timeout

DOMAIN = "jaxchat"
DETAILS_KEY = "grpc-status-details-bin"
MAX_TEXT_BYTES = 600  # of a message or path. Trailers repeat them, and clients refuse more than 8 KiB.

_STATUS = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.UNIMPLEMENTED: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
}


def status_code(error: ChatError) -> grpc.StatusCode:
    """Returns the gRPC status that corresponds to the error's HTTP status, or INTERNAL if none does."""
    return _STATUS.get(error.http_status, grpc.StatusCode.INTERNAL)


def to_details(error: ChatError, request_id: str) -> bytes:
    """Returns a serialized `google.rpc.Status`, to be sent in the trailing metadata under the key `DETAILS_KEY`."""
    error = fit(error)
    metadata = {"type": error.type, "http_status": str(error.http_status)}
    if error.param is not None:
        metadata["param"] = error.param
    reason = error.code or ("invalid_request" if error.http_status < 500 else "internal_error")
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata),
        error_details_pb2.RequestInfo(request_id=request_id),
    ]
    if error.param is not None and error.http_status == 400:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.param, description=error.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after * 1e9))
        details.append(retry)
    code: int = status_code(error).value[0]
    status = status_pb2.Status(code=code, message=error.message, details=map(_pack, details))
    return status.SerializeToString()


def fit(error: ChatError) -> ChatError:
    """Returns the error in a form that fits into gRPC's trailers.

    `message` and `param` are shortened to at most `MAX_TEXT_BYTES` bytes each.
    """
    return replace(error, message=_fit(error.message), param=None if error.param is None else _fit(error.param))


def _fit(text: str) -> str:
    while (size := len(text.encode())) > MAX_TEXT_BYTES:
        text = safe_text(text, len(text) * MAX_TEXT_BYTES // size)
    return text


def _pack(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def error_of(error: grpc.RpcError) -> ChatError:
    """Returns the `ChatError` for an RPC error of a blocking or an asyncio channel."""
    call: Any = error  # the type stubs of the two kinds differ
    return from_rpc(call.code(), call.details(), call.trailing_metadata())


def from_rpc(
    code: grpc.StatusCode, message: str | None, trailers: Iterable[tuple[str, str | bytes]] | None
) -> ChatError:
    """Returns the `ChatError` in the status details of the trailing metadata, or derives one from `code`."""
    error = _without_details(code, message or code.name)
    for key, value in trailers or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            _apply_details(error, value)
    return error


def _without_details(code: grpc.StatusCode, message: str) -> ChatError:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return timeout()
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in message:  # gRPC's own words
        return ChatError("The request is too large.", None, "request_too_large", http_status=413)
    http_status = _HTTP.get(code)
    if http_status is None:
        return internal(message)
    family = "server_error" if http_status >= 500 else "invalid_request_error"
    return ChatError(message, type=family, http_status=http_status)


def _apply_details(error: ChatError, data: bytes) -> None:
    try:
        status = status_pb2.Status.FromString(data)
    except DecodeError:
        return
    info, request, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.RequestInfo(),
        error_details_pb2.RetryInfo(),
    )
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            error.message = status.message
            error.code = None if info.reason == "invalid_request" else info.reason
            error.type = info.metadata.get("type", error.type)
            error.param = info.metadata.get("param")
            error.http_status = int(info.metadata.get("http_status", error.http_status))
        elif detail.Unpack(request):
            error.request_id = request.request_id
        elif detail.Unpack(retry):
            error.retry_after = retry.retry_delay.ToNanoseconds() / 1e9
