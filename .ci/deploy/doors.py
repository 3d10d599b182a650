"""A real node behind HAProxy and behind nginx, each with the configuration in deploy/: what clients send must reach it as
it was sent, and what it says must come back as it is said. Two of the three nodes that the configurations name are away.

usage: doors.py THUBAN HAPROXY NGINX
"""

import contextlib
import http.client
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / ".ci" / "live"))
from node import Node, until  # noqa: E402

# A name that a proxy which tidies paths breaks: as a path has it, and as a message has it.
PATH, NAME = "/v1/namespaces/default/services/a%2Fb%40%40c", b"a/b@@c"
LEASE = '{"host": "10.0.0.7", "port": 8080, "lease": {"kind": "ttl", "ttl_ms": 60000}}'
JSON = {"Content-Type": "application/json"}
REQUESTS = 30
# As a client sends it, with the at-signs escaped or not: both are the same name, and neither is the other's spelling.
SPELLINGS = [PATH, PATH.replace("%40", "@")]


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def put(text, *changes):
    """Each change must be found as often as it says: else the configuration is no longer what is tried here."""
    for pattern, replacement, count in changes:
        text, found = re.subn(pattern, replacement, text, flags=re.MULTILINE)
        if found != count:
            raise RuntimeError(f"{pattern!r} is there {found} times, and not {count}")
    return text


class Proxy:
    """What stands in front of the node, on ports of its own."""

    def __init__(self, folder, node):
        self.folder, self.node = pathlib.Path(folder), node
        self.http, self.grpc, self.away = free_port(), free_port(), free_port()
        self.process = None

    def check(self, command):
        checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        # Newer versions of nginx want a line that those before 1.25.1 do not know.
        lines = (checked.stdout + checked.stderr).splitlines()
        said = "\n".join(line for line in lines if 'the "listen ... http2" directive is deprecated' not in line)
        if checked.returncode != 0 or re.search(r"\[(warn|alert|emerg|WARNING|ALERT)\]", said):
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {checked.returncode}:\n{said}")

    @contextlib.contextmanager
    def running(self, command):
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(f"{type(self).__name__} listens", lambda: self.listens(self.http) and self.listens(self.grpc), 20)
            yield self
        except BaseException:
            print((self.folder / "log").read_text(errors="replace")[-4000:])
            raise
        finally:
            self.process.terminate()
            self.process.wait(20)

    def listens(self, port):
        if self.process.poll() is not None:
            raise RuntimeError(f"{type(self).__name__} ended with {self.process.returncode}")
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", port)) == 0


class HaProxy(Proxy):
    def start(self, program):
        http_address, grpc_address = self.node.url.removeprefix("http://"), self.node.grpc
        text = put(
            (TOP / "deploy" / "haproxy" / "haproxy.cfg").read_text(),
            # A machine that only tests lets nobody open so many files.
            (r"maxconn 20000$", "maxconn 1000", 1),
            (r"bind :7800$", f"bind 127.0.0.1:{self.http}", 1),
            (r"bind :7801 proto h2$", f"bind 127.0.0.1:{self.grpc} proto h2", 1),
            (r"node1:7800$", http_address, 1),
            (r"node1:7801 check-proto h1 port 7800$", f"{grpc_address} check-proto h1 port {http_address.split(':')[1]}", 1),
            (r"node[23]:7800$", f"127.0.0.1:{self.away}", 2),
            (r"node[23]:7801 check-proto h1 port 7800$", f"127.0.0.1:{self.away} check-proto h1 port {self.away}", 2),
        )
        path = self.folder / "haproxy.cfg"
        path.write_text(text)
        self.check([program, "-c", "-f", path])
        return self.running([program, "-db", "-f", path])


