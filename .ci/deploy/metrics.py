"""Whether the alerts and the board speak of what is there: each metric is one that Thuban has, each expression one that
Prometheus reads, each alert one that is tried and that gateway/docs/operating.md says what to do about.

usage: metrics.py PROMTOOL
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
VITALS = TOP / "gateway" / "server" / "src"
# Prometheus makes it for each scrape.
OF_PROMETHEUS = {"up"}
# What it makes of a histogram.
PARTS = ("_bucket", "_sum", "_count")
# What Grafana puts in place of its variables.
VARIABLES = {"$__rate_interval": "5m", "$job": "thuban", "$instance": "a"}


def there():
    """Names of metrics by kind, from the sources: a test of the server holds this list to what they really use."""
    listed = re.findall(r"\((Gauge|Counter|Histogram), \"(\w+)\"", (VITALS / "vitals" / "words.rs").read_text())
    shown = re.findall(r"[\s(]\"(process_\w+|thuban_\w+)\",\s*\"(gauge|counter)\"", (VITALS / "vitals.rs").read_text())
    names = {name for kind, name in listed if kind != "Histogram"} | {name for name, _ in shown}
    names |= {name + part for kind, name in listed if kind == "Histogram" for part in PARTS}
    if len(names) < 100 or "process_open_fds" not in names or "thuban_log_lines_lost_total" not in names:
        raise SystemExit(f"the metrics are not where they were: {sorted(names)}")
    return names | OF_PROMETHEUS


def spoken(expression):
    """Names of metrics in an expression: words that are neither in quotes, nor labels, nor functions."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    words = re.findall(r"[A-Za-z_:][A-Za-z0-9_:]*(?!\w|\s*\()", bare)
    return set(words) - {"or", "and", "unless", "offset", "bool", "m", "h", "s"}


def unknown(named, names):
    return [f"{where}: there is no metric {name}" for where, text in named for name in sorted(spoken(text) - names)]


def rules():
    """Alerts and their expressions, as promtool has read them before: one key a line."""
    text = (TOP / "deploy" / "prometheus" / "alerts.yaml").read_text()
    found = []
    for part in re.split(r"^\s*- alert: ", text, flags=re.MULTILINE)[1:]:
        name = part.split("\n", 1)[0].strip()
        expression = re.search(r"^\s*expr: (\|\n(?:(?: {10}.*)\n)+|.*\n)", part, re.MULTILINE)
        found.append((name, expression[1].removeprefix("|")))
    return found


def board():
    """Titles of the board's panels with each of their expressions, and those of its variables."""
    read = json.loads((TOP / "deploy" / "grafana" / "thuban.json").read_text())
    named, ids = [], []
    for panel in read["panels"]:
        ids.append(panel["id"])
        if panel["type"] == "row":
            continue
        for target in panel["targets"]:
            named.append((panel["title"], target["expr"]))
    if len(ids) != len(set(ids)):
        raise SystemExit("two panels of the board have one id")
    for variable in read["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"])
            named.append((f"the variable {variable['name']}", asked[1]))
    return named


def filled(expression):
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def misread(promtool, named):
    """What Prometheus says of expressions that it cannot read."""
    made = [{"record": f"panel:{at}", "expr": filled(text)} for at, (_, text) in enumerate(named)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        # JSON is YAML, too.
        json.dump({"groups": [{"name": "board", "rules": made}]}, file)
        file.flush()
        checked = subprocess.run([promtool, "check", "rules", file.name], capture_output=True, text=True, check=False)
    return [] if checked.returncode == 0 else [checked.stdout + checked.stderr]


def untold(alerts):
    """Alerts that are not tried with a series that rings them, or that nobody says what to do about, and the reverse."""
    tests = (TOP / "deploy" / "prometheus" / "alerts_test.yaml").read_text()
    page = (TOP / "gateway" / "docs" / "operating.md").read_text()
    tried = {name for name, _ in re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n(\s+- )", tests)}
    silent = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts: \[\]", tests))
    told = set(re.findall(r"^### (\w+)", page, re.MULTILINE))
    names = {name for name, _ in alerts}
    wrong = [f"{name} is never seen to ring" for name in sorted(names - tried)]
    wrong += [f"{name} is never seen to be silent" for name in sorted(names - silent)]
    wrong += [f"operating.md has no words for {name}" for name in sorted(names - told)]
    wrong += [f"operating.md speaks of {name}, which is no alert" for name in sorted(told - names)]
    return wrong


def proves_itself():
    """What it looks for it finds."""
    names = {"up", "a_total", "b_bucket"}
    good = 'sum by (x, le) (rate(a_total{c="d"}[5m])) / on (x) group_left () up or (b_bucket offset 10m) > 0'
    assert unknown([("", good)], names) == [], unknown([("", good)], names)
    assert len(unknown([("", good)], names - {"b_bucket"})) == 1
    assert len(unknown([("", "histogram_quantile(0.99, rate(c_bucket[5m]))")], names)) == 1


def main():
    (promtool,) = sys.argv[1:]
    proves_itself()
    names, alerts, panels = there(), rules(), board()
    wrong = unknown(alerts, names) + unknown(panels, names) + misread(promtool, panels) + untold(alerts)
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong or len(alerts) < 10 or len(panels) < 20:
        raise SystemExit(f"{len(wrong)} things are wrong with the alerts or the board")
    print(f"{len(alerts)} alerts and {len(panels)} expressions of the board speak of metrics that are there")


if __name__ == "__main__":
    main()
