"""The manifests for servers below a router fit our command, our metrics page and each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families as parse

from jaxchat.config import ChatConfig, EngineConfig
from serving.cli.flags import from_flags
from serving.cli.main import _parser
from serving.config import LogConfig, ServeConfig
from serving.grpc.server import SERVICE
from serving.observability.metrics import Metrics
from tests.serving import promql
from tests.serving.fake_session import FakeSession
from tests.serving.test_deploy import VERSION, container

FOLDER = Path(__file__).resolve().parents[2] / "serving/deploy/kubernetes/routing"
DOCUMENTS = [document for path in sorted(FOLDER.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]
BUILT_IN = {"Deployment", "Service", "NetworkPolicy", "ConfigMap"}
FIELDS = {  # of `spec`, by the API of each custom resource; from their definitions of August 2026
    ("inference.networking.k8s.io/v1", "InferencePool"): {"selector", "targetPorts", "endpointPickerRef"},
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): {"parentRefs", "rules"},
    ("serving.kserve.io/v1alpha2", "LLMInferenceService"): {
        "labels",
        "model",
        "replicas",
        "router",
        "storageInitializer",
        "template",
    },
    ("keda.sh/v1alpha1", "ScaledObject"): {
        "scaleTargetRef",
        "minReplicaCount",
        "maxReplicaCount",
        "cooldownPeriod",
        "triggers",
    },
}


def only(kind: str) -> Any:
    (document,) = [document for document in DOCUMENTS if document["kind"] == kind]
    return document


def configurations() -> dict[str, Any]:
    """The configurations of the router, by name."""
    texts = only("ConfigMap")["data"]
    kserve = only("LLMInferenceService")["spec"]["router"]["scheduler"]["config"]["inline"]
    return {name: yaml.safe_load(text) for name, text in texts.items()} | {"kserve": kserve}


def plugin(name: str, kind: str) -> Any:
    """The parameters of a plug-in of a configuration."""
    (one,) = [each for each in configurations()[name]["plugins"] if each["type"] == kind]
    return one.get("parameters", {})


def settings(spec: Any) -> dict[type, Any]:
    """What a container's arguments mean to the command."""
    args = _parser().parse_args(spec["args"])
    kinds: list[type] = [ServeConfig, ChatConfig, EngineConfig, LogConfig]
    return {kind: from_flags(args, kind) for kind in kinds}


SERVERS = container(only("Deployment")["spec"]["template"])
NAMES = list(configurations())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: f"{each['kind']} {each['metadata']['name']}")
def test_manifests_are_valid(document: Any) -> None:
    if document["kind"] in BUILT_IN:
        kubernetes_validate.validate(document, VERSION, strict=True)
    else:
        assert document["spec"].keys() == FIELDS[document["apiVersion"], document["kind"]]


def test_servers_fit_their_ports_and_probes_and_the_router() -> None:
    configs, template = settings(SERVERS), only("Deployment")["spec"]["template"]
    serve = configs[ServeConfig]
    assert serve.host == "0.0.0.0" and serve.metrics_port is None and serve.api_keys is None and serve.tls_cert is None
    ports = {port["name"]: port["containerPort"] for port in SERVERS["ports"]}
    events = int(serve.kv_events.rpartition(":")[2])
    assert ports == {"grpc": serve.grpc_port, "http": serve.rest_port, "kv-events": events}
    assert SERVERS["readinessProbe"]["grpc"] == {"port": serve.grpc_port, "service": SERVICE}
    assert template["spec"]["terminationGracePeriodSeconds"] >= serve.shutdown_grace + 5
    discovery = plugin("precise-prefix.yaml", "precise-prefix-cache-producer")
    assert discovery["kvEventsConfig"]["podDiscoveryConfig"] == {"socketPort": events}
    assert discovery["tokenProcessorConfig"]["blockSize"] == configs[EngineConfig].prefill_chunk
    (mounted,) = [each for each in SERVERS["volumeMounts"] if each["mountPath"] == configs[EngineConfig].cache_dir]
    assert not mounted.get("readOnly")


