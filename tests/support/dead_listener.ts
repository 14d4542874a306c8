/**
 * Runs a node whose HTTP server stops accepting connections when the process receives SIGUSR2, until the server listens
 * again. The server can listen `LISTENS_MAX` times. The server with which a node checks direct writes when it starts is
 * not affected.
 */
import { Server as HttpServer } from "node:http";
import { Server } from "node:net";

let left = Number(Deno.env.get("LISTENS_MAX"));
const { listen } = Server.prototype;
Server.prototype.listen = function (...args: unknown[]) {
  if (!(this instanceof HttpServer) || left-- > 0) {
    return listen.apply(this, args as never);
  }
  queueMicrotask(() => this.emit("error", new Error("the port is taken")));
  return this;
};
const { emit } = Server.prototype;
Server.prototype.emit = function (this: Server, ...args: unknown[]) {
  if (args[0] === "listening" && this instanceof HttpServer) {
    const { _handle: handle } = this as unknown as {
      _handle: { onconnection(): void };
    };
    Deno.addSignalListener("SIGUSR2", () => handle.onconnection = () => {});
  }
  return emit.apply(this, args as never);
} as typeof emit;
await import("../../main.ts");
