/**
 * Engine.IO's heartbeats, with one timer for all connections.
 *
 * Engine.IO gives each connection two timers, which take 0.8 KiB of memory (`docs/decisions/0011-idle-clients.md`).
 * This module instead puts all connections into a timing wheel: an array of slots, one for each tick of the clock. A
 * connection waits in the slot of its next event, which is its next ping or the timeout of its pong. Pings and timeouts
 * happen on ticks, and therefore up to {@linkcode TICK_MS} later than with Engine.IO's timers.
 *
 * The module replaces two methods of Engine.IO's connections, `schedulePing` and `resetPingTimeout`, and stores a
 * {@linkcode Heartbeat} in the fields of both timers. Engine.IO calls `clearTimeout` with these fields, which ignores a
 * `Heartbeat`. `tests/lib/engineio/heartbeats_test.ts` fails if Engine.IO changes.
 *
 * @module
 */
import { type Server, Socket } from "engine.io";
import type { EngineConnection } from "./internals.ts";

/** Duration of one tick, in ms. Pings and timeouts are late by at most one tick. */
const TICK_MS = 100;
/**
 * Number of slots of the timing wheel, one for each tick of {@linkcode TICK_MS}. One round takes 25.6 s, which is
 * enough for a ping, due after 25 s. A heartbeat that is due after more than one round is put into the wheel again
 * after a round.
 */
const SLOTS = 256;

/**
 * Roomcast's Engine.IO server, which has `heartbeats`, or another Engine.IO server in the same process, which has none.
 */
type MaybeWithHeartbeats = Server & { readonly heartbeats?: Heartbeats };

/** The next ping of one connection, or the timeout of its pong. Replaces both of the connection's timers. */
class Heartbeat {
  readonly connection: EngineConnection;
  /** Time at which the heartbeat is due, in ticks. */
  due = 0;
  /** The slot of the timing wheel that holds the heartbeat. The slot's turn may come before the heartbeat is due. */
  slot: Set<Heartbeat> | undefined;

  constructor(connection: EngineConnection) {
    this.connection = connection;
    this.refresh();
  }

  /**
   * Sets when the heartbeat is due: at the timeout of the pong if a ping was sent, otherwise at the time of the next
   * ping.
   */
  refresh(): void {
    const { pingTimeoutTimer, server } = this.connection;
    const { pingInterval = 0, pingTimeout = 0 } = server.opts;
    const waitMs = pingTimeoutTimer === null ? pingInterval : pingTimeout;
    this.due = Math.ceil((performance.now() + waitMs) / TICK_MS);
  }
}

/**
 * Pings all connections of one server and closes those that send no pong. The server stores this object as
 * `heartbeats`.
 *
 * Lifetime: starts a timer in the constructor; call `close()` to stop it.
 */
export class Heartbeats {
  readonly #slots = Array.from({ length: SLOTS }, () => new Set<Heartbeat>());
  readonly #ticking = setInterval(() => this.#tick(), TICK_MS);
  /** The last tick whose slot has been handled. */
  #tickLast = Math.floor(performance.now() / TICK_MS);

  /** Pings a connection from now on, until it closes. */
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
    // After a long pause of the process, each slot is handled only once.
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
      // Close this connection; otherwise the error would prevent the pings of all other connections in this slot.
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
 * Patches Engine.IO in the whole process: connections of a server that has the field `heartbeats` then use this object,
 * in place of Engine.IO's timers. Connections of other servers keep Engine.IO's timers. Calls after the first do
 * nothing.
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
