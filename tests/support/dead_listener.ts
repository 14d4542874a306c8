/** A node of ours that on SIGUSR2 no longer accepts connections, and cannot listen again. */
import { Server } from "node:net";

const { listen } = Server.prototype;
Server.prototype.listen = function (...args: unknown[]) {
  Server.prototype.listen = function () {
    queueMicrotask(() => this.emit("error", new Error("the port is taken")));
    return this;
  };
  Deno.addSignalListener("SIGUSR2", () => {
    (this as unknown as { _handle: { onconnection(): void } })._handle
      .onconnection = () => {};
  });
  return listen.apply(this, args as never);
};
await import("../../main.ts");
