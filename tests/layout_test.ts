/**
 * Defines which folder may import which folders and packages, and how long a file and a function may be. The drawing in
 * CONTRIBUTING.md is compared with the actual imports.
 */
import assert from "node:assert/strict";

/** A folder, or a file that is treated like a folder. */
interface Unit {
  /** The units that this unit may import, in addition to {@linkcode GROUND}. */
  readonly imports?: readonly string[];
  /** The npm packages that this unit may import. Every unit may import modules of Node. */
  readonly packages?: readonly string[];
}

/** Units that every other unit may import. Each of them may import only those before it in the list. */
const GROUND = ["lib/errors.ts", "lib/observer.ts", "lib/util"];

/** Every unit; each may import only units that are listed above it. */
const UNITS: Readonly<Record<string, Unit>> = {
  "lib/errors.ts": {},
  "lib/observer.ts": {},
  "lib/util": {},
  "lib/limits": {},
  "lib/access": { packages: ["cookie", "jose"] },
  "lib/log": {},
  "lib/socket_events": { imports: ["lib/log"], packages: ["valibot"] },
  "lib/publish": { imports: ["lib/limits", "lib/access", "lib/log"] },
  "lib/hooks": {
    imports: ["lib/limits", "lib/access", "lib/log", "lib/publish"],
  },
  "lib/redis": { packages: ["@redis/client"] },
  "lib/redis_log": { imports: ["lib/log", "lib/redis"] },
  "lib/bridge": {
    imports: ["lib/log", "lib/publish", "lib/redis", "lib/redis_log"],
  },
  "lib/cluster": { imports: ["lib/redis"] },
  "lib/delivery": { imports: ["lib/log", "lib/socket_events"] },
  "lib/recovery": { imports: ["lib/log", "lib/delivery"] },
  "lib/sessions": { imports: ["lib/access", "lib/log", "lib/redis"] },
  "lib/revocations": { imports: ["lib/access", "lib/redis", "lib/cluster"] },
  "lib/occupancy": { imports: ["lib/redis"] },
  "lib/directives": { imports: ["lib/log", "lib/redis", "lib/cluster"] },
  "lib/clients": {
    imports: [
      "lib/directives",
      "lib/limits",
      "lib/access",
      "lib/log",
      "lib/cluster",
      "lib/delivery",
      "lib/recovery",
      "lib/sessions",
    ],
  },
  "lib/config": {
    imports: ["lib/limits", "lib/access", "lib/log", "lib/hooks"],
  },
  "lib/http": { imports: ["lib/limits"] },
  "lib/websocket": { imports: ["lib/limits"] },
  "lib/wire": {},
  "lib/engineio": {
    imports: ["lib/limits", "lib/http", "lib/websocket", "lib/wire"],
    packages: ["engine.io", "socket.io"],
  },
  "lib/listener": { imports: ["lib/http"] },
  "lib/socketio": {
    imports: [
      "lib/limits",
      "lib/access",
      "lib/log",
      "lib/socket_events",
      "lib/publish",
      "lib/redis",
      "lib/redis_log",
      "lib/cluster",
      "lib/delivery",
      "lib/recovery",
      "lib/clients",
      "lib/http",
      "lib/websocket",
      "lib/wire",
      "lib/engineio",
    ],
    packages: [
      "@socket.io/redis-streams-adapter",
      "socket.io",
      "socket.io-parser",
    ],
  },
  "lib/sse": {
    imports: [
      "lib/limits",
      "lib/access",
      "lib/log",
      "lib/delivery",
      "lib/clients",
      "lib/wire",
    ],
  },
  "lib/redis_parts.ts": {
    imports: [
      "lib/log",
      "lib/redis",
      "lib/redis_log",
      "lib/bridge",
      "lib/sessions",
      "lib/revocations",
      "lib/occupancy",
      "lib/directives",
      "lib/config",
      "lib/socketio",
    ],
  },
  "lib/cluster_parts.ts": {
    imports: [
      "lib/redis",
      "lib/cluster",
      "lib/occupancy",
      "lib/directives",
      "lib/clients",
      "lib/config",
    ],
  },
  "lib/node.ts": {
    imports: [
      "lib/limits",
      "lib/access",
      "lib/log",
      "lib/hooks",
      "lib/publish",
      "lib/bridge",
      "lib/cluster",
      "lib/delivery",
      "lib/recovery",
      "lib/sessions",
      "lib/revocations",
      "lib/occupancy",
      "lib/directives",
      "lib/clients",
      "lib/config",
      "lib/wire",
      "lib/socketio",
      "lib/sse",
      "lib/redis_parts.ts",
      "lib/cluster_parts.ts",
    ],
  },
  "lib/telemetry": { packages: ["prom-client"] },
  "routes": {
    imports: [
      "lib/access",
      "lib/log",
      "lib/socket_events",
      "lib/publish",
      "lib/recovery",
      "lib/revocations",
      "lib/occupancy",
      "lib/directives",
      "lib/clients",
      "lib/sse",
    ],
    packages: [
      "@hono/node-server",
      "@valibot/to-json-schema",
      "hono",
      "valibot",
    ],
  },
  "main.ts": {
    imports: [
      "lib/access",
      "lib/config",
      "lib/wire",
      "lib/listener",
      "lib/node.ts",
      "lib/telemetry",
      "routes",
    ],
  },
};

