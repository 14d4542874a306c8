/** Checks that every path, link, setting, log kind and metric that a document mentions exists. */
import assert from "node:assert/strict";
import { inspectConfig, readConfig } from "../lib/config/config.ts";
import { UNSUPPORTED_NAMES } from "../lib/config/unsupported.ts";
import { ERROR_STATUS } from "../lib/errors.ts";
import type { Observation } from "../lib/observer.ts";
import { createLogger } from "../lib/telemetry/logger.ts";
import type { Methods } from "../routes/api/operation.ts";
import { OPERATIONS } from "../routes/api/operations.ts";

const root = new URL("../", import.meta.url);

/** Names with underscores in the documents that are neither log kinds nor error codes, each with its origin. */
const OTHER_NAMES: Readonly<Record<string, string>> = {
  app_metadata: "a claim of Supabase",
  bad_status: "an outcome of a hook",
  batch_events: "an endpoint of Soketi",
  batch_results: "a limit in the metric roomcast_limited_total",
  breaker_open: "an outcome of a hook",
  client_max_body_size: "a setting of nginx",
  client_publishes: "a limit in the metric roomcast_limited_total",
  history_pages: "a limit in the metric roomcast_limited_total",
  lists_of_rooms: "a limit in the metric roomcast_limited_total",
  replay_bytes: "a limit in the metric roomcast_limited_total",
  connect_error: "an event of socket.io-client",
  expires_at: "a misspelled field of a hook's result",
  in_step: "the end of a metric's name",
  ip_hash: "a setting of nginx",
  master_replid: "a field of Redis' INFO",
  max_fails: "a setting of nginx",
  not_yet_valid: "a reason in the metric roomcast_tokens_refused_total",
  org_id: "a claim of Auth0",
  poll_tcp_handle: "a function of Deno",
  proxy_connect_timeout: "a setting of nginx",
  queue_full: "a code of the client module",
  run_id: "a field of Redis' INFO",
  server_name: "a setting of nginx",
  stop_grace_period: "a setting of Docker Compose",
  taken_over: "the event between nodes, in lib/socketio/commands.ts",
  token_expiring: "an event that Roomcast sends to clients",
  unknown_key: "a reason in the metric roomcast_tokens_refused_total",
  usec_per_call: "a field of Redis' INFO",
  user_metadata: "a claim of Supabase",
};

/** Top-level folders whose files documents name in backticks. */
const FOLDERS = "lib|routes|tests|docs|bench|static|examples";

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, root));
}

function exists(path: string): boolean {
  try {
    Deno.statSync(new URL(path, root));
    return true;
  } catch {
    return false;
  }
}

/** Returns all files below a folder whose names have one of these endings, as paths from the root. */
function filesOf(folder: string, ending: RegExp): string[] {
  return [...Deno.readDirSync(new URL(folder, root))].flatMap((
    { name, isDirectory },
  ) =>
    isDirectory
      ? filesOf(`${folder}${name}/`, ending)
      : ending.test(name)
      ? [folder + name]
      : []
  );
}

/**
 * Returns the text of each document to check, by its path. Leaves out the changelog's sections of released versions,
 * because they mention former names.
 */
function documents(): Map<string, string> {
  const paths = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "llms.txt",
    "examples/README.md",
    ...filesOf("docs/", /\.md$/),
  ];
  const [, unreleased = ""] = read("CHANGELOG.md").split(/^## /m);
  return new Map(paths.map((path) => [
    path,
    path === "CHANGELOG.md" ? unreleased : read(path),
  ]));
}

/** Returns the anchors of a document's headings, as GitHub makes them. */
function anchorsOf(text: string): Set<string> {
  return new Set(
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) =>
      heading.toLowerCase().replace(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(
        " ",
        "-",
      )
    ),
  );
}

/** Returns a sentence for each link or path in a document that leads to nothing. */
function brokenPaths(path: string, text: string): string[] {
  const broken: string[] = [];
  const links = /\]\(([^)\s]+)\)|\b(?:src|srcset|href)="([^"\s]+)"/g;
  for (const [, inMarkdown, inHtml] of text.matchAll(links)) {
    const target = inMarkdown ?? inHtml ?? "";
    // Addresses, and paths of a server in examples of HTML.
    if (/^[a-z]+:|^\//.test(target)) continue;
    const [file = "", anchor] = target.split("#");
    const { href } = new URL(file, new URL(path, root));
    const linked = file === "" ? path : href.slice(root.href.length);
    if (!exists(linked)) broken.push(`${path} links to ${target}`);
    else if (anchor !== undefined) {
      const content = linked === path ? text : read(linked);
      if (!anchorsOf(content).has(anchor)) {
        broken.push(`${path} links to ${target}: no such heading`);
      }
    }
  }
  const paths = new RegExp(`\`((?:${FOLDERS})/[^\`\\s…<*]*)\``, "g");
  for (const [, named = ""] of text.matchAll(paths)) {
    if (!exists(named)) broken.push(`${path} names ${named}`);
  }
  return broken;
}