def test_the_pool_and_what_leads_to_it_find_the_servers() -> None:
    labels = only("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    pool, serve = only("InferencePool"), settings(SERVERS)[ServeConfig]
    assert pool["spec"]["selector"]["matchLabels"].items() <= labels
    assert pool["spec"]["targetPorts"] == [{"number": serve.rest_port}]
    assert only("Service")["spec"]["selector"].items() <= labels
    assert only("NetworkPolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels
    (reference,) = only("HTTPRoute")["spec"]["rules"][0]["backendRefs"]
    assert (reference["kind"], reference["name"]) == ("InferencePool", pool["metadata"]["name"])
    assert reference["group"] == pool["apiVersion"].partition("/")[0]
    assert only("ScaledObject")["spec"]["scaleTargetRef"]["name"] == only("Deployment")["metadata"]["name"]
    service = only("Service")
    url = f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert plugin("precise-prefix.yaml", "token-producer")["vllm"] == {"url": url}


def test_only_the_router_reads_kv_events() -> None:
    spec, port = only("NetworkPolicy")["spec"], {"port": "kv-events"}
    (rule,) = [rule for rule in spec["ingress"] if port in rule["ports"]]
    (source,) = rule["from"]
    router = only("InferencePool")["spec"]["endpointPickerRef"]["name"]
    assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": router}


def test_kserve_runs_a_command_that_serves_the_model_it_names() -> None:
    spec = only("LLMInferenceService")["spec"]
    (main,) = spec["template"]["containers"]
    args = _parser().parse_args(main["args"])
    serve = settings(main)[ServeConfig]
    (model,) = args.model
    assert main["command"] == ["jaxchat"] and model == spec["model"]["name"]
    assert spec["model"]["uri"] == f"hf://{model}" and not spec["storageInitializer"]["enabled"]
    assert serve.host == "0.0.0.0" and serve.metrics_port is None and serve.tls_cert
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert main[name]["httpGet"] == {"path": "/health", "port": serve.rest_port, "scheme": "HTTPS"}
    assert plugin("kserve", "metrics-data-source")["scheme"] == "https"


@pytest.mark.parametrize("name", NAMES)
def test_a_configuration_refers_to_its_own_plugins(name: str) -> None:
    configuration = configurations()[name]
    assert (configuration["apiVersion"], configuration["kind"]) == ("llm-d.ai/v1alpha1", "EndpointPickerConfig")
    types = {each["type"] for each in configuration["plugins"]}
    sources = configuration["dataLayer"]["sources"]
    used = {each["pluginRef"] for each in sources}
    used |= {extractor["pluginRef"] for each in sources for extractor in each["extractors"]}
    used |= {each["pluginRef"] for profile in configuration["schedulingProfiles"] for each in profile["plugins"]}
    assert used <= types
    assert types - used <= {"single-profile-handler", "token-producer"}  # which no other part refers to


@pytest.mark.parametrize("name", NAMES)
def test_the_router_reads_our_page_by_its_mapping(name: str) -> None:
    parameters = plugin(name, "core-metrics-extractor")
    (engine,) = parameters["engineConfigs"]
    labels = only("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert engine["name"] == parameters["defaultEngine"] == labels["llm-d.ai/engine-type"]
    page = Metrics([FakeSession()]).page().decode()
    found = {sample.name: sample for family in parse(page) for sample in family.samples}
    values = {role: found[engine[f"{role}Spec"]].value for role in ("queuedRequests", "runningRequests", "kvUsage")}
    assert values == {"queuedRequests": 3, "runningRequests": 2, "kvUsage": 0.25}
    sizes = found[engine["cacheInfoSpec"]].labels
    assert (int(sizes["block_size"]), int(sizes["num_gpu_blocks"])) == (32, 10)


def test_scaling_asks_for_what_the_page_has_and_stays_below_the_slots() -> None:
    (trigger,) = only("ScaledObject")["spec"]["triggers"]
    promql.check(trigger["metadata"]["query"])
    assert trigger["type"] == "prometheus"
    assert 0 < float(trigger["metadata"]["threshold"]) <= settings(SERVERS)[EngineConfig].slots