const FILE_LINES_MAX = 350;
const FUNCTION_LINES_MAX = 60;
const CHAIN_MAX = 10;

/**
 * Files and functions that may be longer than the limit, each with the reason. A function is written as `path#line`.
 */
const LONG: Readonly<Record<string, string>> = {};

/** Calls that are allowed only in main.ts: a library that exits or reads the environment is hard to test. */
const MAIN_ONLY = [
  "Deno.env",
  "Deno.exit",
  ".listen(",
  "addSignalListener",
  "process.env",
  "process.exit",
];
/** Other files that may contain these calls, each with the reason. */
const NOT_MAIN: Readonly<Record<string, string>> = {
  "lib/config/environment.ts":
    "it reads the environment before main.ts imports packages",
};

const root = new URL("../", import.meta.url);

/** The imports of a file, and the first and last line of each of its functions. */
interface Parsed {
  readonly imports: readonly string[];
  readonly functions: readonly (readonly [first: number, last: number])[];
}

function parse(path: string, source: string): Parsed {
  const imports: string[] = [];
  const functions: [number, number][] = [];
  const lineOf = (offset: number): number =>
    source.slice(0, offset).split("\n").length;
  const take = ({ source }: { source: { value: string } | null }): void => {
    if (source !== null) imports.push(source.value);
  };
  const measure = ({ range: [start, end] }: Deno.lint.Node): void =>
    void functions.push([lineOf(start), lineOf(end)]);
  Deno.lint.runPlugin(
    {
      name: "layout",
      rules: {
        parse: {
          create: () => ({
            ImportDeclaration: take,
            ExportAllDeclaration: take,
            ExportNamedDeclaration: take,
            // deno-lint-ignore no-explicit-any -- the types do not know literals of other kinds
            ImportExpression: (node: any) => take(node),
            // deno-lint-ignore no-explicit-any -- the types call its field otherwise
            TSImportType: ({ argument, source }: any) =>
              take({ source: source ?? argument?.literal ?? argument }),
            FunctionDeclaration: measure,
            FunctionExpression: measure,
            ArrowFunctionExpression: measure,
          }),
        },
      },
    },
    path,
    source,
  );
  return { imports, functions };
}

/** Returns the unit to which a file belongs. */
function unitOf(path: string): string {
  const [part = "", folder = "", ...rest] = path.split("/");
  if (part === "routes") return "routes";
  return rest.length > 0 ? `${part}/${folder}` : path;
}

/** Returns the path of the file that an import names; undefined if the import names a package. */
function targetOf(path: string, specifier: string): string | undefined {
  if (!/^\.{0,2}\//.test(specifier) && !specifier.startsWith("file:")) {
    return undefined;
  }
  const { href } = new URL(specifier, new URL(path, root));
  return href.startsWith(root.href) ? href.slice(root.href.length) : href;
}

