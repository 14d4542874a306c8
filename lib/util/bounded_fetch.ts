/**
 * Requests to HTTP servers that may be slow, broken or hostile: each is limited in time and in the size of its
 * response.
 *
 * @module
 */

/** How a request is limited, and what is sent. */
export interface BoundedFetch {
  readonly method?: "GET" | "POST";
  readonly headers?: HeadersInit;
  readonly body?: string;
  /** How long the request may take, from connecting until the body is read, in ms. */
  readonly timeoutMs: number;
  /** Maximum size of the response's body after decompression, in bytes. */
  readonly bytesMax: number;
  /** Cancels the request. */
  readonly signal: AbortSignal;
  /** The connections to use; those of all other requests by default. */
  readonly client?: Deno.HttpClient | undefined;
  /** The statuses besides 200 with which the body is read, too; if it cannot be used, the status counts alone. */
  readonly alsoReadBodyOf?: readonly number[];
}

/** The response to a request. */
export interface BoundedResponse {
  readonly status: number;
  /** The text of the body; undefined if the body was not read. It is always defined if the status is 200. */
  readonly text: string | undefined;
}

/** The error of a request that took too long. */
export class FetchTimeout extends Error {
  override name = "FetchTimeout";
}

/** The error of a response whose body is larger than allowed, or is not UTF-8. */
export class BadBody extends Error {
  override name = "BadBody";
}

/**
 * Sends a request and reads its response. Redirects are not followed, because they could lead to an address that the
 * operator did not name.
 *
 * @throws {FetchTimeout} if the response has not arrived in time
 * @throws {BadBody} if the body cannot be used
 * @throws {Error} any other error if there is no response
 */
export async function boundedFetch(
  url: string,
  { timeoutMs, bytesMax, signal, alsoReadBodyOf = [], ...init }: BoundedFetch,
): Promise<BoundedResponse> {
  const { client, method = "GET", headers = {}, body = null } = init;
  const canceled = new AbortController();
  const timer = setTimeout(
    () =>
      canceled.abort(new FetchTimeout(`no response within ${timeoutMs} ms`)),
    timeoutMs,
  );
  // `AbortSignal.any()` is not used, because it adds to a signal that outlives many requests.
  const cancel = (): void => canceled.abort(signal.reason);
  signal.addEventListener("abort", cancel);
  if (signal.aborted) cancel();
  try {
    const response = await fetch(url, {
      method,
      headers,
      body,
      redirect: "manual",
      signal: canceled.signal,
      ...client && { client },
    });
    const { status } = response;
    if (status === 200) {
      return { status, text: await readBody(response, bytesMax) };
    }
    if (alsoReadBodyOf.includes(status)) {
      const text = await readBody(response, bytesMax).catch(() => undefined);
      return { status, text };
    }
    await response.body?.cancel();
    return { status, text: undefined };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", cancel);
  }
}

async function readBody(response: Response, bytesMax: number): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const decode = (chunk?: Uint8Array): string => {
    try {
      return chunk === undefined
        ? decoder.decode()
        : decoder.decode(chunk, { stream: true });
    } catch {
      throw new BadBody("the response is not UTF-8");
    }
  };
  let [text, bytes] = ["", 0];
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      throw new BadBody(`the response has more than ${bytesMax} bytes`);
    }
    text += decode(chunk);
  }
  return text + decode();
}

/** Says that a response has a status that is of no use, for a log line. */
export function statusProblem(status: number): string {
  const isRedirect = status >= 300 && status < 400;
  return `the response has the status ${status}${
    isRedirect ? ", and redirects are not followed" : ""
  }`;
}

/** Returns a URL for log lines: without its user, password, query and fragment, which may be secrets. */
export function shownUrl(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}

/**
 * Returns why a request has failed, for a log line. The URL is left out, because its query may be a secret. Deno names
 * it in the cause of the error.
 */
export function reasonOf(error: unknown): string {
  const { message, cause } = error instanceof Error
    ? error
    : new Error(String(error));
  const why = cause instanceof Error ? `${message}: ${cause.message}` : message;
  return why.replaceAll(/ (for url )?\(?https?:\S+/g, "").slice(0, 200);
}
