"""cluster.py THUBAN [--long]: a real cluster, honest clients through its load balancer, and faults.

Providers register and renew as an example client does: an attempt ends after TTL/6, the next goes to the load balancer
again, a 404 means register again. Some stop renewing for good; those must go, and nobody else may. One watcher of each
node follows the truth, readers read with the newest revision they have seen. For each fault the table says how many
operations there were, what must be 0, the longest time without a read and without a write, and how long it took until
all nodes showed the same.
"""

import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TTL_MS = 6_000
REMOVE_MS = 8_000
# The contract's bounds, for a provider whose lease's owner may die in the same moment, and the time to see it.
GONE_WITHIN = (2 * TTL_MS + REMOVE_MS) / 1000 + 8
QUIET_SECONDS = 45


def call(base, method, path, body=None, timeout=1.0, headers=None):
    """Status and decoded answer; status 0: nobody answered in time."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://{base}{path}", data, {"Content-Type": "application/json", **(headers or {})}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        text = error.read()
        try:
            return error.code, json.loads(text) if text else None
        except ValueError:
            return error.code, None
    except (OSError, ValueError):
        return 0, None


class Gap:
    """The longest time between two that went well."""

    def __init__(self):
        self.last, self.longest, self.lock = time.monotonic(), 0.0, threading.Lock()

    def ok(self):
        with self.lock:
            now = time.monotonic()
            self.longest, self.last = max(self.longest, now - self.last), now

    def take(self):
        with self.lock:
            longest = max(self.longest, time.monotonic() - self.last)
            self.longest, self.last = 0.0, time.monotonic()
            return longest


class Provider(threading.Thread):
    """Registers, keeps its lease, and, when it is told to die, never says another word."""

    def __init__(self, oracle, number):
        super().__init__(daemon=True)
        self.oracle, self.service, self.id = oracle, f"s{number % 5}", f"p{number}"
        self.path = f"/v1/namespaces/default/services/{self.service}/instances/{self.id}"
        self.body = {"host": "10.0.0.1", "port": 1000 + number,
                     "lease": {"kind": "ttl", "ttl_ms": TTL_MS, "remove_after_ms": REMOVE_MS}}
        self.known_since = None
        self.died_at = None

    def run(self):
        registered = False
        while not self.oracle.over.is_set() and self.died_at is None:
            path, method, body = (f"{self.path}/renew", "POST", None) if registered else (self.path, "PUT", self.body)
            status, _ = call(self.oracle.lb, method, path, body, timeout=TTL_MS / 6000)
            self.oracle.count("writes")
            if status in (200, 201, 202, 204):
                self.oracle.write_gap.ok()
                if not registered:
                    self.known_since = time.monotonic()
                registered = True
                pause = TTL_MS / 3000
            elif status == 404 and registered:
                self.oracle.told_unknown.append(self.id)
                registered, pause = False, 0
            elif status == 404:
                self.oracle.fail(f"{self.id}: register says 404")
                pause = 0.2
            else:
                self.oracle.count("retries")
                pause = 0.2
            self.oracle.over.wait(pause * random.uniform(0.8, 1.0))


class Reader(threading.Thread):
    """Reads through the load balancer, with the newest revision it has seen."""

    def __init__(self, oracle, number):
        super().__init__(daemon=True)
        self.oracle, self.service = oracle, f"s{number % 5}"

    def run(self):
        revision = None
        while not self.oracle.over.wait(0.05):
            path = f"/v1/namespaces/default/services/{self.service}/instances"
            path += f"?min_revision={revision}" if revision else ""
            asked = time.monotonic()
            status, answer = call(self.oracle.lb, "GET", path, timeout=6)
            self.oracle.count("reads")
            if status != 200:
                self.oracle.count("retries")
                continue
            self.oracle.read_gap.ok()
            new = answer["revision"]
            if revision and order(new) < order(revision):
                self.oracle.steps_back.append(f"{self.service}: {revision} then {new}")
            revision = new
            self.oracle.judge(self.service, answer["items"], asked)


def order(revision):
    return tuple(int(part) for part in revision.split("."))


class Oracle:
    def __init__(self, lb, nodes):
        self.lb, self.nodes = lb, nodes
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.counts = {}
        self.read_gap, self.write_gap = Gap(), Gap()
        self.removed_alive, self.kept_dead, self.steps_back, self.failures, self.told_unknown = [], [], [], [], []
        self.providers = [Provider(self, number) for number in range(40)]
        self.readers = [Reader(self, number) for number in range(5)]

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def fail(self, what):
        with self.lock:
            self.failures.append(what)

    def judge(self, service, items, asked):
        """A list against what is known to be true since before it was asked for."""
        healthy = {item["id"]: item["healthy"] for item in items}
        for provider in self.providers:
            if provider.service != service or provider.known_since is None or provider.known_since > asked:
                continue
            if provider.died_at is None:
                if healthy.get(provider.id) is not True:
                    what = "unhealthy" if provider.id in healthy else "missing"
                    self.removed_alive.append(f"{provider.id} is {what}")
            elif asked - provider.died_at > GONE_WITHIN and provider.id in healthy:
                self.kept_dead.append(f"{provider.id} is there {asked - provider.died_at:.1f} s after its death")

    def start(self):
        for provider in self.providers:
            provider.start()
        end = time.monotonic() + 30
        while any(provider.known_since is None for provider in self.providers):
            if time.monotonic() > end:
                raise SystemExit("the providers could not register")
            time.sleep(0.1)
        for reader in self.readers:
            reader.start()

    def bury(self):
        """One provider dies."""
        alive = [provider for provider in self.providers if provider.died_at is None]
        if len(alive) > 20:
            random.choice(alive).died_at = time.monotonic()

    def converged(self, seconds):
        """How long until every node shows the same lists."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            shown = []
            for node in self.nodes:
                lists = [call(node, "GET", f"/v1/namespaces/default/services/s{at}/instances") for at in range(5)]
                shown.append([(status, (answer or {}).get("digest")) for status, answer in lists])
            if all(status == 200 for lists in shown for status, _ in lists) and all(s == shown[0] for s in shown):
                return time.monotonic() - started
            time.sleep(0.25)
        self.fail(f"the nodes do not show the same after {seconds} s: {self.shown()}")
        return None

    def shown(self):
        """What each node says of itself, and what it shows, for whoever has to find out."""
        said = []
        for node in self.nodes:
            ready, why = call(node, "GET", "/readyz")
            status, state = call(node, "GET", "/v1/status")
            lists = [call(node, "GET", f"/v1/namespaces/default/services/s{at}/instances")[0] for at in range(5)]
            said.append({"ready": ready, "why": why, "status": status, "state": state, "lists": lists})
        return json.dumps(said)

    def row(self, fault, converged):
        with self.lock:
            row = {
                "fault": fault, **{what: self.counts.get(what, 0) for what in ("reads", "writes", "retries")},
                "removed alive": len(self.removed_alive), "dead kept": len(self.kept_dead),
                "steps back": len(self.steps_back), "told 404": len(self.told_unknown), "failures": len(self.failures),
                "no read s": round(self.read_gap.take(), 1), "no write s": round(self.write_gap.take(), 1),
                "converged s": None if converged is None else round(converged, 1),
            }
            details = self.removed_alive[:3] + self.kept_dead[:3] + self.steps_back[:3] + self.failures[:3]
            details += [f"{name} was told 404" for name in self.told_unknown[:3]]
            self.counts = {}
            for found in (self.removed_alive, self.kept_dead, self.steps_back, self.failures, self.told_unknown):
                found.clear()
        return row, details


