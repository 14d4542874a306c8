/**
 * The settings of the hooks, by which a backend decides about clients.
 *
 * @module
 */
import { isLoopback } from "../access/origins.ts";
import type { HookSettings } from "../hooks/hooks.ts";
import { keyOfSecret } from "../hooks/signature.ts";
import type { EnvReader } from "./env_reader.ts";
import { checkPatterns } from "./room_lists.ts";

/** The settings that name the URL of a hook. */
const URLS = ["CONNECT_HOOK_URL", "JOIN_HOOK_URL", "PUBLISH_HOOK_URL"];
/** Those of the hooks that are asked about the rooms of `HOOK_ROOMS` only. */
const HAVE_ROOMS = ["JOIN_HOOK_URL", "PUBLISH_HOOK_URL"];
/** The settings that have no effect without a hook. */
const NEED_HOOK = [
  "HOOK_ROOMS",
  "HOOK_HEADERS",
  "HOOK_TIMEOUT_MS",
  "HOOK_SECRET",
];
/** A secret with fewer bytes results in a warning. Standard Webhooks asks for at least 24. */
const SECRET_BYTES_ADVISED = 24;
/** Matches the name of a header (RFC 9110 §5.1), without `*`, which would be meant as a pattern. */
const HEADER = /^(?!-$)[!#$%&'+.^_`|~\da-z-]+$/;
/** Matches the headers that belong to one connection or one body, and those that Roomcast sets itself. */
const NOT_PASSED_ON =
  /^(accept|accept-encoding|connection|content-.*|expect|host|keep-alive|proxy-.*|sec-.*|te|trailer|transfer-encoding|upgrade|webhook-.*)$/;

/**
 * Reads all settings of hooks. Returns undefined if no hook is set.
 *
 * @param allowedOrigins The value of `ALLOWED_ORIGINS`. With `*`, cookies may not be passed on to a hook, because any
 * website could then connect as the visitor whose cookies the browser sends.
 */
export function readHookSettings(
  reader: EnvReader,
  allowedOrigins: readonly string[],
): HookSettings | undefined {
  reader.refuseEmpty([...URLS, "HOOK_ROOMS", "HOOK_SECRET"]);
  const [connectUrl, joinUrl, publishUrl] = URLS.map((name) =>
    readUrl(reader, name)
  );
  const settings = {
    connectUrl,
    joinUrl,
    publishUrl,
    rooms: reader.list("HOOK_ROOMS", "*"),
    headers: readHeaders(reader),
    timeoutMs: reader.integer("HOOK_TIMEOUT_MS", 1000, 50, 10_000),
    secret: readSecret(reader),
  };
  checkPatterns(reader, "HOOK_ROOMS", settings.rooms);
  checkUse(reader);
  const isAsked = URLS.some((name) => reader.isSet(name));
  const getsCookies = isAsked && settings.headers.includes("cookie");
  if (getsCookies && allowedOrigins.includes("*")) {
    reader.fail(
      "ALLOWED_ORIGINS",
      "is *, and a hook gets cookies, so any website could act as its visitor; list the origins of your pages, or set HOOK_HEADERS without cookie",
    );
  }
  return isAsked ? settings : undefined;
}

/** Returns a sentence for each valid setting of hooks that probably does not do what the operator wants. */
export function hookWarnings(
  { hooks }: { readonly hooks: HookSettings | undefined },
): readonly string[] {
  if (hooks === undefined) return [];
  const { connectUrl, joinUrl, publishUrl, secret } = hooks;
  if (secret !== undefined) {
    return keyOfSecret(secret).length < SECRET_BYTES_ADVISED
      ? [
        `HOOK_SECRET has less than ${SECRET_BYTES_ADVISED} bytes, so it may be guessed; make one with: openssl rand -base64 32`,
      ]
      : [];
  }
  return [connectUrl, joinUrl, publishUrl].some(isPlainAndRemote)
    ? [
      "HOOK_SECRET is unset, and a hook on another machine is asked over http:, so the backend cannot tell who asks it; set HOOK_SECRET, or use https:",
    ]
    : [];
}

/** Returns whether requests to a URL of a hook cross a network without encryption. */
function isPlainAndRemote(url: string | undefined): boolean {
  if (url === undefined || !URL.canParse(url)) return false;
  const { protocol, hostname } = new URL(url);
  return protocol === "http:" && !isLoopback(hostname);
}

function readUrl(reader: EnvReader, name: string): string | undefined {
  const url = reader.text(name) || undefined;
  if (url !== undefined && !isHookUrl(url)) {
    // The URL is not shown, because it may have a password in it.
    reader.fail(
      name,
      "is not an http: or https: URL without a user, a password and a #; sign requests with HOOK_SECRET instead of a password",
    );
  }
  return url;
}

function isHookUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password, hash } = new URL(text);
  return /^https?:$/.test(protocol) && username + password + hash === "";
}

function readHeaders(reader: EnvReader): string[] {
  const name = "HOOK_HEADERS";
  if (reader.text(name, "cookie,authorization") === "-") return [];
  const headers = reader.list(name, "cookie,authorization").map((header) =>
    header.toLowerCase()
  );
  for (const header of headers) {
    if (HEADER.test(header) && !NOT_PASSED_ON.test(header)) continue;
    reader.fail(name, headerProblem(header));
  }
  if (headers.length === 0) {
    reader.fail(name, "is a list without headers; set - to pass none on");
  }
  return headers;
}

/** Returns why an item of `HOOK_HEADERS` is refused, as the end of a sentence. */
function headerProblem(header: string): string {
  if (header === "-") return 'has "-" and other names; set only one of both';
  return `has ${JSON.stringify(header)}, which is not ${
    header.includes("*")
      ? "the whole name of a header; list each header that is to be passed on"
      : "the name of a header that can be passed on"
  }`;
}

function readSecret(reader: EnvReader): string | undefined {
  const secret = reader.text("HOOK_SECRET") || undefined;
  try {
    if (secret !== undefined) keyOfSecret(secret);
    return secret;
  } catch (error) {
    reader.fail(
      "HOOK_SECRET",
      `is not valid: ${
        (error as Error).message
      }; make a secret with: openssl rand -base64 32`,
    );
    return undefined;
  }
}

/** Records a problem for each setting that has no effect, because the hook that it concerns is not set. */
function checkUse(reader: EnvReader): void {
  const isAsked = URLS.some((name) => reader.isSet(name));
  for (const name of NEED_HOOK) {
    if (!reader.isSet(name)) continue;
    if (!isAsked) {
      reader.fail(
        name,
        "has no effect without a hook; set CONNECT_HOOK_URL, JOIN_HOOK_URL or PUBLISH_HOOK_URL, or unset it",
      );
    } else if (
      name === "HOOK_ROOMS" && !HAVE_ROOMS.some((url) => reader.isSet(url))
    ) {
      reader.fail(
        name,
        "has no effect without JOIN_HOOK_URL and PUBLISH_HOOK_URL, because the connect hook concerns all rooms; set one of them, or unset it",
      );
    }
  }
}
