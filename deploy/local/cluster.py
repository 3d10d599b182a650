#!/usr/bin/env python3
"""A whole cluster on this machine's loopback: MariaDB, Kafka, nodes, and HAProxy in front of them.

Prints one line on standard output once everything answers, and nothing more:

    cluster ready lb=HTTP lb_grpc=GRPC node1=HTTP node1_grpc=GRPC node1_pid=PID node2=... kafka=ADDR store=ADDR

What it is doing goes to standard error. A node that dies is started again after 5 s, as systemd or Kubernetes would.
Ctrl-C (or SIGTERM) stops all of it within 30 s. Everything it writes is in one directory, which is removed at the end
unless --keep is given.

With --until-eof it takes orders, a line each, on standard input, and answers each with `ok ...` or `refused ...`:

    pid NAME                    of node1, node2, ..., kafka, store or lb
    signal NAME KILL|STOP|...   a node that dies of it is started again after 5 s
    down NAME                   kill -9, and it stays down
    start NAME [VARIABLE=VALUE ...]   again, with more in its environment; Kafka and MariaDB answer when this does
    wipe NAME                   of one that is down: what it wrote is gone
    small NODE                  of one that is down: what it writes goes to a disk of 1 MiB (needs root); wipe ends that
    fill NODE                   of such a one: takes all that is left of its disk
    trim                        deletes every record of the topic, as an operator might
    rows STATEMENT              of the store, as JSON

With --links every node reaches Kafka, MariaDB and the other nodes at addresses of its own, 127.0.1.N, that nobody listens
on: before the nodes start, `cluster links NODE.PART=PORT ...` says which, and a line is awaited. Whoever started this then
forwards 127.0.1.N:PORT to 127.0.0.1:PORT, and may cut or slow each link. PART is log, store, peer (what others call), and
gossip (UDP).
"""

import argparse
import errno
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parent.parent
TOPIC = "thuban"
RESTART_AFTER = 5.0
STOP_WITHIN = 25.0


def say(*words):
    print("cluster:", *words, file=sys.stderr, flush=True)


def free_ports(count):
    held = []
    for _ in range(count):
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        held.append(sock)
    ports = [sock.getsockname()[1] for sock in held]
    for sock in held:
        sock.close()
    return ports


