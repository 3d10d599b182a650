"""Registers an instance and keeps its lease until Ctrl-C.

    pip install -r requirements.txt
    python provider.py --node http://127.0.0.1:7800 --service orders --id a --host 10.0.0.7 --port 8080
"""

import argparse
import random
import signal
import threading
from urllib.parse import quote

import requests


class Provider:
    """One instance, from its register to its deregister."""

    def __init__(self, node, service, instance, body, ttl):
        path = f"/v1/namespaces/default/services/{quote(service, safe='')}/instances/{quote(instance, safe='')}"
        self.url = node.rstrip("/") + path
        self.name = f"{service}/{instance}"
        self.body = body
        self.ttl = ttl
        self.http = requests.Session()
        self.stopped = threading.Event()
        # Names this life of the instance: with it, nothing said here ever harms a successor.
        self.generation = None

    def run(self):
        failures = 0
        while not self.stopped.is_set():
            try:
                self.renew() if self.generation else self.register()
                failures = 0
            except requests.RequestException as error:
                failures += 1
                print(f"{error}; trying again", flush=True)
            # A third of the TTL leaves room for two attempts to fail; after a failure sooner, and never in step.
            pause = self.ttl / 3 if failures == 0 else min(0.1 * 2**failures, self.ttl / 3) * random.uniform(0.5, 1)
            self.stopped.wait(pause)
        self.deregister()

    def register(self):
        answer = self.http.put(self.url, json=self.body, timeout=self.ttl / 6)
        answer.raise_for_status()
        self.generation = answer.json()["generation"]
        print(f"registered {self.name} generation {self.generation}", flush=True)

    def renew(self):
        params = {"generation": self.generation}
        answer = self.http.post(self.url + "/renew", params=params, timeout=self.ttl / 6)
        if answer.status_code in (404, 412):  # it was removed, or somebody took its place
            self.generation = None
            self.register()
        else:
            answer.raise_for_status()

    def deregister(self):
        if not self.generation:
            return
        try:
            answer = self.http.delete(self.url, params={"generation": self.generation}, timeout=5)
            if answer.status_code not in (404, 412):  # nothing of ours is left there
                answer.raise_for_status()
            print(f"deregistered {self.name}", flush=True)
        except requests.RequestException as error:
            print(f"{error}; the node removes {self.name} when its lease is over", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", default="http://127.0.0.1:7800")
    parser.add_argument("--service", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ttl-ms", type=int, default=15_000)
    options = parser.parse_args()
    body = {
        "host": options.host,
        "port": options.port,
        "metadata": {"language": "python"},
        "lease": {"kind": "ttl", "ttl_ms": options.ttl_ms, "remove_after_ms": 2 * options.ttl_ms},
    }
    provider = Provider(options.node, options.service, options.id, body, options.ttl_ms / 1000)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: provider.stopped.set())
    provider.run()


if __name__ == "__main__":
    main()
