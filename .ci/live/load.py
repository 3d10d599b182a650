"""load.py LOADTEST THUBAN: every scenario of the load generator, briefly, against a debug build.

No figure is judged here: a debug build has none worth judging, and neither has a busy machine. Judged is that each
scenario runs to its end, that its own check of the truth holds, and that the report says what it should.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

BRIEF = ["--seconds", "1", "--repeats", "1"]
SCENARIOS = {
    "read": (["--instances", "10"], ["discover 10, HTTP, of the bare server", "discover 10, gRPC, of the bare server"]),
    "register": (["--connections", "8"], ["register, ack=log, HTTP", "register, ack=log, Session"]),
    "watch": (["--watchers", "20", "--changes", "20"], ["change to each of 20 watchers, node, p99"]),
    "memory": (["--instances", "20000"], ["an idle node", "20000 instances", "20000 instances ready in"]),
    "renew": (["--leases", "2000", "--rounds", "2"], ["2000 leases renewed each 15 s", "leases that lapsed meanwhile"]),
}
OPEN_LOOP = {"read": ["--per-second", "200"], "register": ["--per-second", "200"]}
# The gates are not met by a debug build, and that is said by this exit code.
GATES_MISSED = 1


def run(loadtest, thuban, scenario, options):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [loadtest, scenario, "--thuban", thuban, "--json", str(report), *BRIEF, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        if done.returncode not in (0, GATES_MISSED) or not report.exists():
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return json.loads(report.read_text())


def check(scenario, report, expected):
    figures = {line["what"]: line["figure"] for line in report["lines"] if line["figure"] is not None}
    for what in expected:
        if what not in figures:
            raise SystemExit(f"{scenario}: no line says \"{what}\" among {sorted(figures)}")
    if figures.get("leases that lapsed meanwhile", 0) != 0:
        raise SystemExit(f"{scenario}: {figures['leases that lapsed meanwhile']} leases lapsed that were renewed")
    for line in report["lines"]:
        run = (line["detail"] or {}).get("node")
        if run and "operations" in run and run["operations"] == 0:
            raise SystemExit(f"{scenario}: nothing was done: {line}")


def main(loadtest, thuban):
    for scenario, (options, expected) in SCENARIOS.items():
        check(scenario, run(loadtest, thuban, scenario, options), expected)
        print(f"{scenario}: ran to its end", flush=True)
    for scenario, options in OPEN_LOOP.items():
        run(loadtest, thuban, scenario, options)
        print(f"{scenario}, open loop: ran to its end", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
