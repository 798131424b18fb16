"""What `serving/deploy` says holds: against the schemas of Kubernetes, and against our own command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from jaxchat.config import ChatConfig, EngineConfig
from serving.cli.flags import from_flags
from serving.cli.main import _parser
from serving.config import LogConfig, MultihostConfig, ServeConfig
from serving.grpc.server import SERVICE

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "serving/deploy"
VERSION = "1.36"
IN_A_GROUP = {"LWS_GROUP_SIZE": "4", "LWS_WORKER_INDEX": "3", "LWS_LEADER_ADDRESS": "jaxchat-slice-0.jaxchat-slice.ns"}


def documents() -> Iterator[Any]:
    for path in sorted((FOLDER / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield pytest.param(document, id=f"{path.name}:{document['kind']}")


def of_kind(kind: str) -> list[Any]:
    return [param.values[0] for param in documents() if param.values[0]["kind"] == kind]


def templates() -> Iterator[Any]:
    """The pod templates of all workloads, each with the number of pods of its group."""
    for workload in of_kind("Deployment"):
        yield workload["spec"]["template"], 1
    for workload in of_kind("LeaderWorkerSet"):
        group = workload["spec"]["leaderWorkerTemplate"]
        for name in ("leaderTemplate", "workerTemplate"):
            yield group[name], group["size"]


def settings(template: Any) -> dict[type, Any]:
    """What the container's arguments mean to the command. Raises SystemExit or ValueError when it takes them not."""
    arguments = template["spec"]["containers"][0]["args"]
    expanded = [re.sub(r"\$\((\w+)\)", lambda name: IN_A_GROUP[name[1]], argument) for argument in arguments]
    args = _parser().parse_args(expanded)
    kinds: list[type] = [ServeConfig, ChatConfig, EngineConfig, MultihostConfig, LogConfig]
    return {kind: from_flags(args, kind) for kind in kinds}


@pytest.mark.parametrize("document", list(documents()))
def test_manifests_are_valid(document: Any) -> None:
    match document["kind"]:
        case "LeaderWorkerSet":
            check_group(document)
        case "PodMonitor":
            check_monitor(document)
        case _:
            kubernetes_validate.validate(document, VERSION, strict=True)


def check_group(document: Any) -> None:
    """Its own fields by name; its templates as the pods that they are."""
    assert document["apiVersion"] == "leaderworkerset.x-k8s.io/v1"
    spec = document["spec"]
    assert spec.keys() <= {"replicas", "leaderWorkerTemplate", "rolloutStrategy", "startupPolicy", "networkConfig"}
    assert spec["startupPolicy"] in ("LeaderCreated", "LeaderReady")
    group = spec["leaderWorkerTemplate"]
    assert group.keys() == {"size", "restartPolicy", "leaderTemplate", "workerTemplate"}
    assert group["restartPolicy"] == "RecreateGroupOnPodRestart"
    for name in ("leaderTemplate", "workerTemplate"):
        pod = {"apiVersion": "v1", "kind": "Pod", **group[name]}
        kubernetes_validate.validate(pod, VERSION, strict=True)


def check_monitor(document: Any) -> None:
    assert document["apiVersion"] == "monitoring.coreos.com/v1"
    assert document["spec"].keys() == {"selector", "podMetricsEndpoints"}
    expressions = document["spec"]["selector"]["matchExpressions"]
    assert all(expression.keys() == {"key", "operator", "values"} for expression in expressions)
    (endpoint,) = document["spec"]["podMetricsEndpoints"]
    assert endpoint.keys() <= {"port", "path", "interval"}
    assert all(selected(template, expressions) == ("ports" in container(template)) for template, _ in templates())


def selected(template: Any, expressions: Any) -> bool:
    labels = template["metadata"]["labels"]
    return all((labels.get(e["key"]) in e["values"]) == (e["operator"] == "In") for e in expressions)


def container(template: Any) -> Any:
    (only,) = template["spec"]["containers"]
    return only