def program(name):
    """Where a program is: on the path, or where only administrators look."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    if found:
        return found
    sys.exit(f"cluster: there is no {name} on this machine; .ci/install installs it, or names what is missing")


def until(what, check, seconds, over=threading.Event()):
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() >= end:
            sys.exit(f"cluster: {what} did not come up within {seconds} s")
        over.wait(0.05)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
        return True
    except OSError:
        return False


class Process:
    """A child in a group of its own, so that Ctrl-C reaches it only through us."""

    def __init__(self, name, command, log, env=None):
        self.name, self.command, self.log, self.env = name, command, log, env
        self.child = None

    def start(self):
        out = open(self.log, "ab")
        self.child = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=self.env
        )
        out.close()
        return self

    @property
    def pid(self):
        return self.child.pid

    def is_alive(self):
        return self.child is not None and self.child.poll() is None

    def ask(self, sign):
        if self.is_alive():
            os.kill(self.child.pid, signal.SIGCONT)
            os.kill(self.child.pid, sign)

    def wait(self, seconds):
        """For it to end as it was asked to."""
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            say(f"{self.name} does not end, killing it")
            self.child.kill()
            self.child.wait()


class MariaDb:
    def __init__(self, root, buffer_pool):
        self.root = root / "mariadb"
        self.data, self.sock = self.root / "data", self.root / "sock"
        self.root.mkdir()
        # A server that starts removes the temporary tables of all servers that share its folder for them.
        (self.root / "tmp").mkdir()
        self.env = {**os.environ, "TMPDIR": str(self.root / "tmp")}
        (self.port,) = free_ports(1)
        self.password = secrets.token_hex(12)
        self.user = ["--user=root"] if os.geteuid() == 0 else []
        self.buffer_pool = buffer_pool
        self.process = None

    def start(self):
        if not self.data.exists():
            self.install()
        self.launch()
        sql = (
            "CREATE DATABASE IF NOT EXISTS thuban; "
            f"CREATE USER IF NOT EXISTS thuban@'127.0.0.1' IDENTIFIED BY '{self.password}'; "
            "GRANT ALL ON thuban.* TO thuban@'127.0.0.1'"
        )
        self.rows(sql)

    def install(self):
        install = program("mariadb-install-db")
        subprocess.run(
            [install, "--no-defaults", f"--datadir={self.data}", "--auth-root-authentication-method=normal",
             "--skip-test-db", *self.user],
            check=True, stdout=open(self.root / "install.log", "wb"), stderr=subprocess.STDOUT, env=self.env,
        )

    def launch(self):
        server = program("mariadbd")
        command = [
            server, "--no-defaults", f"--datadir={self.data}", f"--socket={self.sock}",
            f"--pid-file={self.root / 'pid'}", f"--port={self.port}", "--bind-address=127.0.0.1",
            "--skip-name-resolve", "--skip-log-bin", "--performance-schema=OFF",
            f"--innodb-buffer-pool-size={self.buffer_pool}", "--innodb-log-file-size=512M", *self.user,
        ]
        self.process = Process("mariadb", command, self.root / "out.log", self.env).start()
        until("MariaDB", self.is_up, 60)

    def rows(self, sql):
        client = [program("mariadb"), "--no-defaults", f"--socket={self.sock}", "-uroot", "-N", "-B", "-e", sql]
        said = subprocess.run(client, check=True, capture_output=True, text=True, errors="replace", timeout=20).stdout
        return [line.split("\t") for line in said.splitlines()]

    def wipe(self):
        shutil.rmtree(self.data)

    def is_up(self):
        admin = program("mariadb-admin")
        asked = [admin, "--no-defaults", f"--socket={self.sock}", "-uroot", "ping"]
        return subprocess.run(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def address(self):
        return f"127.0.0.1:{self.port}"

    def url(self, host="127.0.0.1"):
        return f"mysql://thuban:{self.password}@{host}:{self.port}/thuban"


class Kafka:
    LOGGING = (
        '<Configuration><Appenders><Console name="C"><PatternLayout pattern="%d %p %c{1} %m%n"/></Console></Appenders>'
        '<Loggers><Root level="INFO"><AppenderRef ref="C"/></Root></Loggers></Configuration>'
    )

    def __init__(self, root, links):
        """links: for how many nodes it has a listener of their own, which it names to them as 127.0.1.N."""
        self.root = root / "kafka"
        self.root.mkdir()
        self.port, self.control, *self.linked = free_ports(2 + links)
        self.jars = TREE / ".tools" / "kafka" / "lib"
        self.process = None

    def start(self):
        if not (self.root / "data").exists():
            self.configure()
            self.format()
        self.launch()

    def configure(self):
        listeners = f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.control}"
        linked = list(enumerate(self.linked, 1))
        advertised = listeners + "".join(f",NODE{n}://127.0.1.{n}:{port}" for n, port in linked)
        listeners += "".join(f",NODE{n}://127.0.0.1:{port}" for n, port in linked)
        protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT" + "".join(f",NODE{n}:PLAINTEXT" for n, _ in linked)
        lines = [
            "process.roles=broker,controller", "node.id=1", f"log.dirs={self.root / 'data'}",
            "auto.create.topics.enable=false", f"listeners={listeners}", f"advertised.listeners={advertised}",
            f"controller.quorum.bootstrap.servers=127.0.0.1:{self.control}",
            "controller.listener.names=CONTROLLER", "inter.broker.listener.name=PLAINTEXT",
            f"listener.security.protocol.map={protocols}",
            "default.replication.factor=1", "min.insync.replicas=1", "offsets.topic.replication.factor=1",
            "offsets.topic.num.partitions=1", "num.network.threads=2", "num.io.threads=2",
            "log.segment.bytes=67108864", "log.cleaner.dedupe.buffer.size=16777216",
            "broker.session.timeout.ms=1000", "broker.heartbeat.interval.ms=250",
        ]
        (self.root / "server.properties").write_text("\n".join(lines) + "\n")
        (self.root / "log4j2.xml").write_text(self.LOGGING)

    def launch(self):
        java = [
            program("java"), "-Xms256m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
            f"-Dlog4j2.configurationFile={self.root / 'log4j2.xml'}", "-cp", f"{self.jars}/*", "kafka.Kafka",
            str(self.root / "server.properties"),
        ]
        log = self.root / "out.log"
        before = log.stat().st_size if log.exists() else 0
        self.process = Process("kafka", java, log).start()
        until("Kafka", lambda: b"Kafka Server started" in log.read_bytes()[before:], 120)

    def wipe(self):
        shutil.rmtree(self.root / "data")

    def trim(self):
        """DeleteRecords (version 1) of everything in the topic's one partition."""
        text = lambda value: struct.pack(">h", len(value)) + value.encode()
        body = struct.pack(">i", 1) + text(TOPIC) + struct.pack(">iiqi", 1, 0, -1, 10_000)
        request = struct.pack(">hhi", 21, 1, 1) + text("cluster") + body
        with socket.create_connection(("127.0.0.1", self.port), 12) as broker:
            broker.sendall(struct.pack(">i", len(request)) + request)
            answer = broker.makefile("rb")
            (size,) = struct.unpack(">i", answer.read(4))
            said = answer.read(size)
        # Behind the correlation, the throttle, the count of topics, the name and the count of partitions.
        _, low, error = struct.unpack_from(">iqh", said, 4 + 4 + 4 + 2 + len(TOPIC) + 4)
        if error:
            raise RuntimeError(f"Kafka refuses with error {error}")
        return low

    def format(self):
        tool = [
            program("java"), "-Xmx128m", "-cp", f"{self.jars}/*", "kafka.tools.StorageTool", "format", "--standalone",
            "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", str(self.root / "server.properties"),
        ]
        subprocess.run(tool, check=True, stdout=open(self.root / "format.log", "wb"), stderr=subprocess.STDOUT)

    def address(self):
        return f"127.0.0.1:{self.port}"


