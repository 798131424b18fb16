"""What Prometheus reads."""

from __future__ import annotations

import time

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from jaxchat.chat.context import Record
from serving.observability.metrics import Metrics
from tests.serving.fake_session import FakeSession


@pytest.fixture
def session():
    return FakeSession()


@pytest.fixture
def metrics(session):
    return Metrics(session)


def read(metrics):
    return samples(parse(metrics.page().decode()))


def samples(families):
    values = {}
    for family in families:
        for sample in family.samples:
            assert sample.labels.pop("model_name") == "fake"
            prefix, _, name = sample.name.partition(":")
            assert prefix == "jaxchat"
            values[name, *(value for _, value in sorted(sample.labels.items(), reverse=True))] = sample.value
    return values


def answer(metrics, *, gaps=(), **fields):
    """A request of one choice whose tokens come `gaps` seconds apart."""
    record = Record(request_id="req_secret", model="secret", streamed=False, user="secret", prompt_tokens=7)
    for gap in gaps:
        record.completion_tokens += 1
        record.first_token = record.first_token or 0.02
        metrics.tokens(record, 1, gap)
    for name, value in fields.items():
        setattr(record, name, value)
    metrics.finished(record)


def test_load_is_read_at_each_scrape(session, metrics):
    values = read(metrics)
    assert (values["num_requests_running",], values["num_requests_waiting",]) == (2, 3)
    assert values["kv_cache_usage_perc",] == 0.25
    assert values["compiles_after_ready_total",] == 0
    session.stats.running, session.stats.pages_in_use, session.compiles_after_ready = 4, 20, 1
    session.stats.preemptions, session.stats.drafts, session.stats.accepted_drafts = 7, 9, 8
    values = read(metrics)
    assert (values["num_requests_running",], values["kv_cache_usage_perc",]) == (4, 1)
    assert values["compiles_after_ready_total",] == 1
    assert values["num_preemptions_total",] == 7
    assert values["spec_decode_num_draft_tokens_total",] == 9
    assert values["spec_decode_num_accepted_tokens_total",] == 8


def test_completed_requests(metrics):
    answer(metrics, gaps=(None, 0.004, 0.03), outcome="completed", seconds=0.9, finish_reasons=("stop", "length"))
    found = read(metrics)
    assert (found["prompt_tokens_total",], found["generation_tokens_total",]) == (7, 3)
    assert (found["time_to_first_token_seconds_count",], found["time_to_first_token_seconds_sum",]) == (1, 0.02)
    assert found["inter_token_latency_seconds_count",] == 2
    assert found["inter_token_latency_seconds_bucket", "0.005"] == 1
    assert found["e2e_request_latency_seconds_sum",] == 0.9
    assert found["request_success_total", "stop"] == found["request_success_total", "length"] == 1
    assert found["request_outcomes_total", "completed", ""] == 1


def test_time_to_first_token_counts_once_a_request(metrics):
    answer(metrics, gaps=(None, None, 0.1, 0.1), outcome="completed")
    found = read(metrics)
    assert found["time_to_first_token_seconds_count",] == 1 and found["prompt_tokens_total",] == 7


def test_other_ends(metrics):
    assert read(metrics)["request_outcomes_total", "cancelled", ""] == 0
    answer(metrics, outcome="refused", error="model_not_found")
    answer(metrics, gaps=(None,), outcome="cancelled")
    found = read(metrics)
    assert found["request_outcomes_total", "refused", "model_not_found"] == 1
    assert found["request_outcomes_total", "cancelled", ""] == 1
    assert found["e2e_request_latency_seconds_count",] == 0
    assert not any(name[0] == "request_success_total" for name in found)


def test_nothing_of_the_request_is_in_it(metrics):
    answer(metrics, gaps=(None,), outcome="completed", finish_reasons=("stop",))
    assert "secret" not in metrics.page().decode()


def test_two_sessions_in_one_process_count_apart(session, metrics):
    other = Metrics(session)
    answer(metrics, outcome="cancelled")
    assert read(other)["request_outcomes_total", "cancelled", ""] == 0


def test_a_token_costs_next_to_nothing(metrics):
    record = Record(request_id="r", model="m", streamed=True, completion_tokens=5, first_token=0.1)
    best = min(_seconds(metrics, record) for _ in range(5))
    assert best < 20e-6, f"{best * 1e6:.1f} microseconds a token"  # 1 to 2 alone; the machine may be busy


def _seconds(metrics, record):
    began = time.perf_counter()
    for _ in range(2_000):
        metrics.tokens(record, 1, 0.03)
    return (time.perf_counter() - began) / 2_000


def test_on_the_rest_port(server):
    accept = {"accept": "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3"}
    reply = httpx.get(f"{server.rest}/metrics", headers=accept, trust_env=False)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert samples(parse(reply.text))["num_requests_running",] == 2


def test_on_a_port_of_their_own_without_a_key(run, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("key\n")
    server = run(metrics_port=0, api_keys=str(keys))
    assert samples(parse(httpx.get(server.servers.metrics_url, trust_env=False).text))["num_requests_running",] == 2
    allowed = {"authorization": "Bearer key"}
    assert httpx.get(f"{server.rest}/metrics", headers=allowed, trust_env=False).status_code == 404
