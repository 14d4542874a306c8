import assert from "node:assert/strict";
import { RefusalDelay } from "../../../lib/limits/refusal_delay.ts";
import { until } from "../../support/wait.ts";

Deno.test("RefusalDelay calls the first refusal of an address at once, and delays further ones", async () => {
  const delay = new RefusalDelay({ delayMaxMs: 50 });
  let refused = 0;
  const refuse = (): void => void refused++;
  delay.run("192.0.2.1", refuse);
  delay.run("192.0.2.2", refuse);
  assert.equal(refused, 2);
  for (let i = 0; i < 20; i++) delay.run("192.0.2.1", refuse);
  assert.equal(refused, 2);
  assert.equal(delay.waiting, 20);
  await until("all refusals were called", () => refused === 22);
  assert.equal(delay.waiting, 0);
});

Deno.test("RefusalDelay calls the refusal of an address at once if its last refusal is older than the window", () => {
  const delay = new RefusalDelay({ windowMs: 0 });
  let refused = 0;
  for (let i = 0; i < 3; i++) delay.run("192.0.2.1", () => refused++);
  assert.equal(refused, 3);
  assert.ok(delay.remembered <= 1);
});

Deno.test("RefusalDelay lets only a limited number of refusals wait, and remembers only a limited number of addresses", () => {
  const delay = new RefusalDelay({ waitingMax: 5, rememberedMax: 10 });
  let refused = 0;
  const refuse = (): void => void refused++;
  for (let i = 0; i < 1000; i++) delay.run("192.0.2.1", refuse);
  assert.equal(delay.waiting, 5);
  assert.equal(refused, 995);
  for (let i = 0; i < 1000; i++) delay.run(`2001:db8:0:${i}::/64`, refuse);
  assert.equal(delay.remembered, 10);
  assert.equal(refused, 1995);
  delay.run("192.0.2.1", refuse);
  assert.equal(refused, 1996, "the address is forgotten");
  delay.close();
  assert.equal(delay.waiting, 0);
  assert.equal(refused, 2001, "those that waited are refused");
  delay.run("192.0.2.1", refuse);
  assert.equal(refused, 2002, "no refusal waits any more");
});