class Node:
    def __init__(self, number, root, binary, store, log, secret, extra):
        self.name = f"node{number}"
        self.root = root / self.name
        self.root.mkdir()
        self.http, self.grpc, self.peer, self.gossip = free_ports(4)
        # A THUBAN_* variable of the caller's shell would be taken for a setting.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("THUBAN_")}
        self.env["THUBAN_STORE"] = store
        self.command = [
            str(binary), "serve", "--node-name", self.name, "--data-dir", str(self.root / "data"), "--log", log,
            "--http", f"127.0.0.1:{self.http}", "--grpc", f"127.0.0.1:{self.grpc}",
            "--peer", f"127.0.0.1:{self.peer}", "--gossip", f"127.0.0.1:{self.gossip}",
            "--cluster-secret-file", str(secret), *extra,
        ]
        self.process = None
        self.is_held, self.turn = False, threading.Lock()

    def start(self, more=()):
        self.process = Process(self.name, self.command, self.root / "out.log", {**self.env, **dict(more)}).start()

    def wipe(self):
        self.unmount()
        shutil.rmtree(self.root / "data", ignore_errors=True)

    def small(self):
        """A disk of its own in place of its data directory."""
        self.wipe()
        disk = self.root / "data"
        disk.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(disk)], check=True, capture_output=True)

    def fill(self):
        disk = self.root / "data"
        if not os.path.ismount(disk):
            raise ValueError("it has no disk of its own")
        with open(disk / "full", "ab", buffering=0) as file:
            for size in (4096, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def unmount(self):
        if os.path.ismount(self.root / "data"):
            subprocess.run(["umount", str(self.root / "data")], check=True, capture_output=True)

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/readyz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def watch(self, stopping):
        """Starts it again 5 s after it died."""
        while not stopping.wait(0.2):
            if self.is_held or self.process.is_alive():
                continue
            say(f"{self.name} ended with {self.process.child.returncode}; it is started again in {RESTART_AFTER:.0f} s")
            if stopping.wait(RESTART_AFTER):
                return
            with self.turn:
                if not self.is_held and not self.process.is_alive():
                    self.start()


class Orders:
    """What whoever started this wants done, line by line."""

    def __init__(self, parts):
        self.parts = parts

    def take(self, line):
        """The answer to one line."""
        word, _, rest = line.strip().partition(" ")
        take = {"pid": self.pid, "signal": self.signal, "down": self.down, "start": self.start, "wipe": self.wipe,
                "small": self.small, "fill": self.fill, "trim": self.trim, "rows": self.rows}.get(word)
        if take is None:
            return f"refused: there is no order {word!r}"
        try:
            said = take(rest)
            return "ok" if said is None else f"ok {said}"
        except (OSError, ValueError, RuntimeError, KeyError, SystemExit, subprocess.SubprocessError) as error:
            return "refused: " + " ".join(f"{word} {rest}: {error}".split())

    def part(self, name):
        if name not in self.parts:
            raise ValueError(f"there is no {name!r}, but {', '.join(self.parts)}")
        return self.parts[name]

    def pid(self, name):
        return self.part(name).process.pid

    def signal(self, rest):
        name, sign = rest.split()
        process = self.part(name).process
        if not process.is_alive():
            raise ValueError("it does not run")
        os.kill(process.pid, signal.Signals[f"SIG{sign}"])

    def down(self, name):
        part = self.part(name)
        if isinstance(part, Node):
            with part.turn:
                part.is_held = True
        if part.process.is_alive():
            os.kill(part.process.pid, signal.SIGKILL)
        part.process.wait(20)

    def start(self, rest):
        name, *more = rest.split()
        part = self.part(name)
        if not isinstance(part, Node):
            if not part.process.is_alive():
                part.start()
            return part.process.pid
        with part.turn:
            if not part.process.is_alive():
                part.start(variable.split("=", 1) for variable in more)
            part.is_held = False
        return part.process.pid

    def wipe(self, name):
        part = self.part(name)
        if part.process.is_alive():
            raise ValueError("it runs")
        part.wipe()

    def small(self, name):
        if self.node(name).process.is_alive():
            raise ValueError("it runs")
        self.node(name).small()

    def fill(self, name):
        self.node(name).fill()

    def node(self, name):
        part = self.part(name)
        if not isinstance(part, Node):
            raise ValueError("it is no node")
        return part

    def trim(self, _):
        return self.parts["kafka"].trim()

    def rows(self, statement):
        return json.dumps(self.parts["store"].rows(statement))


class HaProxy:
    def __init__(self, root, nodes, http, grpc):
        self.root = root / "haproxy"
        self.root.mkdir()
        ports = free_ports(2)
        self.http, self.grpc = http or ports[0], grpc or ports[1]
        self.nodes = nodes
        self.process = None

    def start(self):
        config = (HERE / "haproxy.cfg").read_text()
        servers = lambda port: "\n".join(f"    server {n.name} 127.0.0.1:{port(n)} check check-proto h1 port {n.http}" for n in self.nodes)
        config = config.replace("@HTTP@", str(self.http)).replace("@GRPC@", str(self.grpc))
        config = config.replace("@HTTP_SERVERS@", servers(lambda n: n.http))
        config = config.replace("@GRPC_SERVERS@", servers(lambda n: n.grpc))
        path = self.root / "haproxy.cfg"
        path.write_text(config)
        haproxy = program("haproxy")
        self.process = Process("haproxy", [haproxy, "-db", "-f", str(path)], self.root / "out.log").start()
        until("HAProxy", lambda: answers(self.http) and answers(self.grpc), 20)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path, required=True, help="thuban")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--lb", type=int, help="HTTP port of the load balancer [default: a free one]")
    parser.add_argument("--lb-grpc", type=int, help="its gRPC port [default: a free one]")
    parser.add_argument("--directory", type=pathlib.Path, help="where everything is written [default: a temporary one]")
    parser.add_argument("--keep", action="store_true", help="leave what was written")
    parser.add_argument("--links", action="store_true", help="let whoever started it stand between the parts; needs --until-eof")
    parser.add_argument("--journals", type=pathlib.Path, help="where each node keeps a decision journal, by its name")
    parser.add_argument("--until-eof", action="store_true", help="take orders on standard input, and end when it does")
    parser.add_argument("--buffer-pool", default="1G", help="of MariaDB [default: 1G]")
    parser.add_argument("extra", nargs="*", help="more for each node, behind --")
    asked = parser.parse_args()
    if asked.links and not asked.until_eof:
        parser.error("--links needs --until-eof")
    return asked


