#!/usr/bin/env python3
"""Which dependencies would one of our crates alone (`cargo build -p NAME`, `cargo test -p NAME`) build with other features
than all of them together (`cargo test`)? Each is printed, and belongs into crates/features/Cargo.toml; exit 1 if there is
any. Asks Cargo for its graph of units, which it calls unstable; nothing is compiled."""

import json
import os
import subprocess
import sys

os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOST = "for the host: "
TRIPLE = next(line[6:] for line in subprocess.check_output(["rustc", "-vV"], text=True).splitlines() if line.startswith("host: "))


def cargo(*arguments):
    environment = dict(os.environ, RUSTC_BOOTSTRAP="1")
    return json.loads(subprocess.run(["cargo", *arguments], env=environment, check=True, stdout=subprocess.PIPE).stdout)


def units(*arguments):
    """(side, package) -> the sets of features that its library is built with."""
    graph = cargo(*arguments, "--release", "--locked", "--target", TRIPLE, "--unit-graph", "-Zunstable-options")
    found = {}
    for unit in graph["units"]:
        if unit["mode"] == "build" and "custom-build" not in unit["target"]["kind"]:
            side = HOST if unit["platform"] is None else ""
            name = side + unit["pkg_id"].rsplit("/", 1)[-1]
            found.setdefault(name, set()).add(tuple(sorted(unit["features"])))
    return found


members = [package["name"] for package in cargo("metadata", "--no-deps", "--locked", "--format-version", "1")["packages"]]
together = units("test")
found = False
for member in members:
    for command in "build", "test":
        for name, features in sorted(units(command, "-p", member).items()):
            for other in features - together.get(name, features):
                found = True
                missing = set(min(together[name], key=lambda known: len(set(known) - set(other)))) - set(other)
                print(f"cargo {command} -p {member}: {name} lacks {', '.join(sorted(missing)) or 'nothing, and has more'}")
sys.exit(found)
