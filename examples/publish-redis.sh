#!/bin/sh
# Publishes through Redis, with nothing of Roomcast's: a channel that CHANNELS
# names is the room of the same name.
set -eu
redis-cli -u "${REDIS_URL:-redis://localhost:6379}" PUBLISH chat 1234567890