def main():
    asked = options()
    # A signal ends the start, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    root = asked.directory or pathlib.Path(tempfile.mkdtemp(prefix="thuban-cluster-"))
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    stopping = threading.Event()
    parts = []
    try:
        run(asked, root, stopping, parts)
    except KeyboardInterrupt:
        pass
    finally:
        stopping.set()
        stop(parts)
        if asked.keep or asked.directory:
            say("everything is in", root)
        else:
            shutil.rmtree(root, ignore_errors=True)


def run(asked, root, stopping, parts):
    say("starting MariaDB and Kafka in", root)
    store, log = MariaDb(root, asked.buffer_pool), Kafka(root, asked.nodes if asked.links else 0)
    parts += [store, log]
    starts = [threading.Thread(target=part.start) for part in (store, log)]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    if not (store.process and log.process and store.process.is_alive() and log.process.is_alive()):
        sys.exit("cluster: MariaDB or Kafka did not start; see the logs above, or start again with --keep")
    secret = root / "secret"
    secret.touch(mode=0o600)
    secret.write_text(secrets.token_hex(32) + "\n")
    nodes = [node_of(asked, root, number + 1, (store, log, secret)) for number in range(asked.nodes)]
    parts += nodes
    if asked.links:
        offer_links(nodes, store, log)
    say(f"starting {len(nodes)} nodes")
    for node in nodes:
        node.start()
    until("the nodes", lambda: all(node.is_ready() for node in nodes), 120)
    for node in nodes:
        threading.Thread(target=node.watch, args=(stopping,), daemon=True).start()
    lb = HaProxy(root, nodes, asked.lb, asked.lb_grpc)
    parts.append(lb)
    lb.start()
    said = [f"lb=127.0.0.1:{lb.http}", f"lb_grpc=127.0.0.1:{lb.grpc}"]
    for node in nodes:
        said += [
            f"{node.name}=127.0.0.1:{node.http}", f"{node.name}_grpc=127.0.0.1:{node.grpc}",
            f"{node.name}_pid={node.process.pid}",
        ]
    said += [f"kafka={log.address()}", f"kafka_pid={log.process.pid}"]
    said += [f"store={store.address()}", f"store_pid={store.process.pid}"]
    print("cluster ready", *said, flush=True)
    say("Ctrl-C stops it")
    if not asked.until_eof:
        signal.pause()
    named = {**{node.name: node for node in nodes}, "kafka": log, "store": store, "lb": lb}
    orders = Orders(named)
    for line in iter(sys.stdin.readline, ""):
        print(orders.take(line), flush=True)


