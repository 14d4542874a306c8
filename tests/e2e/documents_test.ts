/** Runs every fenced block of the documents that a newcomer follows, against one node. */
import assert from "node:assert/strict";
import {
  benchmarks,
  type Check,
  composes,
  loadsStateInPage,
  printed,
  publishes,
  receivesInBrowser,
  receivesInNode,
  responds,
  runs,
  runsBetween,
  runsContainer,
  runsInPage,
  starts,
  streamed,
  streams,
  typeChecks,
} from "../support/document_checks.ts";
import { Stage } from "../support/document_stage.ts";
import { fencedBlocks, ROOT } from "../support/documents.ts";

/** A check for each block of a document, in order. */
const CHECKS: Readonly<Record<string, readonly Check[]>> = {
  "README.md": [
    starts(),
    publishes("sh", "hello"),
    printed(),
    publishes("sh", "hello"),
    publishes("js", "hello"),
    publishes("sh", "hello"),
    publishes("python", "hello"),
    publishes("php", "hello"),
    receivesInBrowser(),
    starts({ onRedis: true }),
    starts({ onRedis: true }),
  ],
  "docs/getting-started.md": [
    starts(),
    starts(),
    publishes("sh", "hello"),
    printed(),
    runs(/"room":"orders"/),
    runs(),
    printed(),
    receivesInBrowser(),
    receivesInNode(),
    starts({ onRedis: true }),
    publishes("sh", "1234567890"),
    publishes("python", "1234567890"),
    starts({ onRedis: true }),
    publishes("sh", "message 1", "message 2", "message 3"),
  ],
  "docs/http-api.md": [
    publishes("sh", "hello"),
    publishes("sh", { text: "hello" }, "hello", "hello", "hello"),
    publishes("sh", 1),
    runs(/"complete":/),
    streams(),
    runs(/^\{"rooms":\[\],"cursor":null\}$/m),
    runs(/^\{"room":"order.42","user":"ann","clients":0\}$/m),
    runs(/^\{"user":"ann","clients":0\}$/m),
    runs(/"issuedBefore":\d+/),
  ],
  "docs/bridge.md": [
    publishes("sh", "1234567890"),
    publishes("python", "1234567890"),
  ],
  "docs/configuration.md": [
    starts({ onRedis: true }),
    runs(/^PORT +0 /m),
    starts(),
    starts(),
  ],
  "docs/deploy/docker.md": [
    composes(),
    publishes("sh", "hello"),
    runsContainer(),
  ],
  "docs/client-module.md": [
    runsInPage(),
    runsBetween(
      `import { io } from "socket.io-client";
       import { roomcast } from "./static/roomcast.js";
       const storage = { getItem() {}, setItem() {} };
       const cast = roomcast(io, { url: "http://localhost:4000", rooms: [], storage });`,
      "",
      /^stored \d+-\d+$/m,
    ),
  ],
  "docs/state.md": [
    loadsStateInPage("/api/orders"),
    runsBetween(
      `const data = new Map([["id 1", "new"]]);
       const readOrders = async () => [...data];
       const shown = [];
       const replaceAll = (orders) => shown.push(...orders.map(String));
       const change = (order) => shown.push(String(order));`,
      `await new Promise((resolve) => {
         const timer = setInterval(() => shown.length > 0 && resolve(clearInterval(timer)), 10);
       });
       const publish = (message) => fetch("http://localhost:4000/publish", {
         method: "POST",
         headers: { "content-type": "application/json" },
         body: JSON.stringify({ room: "orders", message }),
       });
       await publish(["id 1", "paid"]);
       while (shown.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
       console.log(shown.join(" then "));`,
      /^id 1,new then id 1,paid$/m,
    ),
  ],
  "docs/socket-events.md": [
    receivesInBrowser(),
    typeChecks(),
    runsBetween(
      `import { io } from "socket.io-client";
       const socket = io("http://localhost:4000", { auth: { rooms: [""] } });`,
      `await new Promise((resolve) => socket.on("connect_error", resolve));`,
      /^refused: \{[^]*invalid_room/,
    ),
    runsBetween(
      `import { io } from "socket.io-client"; const socket = io("http://localhost:4000");`,
      "console.log(ok, messages.length, error);",
      /^true 1 undefined$/m,
    ),
    runsBetween(
      `import { io } from "socket.io-client"; const socket = io("http://localhost:4000");`,
      "",
      /ok: true,\s+id: '\d+-\d+',\s+duplicate: false/,
    ),
    typeChecks({ "./roomcast.d.ts": "static/roomcast.d.ts" }),
  ],
  "docs/sse.md": [
    receivesInBrowser("source.readyState === 1"),
    streams(),
    streamed(),
    runsBetween(
      `const timer = setInterval(() => fetch("http://localhost:4000/publish", {
         method: "POST",
         body: new URLSearchParams({ room: "orders", message: "hello" }),
       }), 100);
       const receive = (event, { message }) => {
         console.log(event, message);
         return false;
       };`,
      "clearInterval(timer);",
      /^msgReceived hello$/m,
    ),
  ],
  "docs/page.md": [responds("/page.json?room=chat")],
  "docs/recovery.md": [
    runsBetween(
      `import { io } from "socket.io-client";
       const { position } = await (await fetch("http://localhost:4000/rooms/a/history")).json();`,
      `const rooms = new Set();
       await new Promise((resolve) => socket.on("joined", ({ room, reason }) => {
         rooms.add(room + " " + reason);
         if (rooms.size === 2) resolve();
       }));
       console.log([...rooms].sort().join());`,
      /^a undefined,b undefined$/m,
    ),
  ],
  "docs/performance.md": [benchmarks()],
  "docs/migrate.md": [
    publishes("js", "Rain"),
    receivesInNode("Rain", "headline Rain", "headline"),
    publishes("sh", '{"event":"OrderPaid","data":{"id":42},"socket":null}'),
    receivesInNode('{"event":"OrderPaid","data":{"id":42}}', "OrderPaid 42"),
  ],
};

/** Documents whose blocks other tests check. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  "docs/deploy/nginx.md": "tests/e2e/proxy_test.ts",
  "docs/deploy/systemd.md": "tests/e2e/examples_test.ts",
  "docs/hooks.md": "tests/e2e/hooks_documents_test.ts",
  "docs/openapi.md": "tests/e2e/openapi_test.ts",
  "docs/security.md":
    "tests/e2e/redis_acl_test.ts and tests/lib/access/recipes_test.ts",
  "docs/tokens.md": "tests/e2e/tokens_documents_test.ts",
};

Deno.test("every document that has a fenced block is listed in CHECKS or ELSEWHERE of this test", () => {
  const paths = ["docs", "docs/deploy"].flatMap((folder) =>
    [...Deno.readDirSync(new URL(folder, ROOT))].map(({ name }) =>
      `${folder}/${name}`
    )
  ).filter((path) => path.endsWith(".md"));
  assert.ok(paths.length > 12);
  assert.deepEqual(
    paths.filter((path) =>
      fencedBlocks(path).length > 0 && !(path in CHECKS) && !(path in ELSEWHERE)
    ),
    [],
  );
});

Deno.test({
  name: "every fenced block of the documents in CHECKS works",
  // Playwright keeps handles open until the process ends.
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    await using stage = await Stage.start();
    for (const [path, checks] of Object.entries(CHECKS)) {
      const blocks = fencedBlocks(path);
      assert.equal(blocks.length, checks.length, `the blocks of ${path}`);
      for (const [index, block] of blocks.entries()) {
        const check = checks[index];
        assert.ok(check, block.where);
        assert.ok(check.languages.includes(block.language), block.where);
        await t.step({
          name: `${block.where} (${block.language})`,
          ignore: check.available === false,
          sanitizeOps: false,
          sanitizeResources: false,
          fn: async () => await check.run(stage, block),
        });
      }
    }
  },
});
