#!/usr/bin/env bash
# Takes the README's picture of the page: runs the demo and lets Chromium draw it.
#
#   scripts/page_picture.sh [BINARY] [FILE] [SECONDS]     target/release/tallgrass, docs/images/page.png, 200
#
# The picture is taken after SECONDS: long enough for a few minutes in "Spawns per minute". Needs Chromium.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=$(realpath "${1:-$root/target/release/tallgrass}")
file=$(realpath -m "${2:-$root/docs/images/page.png}")
seconds=${3:-200}
chromium=${TALLGRASS_CHROMIUM:-chromium}

[[ -x $binary ]] || { echo "page_picture.sh: no program at $binary: cargo build --release" >&2; exit 1; }

scratch=$(mktemp -d)
cd "$root"
"$binary" demo --verify 10s --pg off >"$scratch/out" 2>"$scratch/err" &
demo=$!
trap 'kill -INT "$demo" 2>/dev/null || true; wait "$demo" 2>/dev/null || true; rm -rf "$scratch"' EXIT
sleep "$seconds"
page=$(sed -n 's/^page at //p' "$scratch/err" | head -1)
mkdir -p "$(dirname "$file")"
"$chromium" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$scratch/profile" --timeout=4000 \
  --window-size=1440,1420 --screenshot="$file" "$page/" 2>/dev/null
echo "$file" >&2
