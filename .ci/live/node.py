"""One real node for a live suite: on loopback, on ports the machine picks, in a directory that goes away with it."""

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

READY_SECONDS = 60
DRAIN_SECONDS = 30


class Node:
    """Use as a context manager. Leaving it stops the node and fails unless it had stayed well to the end.

    `flags` are more for `thuban serve`."""

    def __init__(self, binary, *flags):
        self.directory = tempfile.mkdtemp(prefix="thuban-live-")
        self.log_path = os.path.join(self.directory, "node.log")
        # A THUBAN_* variable of the caller's shell would be taken for a setting.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("THUBAN_")}
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [binary, "serve", "--data-dir", os.path.join(self.directory, "node"), "--http", "127.0.0.1:0"]
                + ["--grpc", "127.0.0.1:0", "--log-format", "json", *flags],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
            )
        try:
            ready = self._ready()
            self.url, self.grpc = "http://" + ready["http"], ready["grpc"]
        except BaseException:
            self.process.kill()
            print(self.log())
            raise

    def _ready(self):
        """The addresses of the ready line: ready http=ADDR grpc=ADDR."""
        if not select.select([self.process.stdout], [], [], READY_SECONDS)[0]:
            raise RuntimeError(f"the node was not ready within {READY_SECONDS} s")
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            raise RuntimeError(f"the node's first line is not its ready line: {line!r}")
        return dict(part.split("=", 1) for part in line.split()[1:])

    def call(self, method, path, body=None, expect=(200, 201, 204)):
        """A request and its answer, decoded if it is JSON; any status but the expected ones is an error."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=15) as answer:
                status, kind, text = answer.status, answer.headers.get_content_type(), answer.read().decode()
        except urllib.error.HTTPError as error:
            status, kind, text = error.code, "", error.read().decode(errors="replace")
        if status not in expect:
            raise RuntimeError(f"{method} {path} answered {status}: {text}")
        return json.loads(text) if kind == "application/json" else text

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) // 1024
        return 0

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def complaints(self):
        """What a healthy node never logs: errors, and anything that is not a log line, such as a panic."""
        found = []
        for line in self.log().splitlines():
            try:
                if json.loads(line).get("level") == "ERROR":
                    found.append(line)
            except ValueError:
                found.append(line)
        return found

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        died = self.process.poll()
        if died is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DRAIN_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        complaints = self.complaints()
        shutil.rmtree(self.directory, ignore_errors=True)
        for line in complaints[:20]:
            print("node:", line)
        if died is not None:
            raise RuntimeError(f"the node ended by itself with exit code {died}") from error
        if self.process.returncode != 0:
            raise RuntimeError(f"asked to stop, the node ended with exit code {self.process.returncode}") from error
        if complaints and error is None:
            raise RuntimeError(f"the node logged {len(complaints)} errors")


def until(what, condition, seconds):
    """Waits until condition() gives something true and returns it with the seconds it took; fails after `seconds`."""
    start = time.monotonic()
    while True:
        found = condition()
        took = time.monotonic() - start
        if found:
            return found, took
        if took > seconds:
            raise RuntimeError(f"{what}: not within {seconds} s")
        time.sleep(0.05)
