# SPDX-License-Identifier: BSD-3-Clause
"""vmux-web, and Prometheus where it is installed."""
import http.client
import json
import re
import shutil
import socket
import subprocess
import urllib.parse

from children import die_with_parent

from . import BIN
from .vmux import wait_until

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")


class Web:
    """One vmux-web for the daemon behind `rpc`, on a free port. `wrap`: makes of its command the one that is run."""

    def __init__(self, directory, rpc, *flags, listen="127.0.0.1:0", wrap=lambda command: command):
        self.log_path = directory / "web.log"
        self.command = wrap([str(BIN / "vmux-web"), "--rpc", str(rpc), "--listen", listen, *flags])
        self.port = None
        self.process = None

    def start(self):
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        wait_until(lambda: "serves " in self.log() or self.process.poll() is not None, f"vmux-web to serve; it said:\n{self.log()}")
        assert self.process.poll() is None, self.log()
        if found := re.search(r"serves http://[^ ]*:(\d+)/", self.log()):
            self.port = int(found.group(1))
        return self

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def ask(self, path, method="GET", **headers):
        """Status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, body

    def metrics(self):
        """{"name{label="value",...}": value}"""
        status, _, body = self.ask("/metrics")
        assert status == 200, body
        return {series: float(value) for series, value in (line.rsplit(" ", 1) for line in body.splitlines() if not line.startswith("#"))}

    def metrics_when(self, is_it, what):
        """The first that are so."""
        def look():
            now = self.metrics()
            return now if is_it(now) else None

        return wait_until(look, what)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(90) == 0, self.log()


class Prometheus:
    """Debian's, which scrapes `web` once in a second; `rules`: the text of a file with rules."""

    def __init__(self, directory, web, rules):
        self.log_path = directory / "prometheus.log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (directory / "rules.yml").write_text(rules)
        (directory / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
scrape_configs: [{{job_name: vmux, static_configs: [{{targets: ["127.0.0.1:{web.port}"]}}]}}]
""")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [PROMETHEUS, f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'tsdb'}",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log, preexec_fn=die_with_parent)
        wait_until(lambda: self.query("up == 1"), "Prometheus to scrape vmux-web")

    def _get(self, path):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
            connection.request("GET", path)
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):  # it is not there yet
            assert self.process.poll() is None, self.log_path.read_text(errors="replace")[-4000:]
            return None
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        """What it is now: a list of series, each with its value."""
        found = self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        return found["result"] if found else []

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self._get("/api/v1/alerts")["alerts"] if alert["state"] == "firing"}

    def stop(self):
        self.process.terminate()
        self.process.wait(90)