/** Returns a sentence for each log kind, error code or metric in a document that does not exist. */
function unknownNames(path: string, text: string): string[] {
  const known = new Set([
    ...kinds(),
    ...metrics(),
    ...Object.keys(ERROR_STATUS),
    ...Object.keys(OTHER_NAMES),
  ]);
  // The first column of the changelog's tables has the former names.
  const current = path === "CHANGELOG.md"
    ? text.replace(/^\s*\|[^|]*\|/gm, "|")
    : text;
  return [...current.matchAll(/`([a-z]+(?:_[a-z]+)+)`/g)].map(([, name = ""]) =>
    name
  ).filter((name) => !known.has(name)).map((name) => `${path} names ${name}`);
}

/** Returns all log kinds, read from the type in lib/observer.ts. */
function kinds(): string[] {
  return [
    ...new Set(
      [...read("lib/observer.ts").matchAll(/\bkind: "(\w+)"/g)].map((
        [, kind = ""],
      ) => kind),
    ),
  ];
}

/** Returns the names of all metrics that lib/telemetry registers. */
function metrics(): string[] {
  return filesOf("lib/telemetry/", /\.ts$/).flatMap((path) =>
    [...read(path).matchAll(/"(roomcast_[a-z_]+)"/g)].map(([, name = ""]) =>
      name
    )
  );
}

/** Returns the level of each log kind, as the logger writes it. */
function levels(): Map<string, string> {
  const levels = new Map<string, string>();
  const observe = createLogger("debug", (line) => {
    const { kind, level } = JSON.parse(line);
    levels.set(kind, level);
  });
  for (const kind of kinds()) observe({ kind } as Observation);
  return levels;
}

/** Returns the names of all settings, including those that this version does not support. */
function settings(): string[] {
  const { settings } = inspectConfig({});
  return [...settings.map(({ name }) => name), ...UNSUPPORTED_NAMES];
}

Deno.test("documents link to and name only files and headings that exist", () => {
  assert.deepEqual(
    [...documents()].flatMap(([path, text]) => brokenPaths(path, text)),
    [],
  );
});

Deno.test("documents name only log kinds, error codes and metrics that exist", () => {
  assert.deepEqual(
    [...documents()].flatMap(([path, text]) => unknownNames(path, text)),
    [],
  );
});

Deno.test("the source code refers only to documents that exist", () => {
  const sources = ["lib/", "routes/", "static/", "bench/", "tests/"].flatMap((
    folder,
  ) => filesOf(folder, /\.(ts|js)$/));
  const missing = [...sources, "main.ts", "Dockerfile", "compose.yaml"].flatMap(
    (path) =>
      [...read(path).matchAll(/\bdocs\/[\w/-]+\.md\b/g)].filter(([named]) =>
        !exists(named)
      ).map(([named]) => `${path} names ${named}`),
  );
  assert.deepEqual(missing, []);
});

Deno.test("README.md has at most 200 lines", () => {
  assert.ok(read("README.md").trimEnd().split("\n").length <= 200);
});

Deno.test("every page of docs/ ends with a paragraph that begins with Next:", () => {
  const pages = filesOf("docs/", /\.md$/).filter((path) =>
    path !== "docs/README.md"
  );
  assert.deepEqual(
    pages.filter((path) => !/\n\nNext: [^]*\.\n$/.test(read(path))),
    [],
  );
});

Deno.test("docs/README.md and llms.txt list every page", () => {
  const pages = filesOf("docs/", /\.md$/).filter((path) =>
    !path.startsWith("docs/decisions/")
  );
  assert.ok(pages.length > 12);
  const index = read("docs/README.md"), llms = read("llms.txt");
  assert.deepEqual(
    pages.filter((path) =>
      path !== "docs/README.md" &&
      !index.includes(`](${path.slice("docs/".length)})`)
    ),
    [],
  );
  assert.deepEqual(pages.filter((path) => !llms.includes(`](${path})`)), []);
});

