// Publishes a message over HTTP: node publish.mjs [message]
// deno-lint-ignore-file no-console explicit-module-boundary-types
import { randomUUID } from "node:crypto";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const TRIES = 10;
/** Statuses after which the same request may succeed. */
const RETRYABLE = [429, 502, 503, 504];

/** Publishes a message once, however many tries it takes: all of them have the same idempotency key. */
export async function publish(room, message) {
  const body = JSON.stringify({ room, message });
  const key = randomUUID();
  for (let left = TRIES - 1;; left--) {
    let response;
    try {
      response = await send(body, key);
    } catch (error) {
      if (left === 0) throw error;
    }
    if (response?.status === 200) return JSON.parse(response.text);
    if (response && (left === 0 || !RETRYABLE.includes(response.status))) {
      throw new Error(response.text);
    }
    await sleep(1000 * (response?.retryAfter ?? 1));
  }
}

async function send(body, key) {
  const url = process.env.ROOMCAST_URL ?? "http://localhost:4000";
  const secret = process.env.ROOMCAST_KEY;
  const response = await fetch(`${url}/publish`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "Idempotency-Key": key,
      ...secret && { Authorization: `Bearer ${secret}` },
    },
    body,
    signal: AbortSignal.timeout(10_000),
  });
  return {
    status: response.status,
    text: await response.text(),
    retryAfter: response.headers.get("Retry-After"),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = process.argv[2] ?? "hello";
  console.log(await publish("chat", { text, from: "node" }));
}
