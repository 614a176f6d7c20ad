#!/usr/bin/env python3
"""Opens event streams of a running dashboard's page, as tabs do, and prints their cost for the server.

  tallgrass demo --listen 127.0.0.1:8080 &
  scripts/tabs.py http://127.0.0.1:8080 --pid PID --tabs 0,1,20,200 --seconds 20

For each number of tabs: CPU of the server's HTTP thread and of the whole process, in per cent of one core, and pictures
and bytes a tab gets in a second. Before it, once: the page's weight, compressed, and the time to its last byte.
"""
import argparse
import asyncio
import gzip
import re
import time
import urllib.request
from urllib.parse import urlparse

from process import cpu_seconds


async def tab(host, port, got):
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 24)
    writer.write(f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    while line := await reader.readline():
        if line.startswith(b"data: "):
            got[0] += 1
            got[1] += len(line)


async def measure(url, pid, tabs, seconds):
    host, port, got = url.hostname, url.port, [0, 0]
    tasks = [asyncio.create_task(tab(host, port, got)) for _ in range(tabs)]
    await asyncio.sleep(3)
    got[:] = 0, 0
    before, started = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(seconds)
    took, after = time.monotonic() - started, cpu_seconds(pid)
    http = (after.get("http", 0) - before.get("http", 0)) / took * 100
    whole = (sum(after.values()) - sum(before.values())) / took * 100
    each = max(tabs, 1) * took
    print(f"{tabs:4} tabs: http thread {http:5.1f}%, process {whole:5.1f}%, "
          f"a tab {got[0] / each:4.1f} pictures/s and {got[1] / each / 1000:6.1f} kB/s")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def weight(base):
    """Bytes of the page with its style sheet and script, compressed, and seconds until the page's last byte."""
    started = time.monotonic()
    page = urllib.request.urlopen(base).read()
    took, total = time.monotonic() - started, len(gzip.compress(page))
    for path in sorted(set(re.findall(rb"/assets/[a-z0-9.-]+", page))):
        total += len(gzip.compress(urllib.request.urlopen(base + path.decode()).read()))
    return total, took


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("url")
    arguments.add_argument("--pid", type=int, required=True)
    arguments.add_argument("--tabs", default="0,1,20,200")
    arguments.add_argument("--seconds", type=float, default=20)
    args = arguments.parse_args()
    total, took = weight(args.url)
    print(f"page: {total / 1000:.1f} kB compressed, last byte after {took * 1000:.0f} ms")
    for tabs in args.tabs.split(","):
        asyncio.run(measure(urlparse(args.url), args.pid, int(tabs), args.seconds))


main()
