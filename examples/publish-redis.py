# Publishes through Redis, without any code of Roomcast: a message on a channel
# of CHANNELS reaches the room of the same name.
import os

import redis

r = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379"))
r.publish("chat", "hello from python")
