"""GET /metrics, as Prometheus and its tools take it."""

import json
import re
import socket
import subprocess
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.harness import SECRET, Rtot, needs, until

README = (Path(__file__).parents[2] / "README.md").read_text()


def block(kind: str) -> str:
    (found,) = re.findall(rf"```yaml {kind}\n(.*?)```", README, re.DOTALL)
    return str(found)


def values(rtot: Rtot) -> dict[str, float]:
    text = rtot.curl("/metrics").decode()
    return {
        f"{s.name}{sorted(s.labels.items()) if s.labels else ''}": s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def test_what_a_busy_server_tells(rtot: Rtot) -> None:
    rtot.run(b"echo hello; exit 3")
    rtot.submit(b"exec sleep 1000")
    until(lambda: rtot.json("/jobs/1")["jobs"][0]["state"] == "running")
    found = values(rtot)
    assert found["rtot_jobs[('state', 'complete')]"] == 1
    assert found["rtot_jobs[('state', 'running')]"] == 1
    assert found["rtot_jobs_failed_total"] == 1
    assert found["rtot_job_output_bytes_total[('stream', 'out')]"] == 6
    assert found["rtot_connections"] == 1
    assert found["rtot_connections_total"] >= 4
    assert found["rtot_turn_seconds_count"] > 5
    assert 5_000_000 < found["process_resident_memory_bytes"] < 200_000_000
    assert found["process_open_fds"] >= 5
    again = values(rtot)
    assert again.keys() == found.keys()


def test_every_family_is_in_the_readme(rtot: Rtot) -> None:
    section = README.partition("### Metrics")[2].partition("\n### ")[0]
    names = re.findall(r"^# TYPE (\S+)", rtot.curl("/metrics").decode(), re.MULTILINE)
    assert {n for n in names if f"`{n}`" not in section and not n.startswith("process_")} == set()
    kinds = re.findall(r'rtot_refusals_total\{kind="(.*?)"', rtot.curl("/metrics").decode())
    assert {kind for kind in kinds if f"`{kind}`" not in section} == set()


@needs("promtool")
def test_promtool_finds_nothing(rtot: Rtot, tmp_path: Path) -> None:
    rtot.run(b"echo hello")
    for text in (rtot.curl("/metrics"), rtot.curl("/metrics")):
        done = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    rules = tmp_path / "rules.yml"
    rules.write_text(block("alerts"))
    done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"5 rules found" in done.stdout
    known = set(re.findall(r"^# TYPE (\S+)", text.decode(), re.MULTILINE))
    asked = set(re.findall(r"rtot_\w+", block("alerts")))
    assert {re.sub("_count$", "", name) for name in asked} <= known


@needs("prometheus")
def test_a_prometheus_scrapes_it(rtot: Rtot, tmp_path: Path) -> None:
    rtot.run(b"echo hello")
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    (tmp_path / "rules.yml").write_text(block("alerts"))
    config = tmp_path / "prometheus.yml"
    scrape = block("scrape").replace("/etc/prometheus/rtot.secret", str(secret))
    scrape = scrape.replace("build.example:8457", rtot.url.removeprefix("http://"))
    config.write_text(f"global: {{scrape_interval: 1s}}\nrule_files: [rules.yml]\n{scrape}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    prometheus = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def asked(query: str) -> list[str]:
        url = f"http://127.0.0.1:{port}/api/v1/query?query={query}"
        try:
            with urllib.request.urlopen(url) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return []
        return [row["value"][1] for row in result]

    try:
        until(lambda: asked("up") == ["1"], "a scrape")
        assert asked("rtot_jobs_accepted_total") == ["1"]
        assert 'target="/metrics" status=200' in rtot.log
    finally:
        prometheus.terminate()
        prometheus.wait(30)
