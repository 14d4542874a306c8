/** Catches errors that no code handles, which would otherwise fail the test. */

/** Collects the messages of errors that no code handles; `using` ends this. */
export function catchErrors(): { messages: string[] } & Disposable {
  const messages: string[] = [];
  const listener = (event: ErrorEvent): void => {
    event.preventDefault();
    messages.push(event.error.message);
  };
  addEventListener("error", listener);
  return {
    messages,
    [Symbol.dispose]: () => removeEventListener("error", listener),
  };
}
