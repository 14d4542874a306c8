#!/bin/sh
# Publishes through Redis, without any code of Roomcast: a message on a channel
# of CHANNELS reaches the room of the same name.
set -eu
redis-cli -u "${REDIS_URL:-redis://localhost:6379}" PUBLISH chat 1234567890
