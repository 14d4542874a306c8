/**
 * Serves `/openapi.json`, the document of the HTTP API, and `/docs`, the same document as a page.
 *
 * @module
 */
import { makeAsyncApi } from "./api/asyncapi.ts";
import { makeDocument } from "./api/document.ts";
import type { Audience } from "./api/operation.ts";
import { renderDocument } from "./api/reference.ts";
import { type Asset, makeAsset } from "./assets.ts";
import { once } from "../lib/util/once.ts";

/** The files of the page at `/docs`, which is at ports that do not have the other files. */
const DOCS_FILES = ["base.css", "docs.css", "icon.svg"];

/** The document of one port in its forms. */
export interface DocumentAssets {
  readonly document: () => Asset;
  readonly docs: () => Asset;
  /** The document of the socket events. */
  readonly asyncApi: () => Asset;
  /** The files that the page loads, by name. */
  readonly docsFiles: ReadonlyMap<string, Asset>;
}

/**
 * Returns the document of a port that serves `audience`. It is made at the first request, because that takes about
 * 30 ms, which the start of a node should not take.
 *
 * @param files The files of the folder `static/`, by name.
 */
export function documentAssets(
  audience: Audience,
  files: ReadonlyMap<string, Asset>,
): DocumentAssets {
  const encoder = new TextEncoder();
  const made = once(() => makeDocument(audience));
  const asset = (type: string, text: () => string): () => Asset =>
    once(() => makeAsset(type, encoder.encode(text())));
  return {
    document: asset("application/json", () => JSON.stringify(made())),
    docs: asset("text/html; charset=utf-8", () => renderDocument(made())),
    asyncApi: asset("application/json", () => JSON.stringify(makeAsyncApi())),
    docsFiles: new Map(
      [...files].filter(([name]) => DOCS_FILES.includes(name)),
    ),
  };
}
