"""Errors as gRPC carries them: back unchanged, and in trailers that every client accepts."""

from __future__ import annotations

from urllib.parse import quote

import grpc
import pytest

from jaxchat.client.grpc_errors import DETAILS_KEY, fit, from_rpc, status_code, to_details
from jaxchat.errors import ChatError, invalid, queue_full

SOFT_LIMIT = 8192  # bytes of metadata from which gRPC's own clients may refuse an answer


def back(error: ChatError) -> ChatError:
    details = to_details(error, "req_1")
    return from_rpc(status_code(error), "something else", [(DETAILS_KEY, details)])


@pytest.mark.parametrize("error", [invalid("messages.0.name", "expected a name, got 'é'."), queue_full(3, 2)])
def test_an_error_comes_back_as_it_was(error: ChatError) -> None:
    again = back(error)
    assert (again.message, again.param, again.code) == (error.message, error.param, error.code)
    assert (again.http_status, again.retry_after) == (error.http_status, error.retry_after)
    assert again.request_id == "req_1" and str(again) == error.message


@pytest.mark.parametrize("char", ["n", "é", "語", "\N{GRINNING FACE}", "\ud800", "\n"])
def test_the_longest_error_fits_into_trailers(char: str) -> None:
    error = invalid(f"tools.{char * 6000}", char * 6000)
    message, details = fit(error).message, to_details(error, "r" * 64)
    assert len(quote(message)) + len(details) * 4 / 3 < 0.8 * SOFT_LIMIT
    again = back(error)
    assert again.http_status == 400 and again.param and again.param.startswith("tools.")
    assert again.message == message and message.startswith("Invalid value for 'tools.")


def test_without_details_the_status_tells_what_it_can() -> None:
    assert from_rpc(grpc.StatusCode.INVALID_ARGUMENT, None, None).http_status == 400