/** Returns the name of the package that an import names; undefined if the import names a file or a module of Node. */
function packageOf(specifier: string): string | undefined {
  if (/^(\.{0,2}\/|file:|node:)/.test(specifier)) return undefined;
  const name = specifier.replace(/^npm:\/?/, "");
  return /^(@[^/]+\/)?[^/@]+/.exec(name)?.[0];
}

/** Returns a sentence for each violation by a file. */
function check(
  path: string,
  source: string,
  { imports, functions }: Parsed = parse(path, source),
): string[] {
  const wrong: string[] = [];
  const unit = unitOf(path);
  const known = UNITS[unit];
  if (known === undefined) return [`${path} is in no unit of the table`];
  for (const specifier of imports) {
    const target = targetOf(path, specifier);
    if (target === undefined) {
      const name = packageOf(specifier);
      if (name !== undefined && !known.packages?.includes(name)) {
        wrong.push(`${path} imports ${specifier}: ${unit} may not`);
      }
      continue;
    }
    const other = unitOf(target);
    if (other === unit) continue;
    if (target.split("/").at(-1)?.startsWith("_")) {
      wrong.push(`${path} imports ${target}: it is private to ${other}`);
    }
    const ground = GROUND.indexOf(other);
    const own = GROUND.indexOf(unit);
    const grounded = ground >= 0 && (own < 0 || ground < own);
    if (!grounded && !known.imports?.includes(other)) {
      wrong.push(`${path} imports ${target}: ${unit} may not import ${other}`);
    }
  }
  for (const words of path === "main.ts" ? [] : MAIN_ONLY) {
    if (source.includes(words) && NOT_MAIN[path] === undefined) {
      wrong.push(`${path} has ${words}: only main.ts may`);
    }
  }
  const lines = source.split("\n").length - 1;
  if (lines > FILE_LINES_MAX && LONG[path] === undefined) {
    wrong.push(`${path} has ${lines} lines; split it`);
  }
  for (const [first, last] of functions) {
    const name = `${path}#${first}`;
    if (last - first >= FUNCTION_LINES_MAX && LONG[name] === undefined) {
      wrong.push(
        `${name} is a function of ${last - first + 1} lines; split it`,
      );
    }
  }
  return wrong;
}

/** Returns the text of each source file of the program, by its path from the root. */
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
  const texts = paths.sort().map(async (path) =>
    [path, await Deno.readTextFile(new URL(path, root))] as const
  );
  return new Map(await Promise.all(texts));
}

/** Returns which units each unit actually imports. */
function arrowsOf(
  files: ReadonlyMap<string, string>,
): Map<string, Set<string>> {
  const arrows = new Map<string, Set<string>>();
  for (const [path, source] of files) {
    const unit = unitOf(path);
    const targets = arrows.get(unit) ?? new Set();
    arrows.set(unit, targets);
    for (const specifier of parse(path, source).imports) {
      const target = targetOf(path, specifier);
      if (target !== undefined && unitOf(target) !== unit) {
        targets.add(unitOf(target));
      }
    }
  }
  return arrows;
}

/** Returns a cycle among files, as the list of their paths; undefined if there is none. */
function cycleIn(files: ReadonlyMap<string, string>): string[] | undefined {
  const state = new Map<string, "open" | "done">();
  const stack: string[] = [];
  const visit = (path: string): string[] | undefined => {
    if (state.get(path) === "done") return undefined;
    if (state.get(path) === "open") {
      return [...stack.slice(stack.indexOf(path)), path];
    }
    state.set(path, "open");
    stack.push(path);
    for (const specifier of parse(path, files.get(path) ?? "").imports) {
      const target = targetOf(path, specifier);
      const cycle = target && files.has(target) ? visit(target) : undefined;
      if (cycle !== undefined) return cycle;
    }
    stack.pop();
    state.set(path, "done");
    return undefined;
  };
  for (const path of files.keys()) {
    const cycle = visit(path);
    if (cycle !== undefined) return cycle;
  }
}

