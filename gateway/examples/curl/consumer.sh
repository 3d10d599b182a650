#!/usr/bin/env bash
# Prints the instances of a service that are fit to be called, and again after each change, with nothing but curl.
#
#   NODE=http://127.0.0.1:7800 ./consumer.sh SERVICE
set -euo pipefail
node=${NODE:-http://127.0.0.1:7800}
instances="$node/v1/namespaces/default/services/$1/instances?usable=true"
etag='"0.0.0"'
head=$(mktemp)
trap 'rm -f "$head"' EXIT
trap 'exit 0' INT TERM

while true; do
  # Held until the list differs from the one of this ETag, at most 30 s: then 304. A service that nobody has registered
  # yet is a 404 with an ETag that can be waited on in the same way.
  if ! body=$(curl -sS --max-time 40 -D "$head" -H "if-none-match: $etag" "$instances&wait_ms=30000"); then
    sleep 1
    continue
  fi
  status=$(awk 'NR == 1 { print $2 }' "$head")
  case $status in
    200)
      # Where an instance begins: metadata may have a key `id` too. With jq it is `.items[].id`.
      ids=$(grep -oE '\{"namespace":"[^"]*","service":"[^"]*","id":"([^"\]|\\.)*"' <<<"$body" | sed -E 's/.*"id":"(.*)"/\1/' | sort | tr '\n' ' ' || true)
      echo "now: ${ids:-nobody}"
      ;;
    304 | 404) ;;
    *) sleep 1 ;;
  esac
  new=$(awk 'tolower($1) == "etag:" { print $2 }' "$head" | tr -d '\r')
  etag=${new:-$etag}
done