/** Returns the rows of the tables of settings in docs/configuration.md. */
function settingRows(): { name: string; value: string; meaning: string }[] {
  return [
    ...read("docs/configuration.md").matchAll(
      /^\| `([A-Z_]+)`\s*\| `?([^`|]*?)`?\s*\| (.*) \|$/gm,
    ),
  ].map(([, name = "", value = "", meaning = ""]) => ({
    name,
    value,
    meaning,
  }));
}

Deno.test("docs/configuration.md names the default and the limits of each setting", () => {
  const rows = settingRows();
  assert.ok(rows.length > 15);
  // Some settings need others.
  const needed = {
    REDIS_URL: "redis://localhost:6379",
    JOIN_HOOK_URL: "http://localhost/join",
  };
  const usual = readConfig(needed);
  for (const { name, value, meaning } of rows) {
    if (value !== "unset") {
      assert.deepEqual(readConfig({ ...needed, [name]: value }), usual, name);
    }
    const [, from, to] = /([\d,]+) to ([\d,]+)/.exec(meaning) ?? [];
    if (from === undefined || to === undefined || name === "KEY_PREFIX") {
      continue;
    }
    const [least, most] = [from, to].map((text) =>
      Number(text.replaceAll(",", ""))
    ) as [number, number];
    for (const allowed of [least, most]) {
      readConfig({ ...needed, [name]: `${allowed}` });
    }
    for (const forbidden of [least - 1, most + 1]) {
      assert.throws(
        () => readConfig({ ...needed, [name]: `${forbidden}` }),
        new RegExp(name),
      );
    }
  }
});

Deno.test("docs/configuration.md documents every setting", () => {
  const text = read("docs/configuration.md");
  assert.ok(settings().length > 50);
  assert.deepEqual(
    settings().filter((name) => !text.includes(`\`${name}\``)),
    [],
  );
});

Deno.test("docs/http-api.md documents every route", () => {
  const text = read("docs/http-api.md");
  const routes = Object.entries<Methods>(OPERATIONS).flatMap((
    [path, methods],
  ) => Object.keys(methods).map((method) => `${method} ${path}`));
  assert.ok(routes.length > 10);
  assert.deepEqual(
    routes.filter((route) => !text.includes(`\`${route}\``)),
    [],
  );
});

Deno.test("docs/http-api.md lists every error code under its status", () => {
  const listed = new Map<string, number>();
  for (
    const [, status, code = ""] of read("docs/http-api.md").matchAll(
      /^\| (\d{3})\s*\| `(\w+)`/gm,
    )
  ) {
    listed.set(code, Number(status));
  }
  assert.deepEqual(
    Object.fromEntries(listed),
    Object.fromEntries(Object.entries(ERROR_STATUS)),
  );
});

Deno.test("docs/operating.md documents every metric", () => {
  const text = read("docs/operating.md");
  assert.ok(metrics().length > 20);
  assert.deepEqual(
    metrics().filter((name) => !text.includes(`\`${name}\``)),
    [],
  );
});

Deno.test("docs/operating.md lists every log kind under its level", () => {
  const [, section = ""] = read("docs/operating.md").split(/^## Log lines$/m);
  const listed = new Map<string, string>();
  for (
    const [, level = "", row = ""] of section.matchAll(
      /^\| `(debug|info|warn|error)`\s*\|(.*)\|$/gm,
    )
  ) {
    for (const [, kind = ""] of row.matchAll(/`(\w+)`/g)) {
      listed.set(kind, level);
    }
  }
  const sorted = (map: Map<string, string>) => [...map].sort();
  assert.deepEqual(sorted(listed), sorted(levels()));
});

Deno.test("brokenPaths() and unknownNames() report made-up paths and names", () => {
  const text = [
    '[a](nowhere.md), [b](README.md#no-such-heading), [c](#neither), <img src="a.png">,',
    "`lib/nowhere.ts`, `roomcast_made_up_total`, `made_up`;",
    "[d](docs/operating.md#log-lines), [e](#f), `lib/log/`, `epoch_changed`",
    "## F",
  ].join("\n");
  assert.deepEqual(brokenPaths("README.md", text), [
    "README.md links to nowhere.md",
    "README.md links to README.md#no-such-heading: no such heading",
    "README.md links to #neither: no such heading",
    "README.md links to a.png",
    "README.md names lib/nowhere.ts",
  ]);
  assert.deepEqual(unknownNames("README.md", text), [
    "README.md names roomcast_made_up_total",
    "README.md names made_up",
  ]);
});
