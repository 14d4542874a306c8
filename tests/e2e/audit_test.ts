/** The step of CI that asks the registry for known vulnerabilities, with a registry of the test's own. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { dirname } from "node:path";
import { listen } from "../support/net.ts";

const root = new URL("../../", import.meta.url);

/** What a registry knows about one package, in the form of npm. */
const ADVISORY = {
  id: 1,
  url: "https://github.com/advisories/GHSA-0000-0000-0000",
  title: "A made-up vulnerability",
  severity: "high",
  vulnerable_versions: "<999",
  cwe: [],
  cvss: { score: 8, vectorString: null },
};

/** Runs `.ci/audit` with a registry that answers with `status` and `body`. Resolves to its exit code and output. */
async function audit(
  status: number,
  body: unknown,
): Promise<{ code: number; output: string; asked: string[] }> {
  const asked: string[] = [];
  const registry = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    if (request.method === "POST") asked.push(...Object.keys(JSON.parse(text)));
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  });
  const port = await listen(registry);
  try {
    const { code, stdout, stderr } = await new Deno.Command("bash", {
      args: [".ci/audit"],
      cwd: root,
      env: {
        NPM_CONFIG_REGISTRY: `http://127.0.0.1:${port}/`,
        NO_COLOR: "1",
        GITHUB_ACTIONS: "true",
        PATH: `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}`,
      },
    }).output();
    const decoder = new TextDecoder();
    const output = decoder.decode(stdout) + decoder.decode(stderr);
    return { code, output, asked };
  } finally {
    registry.closeAllConnections();
    await new Promise((resolve) => registry.close(resolve));
  }
}

Deno.test(".ci/audit fails if a package has a known vulnerability, and asks about each package of the server", async () => {
  const { code, output, asked } = await audit(200, { hono: [ADVISORY] });
  assert.equal(code, 1, output);
  assert.match(output, /A made-up vulnerability/);
  for (const name of ["hono", "socket.io", "@redis/client", "jose"]) {
    assert.ok(asked.includes(name), `${name} is not in ${asked}`);
  }
});

Deno.test(".ci/audit succeeds if no vulnerability is known", async () => {
  const { code, output } = await audit(200, {});
  assert.equal(code, 0, output);
  assert.match(output, /audit: no known vulnerability\n$/);
});

Deno.test(".ci/audit warns and succeeds if the registry does not answer", async () => {
  const { code, output } = await audit(503, "unavailable");
  assert.equal(code, 0, output);
  assert.match(output, /^::warning::audit: not done/m);
});
