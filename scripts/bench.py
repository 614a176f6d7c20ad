#!/usr/bin/env python3
"""Measures the workloads of docs/performance.md; run by scripts/bench.sh.

Each command runs as a process of its own; its CPU seconds (user and system), wall seconds and peak memory are the
kernel's. Runs take turns, so that a busy moment of the machine hits all alike; the table shows the median run by CPU.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PROGRAM, COUNT, BROKERS, POKEMONS, USERS = sys.argv[1:6]
RUNS = int(os.environ.get("RUNS", "3"))

WORKLOADS = {
    "w1": "SELECT type_1, count(*) AS seen, avg(total) AS mean, max(total) AS most FROM pokemons GROUP BY type_1",
    "w2": "SELECT name, count(*) AS seen FROM pokemons GROUP BY name ORDER BY seen DESC, name LIMIT 10",
    "w3": "SELECT count(*) AS near FROM pokemons WHERE haversine_km(lat, lon, 40.4168, -3.7038) <= 3",
    "w4": "SELECT count(*) AS online FROM users",
}


def queries(names, shipped=None):
    """A folder with these workloads as dashboard files, or with the shipped ones."""
    folder = tempfile.mkdtemp(prefix="tallgrass-bench-")
    with open("queries/sources.sql", encoding="utf-8") as file:
        sources = file.read()
    for topic, named in (("pokemons", POKEMONS), ("users", USERS)):
        sources = sources.replace(f"LOCATION '{topic}'", f"LOCATION '{named}'")
    with open(os.path.join(folder, "sources.sql"), "w", encoding="utf-8") as file:
        file.write(sources)
    if shipped:
        shutil.copytree("queries/dashboard", os.path.join(folder, "dashboard"))
        return folder
    os.mkdir(os.path.join(folder, "dashboard"))
    for name in names:
        with open(os.path.join(folder, "dashboard", name + ".sql"), "w", encoding="utf-8") as file:
            file.write(WORKLOADS[name] + "\n")
    return folder


def run(command):
    """(CPU s, wall s, peak MB, stdout)"""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - started, usage.ru_maxrss / 1024, output


def events(topics):
    return int(subprocess.check_output([COUNT, BROKERS, *topics]).split()[0])


def same(live, replay):
    def bags(text):
        return {view: sorted(json.dumps(row, sort_keys=True) for row in rows) for view, rows in json.loads(text).items()}

    return bags(live) == bags(replay)


def table():
    sets = [("W1", ["w1"], [POKEMONS]), ("W2", ["w2"], [POKEMONS]), ("W3", ["w3"], [POKEMONS]), ("W4", ["w4"], [USERS])]
    sets += [("W5", list(WORKLOADS), [POKEMONS, USERS]), ("shipped", None, [POKEMONS, USERS])]
    print(f"\nthousand events per CPU second (and per second of wall time; peak MB), median of {RUNS} runs\n")
    print(f"{'':8} {'events':>9}  {'count only':>20}  {'live, catching up':>28}  {'replay':>28}  wall: live/count")
    for name, names, topics in sets:
        folder = queries(names, shipped=names is None)
        total = events(topics)
        commands = {
            "count": [COUNT, BROKERS, *topics],
            "live": [PROGRAM, "dashboard", "-b", BROKERS, "--queries", folder, "--once", "--format", "json"],
            "replay": [PROGRAM, "replay", "-b", BROKERS, "--queries", folder, "--format", "json"],
        }
        runs = {kind: [] for kind in commands}
        for _ in range(RUNS):
            for kind, command in commands.items():
                runs[kind].append(run(command))
        if not same(runs["live"][-1][3], runs["replay"][-1][3]):
            sys.exit(f"{name}: live and replay differ")
        median = {kind: sorted(kind_runs)[len(kind_runs) // 2] for kind, kind_runs in runs.items()}

        def cell(kind):
            cpu, wall, peak, _ = median[kind]
            memory = "" if kind == "count" else f"; {peak:.0f} MB"
            return f"{total / cpu / 1000:.0f} ({total / wall / 1000:.0f}{memory})"

        share = median["count"][1] / median["live"][1]
        print(f"{name:8} {total:>9}  {cell('count'):>20}  {cell('live'):>28}  {cell('replay'):>28}  {share:.0%}", flush=True)
        shutil.rmtree(folder)


def latency(rate, seconds=15):
    """Milliseconds from a record's time to the first line that has it, for evenly spread records: (p50, p99, max)."""
    topic = f"bench-latency-{rate}-{os.getpid()}"
    folder = queries([])
    with open(os.path.join(folder, "sources.sql"), "r+", encoding="utf-8") as file:
        text = file.read().replace(f"'{POKEMONS}'", f"'{topic}'")
        file.seek(0)
        file.write(text)
        file.truncate()
    with open(os.path.join(folder, "dashboard", "newest.sql"), "w", encoding="utf-8") as file:
        file.write("SELECT count(*) AS n, max(arrow_cast(_timestamp, 'Int64')) AS newest FROM pokemons\n")
    generate = [PROGRAM, "pokemon-gen", "-b", BROKERS, "--topic", topic, "--rate", f"{rate}/s", "-X", "linger.ms=5"]
    generator = subprocess.Popen(generate, stderr=subprocess.DEVNULL)
    time.sleep(2)
    watch = [PROGRAM, "dashboard", "-b", BROKERS, "--queries", folder, "--format", "ndjson"]
    dashboard = subprocess.Popen(watch, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    threading.Timer(seconds, dashboard.terminate).start()
    lines = []
    for line in dashboard.stdout:
        now_ms = time.time() * 1000
        row = (json.loads(line).get("rows") or [{}])[0]
        if row.get("newest"):
            lines.append((now_ms, row["newest"]))
    dashboard.wait()
    generator.terminate()
    generator.wait()
    # The first seconds catch up.
    lines = [(now, newest) for now, newest in lines if now > lines[0][0] + 3000]
    delays = []
    for (_, before), (now, newest) in zip(lines, lines[1:]):
        delays += [now - t for t in range(int(before) + 1, int(newest) + 1)]
    shutil.rmtree(folder)
    delays.sort()
    return statistics.median(delays), delays[len(delays) * 99 // 100], delays[-1]


table()
print("\nfrom a record's time to the first result that has it, milliseconds")
for rate in (20_000, 50_000):
    p50, p99, most = latency(rate)
    print(f"  {rate:>6} events/s: p50 {p50:.0f}, p99 {p99:.0f}, max {most:.0f}", flush=True)
folder = queries(["w1"])
started = time.monotonic()
first = subprocess.Popen(
    [PROGRAM, "dashboard", "-b", BROKERS, "--queries", folder, "--format", "ndjson"],
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
)
first.stdout.readline()
print(f"first result after the start: {(time.monotonic() - started) * 1000:.0f} ms")
first.terminate()
first.wait()
