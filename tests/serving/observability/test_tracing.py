"""Spans, read back from memory; what is sent goes through the same exporter interface."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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


@pytest.fixture
def collector():
    """A gRPC server that takes spans: its address, and the requests it got."""
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


def test_a_collector(collector):
    address, received = collector
    tracing = otlp(f"http://{address}")
    tracing.finished(record(outcome="completed", status=200))
    tracing.close()
    (request,) = received
    (span,) = request.resource_spans[0].scope_spans[0].spans
    assert span.name == "chat tiny"
