/** Runs a node with a slow Socket.IO middleware, such as a middleware that checks tokens on another server. */
import { Namespace } from "socket.io";

const delayMs = Number(Deno.env.get("MIDDLEWARE_MS"));
const constructed = Namespace.prototype._initAdapter;
Namespace.prototype._initAdapter = function (): void {
  constructed.call(this);
  // After Roomcast's own middleware, which is added later in the same turn.
  setTimeout(
    () => this.use((_socket, next) => void setTimeout(next, delayMs)),
    0,
  );
};
await import("../../main.ts");
