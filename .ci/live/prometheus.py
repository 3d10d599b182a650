"""A real Prometheus finds real processes through a live node, and drops the one that is killed and no other.

usage: prometheus.py THUBAN, with prometheus on the PATH
"""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
import urllib.request

import scraped
from node import Node, until

SERVICE = "scraped"
REFRESH_SECONDS = 1
# The contract's bound for a killed process: unhealthy up to 3 s after a short TTL, removed up to 2 s after its time.
# Then Prometheus must ask again, and it hands on what it found each 5 s. On top of it, room for a busy machine.
CONTRACT_SECONDS = (scraped.TTL_MS + 3_000 + scraped.REMOVE_AFTER_MS + 2_000) / 1_000
NOTICE_SECONDS = CONTRACT_SECONDS + REFRESH_SECONDS + 5 + 5

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: services
    http_sd_configs:
      - url: {url}/v1/sd/prometheus?namespace=default&service={service}
        refresh_interval: {refresh}s
  - job_name: thuban
    static_configs: [{{targets: ['{address}']}}]
"""


class Prometheus:
    def __init__(self, node):
        directory = os.path.join(node.directory, "prometheus")
        os.mkdir(directory)
        address = node.url.removeprefix("http://")
        with open(os.path.join(directory, "prometheus.yml"), "w", encoding="ascii") as config:
            config.write(CONFIG.format(url=node.url, service=SERVICE, refresh=REFRESH_SECONDS, address=address))
        self.log_path = os.path.join(directory, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]
                + ["--web.listen-address=127.0.0.1:0", "--log.level=info"],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            (self.url, _) = until("prometheus listens", self._listening, 30)
        except BaseException:
            self.process.kill()
            print(self.log())
            raise

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def _listening(self):
        """It says only the address it was given, so the port comes from the kernel's table of its sockets."""
        if self.process.poll() is not None:
            raise RuntimeError("prometheus ended")
        sockets = set()
        folder = f"/proc/{self.process.pid}/fd"
        for descriptor in os.listdir(folder):
            try:
                sockets.update(re.findall(r"socket:\[(\d+)\]", os.readlink(os.path.join(folder, descriptor))))
            except FileNotFoundError:
                continue
        listening = "0A"
        with open(f"/proc/{self.process.pid}/net/tcp", encoding="ascii") as table:
            for row in (line.split() for line in table):
                if row[3] == listening and row[9] in sockets:
                    return f"http://127.0.0.1:{int(row[1].split(':')[1], 16)}"
        return None

    def ask(self, path, **query):
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=5) as answer:
            return json.load(answer)["data"]

    def targets(self, job):
        """Address -> health of the job's active targets."""
        try:
            active = self.ask("/api/v1/targets", state="active")["activeTargets"]
        except OSError:
            return {}
        return {target["labels"]["instance"]: target["health"] for target in active if target["labels"]["job"] == job}

    def value(self, query):
        return {row["metric"]["instance"]: float(row["value"][1]) for row in self.ask("/api/v1/query", query=query)["result"]}


class Scraped:
    def __init__(self, url):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scraped.py")
        self.process = subprocess.Popen([sys.executable, script, url, SERVICE], stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise RuntimeError("a process to scrape did not start")


def check(node, prometheus, start):
    services = [start() for _ in range(3)]
    every = {service.address: "up" for service in services}
    (_, took) = until("three services are scraped", lambda: prometheus.targets("services") == every, 30)
    print(f"three registered processes are targets and up after {took:.1f} s")
    until("the node itself is scraped", lambda: list(prometheus.targets("thuban").values()) == ["up"], 30)

    pids = {service.address: service.process.pid for service in services}
    until("each target's own metric arrives", lambda: prometheus.value("scraped_pid") == pids, 15)

    killed, *kept = services
    kept = {service.address for service in kept}
    killed.process.send_signal(signal.SIGKILL)

    def dropped():
        seen = prometheus.targets("services")
        lost = kept - seen.keys()
        if lost:
            raise RuntimeError(f"a living target was dropped: {lost}")
        return killed.address not in seen

    (_, took) = until("the killed process is dropped", dropped, NOTICE_SECONDS)
    print(f"the killed one was dropped after {took:.1f} s (bound {NOTICE_SECONDS:.1f} s), the others never")

    leaver = services[1]
    leaver.process.send_signal(signal.SIGTERM)
    remains = {services[2].address}
    (_, took) = until("who leaves is dropped", lambda: prometheus.targets("services").keys() == remains, 15)
    if leaver.process.wait(15) != 0:
        raise RuntimeError("a process could not deregister")
    print(f"one that deregistered was dropped after {took:.1f} s")

    newcomer = start()
    (_, took) = until("a newcomer is found", lambda: newcomer.address in prometheus.targets("services"), 15)
    print(f"a new one was found after {took:.1f} s")


def main():
    (binary,) = sys.argv[1:]
    with Node(binary) as node:
        started = []

        def start():
            started.append(Scraped(node.url))
            return started[-1]

        # The service exists before anyone asks for it: an unknown one is a 404, which Prometheus would log and retry.
        prometheus = None
        try:
            first = start()
            prometheus = Prometheus(node)
            first.process.send_signal(signal.SIGTERM)
            first.process.wait(15)
            check(node, prometheus, start)
        except BaseException:
            if prometheus:
                print(prometheus.log())
            raise
        finally:
            for process in [service.process for service in started] + ([prometheus.process] if prometheus else []):
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