/** Returns the longest chain of units, each of which imports the next. */
function longestChain(arrows: ReadonlyMap<string, Set<string>>): string[] {
  const chains = new Map<string, string[]>();
  const chainFrom = (unit: string): string[] => {
    const known = chains.get(unit);
    if (known !== undefined) return known;
    let longest: string[] = [];
    for (const target of arrows.get(unit) ?? []) {
      const chain = chainFrom(target);
      if (chain.length > longest.length) longest = chain;
    }
    chains.set(unit, [unit, ...longest]);
    return [unit, ...longest];
  };
  return [...arrows.keys()].map(chainFrom).reduce((a, b) =>
    b.length > a.length ? b : a
  );
}

/**
 * Removes the arrows to units that every unit may import, and each arrow that a path over other units already implies.
 */
function reduce(arrows: ReadonlyMap<string, Set<string>>): string[] {
  const reaches = (from: string, to: string): boolean =>
    from === to ||
    [...arrows.get(from) ?? []].some((next) => reaches(next, to));
  const lines: string[] = [];
  for (const [unit, targets] of arrows) {
    const shown = [...targets].filter((target) => !GROUND.includes(target));
    for (const target of shown) {
      const detour = shown.some((other) =>
        other !== target && reaches(other, target)
      );
      if (!detour) lines.push(`${nodeOf(unit)} --> ${nodeOf(target)}`);
    }
  }
  return lines.sort();
}

