/**
 * Functions that run only once.
 *
 * @module
 */

/** Returns a function that calls `run` at its first call, and returns the result of this call at each call. */
export function once<A extends readonly unknown[], R>(
  run: (...args: A) => R,
): (...args: A) => R {
  let result: { readonly value: R } | undefined;
  return (...args) => (result ??= { value: run(...args) }).value;
}
