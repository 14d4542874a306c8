import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import { releaseAnsweredRequests } from "../../../lib/http/answered_requests.ts";
import { listen } from "../../support/net.ts";

/** The list that node:http keeps of its requests in flight. */
interface Entries extends Map<unknown, { req: IncomingMessage | null }> {}

Deno.test("releaseAnsweredRequests() removes the request from the list of node:http once the response has been sent", async () => {
  const kept: { req: IncomingMessage | null }[] = [];
  const server = createServer((request, response) => {
    const key = Object.getOwnPropertySymbols(server).find(({ description }) =>
      description === "http.server.connections"
    );
    const entries = Reflect.get(server, key ?? "")?._active as Entries;
    const [entry] = entries.values();
    assert.equal(entry?.req, request);
    kept.push(entry);
    response.end("ok");
  });
  releaseAnsweredRequests(server);
  const port = await listen(server);
  for (let i = 0; i < 2; i++) {
    const response = await fetch(`http://127.0.0.1:${port}/`);
    assert.equal(await response.text(), "ok");
  }
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  assert.deepEqual(kept.map(({ req }) => req), [null, null]);
});
