#!/usr/bin/env python3
"""Opens many control panels of a running dashboard and prints their cost.

  scripts/kafka.sh start 29092
  tallgrass dashboard -b 127.0.0.1:29092 --listen 127.0.0.1:8080 --format ndjson >/dev/null &
  tallgrass pokemon-gen -b 127.0.0.1:29092 --rate 50000/s &
  scripts/panels.py http://127.0.0.1:8080 --panels 1000 --seconds 30 --pid PID

The panels lie within 10 km of the two cities where Pokémon appear by default (--spread), a link of its own each.
The delay is from a record's time, which its producer gave it, to the arrival of the event that has it.
"""
import argparse
import asyncio
import json
import random
import time
from urllib.parse import urlparse

from process import cpu_seconds

CITIES = [(40.4168, -3.7038), (-34.6037, -58.3816)]


class Seen:
    def __init__(self):
        self.measuring = False
        self.open = self.events = self.rows = self.bytes = 0
        self.delays = []
        self.totals = {}


async def follow(host, port, query, seen):
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
    writer.write(f"GET /panel/events?{query} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    first = True
    while line := await reader.readline():
        if not line.startswith(b"data: "):
            continue
        if first:
            seen.open += 1
            first = False
        if not seen.measuring:
            seen.totals[query] = None
            continue
        now = time.time() * 1000
        seen.events += 1
        seen.bytes += len(line)
        # Only one event in sixteen is parsed, so that this script does not distort the measurement.
        if seen.events % 16 == 0:
            data = json.loads(line[6:])
            if rows := data.get("rows"):
                seen.rows += len(rows) * 16
                seen.delays.append(now - rows[-1]["t"])


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--panels", type=int, default=1000)
    parser.add_argument("--radius-km", type=float, default=0.5)
    parser.add_argument("--spread", type=float, default=10.0, help="km from a city")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pid", type=int, required=True, help="of the dashboard")
    args = parser.parse_args()
    address, dice, seen, tasks = urlparse(args.url), random.Random(1), Seen(), []
    for number in range(args.panels):
        lat, lon = CITIES[number % 2]
        degrees = args.spread / 111.2
        lat, lon = lat + dice.uniform(-degrees, degrees), lon + dice.uniform(-degrees, degrees) * 1.25
        query = f"lat={lat:.5f}&lon={lon:.5f}&radius_km={args.radius_km}"
        tasks.append(asyncio.create_task(follow(address.hostname, address.port, query, seen)))
        if number % 50 == 49:
            await asyncio.sleep(0.05)
    opened = time.time()
    while seen.open < args.panels and time.time() < opened + 60:
        await asyncio.sleep(0.1)
    print(f"{seen.open} panels open after {time.time() - opened:.1f} s")
    await asyncio.sleep(5)
    seen.measuring = True
    before, began = cpu_seconds(args.pid), time.time()
    await asyncio.sleep(args.seconds)
    after, took = cpu_seconds(args.pid), time.time() - began
    shares = {name: (used - before.get(name, 0)) / took * 100 for name, used in after.items()}
    print(f"{sum(shares.values()):.0f}% of a core: " + ", ".join(
        f"{name} {share:.1f}%" for name, share in sorted(shares.items(), key=lambda one: -one[1]) if share >= 0.5))
    print(f"{seen.events / took:.0f} events/s, {seen.rows / took:.0f} rows/s, {seen.bytes / took / 1e6:.2f} MB/s")
    delays = sorted(seen.delays)
    if delays:
        at = lambda share: delays[min(len(delays) - 1, int(len(delays) * share))]
        print(f"delay of the newest row: median {at(0.5):.0f} ms, 95% {at(0.95):.0f} ms, 99% {at(0.99):.0f} ms")
    for task in tasks:
        task.cancel()


asyncio.run(main())
