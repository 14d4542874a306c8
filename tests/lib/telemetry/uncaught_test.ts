import assert from "node:assert/strict";

const PROBE = new URL("../../support/uncaught_probe.ts", import.meta.url);

/** Resolves to the exit code of a process with an error in this place, and to what it prints. */
async function probe(
  place: string,
): Promise<{ code: number; lines: string[]; errors: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", PROBE.pathname, place],
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return {
    code,
    lines: decoder.decode(stdout).trim().split("\n"),
    errors: decoder.decode(stderr),
  };
}

for (const place of ["timer", "microtask", "socket"]) {
  Deno.test(`an exception in a ${place} is logged as one line and ends the process with 1`, async () => {
    const { code, lines, errors } = await probe(place);
    assert.equal(code, 1);
    assert.equal(errors, "");
    assert.equal(lines.length, 1, lines.join("\n"));
    const { level, kind, where, error } = JSON.parse(lines[0] ?? "");
    assert.deepEqual([level, kind], ["error", "error"]);
    assert.match(where, /uncaught exception/);
    assert.match(error, /made up/);
  });
}

Deno.test("a rejection that nothing handles is logged, and the process goes on", async () => {
  const { code, lines } = await probe("rejection");
  assert.equal(code, 0);
  assert.match(lines[0] ?? "", /an unhandled rejection/);
  assert.equal(lines[1], "goes on");
});
