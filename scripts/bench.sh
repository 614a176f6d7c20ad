#!/usr/bin/env bash
# The table of docs/performance.md on this machine: workloads W1 to W5 over a real Kafka, each as a replay and live while
# catching up, beside a consumer that only counts.
#
#   scripts/bench.sh [PORT]      starts Kafka on PORT (39192), fills two topics once, measures, stops Kafka
#
# RUNS=5 measures more often (3), POKEMONS and USERS set how many records the topics get. Needs Python 3, Java and Maven.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

port=${1:-39192}
brokers=127.0.0.1:$port
pokemons=${POKEMONS:-3000000}
users=${USERS:-600000}

cargo build --release
count=$(cargo build --release --bench count --message-format=json 2>/dev/null |
  sed -n 's/.*"name":"count".*"executable":"\([^"]*\)".*/\1/p' | tail -1)
program=$(dirname "$(dirname "$count")")/tallgrass

scripts/kafka.sh start "$port"
trap 'scripts/kafka.sh stop "$port"' EXIT

topics=(bench-pokemons-"$pokemons" bench-users-"$users")
if ! "$count" "$brokers" "${topics[@]}" >/dev/null 2>&1; then
  "$program" pokemon-gen -b "$brokers" --topic "${topics[0]}" --rate max --count "$pokemons" --seed 1
  "$program" user-gen -b "$brokers" --topic "${topics[1]}" --rate max --count "$users" --seed 1
fi
python3 scripts/bench.py "$program" "$count" "$brokers" "${topics[@]}"
