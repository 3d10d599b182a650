"""Throws generated requests at a live node, by its own OpenAPI document, and holds every answer against it.

usage: contract.py THUBAN SCHEMATHESIS SECONDS
"""

import os
import subprocess
import sys

from node import Node

# A fuzzed node may grow by what was registered, never by what was refused.
RESIDENT_MIB_MAX = 512

INSTANCE = {"host": "10.0.0.7", "port": 8080, "zone": "eu-1a", "version": "1.4.2", "metadata": {"team": "payments"}}


def main():
    binary, schemathesis, seconds = sys.argv[1:]
    here = os.path.dirname(os.path.abspath(__file__))
    with Node(binary) as node:
        # Something to find, so that not every read is a 404.
        for lease in ({"kind": "permanent"}, {"kind": "ttl", "ttl_ms": 86_400_000}):
            path = f"/v1/namespaces/default/services/orders/instances/{lease['kind']}"
            node.call("PUT", path, {**INSTANCE, "lease": lease})
        before = node.resident_mib()
        document = node.call("GET", "/openapi.json")
        operations = sum(method in METHODS for item in document["paths"].values() for method in item)
        config = os.path.join(here, "schemathesis.toml")
        run = subprocess.run(
            [schemathesis, "--config-file", config, "run", node.url + "/openapi.json", "--max-time", seconds],
            cwd=node.directory,
            env={**os.environ, "SCHEMATHESIS_HOOKS": os.path.join(here, "checks.py")},
            stdin=subprocess.DEVNULL,
            check=False,
        )
        after = node.resident_mib()
        print(f"{operations} operations fuzzed for {seconds} s; node: {before} MiB before, {after} MiB after")
        node.call("GET", "/readyz")
        if after > RESIDENT_MIB_MAX:
            raise RuntimeError(f"the node has grown to {after} MiB, at most {RESIDENT_MIB_MAX}")
    return run.returncode


METHODS = {"get", "put", "post", "patch", "delete"}

if __name__ == "__main__":
    sys.exit(main())
