import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import { releaseAnsweredRequests } from "../../../lib/http/answered_requests.ts";
import { listen } from "../../support/net.ts";

/** What node:http has noted of requests, as it deletes it. */
interface Notes extends Map<unknown, { req: IncomingMessage | null }> {}

Deno.test("forgetAnswered() has node:http's note of a request refer to it until it is answered, and no longer", async () => {
  const noted: { req: IncomingMessage | null }[] = [];
  const server = createServer((request, response) => {
    const key = Object.getOwnPropertySymbols(server).find(({ description }) =>
      description === "http.server.connections"
    );
    const notes = Reflect.get(server, key ?? "")?._active as Notes;
    const [note] = notes.values();
    assert.equal(note?.req, request);
    noted.push(note);
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
  assert.deepEqual(noted.map(({ req }) => req), [null, null]);
});