class Cluster:
    def __init__(self, thuban, directory):
        kept = ["--directory", directory] if directory else []
        script = HERE.parent.parent / "deploy" / "local" / "cluster.py"
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--binary", thuban, "--buffer-pool", "256M", *kept],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )
        line = self.process.stdout.readline()
        if not line.startswith("cluster ready "):
            self.process.wait(40)
            raise SystemExit(f"the cluster did not start: {line!r}")
        self.at = dict(part.split("=", 1) for part in line.split()[2:])
        self.nodes = [self.at[f"node{n}"] for n in (1, 2, 3)]

    def pid(self, node):
        """A node that was started again has another one; it says so itself."""
        port = self.at[node].rsplit(":", 1)[1]
        found = subprocess.run(["ss", "-Hltnp", f"sport = :{port}"], capture_output=True, text=True).stdout
        return int(found.split("pid=")[1].split(",")[0]) if "pid=" in found else None

    def signal(self, node, sign):
        pid = self.pid(node)
        if pid is not None:
            os.kill(pid, sign)

    def stop(self):
        started = time.monotonic()
        os.kill(self.process.pid, signal.SIGINT)
        self.process.wait(40)
        return time.monotonic() - started


def kill_one(cluster, name):
    cluster.signal(name, signal.SIGKILL)
    time.sleep(12)


