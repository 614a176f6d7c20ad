#!/usr/bin/env bash
# Takes the README's picture: runs the demo in a terminal of its own and draws what is on its screen as SVG.
#
#   scripts/picture.sh [BINARY] [FILE] [SECONDS]     target/release/tallgrass, docs/images/demo.svg, 200
#
# The picture is taken after SECONDS: long enough for a few minutes in "Spawns per minute". Needs tmux and python3.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=$(realpath "${1:-$root/target/release/tallgrass}")
file=$(realpath -m "${2:-$root/docs/images/demo.svg}")
seconds=${3:-200}
readonly COLUMNS_=142 LINES_=42

[[ -x $binary ]] || { echo "picture.sh: no program at $binary: cargo build --release" >&2; exit 1; }

# A server of our own, so that the user's tmux settings are not in the picture.
terminal() { env -u TMUX LC_ALL=C.UTF-8 tmux -u -f /dev/null -L "picture-$$" "$@"; }
trap 'terminal kill-server 2>/dev/null || true' EXIT

cd "$root"
terminal new-session -d -x "$COLUMNS_" -y "$LINES_" -s demo "env -u NO_COLOR '$binary' demo"
terminal set-option -g status off
terminal resize-window -t demo -x "$COLUMNS_" -y "$LINES_"
sleep "$seconds"
mkdir -p "$(dirname "$file")"
terminal capture-pane -t demo -e -p | python3 "$root/scripts/screen_to_svg.py" "$COLUMNS_" "$LINES_" >"$file.new"
mv "$file.new" "$file"
echo "$file" >&2
