/**
 * Engine.IO's heartbeats, with one timer for all connections.
 *
 * Engine.IO gives each connection two timers, which take 0.8 KiB (`docs/decisions/0011-idle-clients.md`). Here a timing
 * wheel holds all connections by the time of their next action: a ping, or the timeout of its pong. Pings and timeouts
 * are the same as Engine.IO's, and happen at the same times.
 *
 * This module replaces two methods of Engine.IO's connections, `schedulePing` and `resetPingTimeout`, and both of their
 * timers. `clearTimeout` ignores the replaced timers. `tests/lib/engineio/heartbeats_test.ts` fails if Engine.IO
 * changes.
 *
 * @module
 */
import { type Server, Socket } from "engine.io";
import type { EngineConnection } from "./internals.ts";

/** Precision of heartbeats, in ms. */
const TICK_MS = 100;
/**
 * Number of slots of the wheel: more ticks than Engine.IO's 25 s between pings. A heartbeat that is due later stays in
 * the wheel for another round.
 */
const SLOTS = 256;

/** A server of this folder, or one of another part of the process, which has no `heartbeats`. */
type MaybeWithHeartbeats = Server & { readonly heartbeats?: Heartbeats };

/** The next ping or timeout of one connection. It replaces both of the connection's timers. */
class Heartbeat {
  readonly connection: EngineConnection;
  /** Time at which the heartbeat is due, in ticks. */
  due = 0;
  /** The slot that holds the heartbeat. The slot may come up before the heartbeat is due. */
  slot: Set<Heartbeat> | undefined;

  constructor(connection: EngineConnection) {
    this.connection = connection;
    this.refresh();
  }

  /** Restarts the wait: for the pong if a ping is in flight, otherwise for the next ping. */
  refresh(): void {
    const { pingTimeoutTimer, server } = this.connection;
    const { pingInterval = 0, pingTimeout = 0 } = server.opts;
    const waitMs = pingTimeoutTimer === null ? pingInterval : pingTimeout;
    this.due = Math.ceil((performance.now() + waitMs) / TICK_MS);
  }
}

/**
 * Pings all connections of one server, which stores it as its `heartbeats`, and closes those that send no pong.
 *
 * Lifetime: starts a timer in the constructor; call `close()` to stop it.
 */
export class Heartbeats {
  readonly #slots = Array.from({ length: SLOTS }, () => new Set<Heartbeat>());
  readonly #ticking = setInterval(() => this.#tick(), TICK_MS);
  /** The last tick whose slot was emptied. */
  #tickLast = Math.floor(performance.now() / TICK_MS);

  /** Adds a connection, which is removed when it closes. */
  add(connection: EngineConnection): void {
    const heartbeat = new Heartbeat(connection);
    connection.pingIntervalTimer = heartbeat;
    this.#put(heartbeat);
    connection.on("close", forget);
  }

  /** Stops the timer. */
  close(): void {
    clearInterval(this.#ticking);
  }

  #tick(): void {
    const now = Math.floor(performance.now() / TICK_MS);
    // After a long pause of the process, one round visits every slot.
    const first = Math.max(this.#tickLast + 1, now - SLOTS + 1);
    this.#tickLast = now;
    for (let tick = first; tick <= now; tick++) {
      const slot = this.#slots[tick % SLOTS];
      if (slot === undefined || slot.size === 0) continue;
      this.#slots[tick % SLOTS] = new Set();
      for (const heartbeat of slot) this.#beat(heartbeat, now);
    }
  }

  #beat(heartbeat: Heartbeat, now: number): void {
    const { connection } = heartbeat;
    if (heartbeat.due > now) return this.#put(heartbeat);
    if (connection.pingTimeoutTimer !== null) {
      return connection.onClose("ping timeout");
    }
    connection.hasRefreshedPingTimeout = false;
    connection.resetPingTimeout();
    this.#put(heartbeat);
    try {
      connection.sendPacket("ping");
    } catch (error) {
      // Close this connection; otherwise its error would stop the pings of all others in this slot.
      connection.onClose("transport error", error);
    }
  }

  #put(heartbeat: Heartbeat): void {
    const soonest = Math.max(heartbeat.due, this.#tickLast + 1);
    const tick = Math.min(soonest, this.#tickLast + SLOTS - 1);
    heartbeat.slot = this.#slots[tick % SLOTS]?.add(heartbeat);
  }
}

function forget(this: EngineConnection): void {
  const heartbeat = this.pingIntervalTimer as Heartbeat | null;
  heartbeat?.slot?.delete(heartbeat);
}

let installed = false;

/**
 * Makes Engine.IO's connections use the `heartbeats` of their server, in the whole process. Connections of a server
 * without `heartbeats` keep Engine.IO's own timers. Calls after the first do nothing.
 */
export function installHeartbeats(): void {
  if (installed) return;
  installed = true;
  const { prototype } = Socket as unknown as { prototype: EngineConnection };
  const { schedulePing, resetPingTimeout } = prototype;

  prototype.schedulePing = function (): void {
    const { heartbeats } = this.server as MaybeWithHeartbeats;
    if (heartbeats === undefined) schedulePing.call(this);
    else heartbeats.add(this);
  };

  prototype.resetPingTimeout = function (): void {
    const { heartbeats } = this.server as MaybeWithHeartbeats;
    if (heartbeats === undefined) return resetPingTimeout.call(this);
    this.pingTimeoutTimer = this.pingIntervalTimer;
    this.pingTimeoutTimer?.refresh();
  };
}
