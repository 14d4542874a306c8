#!/bin/sh
# Publishes over HTTP in several ways. Set PUBLISH_KEY to the secret if the
# server has PUBLISH_KEYS set.
set -eu
url=${ROOMCAST_URL:-http://localhost:4000}
if [ -n "${PUBLISH_KEY:-}" ]; then set -- -H "Authorization: Bearer $PUBLISH_KEY"; fi

# Plain text, to the first of the server's ROOMS.
curl -sS --fail-with-body "$@" -H 'Content-Type: text/plain' -d 'hello' "$url/publish"
echo

# Any JSON, to the named room.
curl -sS --fail-with-body "$@" -H 'Content-Type: application/json' \
  -d '{"room":"chat","message":{"text":"hello","from":"curl"}}' "$url/publish"
echo

# Twice with the same key: one message, and both responses contain its id.
key=example-$(date +%s)-$$
for _ in 1 2; do
  curl -sS --fail-with-body "$@" -H "Idempotency-Key: $key" \
    -H 'Content-Type: application/json' -d '{"room":"chat","message":"once"}' "$url/publish"
  echo
done
