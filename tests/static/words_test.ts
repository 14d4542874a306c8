import assert from "node:assert/strict";
import { ERROR_STATUS } from "../../lib/errors.ts";
import type { GapReason } from "../../lib/log/gaps.ts";
import { adviceFor } from "../../static/advice.js";
import { recoverySentence } from "../../static/events.js";
import { gapSentence } from "../../static/gaps.js";
import { formatRate, Rate } from "../../static/rate.js";
import { retryDelayMs } from "../../static/retry.js";
import { formatDuration } from "../../static/time.js";

const REASONS: Record<GapReason, true> = {
  trimmed: true,
  epoch: true,
  expired: true,
  overloaded: true,
  ingress: true,
  position: true,
};

Deno.test("gapSentence() returns a different sentence for every reason of a gap", () => {
  const sentences = Object.keys(REASONS).map(gapSentence);
  const unknown = gapSentence("toString");
  assert.equal(unknown, "Messages may be missing here");
  assert.equal(new Set([...sentences, unknown]).size, 7);
});

Deno.test("adviceFor() returns different advice for every error that can prevent the page from connecting", () => {
  const titles = new Set([adviceFor({ status: 503 }).title]);
  for (const [code, status] of Object.entries(ERROR_STATUS)) {
    if (![401, 403, 503].includes(status)) continue;
    const { title, text } = adviceFor({ status, code });
    assert.ok(!titles.has(title), `${code}: ${title}`);
    titles.add(title);
    assert.match(text, /\.$/, code);
  }
});

Deno.test("adviceFor() returns different advice for no response, a successful response and a refusal", () => {
  assert.match(adviceFor({ status: 0 }).title, /does not respond/);
  assert.match(adviceFor({ status: 200 }).title, /is ready/);
  assert.match(adviceFor({ status: 403 }).text, /publish key/);
  assert.match(adviceFor({ status: 418 }).title, /does not accept/);
  assert.equal(adviceFor({ status: 503, message: "why" }).detail, "why");
});

Deno.test("recoverySentence() says how many messages were missed and recovered", () => {
  const result = { awayMs: 5000, recoveryMs: 84, missed: 1, gaps: 0 };
  assert.equal(
    recoverySentence(result),
    "Recovered 1 missed message in 84 ms after 5.0 s away, 0 missing",
  );
  assert.match(
    recoverySentence({ ...result, missed: 0, gaps: 1 }),
    /Recovered 0 missed messages .* with gaps in 1 room$/,
  );
});

Deno.test("Rate averages over the last full seconds and forgets counts after a minute", () => {
  const rate = new Rate();
  for (let at = 100_000; at < 105_000; at += 100) rate.add(at);
  assert.equal(rate.perSecond(105_000), 10);
  assert.equal(rate.counts(105_000).length, 60);
  assert.equal(rate.perSecond(107_500), 6);
  assert.equal(rate.perSecond(300_000), 0);
  assert.deepEqual([0, 0.4, 9.94, 1234].map(formatRate), [
    "0/s",
    "0.4/s",
    "9.9/s",
    "1,234/s",
  ]);
});

Deno.test("retryDelayMs() grows with each failure, is random, and has a limit", () => {
  assert.equal(retryDelayMs(0, 0), 500);
  assert.equal(retryDelayMs(0, 1), 1000);
  assert.equal(retryDelayMs(2, 1), 4000);
  assert.equal(retryDelayMs(50, 1), 15_000);
});

Deno.test("formatDuration() returns a duration in ms, seconds or minutes", () => {
  assert.deepEqual([84.4, 5210, 180_000].map(formatDuration), [
    "84 ms",
    "5.2 s",
    "3 min",
  ]);
});
