/** Tests the bytes of responses and the number of writes that send them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { SingleWriteResponse } from "../../../lib/http/response.ts";
import { listen } from "../../support/net.ts";
import { soon } from "../../support/wait.ts";

/**
 * Sends one request to a server. Resolves to the response, without its `Date`, and to the writes that sent the
 * response.
 */
async function ask(
  answer: (response: ServerResponse) => void,
  method = "GET",
): Promise<{ text: string; writes: string[] }> {
  const writes: string[] = [];
  const server = createServer(
    { ServerResponse: SingleWriteResponse },
    (_request, response) => {
      const handle = Reflect.get(response.socket ?? {}, "_handle");
      for (const name of ["writeUtf8String", "writeLatin1String", "writev"]) {
        const write = handle[name];
        handle[name] = (...args: unknown[]) => {
          writes.push(name);
          return write.apply(handle, args);
        };
      }
      answer(response);
    },
  );
  const client = connect(await listen(server), "127.0.0.1");
  let text = "";
  client.on("data", (chunk) => text += chunk);
  client.write(
    `${method} / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n`,
  );
  await once(client, "close");
  server.close();
  await once(server, "close");
  return { text: text.replace(/Date: .*\r\n/, ""), writes };
}

Deno.test("SingleWriteResponse sends the head and the body in one write if the body is a text", async () => {
  const { text, writes } = await ask((response) => {
    response.setHeader("vary", "Origin");
    response.writeHead(429, { "Content-Type": "text/plain", "vary": "Accept" });
    assert.equal(response.headersSent, false);
    response.end("wait – please");
    assert.equal(response.headersSent, true);
  });
  assert.equal(
    text,
    "HTTP/1.1 429 Too Many Requests\r\nvary: Accept\r\nContent-Type: text/plain\r\n" +
      "x-content-type-options: nosniff\r\nConnection: close\r\nContent-Length: 15\r\n\r\nwait – please",
  );
  assert.deepEqual(writes, ["writeUtf8String"]);
});

Deno.test("SingleWriteResponse sends a response with a status text, a body in pieces, a body of bytes or no body as ServerResponse does", async () => {
  const own = await ask((response) => {
    response.writeHead(200, "Fine", { "x-own": "1" });
    response.end("body");
  });
  assert.match(
    own.text,
    /^HTTP\/1\.1 200 Fine\r\nx-content-type-options: nosniff\r\nx-own: 1\r\n[^]*chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n$/,
  );
  const pieces = await ask((response) => {
    response.writeHead(200, {
      "set-cookie": ["a=1", "b=2"],
      "x-no": undefined,
    });
    response.write("one ");
    response.end("two");
  });
  assert.match(
    pieces.text,
    /^HTTP\/1\.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\n[^]*chunked\r\n\r\n4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n$/,
  );
  const bytes = await ask((response) => {
    response.writeHead(200, { "content-length": 3 });
    response.end(new Uint8Array([111, 110, 101]));
  });
  assert.match(bytes.text, /\r\ncontent-length: 3\r\n[^]*\r\n\r\none$/);
  for (
    const nothing of [
      await ask((response) => void response.writeHead(204, {}).end()),
      await ask((response) => void response.writeHead(304, {}).end()),
      await ask((response) => {
        response.writeHead(200, { "content-length": "5" });
        response.end("never");
      }, "HEAD"),
    ]
  ) assert.match(nothing.text, /^HTTP\/1\.1 (200|204|304) [^]*\r\n\r\n$/);
});

Deno.test("SingleWriteResponse closes a keep-alive connection if the request's body does not end", async () => {
  const server = createServer(
    { ServerResponse: SingleWriteResponse },
    (_request, response) => response.writeHead(413).end(),
  );
  const client = connect(await listen(server), "127.0.0.1");
  // What it writes after the server has closed the connection causes an error.
  client.on("error", () => {});
  client.resume();
  const closed = new Promise((resolve) => client.on("close", resolve));
  client.write(
    "POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 1000000000\r\n\r\n",
  );
  const chunk = new Uint8Array(1 << 20);
  const sending = setInterval(() => {
    if (client.writableLength < chunk.length) client.write(chunk);
  }, 0);
  await soon(closed, "the connection is closed");
  clearInterval(sending);
  server.close();
  await once(server, "close");
});