def test_a_schema_that_does_not_hold_is_noticed() -> None:
    (deployment,) = of_kind("Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["grcp"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSION, strict=True)


@pytest.mark.parametrize(("template", "size"), list(templates()))
def test_containers_run_a_command_that_fits_their_ports_and_probes(template: Any, size: int) -> None:
    configs, spec = settings(template), container(template)
    serve, multihost = configs[ServeConfig], configs[MultihostConfig]
    assert multihost.processes == size
    assert serve.host == "0.0.0.0"  # of all addresses, or the probes reach nobody
    leaving = spec["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert (
        template["spec"]["terminationGracePeriodSeconds"] > serve.shutdown_grace + leaving >= serve.shutdown_grace + 5
    )
    mounts = {mount["mountPath"]: mount for mount in spec["volumeMounts"]}
    assert not mounts[configs[EngineConfig].cache_dir].get("readOnly")
    assert {mount["name"] for mount in mounts.values()} <= {volume["name"] for volume in template["spec"]["volumes"]}
    if "ports" not in spec:
        assert not any(name.endswith("Probe") for name in spec)
        return
    ports = {port["name"]: port["containerPort"] for port in spec["ports"]}
    expected = {"grpc": serve.grpc_port, "http": serve.rest_port, "metrics": serve.metrics_port}
    if size > 1:
        expected |= {"pod": multihost.port, "distributed": multihost.distributed_port}
    assert ports == expected
    assert spec["startupProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    assert spec["readinessProbe"]["grpc"] == {"port": serve.grpc_port, "service": SERVICE}
    assert spec["livenessProbe"]["tcpSocket"]["port"] in ports
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(serve.metrics_port)


@pytest.mark.parametrize(("template", "size"), list(templates()))
def test_pods_are_admitted_where_the_standard_is_restricted(template: Any, size: int) -> None:
    pod, held = template["spec"]["securityContext"], container(template)["securityContext"]
    assert pod["runAsNonRoot"] and pod["seccompProfile"]["type"] == "RuntimeDefault"
    assert held["capabilities"] == {"drop": ["ALL"]} and held["allowPrivilegeEscalation"] is False
    assert held["readOnlyRootFilesystem"]
    user = re.search(r"^USER (\d+)$", (FOLDER / "Containerfile").read_text(), re.M)
    assert user and int(user[1]) == pod["runAsUser"] == pod["fsGroup"]


@pytest.mark.parametrize("service", of_kind("Service"), ids=lambda service: service["metadata"]["name"])
def test_services_find_pods_that_have_their_ports(service: Any) -> None:
    selector = service["spec"]["selector"].items()
    matching = [template for template, _ in templates() if selector <= template["metadata"]["labels"].items()]
    assert matching
    for template in matching:
        names = {port["name"] for port in container(template)["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def test_all_processes_of_a_group_get_the_same_arguments() -> None:
    (workload,) = of_kind("LeaderWorkerSet")
    group = workload["spec"]["leaderWorkerTemplate"]
    leader, worker = (container(group[name]) for name in ("leaderTemplate", "workerTemplate"))
    assert leader["args"] == worker["args"]
    assert leader["image"] == worker["image"] and leader["resources"] == worker["resources"]


def test_the_container_has_what_it_copies_and_runs_our_command() -> None:
    text = (FOLDER / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    instructions = [name for name, _ in lines]
    assert instructions[0] == "FROM" and instructions.index("USER") < instructions.index("ENTRYPOINT")
    for _, arguments in (line for line in lines if line[0] == "COPY" and "--from=" not in line[1]):
        assert all((ROOT / source).exists() for source in arguments.split()[:-1])
    entry, command = (yaml.safe_load(arguments) for name, arguments in lines if name in ("ENTRYPOINT", "CMD"))
    assert entry == ["jaxchat"]
    args = _parser().parse_args(command)
    serve = from_flags(args, ServeConfig)
    exposed = next(arguments for name, arguments in lines if name == "EXPOSE").split()
    assert sorted(map(int, exposed)) == sorted([serve.rest_port, serve.grpc_port, serve.metrics_port])
    assert from_flags(args, EngineConfig).cache_dir in yaml.safe_load(next(r for n, r in lines if n == "VOLUME"))
    health = next(arguments for name, arguments in lines if name == "HEALTHCHECK")
    assert f"http://127.0.0.1:{serve.rest_port}/health" in health