def node_of(asked, root, number, stands_on):
    store, log, secret = stands_on
    host, port, more = "127.0.0.1", log.port, asked.extra
    if asked.links:
        host, port = f"127.0.1.{number}", log.linked[number - 1]
        more = ["--advertise", host, *more]
    if asked.journals:
        more = ["--decision-journal", str(asked.journals / f"node{number}"), *more]
    topic = f"kafka://{host}:{port}/{TOPIC}"
    return Node(number, root, asked.binary.resolve(), store.url(host), topic, secret, more)


def offer_links(nodes, store, log):
    """Says where each node will look for what, and waits for the word that somebody forwards it."""
    said = []
    for at, node in enumerate(nodes):
        said += [f"{node.name}.log={log.linked[at]}", f"{node.name}.store={store.port}"]
        said += [f"{node.name}.peer={node.peer}", f"{node.name}.gossip={node.gossip}"]
    print("cluster links", *said, flush=True)
    sys.stdin.readline()


def stop(parts):
    """Nodes first, all at once; then what they stand on."""
    end = time.monotonic() + STOP_WITHIN
    say("stopping")
    for kind in ((Node,), (HaProxy, Kafka, MariaDb)):
        going = [part.process for part in parts if isinstance(part, kind) and part.process is not None]
        for process in going:
            process.ask(signal.SIGTERM)
        for process in going:
            process.wait(max(1.0, min(12.0, end - time.monotonic())))
    for part in parts:
        if isinstance(part, Node):
            part.unmount()


if __name__ == "__main__":
    main()
