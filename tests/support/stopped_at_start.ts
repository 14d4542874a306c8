/** A node that gets SIGTERM as soon as it handles signals, while it still checks direct writes. */
await import("../../main.ts");
Deno.kill(Deno.pid, "SIGTERM");
