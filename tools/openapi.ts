// deno-lint-ignore-file no-console -- a program prints its result
/**
 * Prints the document of the HTTP API (OpenAPI 3.1), from which clients are generated. It is the same that a node serves
 * at `/openapi.json`.
 *
 *     deno task openapi > openapi.json
 */
import { makeDocument } from "../routes/api/document.ts";

console.log(JSON.stringify(makeDocument("everyone"), undefined, 2));
