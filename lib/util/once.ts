/**
 * Functions that have an effect only once.
 *
 * @module
 */

/** Returns a function that calls `run` the first time that it is called, and then never again. */
export function once<A extends readonly unknown[]>(
  run: (...args: A) => void,
): (...args: A) => void {
  let isDone = false;
  return (...args) => {
    if (isDone) return;
    isDone = true;
    run(...args);
  };
}
