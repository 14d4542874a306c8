/**
 * Reads the secret in the header `Authorization` of an HTTP request.
 *
 * @module
 */

/** Returns the secret after `Bearer` in a header `Authorization`; undefined if the header has another form. */
export function bearerSecret(authorization: string): string | undefined {
  return /^Bearer +(.+)$/i.exec(authorization)?.[1];
}