/** Returns the name of a unit in the Mermaid drawing. */
function nodeOf(unit: string): string {
  const name = unit.replace(/^lib\//, "").replace(/\.ts$/, "");
  return name === "main" ? "main.ts" : name;
}

Deno.test("every file imports only allowed units and is within the limits of length", async () => {
  const files = await sources();
  assert.ok(files.size > 20, `only ${files.size} files were found`);
  assert.deepEqual(
    [...files].flatMap(([path, source]) => check(path, source)),
    [],
  );
});

Deno.test("the table of imports has no cycle, no unused import and no needless exception", async () => {
  const files = await sources();
  const units = Object.keys(UNITS);
  const arrows = arrowsOf(files);
  const wrong: string[] = [];
  for (const [unit, { imports = [], packages = [] }] of Object.entries(UNITS)) {
    for (const target of imports) {
      if (units.indexOf(target) >= units.indexOf(unit)) {
        wrong.push(`${unit} may import ${target}, which is not above it`);
      }
      if (!arrows.get(unit)?.has(target)) {
        wrong.push(`${unit} does not import ${target}`);
      }
    }
    const used = [...files].filter(([path]) => unitOf(path) === unit)
      .flatMap(([path, source]) => parse(path, source).imports.map(packageOf));
    for (const name of packages) {
      if (!used.includes(name)) wrong.push(`${unit} does not import ${name}`);
    }
  }
  for (const name of [...Object.keys(LONG), ...Object.keys(NOT_MAIN)]) {
    const [path = ""] = name.split("#");
    if (!files.has(path)) wrong.push(`there is no ${path}`);
  }
  assert.deepEqual(wrong, []);
});

Deno.test("imports have no cycle, and no chain of more than 9 units", async () => {
  const files = await sources();
  assert.equal(cycleIn(files), undefined);
  const chain = longestChain(arrowsOf(files));
  assert.ok(chain.length <= CHAIN_MAX, chain.join(" -> "));
});

Deno.test("the drawing in CONTRIBUTING.md shows exactly the imports of the code", async () => {
  const text = await Deno.readTextFile(new URL("CONTRIBUTING.md", root));
  const [, drawing = ""] = /```mermaid\n([\s\S]*?)```/.exec(text) ?? [];
  const drawn = drawing.split("\n").map((line) => line.trim())
    .filter((line) => line.includes("-->"));
  assert.deepEqual(drawn.sort(), reduce(arrowsOf(await sources())));
});

Deno.test("parse() finds every form of import in a file", () => {
  const { imports } = parse(
    "lib/log/log.ts",
    'import { a } from "./a.ts";\nimport "./b.ts";\nimport type { C }\n  from "./c.ts";\n' +
      'export * from "./d.ts";\nexport { e } from "./e.ts";\nconst f = await import("./f.ts");\n' +
      'type G = import("./g.ts").G;\n/** Not from "./h.ts". */\n',
  );
  assert.deepEqual(
    imports,
    "abcdefg".split("").map((name) => `./${name}.ts`),
  );
});

Deno.test("check() reports each kind of forbidden import, call and length, and nothing that is allowed", () => {
  const lines = (count: number): string => "\n".repeat(count);
  const wrong: [path: string, source: string][] = [
    ["lib/log/log.ts", 'import { createApp } from "../../routes/mod.ts";'],
    ["lib/log/log.ts", 'export * from "../../main.ts";'],
    ["lib/log/log.ts", 'import "../../tests/support/redis.ts";'],
    ["lib/log/log.ts", 'import { x } from "../redis/connection.ts";'],
    ["lib/log/log.ts", 'import { x } from "../../../elsewhere.ts";'],
    ["lib/log/log.ts", 'import { Hono } from "npm:hono@4";'],
    ["lib/log/log.ts", 'import { createClient } from "@redis/client";'],
    ["lib/log/log.ts", 'const { Server } = await import("socket.io");'],
    ["lib/clients/clients.ts", 'import type { Socket } from "socket.io";'],
    ["lib/delivery/fanout.ts", 'import { x } from "../socketio/frame.ts";'],
    ["lib/node.ts", 'import { x } from "./bridge/_private.ts";'],
    ["lib/elsewhere/x.ts", ""],
    ["routes/mod.ts", 'import { x } from "../lib/telemetry/metrics.ts";'],
    ["lib/errors.ts", 'import { x } from "./observer.ts";'],
    ["lib/util/deque.ts", 'import { x } from "../log/log.ts";'],
    ["lib/log/log.ts", 'Deno.env.get("PORT");'],
    ["routes/mod.ts", "server.listen(4000);"],
    ["lib/log/log.ts", lines(FILE_LINES_MAX + 1)],
    ["lib/log/log.ts", `function f() {${lines(FUNCTION_LINES_MAX)}}`],
    ["lib/log/log.ts", `class A { f() {${lines(FUNCTION_LINES_MAX)}} }`],
    ["lib/log/log.ts", `const f = () => {${lines(FUNCTION_LINES_MAX)}};`],
  ];
  for (const [path, source] of wrong) {
    assert.notDeepEqual(check(path, source), [], `${path}: ${source.trim()}`);
  }
  const right: [path: string, source: string][] = [
    ["main.ts", "Deno.exit(0);"],
    ["main.ts", 'import { createApp } from "./routes/mod.ts";'],
    ["routes/mod.ts", 'import { Hono } from "hono";'],
    ["lib/log/log.ts", 'import { createHash } from "node:crypto";'],
    ["lib/log/log.ts", 'import { ApiError } from "../errors.ts";'],
    ["lib/log/log.ts", 'import { x } from "./_private.ts";'],
    ["lib/log/log.ts", lines(FILE_LINES_MAX)],
    ["lib/log/log.ts", `function f() {${lines(FUNCTION_LINES_MAX - 1)}}`],
    ["lib/errors.ts", '/** Not an import from "./log/log.ts". */'],
  ];
  for (const [path, source] of right) {
    assert.deepEqual(check(path, source), [], `${path}: ${source.trim()}`);
  }
});

Deno.test("cycleIn() finds a cycle of three files", () => {
  const files = new Map([
    ["lib/a/a.ts", 'import "../b/b.ts";'],
    ["lib/b/b.ts", 'import "../c/c.ts";'],
    ["lib/c/c.ts", 'import type { A } from "../a/a.ts";'],
  ]);
  assert.deepEqual(cycleIn(files), [
    "lib/a/a.ts",
    "lib/b/b.ts",
    "lib/c/c.ts",
    "lib/a/a.ts",
  ]);
});
