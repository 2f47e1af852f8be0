"""The example dashboard and alerts ask for metrics, labels and values that there are; the dashboard for all of ours."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.http_server import free_port, until
from tests.test_metrics import scraped

DEPLOY = Path(__file__).parent.parent / "deploy"
ALERTS = DEPLOY / "alerts.yaml"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]

OF_ALERTS = re.findall(r"^ +expr: (.+)$", ALERTS.read_text(encoding="utf-8"), re.MULTILINE)
TARGETS = [target for panel in PANELS for target in panel.get("targets", ())]
EXPRESSIONS = [*OF_ALERTS, *(target["expr"] for target in TARGETS)]

WORDS = {"by", "changes", "count", "histogram_quantile", "increase", "max", "min", "rate", "sum"}
"""PromQL's, as far as they are used."""
BY_PROMETHEUS = {"instance", "job"}
SELECTOR = re.compile(r"([a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')


@pytest.fixture(scope="module")
def labels(settings: Settings) -> dict[str, dict[str, set[str]]]:
    """Each metric's labels, and the values that they have after requests of each kind."""
    replica = settings.orders_database_url.replace("127.0.0.1", "localhost")  # no standby, but counted
    measured = settings.model_copy(update={"metrics_port": free_port(), "orders_replica_url": (replica,)})
    with TestClient(create_app(measured)) as client:
        for query in ("{ products { nodes { id } } }", "{ __schema { description } }", "{"):
            client.post("/graphql", json={"query": query})
        until(lambda: ("storegraph_product_stats_age_seconds", frozenset()) in scraped(measured))
        series = scraped(measured)
    found: dict[str, dict[str, set[str]]] = {"up": {}}
    for name, with_ in series:
        of_name = found.setdefault(name, {})
        for label, value in with_:
            of_name.setdefault(label, set()).add(value)
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_what_there_is(expression: str, labels: dict[str, dict[str, set[str]]]) -> None:
    names: set[str] = set()
    bare = re.sub(r"by \([^)]*\)|\[[^]]*\]", "", expression)
    for name, matchers in SELECTOR.findall(bare):
        if name in WORDS:
            continue
        names.add(name)
        assert name in labels, expression
        assert not re.sub(MATCHER, "", matchers).strip(", ")
        for label, operator, value in MATCHER.findall(matchers):
            assert label in labels[name].keys() | BY_PROMETHEUS, expression
            if label not in BY_PROMETHEUS | {"status"}:
                assert operator in ("=", "!="), expression
                assert value in labels[name][label], expression
    assert names
    for group in re.findall(r"by \(([^)]*)\)", expression):
        known = BY_PROMETHEUS.union(*(labels[name] for name in names))
        assert set(group.split(", ")) <= known, expression
    assert ("histogram_quantile" in expression) == any(name.endswith("_bucket") for name in names)


def test_all_that_is_counted_is_shown(labels: dict[str, dict[str, set[str]]]) -> None:
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in labels if name.startswith("storegraph_")}
    shown = " ".join(target["expr"] for target in TARGETS)
    assert len(ours) >= 20
    assert {name for name in ours if name not in shown} == set()


def test_a_legend_names_labels_that_the_expression_leaves() -> None:
    for target in TARGETS:
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            groups = re.findall(r"by \(([^)]*)\)", target["expr"])
            assert label in groups[0].split(", ") if groups else label == "instance", target


def test_the_dashboard_s_panels_lie_beside_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        x, y, width, height = (panel["gridPos"][name] for name in ("x", "y", "w", "h"))
        places = {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
        assert x + width <= 24, panel["title"]
        assert not places & taken, panel["title"]
        taken |= places


def test_each_alert_says_what_it_means() -> None:
    text = ALERTS.read_text(encoding="utf-8")
    names = re.findall(r"^ +- alert: (\w+)$", text, re.MULTILINE)
    assert len(names) == len(set(names)) == len(OF_ALERTS) >= 10
    for field in ("severity: (?:critical|warning)", 'summary: ".+"', 'description: ".+"'):
        assert len(re.findall(field, text)) == len(names)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_prometheus_takes_the_alerts() -> None:
    checked = subprocess.run(["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr
