/**
 * Engine.IO's heartbeats, by one timer for all connections.
 *
 * Engine.IO gives each connection timers of its own, 0.8 KiB of them (`docs/decisions/0011-idle-clients.md`). Here a
 * wheel holds all connections by the time at which something is due: a ping, or the end of waiting for its pong. What
 * is sent and when is Engine.IO's.
 *
 * This reaches into engine.io 6.6.12, build/socket.js: `schedulePing` and `resetPingTimeout` are replaced, the latter's
 * and the former's timers are ours, of which Engine.IO uses nothing but `refresh()` and, by `clearTimeout`, which
 * ignores what it does not know, the end. `tests/lib/engineio/heartbeats_test.ts` fails when that changes.
 *
 * @module
 */
import { type Server, Socket } from "engine.io";

/** How exactly heartbeats are kept. */
const TICK_MS = 100;
/** Longer than Engine.IO's own 25 s until a ping; what is due later goes round again. */
const SLOTS = 256;

/** What we use of Engine.IO's connections, most of it private. */
interface EngineConnection {
  readonly server: Server & { readonly heartbeats?: Heartbeats };
  pingIntervalTimer: Heartbeat | null;
  pingTimeoutTimer: Heartbeat | null;
  hasRefreshedPingTimeout: boolean;
  schedulePing(): void;
  resetPingTimeout(): void;
  sendPacket(type: "ping"): void;
  onClose(reason: string, error?: unknown): void;
  on(event: "close", listener: (this: EngineConnection) => void): void;
}

/** The next thing that is due for one connection; both of its timers at once. */
class Heartbeat {
  readonly connection: EngineConnection;
  /** In ticks. */
  due = 0;
  /** The slot that holds it, which may come up before it is due. */
  slot: Set<Heartbeat> | undefined;

  constructor(connection: EngineConnection) {
    this.connection = connection;
    this.refresh();
  }

  /** Begins anew to wait: for the pong where a ping is under way, otherwise until the next ping. */
  refresh(): void {
    const { pingTimeoutTimer, server } = this.connection;
    const { pingInterval = 0, pingTimeout = 0 } = server.opts;
    const waitMs = pingTimeoutTimer === null ? pingInterval : pingTimeout;
    this.due = Math.ceil((performance.now() + waitMs) / TICK_MS);
  }
}

/** The heartbeats of all connections of one server, which has it as its `heartbeats`. */
export class Heartbeats {
  readonly #slots = Array.from({ length: SLOTS }, () => new Set<Heartbeat>());
  readonly #ticking = setInterval(() => this.#tick(), TICK_MS);
  /** The last tick that has been seen to. */
  #tickLast = Math.floor(performance.now() / TICK_MS);

  /** Keeps a connection's heartbeat until it closes. */
  add(connection: EngineConnection): void {
    const heartbeat = new Heartbeat(connection);
    connection.pingIntervalTimer = heartbeat;
    this.#put(heartbeat);
    connection.on("close", forget);
  }

  /** Ends the keeping. */
  close(): void {
    clearInterval(this.#ticking);
  }

  #tick(): void {
    const now = Math.floor(performance.now() / TICK_MS);
    // After a standstill once round is all there is.
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
    if (heartbeat.due <= now) {
      if (connection.pingTimeoutTimer !== null) {
        return connection.onClose("ping timeout");
      }
      connection.hasRefreshedPingTimeout = false;
      connection.resetPingTimeout();
    } else return this.#put(heartbeat);
    this.#put(heartbeat);
    try {
      connection.sendPacket("ping");
    } catch (error) {
      // One broken connection is its own affair.
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
  const heartbeat = this.pingIntervalTimer;
  heartbeat?.slot?.delete(heartbeat);
}

const { prototype } = Socket as unknown as { prototype: EngineConnection };
const { schedulePing, resetPingTimeout } = prototype;

prototype.schedulePing = function (): void {
  const { heartbeats } = this.server;
  if (heartbeats === undefined) schedulePing.call(this);
  else heartbeats.add(this);
};

prototype.resetPingTimeout = function (): void {
  const { heartbeats } = this.server;
  if (heartbeats === undefined) return resetPingTimeout.call(this);
  this.pingTimeoutTimer = this.pingIntervalTimer;
  this.pingTimeoutTimer?.refresh();
};
