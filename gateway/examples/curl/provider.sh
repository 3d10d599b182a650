#!/usr/bin/env bash
# Registers an instance and keeps its lease until Ctrl-C, with nothing but curl.
#
#   NODE=http://127.0.0.1:7800 ./provider.sh SERVICE ID HOST PORT [TTL_MS]
set -euo pipefail
node=${NODE:-http://127.0.0.1:7800}
service=$1 id=$2 host=$3 port=$4 ttl_ms=${5:-15000}
instance="$node/v1/namespaces/default/services/$service/instances/$id"
generation=

register() {
  local answer
  answer=$(curl -fsS --max-time 5 -X PUT "$instance" -H 'content-type: application/json' -d "{
    \"host\": \"$host\", \"port\": $port, \"metadata\": {\"language\": \"curl\"},
    \"lease\": {\"kind\": \"ttl\", \"ttl_ms\": $ttl_ms, \"remove_after_ms\": $((ttl_ms * 2))}}") || return 1
  # The generation names this life of the instance: with it, nothing said here ever harms a successor.
  generation=$(sed -E 's/.*"generation":"([^"]*)".*/\1/' <<<"$answer")
  echo "registered $service/$id generation $generation"
}

leave() {
  trap - EXIT INT TERM
  if [ -n "$generation" ]; then
    curl -fsS --max-time 5 -o /dev/null -X DELETE "$instance?generation=$generation" && echo "deregistered $service/$id" ||
      echo "the node removes $service/$id when its lease is over" >&2
  fi
  exit 0
}
trap leave EXIT INT TERM

until register; do sleep 1; done
while true; do
  # A third of the TTL leaves room for two attempts to fail. In the background, so that a signal is heard at once.
  sleep "$(awk "BEGIN { print $ttl_ms / 3000 }")" &
  wait $!
  status=$(curl -sS --max-time 5 -o /dev/null -w '%{http_code}' -X POST "$instance/renew?generation=$generation" || true)
  case $status in
    204) ;;
    404 | 412) register || true ;;           # it was removed, or somebody took its place: register again
    *) echo "renew answered $status; trying again" >&2 ;;
  esac
done
