#!/bin/sh
# Publishes over HTTP with curl, which tries again after a 503 and waits as long
# as its Retry-After says. Set ROOMCAST_KEY to the secret if the server has
# PUBLISH_KEYS set.
set -eu

# Publishes $2 as $1, with the idempotency key $3, which makes it safe to try again.
publish() {
  curl -sS --fail-with-body --retry 5 --retry-connrefused \
    ${ROOMCAST_KEY:+-H "Authorization: Bearer $ROOMCAST_KEY"} \
    -H "Content-Type: $1" -H "Idempotency-Key: $3" -d "$2" \
    "${ROOMCAST_URL:-http://localhost:4000}/publish"
  echo
}

id=$(date +%s)-$$

# Plain text, to the first of the server's ROOMS.
publish text/plain 'hello' "$id-1"

# Any JSON, to the named room.
publish application/json '{"room":"chat","message":{"text":"hello","from":"curl"}}' "$id-2"

# Twice with the same key: one message, and both responses contain its id.
publish application/json '{"room":"chat","message":"once"}' "$id-3"
publish application/json '{"room":"chat","message":"once"}' "$id-3"