def stand_still(cluster, name):
    cluster.signal(name, signal.SIGSTOP)
    time.sleep(3 * TTL_MS / 1000)
    cluster.signal(name, signal.SIGCONT)
    time.sleep(5)


def stop_part(cluster, part, seconds):
    os.kill(int(cluster.at[f"{part}_pid"]), signal.SIGSTOP)
    time.sleep(seconds)
    os.kill(int(cluster.at[f"{part}_pid"]), signal.SIGCONT)
    time.sleep(8)


def rolling(cluster):
    for name in ("node1", "node2", "node3"):
        cluster.signal(name, signal.SIGTERM)
        time.sleep(14)


def two_at_once(cluster):
    cluster.signal("node1", signal.SIGKILL)
    time.sleep(2)
    cluster.signal("node2", signal.SIGKILL)
    time.sleep(14)


def all_at_once(cluster):
    for name in ("node1", "node2", "node3"):
        cluster.signal(name, signal.SIGKILL)
    time.sleep(16)


FAULTS = {
    "none": lambda cluster: time.sleep(10),
    "kill -9 of one node": lambda cluster: kill_one(cluster, "node1"),
    "SIGSTOP of a node for 3 TTL": lambda cluster: stand_still(cluster, "node2"),
    "SIGSTOP of Kafka for 8 s": lambda cluster: stop_part(cluster, "kafka", 8),
    "SIGSTOP of MariaDB for 15 s": lambda cluster: stop_part(cluster, "store", 15),
}
LONG = {
    "kill -9 of two nodes within 2 s": two_at_once,
    "kill -9 of all nodes": all_at_once,
    "rolling restart": rolling,
    "SIGSTOP of Kafka for 30 s": lambda cluster: stop_part(cluster, "kafka", 30),
    "SIGSTOP of MariaDB for 120 s": lambda cluster: stop_part(cluster, "store", 120),
}
# While nobody is there, or the log stands still longer than clients try, a list may be late: judged is what is said.
NOBODY_THERE = {"kill -9 of all nodes"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("thuban")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", help="the faults whose names hold this")
    parser.add_argument("--directory", help="where everything is written, and left")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    asked = parser.parse_args()
    print("seed", asked.seed)
    random.seed(asked.seed)
    faults = {**FAULTS, **(LONG if asked.long else {})}
    faults = {name: run for name, run in faults.items() if not asked.only or asked.only in name}
    cluster = Cluster(asked.thuban, asked.directory)
    wrong = []
    try:
        oracle = Oracle(cluster.at["lb"], cluster.nodes)
        oracle.start()
        print(" | ".join(["fault", "reads", "writes", "retries", "removed alive", "dead kept", "steps back",
                          "told 404", "failures", "no read s", "no write s", "converged s"]), flush=True)
        for name, fault in faults.items():
            oracle.bury()
            oracle.read_gap.take(), oracle.write_gap.take()
            fault(cluster)
            time.sleep(max(0.0, GONE_WITHIN - 10))
            row, details = oracle.row(name, oracle.converged(QUIET_SECONDS))
            print(" | ".join(str(value) for value in row.values()), flush=True)
            bad = [what for what in ("removed alive", "dead kept", "steps back", "told 404", "failures") if row[what]]
            if bad:
                wrong.append(f"{name}: {', '.join(bad)}: {'; '.join(details)}")
                print("   ", "; ".join(details), flush=True)
        oracle.over.set()
    finally:
        seconds = cluster.stop()
    print(f"stopped within {seconds:.1f} s")
    if seconds > 30:
        wrong.append(f"it took {seconds:.1f} s to stop")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