class Nginx(Proxy):
    def start(self, program):
        http_address, grpc_address = self.node.url.removeprefix("http://"), self.node.grpc
        inside = "".join(f" {kind}_temp_path {kind};" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        text = put(
            (TOP / "deploy" / "nginx" / "nginx.conf").read_text(),
            (r"^http \{$", "http {" + inside, 1),
            # A machine that only tests lets nobody open so many files.
            (r"^worker_rlimit_nofile .*", "", 1),
            (r"worker_connections .*", "worker_connections 512;", 1),
            (r"listen 7800;", f"listen 127.0.0.1:{self.http};", 1),
            (r"listen 7801 http2;", f"listen 127.0.0.1:{self.grpc} http2;", 1),
            (r"10\.0\.0\.7:7800", http_address, 1),
            (r"10\.0\.0\.7:7801", grpc_address, 1),
            (r"10\.0\.0\.[89]:780[01]", f"127.0.0.1:{self.away}", 4),
        )
        path = self.folder / "nginx.conf"
        path.write_text(text)
        user = "user root; " if os.geteuid() == 0 else ""
        command = [program, "-p", self.folder, "-c", path, "-e", "stderr"]
        more = user + f"pid {self.folder}/pid; "
        self.check([*command, "-g", more, "-t"])
        return self.running([*command, "-g", more + "daemon off;"])


def ask(port, method, path, body=None, headers=None):
    """As an honest client does, who asks again, once: HAProxy ends what is under way with a node in the moment in which it
    takes it for dead, also what it was about to send to another."""
    with contextlib.suppress(ConnectionError):
        status, said = ask_once(port, method, path, body, headers)
        if status not in (502, 503):
            return status, said
    return ask_once(port, method, path, body, headers)


def ask_once(port, method, path, body, headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def grpc(port, method, message):
    """The status and the messages of a call, as curl has them: it speaks HTTP/2 in clear."""
    frame = b"\0" + len(message).to_bytes(4, "big") + message
    with tempfile.NamedTemporaryFile() as trailers:
        command = ["curl", "-sS", "--http2-prior-knowledge", "--max-time", "15", "-D", trailers.name, "-o", "-"]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-"]
        called = subprocess.run(
            [*command, f"http://127.0.0.1:{port}{method}"], input=frame, capture_output=True, check=False, timeout=30
        )
        said = pathlib.Path(trailers.name).read_text(encoding="ascii")
    status = re.search(r"^grpc-status: (\d+)", said, re.MULTILINE)
    if not status:
        raise RuntimeError(f"no status from {method}: {said} {called.stderr}")
    return int(status[1]), called.stdout


def paths_go_through(proxy):
    """The node's own log says which paths it was asked for."""
    for at, path in enumerate(SPELLINGS):
        status, said = ask(proxy.http, "PUT", f"{path}/instances/i{at}", LEASE, JSON)
        assert status in (200, 201), (status, said)
        status, said = ask(proxy.http, "GET", f"{path}/instances")
        assert status == 200 and said.count(b'"10.0.0.7"') == at + 1, (status, said)
    came = re.findall(r'"uri":"([^"]*)"', proxy.node.log())
    for at, path in enumerate(SPELLINGS):
        for wanted in (f"{path}/instances/i{at}", f"{path}/instances"):
            assert wanted in came, f"{wanted} is not among {came}"


def nodes_that_are_away_show_no_client(proxy):
    """From the first request on: each is answered by the one node that is there."""
    for _ in range(REQUESTS):
        status, said = ask(proxy.http, "GET", f"{PATH}/instances")
        assert status == 200, (status, said)
        status, said = ask(proxy.http, "POST", f"{PATH}/instances/i0/renew")
        assert status == 204, (status, said)


def events_come_at_once(proxy):
    connection = http.client.HTTPConnection("127.0.0.1", proxy.http, timeout=10)
    try:
        connection.request("GET", f"{PATH}/watch", headers={"Accept": "text/event-stream"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        # A reader that waits for more than a line would wait for what is not said yet.
        lines = iter(lambda: answer.readline().decode(), "")
        snapshot = next(line for line in lines if line.startswith("data:"))
        assert '"i0"' in snapshot, snapshot
        status, _ = ask(proxy.http, "PUT", f"{PATH}/instances/new", LEASE, JSON)
        assert status == 201, status
        assert any('"new"' in line for line in lines if line.startswith("data:"))
    finally:
        connection.close()


def grpc_goes_through(proxy):
    for _ in range(REQUESTS // 3):
        status, said = grpc(proxy.grpc, "/grpc.health.v1.Health/Check", b"")
        assert (status, said[5:]) == (0, b"\x08\x01"), (status, said)
    asked = b"\x12" + bytes([len(NAME)]) + NAME
    status, said = grpc(proxy.grpc, "/thuban.v1.Registry/Discover", asked)
    assert status == 0 and said.count(b"10.0.0.7") == 3, (status, said)


RULES = [paths_go_through, nodes_that_are_away_show_no_client, events_come_at_once, grpc_goes_through]


def main():
    thuban, haproxy, nginx = sys.argv[1:]
    for kind, program in [(HaProxy, haproxy), (Nginx, nginx)]:
        with Node(thuban, "--log-level", "info,gateway::http=debug") as node:
            proxy = kind(node.directory, node)
            with proxy.start(program):
                for rule in RULES:
                    rule(proxy)
        print(f"{kind.__name__}: {len(RULES)} rules hold: paths, nodes that are away, events, gRPC")


if __name__ == "__main__":
    main()
