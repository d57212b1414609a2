#!/usr/bin/env bash
# The cost of a cut network: servers in their own network namespaces, cut off from each other under
# load, with Sentinel and in a cluster. Each admitted unit and each settlement is counted, and callers
# wait on both sides. Needs root and ten minutes per server, so it is run by hand. Nothing leaves
# this machine.
#
#   scripts/cut_network.sh               Redis 8.2 and Valkey 9.1
#   scripts/cut_network.sh valkey-9.1    one of those that scripts/servers.sh lists; then which cuts
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh server libclang clients </dev/null
for tool in ip:iproute2 iptables:iptables ethtool:ethtool; do
  command -v "${tool%:*}" >/dev/null || { apt-get update -qq; apt-get install -y -qq "${tool#*:}"; }
done
cargo build --release -p redis-rl
exec target/clients/py/bin/python scripts/network "$@"
