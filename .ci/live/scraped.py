"""A process that Prometheus finds through Thuban: it registers itself, keeps its lease and answers /metrics.

usage: scraped.py THUBAN_URL SERVICE. Prints its address; SIGTERM deregisters it.
"""

import json
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TTL_MS = 2_000
REMOVE_AFTER_MS = 1_000


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"# TYPE scraped_pid gauge\nscraped_pid {os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def call(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=5) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def main():
    thuban, service = sys.argv[1:]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()

    own = f"{thuban}/v1/namespaces/default/services/{service}/instances/127.0.0.1:{port}"
    lease = {"kind": "ttl", "ttl_ms": TTL_MS, "remove_after_ms": REMOVE_AFTER_MS}
    body = {"host": "127.0.0.1", "port": port, "zone": "here", "metadata": {"team": "payments"}, "lease": lease}
    generation = call("PUT", own, body)["generation"]
    print(f"127.0.0.1:{port}", flush=True)

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    while not stop.wait(TTL_MS / 3_000):
        try:
            call("POST", f"{own}/renew?generation={generation}")
        except urllib.error.HTTPError as error:
            # Only this answer means that the lease is gone.
            if error.code == 404:
                generation = call("PUT", own, body)["generation"]
        except OSError:
            pass  # the node is away: the next renewal will tell
    call("DELETE", f"{own}?generation={generation}")


if __name__ == "__main__":
    main()
