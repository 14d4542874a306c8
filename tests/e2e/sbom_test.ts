/** The list of packages that is in the bundle (`sbom.json`). */
import * as Spec from "@cyclonedx/cyclonedx-library/Spec";
import * as Validation from "@cyclonedx/cyclonedx-library/Validation";
import assert from "node:assert/strict";
import { clientIn, packagesIn, sbomOf } from "../../tools/sbom.ts";
import { run } from "../support/program.ts";

const cwd = new URL("../../", import.meta.url);

Deno.test("deno task sbom prints a valid list of exactly the packages whose code is in the bundle", async () => {
  const folder = await Deno.makeTempDir({ prefix: "roomcast-sbom-" });
  try {
    const args = ["run", "-A", "--cached-only", "tools/bundle.ts", folder];
    await run(Deno.execPath(), args, { cwd, env: {} });
    const text = await Deno.readTextFile(`${folder}/sbom.json`);
    const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
    assert.equal(await validator.validate(text), null);

    const printed = await run(Deno.execPath(), ["task", "-q", "sbom"], {
      cwd,
      env: {},
    });
    assert.equal(printed.trim(), text.trim());

    const purls: string[] = JSON.parse(text).components.map((
      { purl }: { purl: string },
    ) => purl);
    const bundle = await Deno.readTextFile(`${folder}/main.js`);
    // Each package of the bundle, found by the folder of each of its modules and without the tool.
    const folders = new Set(
      [...bundle.matchAll(
        /\/\/ .*node_modules\/(@[^/]+\/[^/]+|[^/@.]+[^/]*)\//g,
      )]
        .map(([, name = ""]) => name),
    );
    const names = purls.map((purl) =>
      decodeURIComponent(purl.replace(/^pkg:npm\/(.*)@.*$/, "$1"))
    );
    assert.ok(folders.size > 20);
    assert.deepEqual(
      [...new Set(names)].sort(),
      [...folders, "socket.io-client"].sort(),
    );
    assert.ok(purls.includes("pkg:npm/%40redis/client@6.3.1"));
    // Packages of tests are in deno.lock and not in the bundle.
    assert.ok(!names.includes("fast-check"));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("the validator of the list refuses a list that is not valid", async () => {
  const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
  const text = '{"bomFormat":"CycloneDX","specVersion":"1.6","packages":[]}';
  assert.notEqual(await validator.validate(text), null);
});

Deno.test("sbomOf() refuses a bundle with a package that is not in deno.lock", async () => {
  const bundle =
    "// node_modules/.deno/made-up@1.0.0/node_modules/made-up/x.js";
  await assert.rejects(
    sbomOf(bundle, "/*!\n * Socket.IO v4.8.4\n"),
    /made-up@1\.0\.0 is in the bundle and not in deno\.lock/,
  );
  assert.throws(() => clientIn("// other"), /does not say its version/);
  assert.deepEqual(
    packagesIn("// node_modules/.deno/a@1_b@2/node_modules/a/"),
    [
      { name: "a", version: "1" },
    ],
  );
});
