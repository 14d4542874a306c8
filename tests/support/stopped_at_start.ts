/** Runs a node that receives SIGTERM as soon as it handles signals, while it is still checking direct writes. */
await import("../../main.ts");
Deno.kill(Deno.pid, "SIGTERM");
