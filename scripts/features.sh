#!/usr/bin/env bash
# Which dependencies would one of our crates alone (`cargo test -p NAME`) build with other features than all of them
# together? Each is printed, and belongs into crates/features/Cargo.toml; exit 1 if there is any.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

host=$(rustc -vV | sed -n 's/^host: //p')

tree() {
  cargo tree --locked --target "$host" --prefix none -f '{p} {f}' -e normal,build,dev "$@" | sed 's/ (\*)$//' | grep -v '^tallgrass' | sort -u
}

all=$(tree --workspace)
found=0
for manifest in Cargo.toml crates/*/Cargo.toml; do
  name=$(sed -n 's/^name = "\(tallgrass[^"]*\)".*/\1/p' "$manifest" | head -1)
  differs=$(comm -13 <(echo "$all") <(tree -p "$name"))
  if [ -n "$differs" ]; then
    found=1
    sed "s/^/$name: /" <<<"$differs"
  fi
done
exit "$found"
