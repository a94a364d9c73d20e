"""The rules, the scrape and the dashboard, by the real promtool and a real Prometheus."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
import yaml

from reconciler.fake_runtime.images import layer
from tests.builders import HANGS
from tests.real.debs import install_tools, what_is_missing
from tests.real.images import free_port
from tests.whole import whole

MISSING = what_is_missing()
pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(300),
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]
ROOT = Path(__file__).parents[2]
RULES = ROOT / "config/prometheus/rules.yaml"
SCRAPE = ROOT / "config/prometheus/scrape.yaml"
DASHBOARD = ROOT / "config/grafana/dashboard.json"
VARIABLES = {"$__rate_interval": "1m", "$__range": "5m", "$job": "reconciler", "$instance": ".*"}


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    install_tools({"promtool": "prometheus", "prometheus": "prometheus"})


def promtool(*arguments: str, told: bytes | None = None) -> str:
    """What promtool says; AssertionError where it finds a fault."""
    done = subprocess.run(
        ["promtool", *arguments], input=told, capture_output=True, timeout=HANGS, check=False
    )
    text = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, text
    return text


def test_the_rules_are_valid_and_every_alert_has_its_page() -> None:
    """promtool takes them, and each alert is explained in docs/operations.md."""
    promtool("check", "rules", str(RULES))
    page = (ROOT / "docs/operations.md").read_text()
    headings = {line.lstrip("# ").lower() for line in page.splitlines() if line.startswith("#")}
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["annotations"]["runbook"].partition("#")[2] == rule["alert"].lower()
                assert rule["alert"].lower() in headings


def test_alerts_fire_for_their_trouble_and_for_nothing_else(tmp_path: Path) -> None:
    """Stories of series through promtool: who is paged, and who sleeps."""
    stories = (Path(__file__).parent / "rules_test.yaml").read_text()
    file = tmp_path / "rules_test.yaml"
    file.write_text(stories.replace("RULES", str(RULES)))
    assert "SUCCESS" in promtool("test", "rules", str(file))


def test_the_shipped_scrape_configuration_is_valid() -> None:
    """promtool follows it to the rules."""
    promtool("check", "config", str(SCRAPE))


def test_rules_and_dashboard_ask_for_nothing_that_is_not_metered() -> None:
    """No alert and no panel waits for ever on a name that was changed."""
    from reconciler.telemetry.metrics import Metrics

    metered = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    families = {family.name for family in Metrics().registry.collect()}
    asked = set(re.findall(r"(?<![:\w])reconciler_\w+", RULES.read_text() + DASHBOARD.read_text()))
    known = metered | families | {f"{name}_total" for name in families}
    known |= {f"{name}_bucket" for name in families}
    assert asked - known == set()


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """A Prometheus on loopback that scrapes one daemon every second, with the shipped rules."""
    config = yaml.safe_load(SCRAPE.read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            "--log.level=error",
        ]
    )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def asked(url: str, expression: str) -> list[Any]:
    """An instant query's result; AssertionError with Prometheus' words for a bad one."""
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=10) as answer:
            return list(json.load(answer)["data"]["result"])
    except urllib.error.HTTPError as error:
        if error.code == 503:  # it is still starting
            raise
        raise AssertionError(f"{expression}: {error.read().decode()}") from error


def answered(url: str, expression: str, seconds: float = 60) -> list[Any]:
    """The result, once there is one."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = asked(url, expression)
        except OSError:
            found = []
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"nothing answers {expression}")


async def test_a_real_prometheus_scrapes_a_daemon_and_answers_the_dashboard(
    tmp_path: Path,
) -> None:
    """What the daemon does is found by query; every panel of the dashboard is answered."""
    panels = [
        target["expr"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel["targets"]
    ]
    for variable, value in VARIABLES.items():
        panels = [panel.replace(variable, value) for panel in panels]
    async with whole(tmp_path) as node:
        for number in range(5):
            name = f"reg.example/app{number}:v1"
            node.node.publish(name, [layer(name, 700 << 20)])
            node.node.pull(name, time.time())
        await node.until(lambda: len(node.node.images) < 5)

        def look() -> None:
            (folder := tmp_path / "prometheus").mkdir()
            target = node.address.removeprefix("http://")
            with prometheus(folder, target) as url:
                assert answered(url, "reconciler_removals_total >= 1")
                assert answered(url, 'up{job="reconciler"} == 1')
                assert answered(url, "instance:reconciler_filesystem_used:ratio")
                for panel in panels:
                    asked(url, panel)
                assert asked(url, 'ALERTS{alertstate="firing"}') == []
            request = urllib.request.Request(f"{node.address}/metrics")
            with urllib.request.urlopen(request, timeout=10) as answer:
                promtool("check", "metrics", told=answer.read())

        await anyio.to_thread.run_sync(look)
