# Publishes a message over HTTP: python3 publish.py [message]
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

TRIES = 10
# Statuses after which the same request may succeed.
RETRYABLE = {429, 502, 503, 504}


def publish(room, message):
    """Publishes a message once, however many tries it takes: all of them have the same idempotency key."""
    url = os.environ.get("ROOMCAST_URL", "http://localhost:4000")
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    if secret := os.environ.get("ROOMCAST_KEY"):
        headers["Authorization"] = f"Bearer {secret}"
    body = json.dumps({"room": room, "message": message}).encode()
    request = urllib.request.Request(f"{url}/publish", body, headers)
    for left in reversed(range(TRIES)):
        seconds = 1
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if left == 0 or error.code not in RETRYABLE:
                raise RuntimeError(error.read().decode()) from error
            seconds = float(error.headers.get("Retry-After", seconds))
        except (OSError, http.client.HTTPException):
            if left == 0:
                raise
        time.sleep(seconds)


text = sys.argv[1] if len(sys.argv) > 1 else "hello"
print(publish("chat", {"text": text, "from": "python"}))
