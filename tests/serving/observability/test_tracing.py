"""Spans, read back from memory; what is sent goes through the same exporter interface."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from jaxchat.chat.context import Record
from serving.cli.main import main
from serving.observability.tracing import Tracing, otlp


def spans(*records):
    exporter = InMemorySpanExporter()
    tracing = Tracing(exporter)
    for record in records:
        tracing.finished(record)
    tracing.close()
    return exporter.get_finished_spans()


def record(**fields):
    return Record(request_id="req_1", model="tiny", streamed=True, user="alice", accepted=1_700_000_000.5, **fields)


def test_a_completed_request():
    (span,) = spans(
        record(
            choices=2,
            prompt_tokens=5,
            completion_tokens=9,
            first_token=0.25,
            seconds=1.5,
            outcome="completed",
            status=200,
            finish_reasons=("stop", "length"),
        )
    )
    assert (span.name, span.kind, span.status.status_code) == ("chat tiny", SpanKind.SERVER, StatusCode.UNSET)
    assert span.start_time == 1_700_000_000_500_000_000
    assert span.end_time == 1_700_000_002_000_000_000
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "jaxchat",
        "gen_ai.request.model": "tiny",
        "gen_ai.request.stream": True,
        "gen_ai.request.choice.count": 2,
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 9,
        "gen_ai.response.finish_reasons": ("stop", "length"),
        "gen_ai.response.time_to_first_chunk": 0.25,
        "jaxchat.request_id": "req_1",
    }
    assert span.resource.attributes["service.name"] == "jaxchat"


def test_a_text_completion_has_its_own_operation():
    (span,) = spans(record(operation="text_completion"))
    assert (span.name, span.attributes["gen_ai.operation.name"]) == ("text_completion tiny", "text_completion")


TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
PARENT = f"00-{TRACE:032x}-{SPAN:016x}-01"


@pytest.mark.parametrize("parent", [PARENT, f" {PARENT} ", PARENT.replace("00-", "cc-", 1) + "-more"])
def test_a_span_is_a_child_of_the_caller(parent):
    (span,) = spans(record(traceparent=parent, tracestate="vendor=a:1,other=b"))
    assert span.parent and (span.parent.trace_id, span.parent.span_id) == (TRACE, SPAN)
    assert span.parent.is_remote and span.context.trace_id == TRACE != span.context.span_id
    assert span.context.trace_state.to_header() == "vendor=a:1,other=b"


def test_a_trace_that_the_caller_does_not_sample_is_not_sent():
    assert spans(record(traceparent=f"{PARENT[:-2]}00"), record())[0].parent is None


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "nonsense",
        PARENT.upper(),
        PARENT[:-1],
        f"{PARENT}-more",  # version 00 has four fields
        PARENT.replace("00-", "ff-", 1),
        PARENT.replace(f"{TRACE:032x}", "0" * 32),
        PARENT.replace(f"{SPAN:016x}", "0" * 16),
        PARENT.replace("-", "_"),
    ],
)
def test_a_malformed_parent_begins_a_new_trace(parent):
    (span,) = spans(record(traceparent=parent, tracestate="vendor=1"))
    assert span.parent is None and span.context.trace_id not in (0, TRACE)
    assert not span.context.trace_state


def test_a_malformed_state_does_not_lose_the_parent():
    (span,) = spans(record(traceparent=PARENT, tracestate="=,;\x7f"))
    assert span.parent and span.parent.span_id == SPAN and not span.context.trace_state


@pytest.mark.parametrize(
    ("outcome", "error", "status", "kind", "code"),
    [
        ("failed", "numerical_error", 500, "numerical_error", StatusCode.ERROR),
        ("timeout", "timeout", 504, "timeout", StatusCode.ERROR),
        ("refused", "model_not_found", 404, "model_not_found", StatusCode.UNSET),
        ("cancelled", "", 499, "cancelled", StatusCode.UNSET),
    ],
)
def test_errors(outcome, error, status, kind, code):
    (span,) = spans(record(outcome=outcome, error=error, status=status))
    assert (span.attributes["error.type"], span.status.status_code) == (kind, code)


def test_a_span_a_request_and_no_parents():
    recorded = spans(record(), record())
    assert len({span.context.trace_id for span in recorded}) == 2
    assert all(span.parent is None for span in recorded)


def test_without_the_extra(monkeypatch, capsys):
    monkeypatch.setattr(
        "serving.observability.observers.find_spec", lambda name: None if "opentelemetry" in name else True
    )
    assert main(["serve", "--otlp-endpoint", "http://localhost:4317"]) == 1
    assert "pip install 'jaxchat[otel]'" in capsys.readouterr().err


@contextmanager
def collecting():
    """Runs a gRPC server that takes spans. Yields its address, and the requests it got."""
    received = []

    class Collector(service.TraceServiceServicer):
        def Export(self, request, context):
            received.append(request)
            return messages.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    service.add_TraceServiceServicer_to_server(Collector(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", received
    server.stop(0)


def test_a_collector():
    with collecting() as (address, received):
        tracing = otlp(f"http://{address}")
        tracing.finished(record(outcome="completed", status=200))
        tracing.close()
    (request,) = received
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert span.name == "chat tiny"
