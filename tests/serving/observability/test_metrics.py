"""What Prometheus reads."""

from __future__ import annotations

import math
import time
from collections import Counter
from importlib.metadata import version

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from jaxchat.chat.context import Record
from serving.config import ServeConfig
from serving.observability.metrics import Metrics, token_buckets
from tests.serving.fake_session import FakeSession


@pytest.fixture
def session():
    return FakeSession()


@pytest.fixture
def metrics(session):
    return Metrics([session])


def read(metrics):
    return samples(parse(metrics.page().decode()))


def samples(families):
    values = {}
    for family in families:
        for sample in family.samples:
            if sample.name.endswith("_info"):
                continue
            assert sample.labels.pop("model_name") == "fake"
            prefix, _, name = sample.name.partition(":")
            assert prefix == "jaxchat"
            values[name, *(value for _, value in sorted(sample.labels.items(), reverse=True))] = sample.value
    return values


def test_totals_of_the_engine_are_read_at_each_scrape(session, metrics):
    session.stats.prefix_queries, session.stats.prefix_hits = 100, 64
    session.stats.tokens, session.stats.step_tokens = 41, {1: 2, 8: 1, math.inf: 1}
    values = read(metrics)
    assert (values["prefix_cache_queries_total",], values["prefix_cache_hits_total",]) == (100, 64)
    assert [values["iteration_tokens_total_bucket", bound] for bound in ("1.0", "8.0", "+Inf")] == [2, 3, 4]
    assert (values["iteration_tokens_total_count",], values["iteration_tokens_total_sum",]) == (4, 41)


def test_prompts_that_are_only_scored_count_once(metrics):
    scored = Record(request_id="a", model="fake", streamed=False, prompt_tokens=5, scored_tokens=4)
    answered = Record(request_id="b", model="fake", streamed=False, prompt_tokens=3, scored_tokens=3)
    answered.completion_tokens, answered.first_token = 1, 0.1
    metrics.tokens(answered, 1, None)
    for record in (scored, answered):
        metrics.finished(record)
    assert read(metrics)["prompt_tokens_total",] == 4 + 3


def test_sizes_and_versions_are_labels(metrics):
    labels = {
        sample.name: sample.labels
        for family in parse(metrics.page().decode())
        for sample in family.samples
        if sample.name.endswith("_info")
    }
    assert labels["jaxchat:cache_config_info"] == {"model_name": "fake", "block_size": "32", "num_gpu_blocks": "10"}
    build = labels["jaxchat:build_info"]
    assert build["jax"] == version("jax") and build["version"] == version("jaxchat")
    assert (build["backend"], build["fingerprint"]) == ("cpu", "fp_0123456789")


def test_another_prefix_changes_every_name_and_nothing_else(session, metrics):
    other = Metrics([session], "vllm").page().decode()
    assert "jaxchat:" not in other and "vllm:num_requests_running" in other
    lines = [line.replace("vllm:", "jaxchat:") for line in other.splitlines() if "_created" not in line]
    assert lines == [line for line in metrics.page().decode().splitlines() if "_created" not in line]


@pytest.mark.parametrize("prefix", ["", "a:b", "1a", "a-b"])
def test_a_prefix_that_no_name_may_have_is_refused(prefix):
    with pytest.raises(ValueError, match="metrics_prefix must be"):
        ServeConfig(metrics_prefix=prefix)


def test_phases_and_sizes_of_a_request(metrics):
    times = dict(queued=0.25, admitted=0.75, last_token=4.0, first_token=1.75)
    answer(metrics, gaps=(None, 0.1), outcome="completed", seconds=5.0, **times)
    found = read(metrics)
    sums = {name: found[f"request_{name}_time_seconds_sum",] for name in ("queue", "prefill", "decode", "inference")}
    assert sums == {"queue": 0.5, "prefill": 1.0, "decode": 2.25, "inference": 3.25}
    assert found["request_prompt_tokens_sum",] == 7 and found["request_generation_tokens_sum",] == 2


def test_a_request_without_a_token_has_no_phases(metrics):
    answer(metrics, outcome="completed", queued=0.1)
    answer(metrics, gaps=(None,), outcome="cancelled", queued=0.1, admitted=0.2)
    found = read(metrics)
    assert found["request_queue_time_seconds_count",] == found["request_inference_time_seconds_count",] == 0
    assert found["request_generation_tokens_count",] == 1


@pytest.mark.parametrize(("most", "bounds"), [(1, (1,)), (7, (1, 2, 5)), (100, (1, 2, 5, 10, 20, 50, 100)), (0, (1,))])
def test_buckets_of_tokens(most, bounds):
    assert token_buckets(most) == bounds


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
    other = Metrics([session])
    answer(metrics, outcome="cancelled")
    assert read(other)["request_outcomes_total", "cancelled", ""] == 0


def test_each_model_has_its_samples_in_one_family(session):
    other = FakeSession("other")
    other.stats.running = 7
    metrics = Metrics([session, other])
    for model in ("other", "unknown"):
        metrics.finished(Record(request_id="r", model=model, streamed=False, outcome="refused", error="e"))
    families = list(parse(metrics.page().decode()))
    assert len({family.name for family in families}) == len(families)  # Prometheus rejects a page that repeats one
    for family in families:
        counts = Counter(sample.labels["model_name"] for sample in family.samples)
        assert set(counts) <= {"fake", "other"} and counts["fake"] == counts["other"]

    def values(name, **labels):
        found = (sample for family in families for sample in family.samples if sample.name == f"jaxchat:{name}")
        return {each.labels["model_name"]: each.value for each in found if labels.items() <= each.labels.items()}

    assert values("num_requests_running") == {"fake": 2, "other": 7}
    unknown = {"fake": 1}  # counts for the first model
    assert values("request_outcomes_total", outcome="refused") == {"other": 1} | unknown


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
