#!/bin/sh
# Publishes over HTTP, in each form. PUBLISH_KEY is the secret, where the server
# has PUBLISH_KEYS set.
set -eu
url=${ROOMCAST_URL:-http://localhost:4000}
if [ -n "${PUBLISH_KEY:-}" ]; then set -- -H "Authorization: Bearer $PUBLISH_KEY"; fi

# Plain text, into the first of the server's ROOMS.
curl -sS --fail-with-body "$@" -H 'Content-Type: text/plain' -d 'hello' "$url/publish"
echo

# Any JSON, into a room by name.
curl -sS --fail-with-body "$@" -H 'Content-Type: application/json' \
  -d '{"room":"chat","message":{"text":"hello","from":"curl"}}' "$url/publish"
echo

# Twice with the same key: one message, and both answers have its id.
key=example-$(date +%s)-$$
for _ in 1 2; do
  curl -sS --fail-with-body "$@" -H "Idempotency-Key: $key" \
    -H 'Content-Type: application/json' -d '{"room":"chat","message":"once"}' "$url/publish"
  echo
done
