// Publishes the output of a language model while the model writes it:
//     ollama run llama3.2 "Tell me a story" | node publish.mjs [room]
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { publish } from "../publish.mjs";

/**
 * How long tokens are collected for one message. A room keeps 1,000 messages (HISTORY_SIZE): 100 s of writing, so use a
 * longer time for longer answers.
 */
const BATCH_MS = 100;

/**
 * Publishes an answer in messages `{n, text, end?}`, where `n` counts from 0 and `end` is in the last one. `tokens` is
 * any async iterable of strings, such as the stream of an LLM's SDK.
 *
 * The next message is sent only when the one before is acknowledged, which keeps the order. publish() gives each
 * message one idempotency key for all its tries, so no token is doubled. Tokens that arrive meanwhile wait for the next
 * message.
 */
async function publishAnswer(room, tokens) {
  let waiting = "";
  let end;
  let failure;
  async function read() {
    try {
      for await (const token of tokens) waiting += token;
      end = "complete";
    } catch (error) {
      failure = error;
      end = "failed";
    }
  }
  const reading = read();
  for (let n = 0, last; last === undefined;) {
    await Promise.race([sleep(BATCH_MS), reading]);
    const text = waiting;
    last = end;
    if (text === "" && last === undefined) continue;
    waiting = "";
    await publish(room, { n, text, end: last });
    n++;
  }
  if (failure) throw failure;
}

await publishAnswer(
  process.argv[2] ?? "answer",
  process.stdin.setEncoding("utf8"),
);
