"""Watches a service: prints each change, and the set that it leads to.

    pip install -r requirements.txt
    python consumer.py --node http://127.0.0.1:7800 --service orders
"""

import argparse
import hashlib
import json
import random
import time
from urllib.parse import quote

import requests


def digest(instances):
    """The proof that a list is whole, as the node computes it: a sum of hashes, modulo 2^128."""
    total = 0
    for instance in instances.values():
        text = f"{instance['id']}\n{instance['revision']}".encode()
        total += int.from_bytes(hashlib.sha256(text).digest()[:16], "big")
    return f"{total % 2**128:032x}"


def events(node, service, last):
    """The events of one connection: (id, name, data). `last`: the id of the last one seen, to go on behind it."""
    url = f"{node.rstrip('/')}/v1/namespaces/default/services/{quote(service, safe='')}/watch"
    headers = {"Last-Event-ID": last} if last else {}
    # An event comes at least every 10 s, so silence means that the connection is dead.
    with requests.get(url, headers=headers, stream=True, timeout=(5, 25)) as answer:
        answer.raise_for_status()
        event = {}
        # Bytes: as text, lines would also end at characters that JSON lets stand as they are, such as U+2028.
        for line in answer.iter_lines(chunk_size=None):
            if line:
                name, _, value = line.decode().partition(":")
                event[name] = value.removeprefix(" ")
            elif "data" in event:
                yield event.get("id"), event.get("event"), json.loads(event["data"])
                event = {}


class Watcher:
    def __init__(self, node, service):
        self.node, self.service = node, service
        self.instances = {}
        self.last = None

    def run(self):
        failures = 0
        while True:
            try:
                for identifier, name, data in events(self.node, self.service, self.last):
                    failures = 0
                    self.take(name, data)
                    self.last = identifier or self.last
            except (requests.RequestException, ValueError) as error:
                failures += 1
                print(f"{error}; connecting again", flush=True)
            time.sleep(min(0.1 * 2**failures, 5) * random.uniform(0.5, 1))

    def take(self, name, data):
        if name == "snapshot":
            self.instances = {instance["id"]: instance for instance in data.get("items", [])}
            print(f"snapshot {self.describe()}", flush=True)
        elif name == "change":
            for instance in data["put"]:
                self.instances[instance["id"]] = instance
                state = "healthy" if instance["healthy"] else instance["health_reason"]
                print(f"put {instance['id']} {state}", flush=True)
            for removed in data["removed"]:
                self.instances.pop(removed["id"], None)
                print(f"removed {removed['id']} {removed.get('reason')}", flush=True)
            print(f"now {self.describe()}", flush=True)
        if name in ("snapshot", "change") and data.get("digest") != digest(self.instances):
            self.last = None  # what was seen is not whole: ask for everything
            raise ValueError("the digest differs")

    def describe(self):
        usable = sorted(i["id"] for i in self.instances.values() if i["healthy"] and not i["isolated"])
        return " ".join(usable) or "nobody"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--node", default="http://127.0.0.1:7800")
    parser.add_argument("--service", required=True)
    options = parser.parse_args()
    Watcher(options.node, options.service).run()


if __name__ == "__main__":
    main()
