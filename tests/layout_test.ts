import assert from "node:assert/strict";

/** Only main.ts may do these: a library that exits or reads the environment cannot be tested or reasoned about. */
const MAIN_ONLY = [
  "Deno.env",
  "Deno.exit",
  ".listen(",
  "addSignalListener",
  "process.env",
  "process.exit",
];

const root = new URL("../", import.meta.url);

/** What a file imports, however it does: `import`, `export … from`, `import()`, types too. */
function importsOf(source: string): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, "");
  return [
    ...code.matchAll(/\bfrom\s*["']([^"']+)["']/g),
    ...code.matchAll(/^\s*import\s*["']([^"']+)["']/gm),
    ...code.matchAll(/\bimport\s*\(\s*["'`]([^"'`]+)["'`]/g),
  ].map(([, specifier = ""]) => specifier);
}

/** The part of the house a file belongs to, by its path from the root. */
function partOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : path;
}

/** Which parts each part may import from. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  "main.ts": ["routes", "lib"],
  routes: ["routes", "lib"],
  lib: ["lib"],
};

/** What is wrong with a file's place in the house, a sentence each. */
function check(path: string, source: string): string[] {
  const wrong: string[] = [];
  const part = partOf(path);
  const main = path === "main.ts";
  for (const specifier of importsOf(source)) {
    const ours = /^\.{0,2}\//.test(specifier) || specifier.startsWith("file:");
    if (!ours) {
      const name = specifier.replace(/^npm:\/?/, "");
      if (part === "lib" && /^(@hono|hono)(\/|@|$)/.test(name)) {
        wrong.push(`${path} imports ${specifier}: lib knows nothing of HTTP`);
      }
      continue;
    }
    const { href } = new URL(specifier, new URL(path, root));
    const target = href.startsWith(root.href)
      ? href.slice(root.href.length)
      : href;
    if (!ARROWS[part]?.includes(partOf(target))) {
      wrong.push(`${path} imports ${target}: that arrow points back`);
    }
    if (target === "lib/telemetry/telemetry.ts" && !main) {
      wrong.push(`${path} imports ${target}: only main.ts may`);
    }
    if (path === "lib/errors.ts" || path === "lib/observer.ts") {
      wrong.push(`${path} imports ${target}: it stands on nothing`);
    }
  }
  for (const words of main ? [] : MAIN_ONLY) {
    if (source.includes(words)) {
      wrong.push(`${path} mentions ${words}: only main.ts may`);
    }
  }
  return wrong;
}

/** All our sources, by their paths from the root. */
async function sources(): Promise<Map<string, string>> {
  const paths = ["main.ts"];
  for (const folder of ["routes", "lib"]) {
    const folders = [folder];
    for (const name of folders) {
      for await (const entry of Deno.readDir(new URL(`${name}/`, root))) {
        const path = `${name}/${entry.name}`;
        if (entry.isDirectory) folders.push(path);
        else if (/\.[jt]s$/.test(path)) paths.push(path);
      }
    }
  }
  const texts = paths.map(async (path) =>
    [path, await Deno.readTextFile(new URL(path, root))] as const
  );
  return new Map(await Promise.all(texts));
}

Deno.test("imports go from main.ts to routes to lib, and never back", async () => {
  const files = await sources();
  assert.ok(files.size > 20, `only ${files.size} files were found`);
  assert.deepEqual(
    [...files].flatMap(([path, source]) => check(path, source)),
    [],
  );
});

Deno.test("the check of imports sees real ones", async () => {
  const imports = importsOf((await sources()).get("main.ts") ?? "");
  for (
    const specifier of [
      "node:events",
      "./lib/config.ts",
      "./lib/telemetry.ts",
      "./routes/mod.ts",
    ]
  ) assert.ok(imports.includes(specifier), specifier);
});

Deno.test("the check of imports notices each kind of wrong one", () => {
  const wrong: [path: string, source: string][] = [
    ["lib/log/log.ts", 'import { createApp } from "../routes/mod.ts";'],
    ["lib/log/log.ts", 'import type { Env }\n  from "../routes/http.ts";'],
    ["lib/log/log.ts", 'export * from "../main.ts";'],
    ["lib/log/log.ts", 'import "../main.ts";'],
    ["lib/log/log.ts", 'const it = await import("./support/redis.ts");'],
    ["lib/deep/log.ts", 'import { x } from "../../routes/mod.ts";'],
    ["lib/log/log.ts", 'import { x } from "../../elsewhere.ts";'],
    ["lib/log/log.ts", 'import { Hono } from "hono";'],
    ["lib/log/log.ts", 'import { cors } from "hono/cors";'],
    ["lib/log/log.ts", 'import { serve } from "@hono/node-server";'],
    ["lib/log/log.ts", 'import { Hono } from "npm:hono@4";'],
    ["lib/log/log.ts", 'import { Metrics } from "./telemetry.ts";'],
    [
      "routes/mod.ts",
      'import { Metrics } from "../lib/telemetry/telemetry.ts";',
    ],
    ["routes/mod.ts", 'import { serve } from "../main.ts";'],
    ["main.ts", 'import { Redis } from "./tests/support/redis.ts";'],
    ["lib/errors.ts", 'import type { Log } from "./log.ts";'],
    ["lib/observer.ts", 'import { Fault } from "./errors.ts";'],
    ["lib/log/log.ts", 'Deno.env.get("PORT");'],
    ["lib/log/log.ts", "Deno.exit(1);"],
    ["routes/mod.ts", "server.listen(4000);"],
    ["routes/mod.ts", 'Deno.addSignalListener("SIGTERM", () => {});'],
  ];
  for (const [path, source] of wrong) {
    assert.notDeepEqual(check(path, source), [], `${path}: ${source}`);
  }
  const right: [path: string, source: string][] = [
    ["main.ts", 'import { Metrics } from "./lib/telemetry.ts"; Deno.exit(0);'],
    ["main.ts", 'import { createApp } from "./routes/mod.ts";'],
    ["routes/mod.ts", 'import { Hono } from "hono";'],
    ["routes/mod.ts", 'import { Fault } from "../lib/errors.ts";'],
    ["lib/log/log.ts", 'import { createHash } from "node:crypto";'],
    ["lib/log/log.ts", 'import { Fault } from "./errors.ts";'],
    ["lib/errors.ts", '/** Not an import from "./log.ts". */'],
  ];
  for (const [path, source] of right) {
    assert.deepEqual(check(path, source), [], `${path}: ${source}`);
  }
});
