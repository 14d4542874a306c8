/**
 * A node whose HTTP server stops accepting connections on SIGUSR2, until it listens again. It can listen `LISTENS_MAX`
 * times. Only the HTTP server is affected, and not the server with which a node checks direct writes when it starts.
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
