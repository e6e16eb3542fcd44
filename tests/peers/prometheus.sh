#!/bin/bash
# A real Prometheus (Debian's) scrapes a master and an agent, and promtool judges both answers.
# Exit code 77: Prometheus is not there and cannot be installed.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v prometheus promtool >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get install -y -q --no-install-recommends prometheus >/dev/null 2>&1 ||
            { apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends prometheus >/dev/null; } || true
    fi
fi
if ! command -v prometheus promtool >/dev/null; then
    echo "prometheus and promtool are not installed (Debian: apt-get install prometheus)"
    exit 77
fi

cargo build --locked -q
platformd=${CARGO_TARGET_DIR:-target}/debug/platformd
dir=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$dir"
}
trap stop EXIT

free_port() {
    while :; do
        local port=$((20000 + RANDOM % 20000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
    done
}
await() { # await SECONDS WHAT COMMAND...
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            echo "error: no $what in time" >&2
            tail -n 20 "$dir"/*.log >&2
            exit 1
        fi
        sleep 0.1
    done
}

http=$(free_port) cluster=$(free_port) agent=$(free_port) web=$(free_port)
"$platformd" master --data-dir "$dir/master" --http "127.0.0.1:$http" --cluster "127.0.0.1:$cluster" \
    >"$dir/master.log" 2>&1 &
pids+=($!)
"$platformd" agent --data-dir "$dir/agent" --http "127.0.0.1:$agent" --masters "127.0.0.1:$cluster" \
    --hostname localhost --runtime process >"$dir/agent.log" 2>&1 &
pids+=($!)
await 20 "leader and agent" curl -fsS "http://127.0.0.1:$http/ping"
await 20 "metrics of the agent" curl -fsS "http://127.0.0.1:$agent/metrics"
# Some requests, so that there is something to count.
for path in /v2/apps /v2/info /v2/queue /nowhere; do curl -s "http://127.0.0.1:$http$path" >/dev/null; done

for port in "$http" "$agent"; do
    said=$(curl -fsS "http://127.0.0.1:$port/metrics" | promtool check metrics 2>&1) ||
        { echo "error: promtool on port $port: $said" >&2; exit 1; }
    [ -z "$said" ] || { echo "error: promtool on port $port: $said" >&2; exit 1; }
done
echo "promtool finds nothing to say about master and agent"

cat >"$dir/prometheus.yml" <<YAML
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: platformd
    static_configs: [{ targets: ["127.0.0.1:$http", "127.0.0.1:$agent"] }]
YAML
prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/data" \
    --web.listen-address="127.0.0.1:$web" >"$dir/prometheus.log" 2>&1 &
pids+=($!)

ask() { curl -fsS --get --data-urlencode "query=$1" "http://127.0.0.1:$web/api/v1/query"; }
is() { # is QUERY VALUE
    ask "$1" | grep -q "\"value\":\[[0-9.]*,\"$2\"\]"
}
await 30 "scrape of both" is 'sum(up{job="platformd"})' 2
await 10 "leader in Prometheus" is 'platformd_leader' 1
await 10 "requests in Prometheus" is 'count(platformd_api_requests_total{route="/v2/apps",code="200"})' 1
await 10 "connected agent in Prometheus" is 'platformd_agent_connected' 1
echo "Prometheus $(prometheus --version 2>&1 | head -n 1 | cut -d' ' -f3) scrapes both and finds leader, requests and agent"
