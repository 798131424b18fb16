"""Dashboards and alerts ask for metrics and labels that the server's page has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.serving import promql

FOLDER = Path(__file__).resolve().parents[2] / "serving/deploy"
DASHBOARD = json.loads((FOLDER / "grafana/jaxchat.json").read_text())
RULES = yaml.safe_load((FOLDER / "prometheus/alerts.yaml").read_text())
GRAPHS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]


def filled(query: str) -> str:
    """Returns a query as Grafana sends it."""
    return query.replace("$__rate_interval", "1m").replace("$model", ".*").replace("$instance", ".*")


def targets() -> Iterator[Any]:
    for panel in GRAPHS:
        for target in panel["targets"]:
            yield pytest.param(target, id=f"{panel['title']} {target['refId']}")


@pytest.mark.parametrize("target", list(targets()))
def test_a_panel_asks_for_what_there_is(target: dict[str, str]) -> None:
    query = filled(target["expr"])
    assert "$" not in query
    promql.check(query)
    groups = set().union(*(labels for _, labels in promql.named(query)))
    assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= groups


def test_variables_of_the_dashboard_are_labels() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables.keys() == {"datasource", "model", "instance"}
    for name in ("model", "instance"):
        query, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variables[name]["definition"]).groups()
        promql.check(filled(query))
        assert label in promql.page()["jaxchat:num_requests_running"]


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_metric_of_the_server_is_on_the_dashboard() -> None:
    shown = {name for target in targets() for name, _ in promql.named(filled(target.values[0]["expr"]))}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in promql.page() if not name.endswith("_created")}
    assert families - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == {
        "jaxchat:request_inference_time_seconds"  # the sum of two that are shown
    }


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule: dict[str, Any]) -> None:
    promql.check(rule["expr"])
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    groups = set().union(*(labels for _, labels in promql.named(rule["expr"])), promql.OF_PROMETHEUS)
    texts = " ".join(rule["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= groups


@pytest.mark.parametrize(
    "query", ["rate(jaxchat:no_such_total[5m])", 'jaxchat:num_requests_running{user="a"}', "sum by (le) (up)", "1 + 1"]
)
def test_what_the_page_lacks_is_noticed(query: str) -> None:
    with pytest.raises(AssertionError):
        promql.check(query)
