/**
 * Loads the state of rooms by the application's function `getState`, for the client module.
 *
 * For each room there is a position first, then the state, and then a join that asks for every message after the
 * position. A message is therefore in the state, or comes after it, or both. If the join cannot give every message, the
 * state is loaded again.
 *
 * @module
 */

/** How often `getState` may fail for a room before the module gives up. */
const ATTEMPTS_MAX = 10;
/** How long `getState` may take, in ms. It then counts as failed. */
const TIMEOUT_MS = 30_000;
const DELAY_MS_MIN = 1000;
const DELAY_MS_MAX = 30_000;
/** Time over which the clients of a room load its state after a gap, in ms, because a gap often concerns all of them. */
const SPREAD_MS = 1000;

/**
 * Creates the loads of all rooms. At most one call of `getState` is in flight for a room.
 *
 * @param {(room: string) => void} ask sends what `request()` returns, or does nothing if the client is not connected
 * @param {(load: { room: string, status: "loading" | "retrying" | "failed", error?: unknown, retryMs?: number }) => void}
 * report
 */
export function stateLoads(ask, report) {
  /**
   * The load of each room whose state has not been passed on yet. Its phases: `position` is asked for, `state` is being
   * loaded, `join` asks for the messages after the position, `waiting` until the next attempt, and `failed`.
   */
  const loads = new Map();
  /** The call of `getState` that is in flight for a room. It may belong to a load that has been stopped. */
  const calls = new Map();

  function stop(room) {
    const load = loads.get(room);
    if (!load) return;
    loads.delete(room);
    clearTimeout(load.timer);
    load.controller.abort();
  }

  function start(room, getState, { position, isGap } = {}) {
    const old = loads.get(room);
    stop(room);
    const controller = new AbortController();
    const load = { getState, phase: "position", failures: 0, controller };
    loads.set(room, load);
    if (isGap && old) {
      load.failures = old.failures;
      fail(room, load, new Error("messages after the state are missing"));
    } else if (isGap) wait(room, load, Math.random() * SPREAD_MS);
    else if (position) positioned(room, position);
    else ask(room);
  }

  async function positioned(room, position) {
    const load = loads.get(room);
    if (load?.phase !== "position") return;
    load.phase = "state";
    load.position = position;
    await calls.get(room)?.settled;
    if (loads.get(room) !== load) return;
    report({ room, status: "loading" });
    const { state, error } = await call(room, load);
    if (loads.get(room) !== load) return;
    if (error) return fail(room, load, error);
    load.state = state;
    load.phase = "join";
    ask(room);
  }

  /** Calls `getState`. Resolves to its result or its error. */
  async function call(room, { getState, position, controller }) {
    const { signal } = controller;
    const call = {};
    calls.set(room, call);
    call.settled = new Promise((resolve) => {
      call.timer = setTimeout(() => {
        const error = new Error(
          `getState has not returned within ${TIMEOUT_MS} ms`,
        );
        controller.abort(error);
        resolve({ error });
      }, TIMEOUT_MS);
      Promise.resolve()
        .then(() => getState({ room, position, signal }))
        .then(
          (state) => resolve({ state }),
          (error) => resolve({ error: error ?? new Error("rejected") }),
        );
    });
    const result = await call.settled;
    clearTimeout(call.timer);
    calls.delete(room);
    return result;
  }

  function fail(room, load, error) {
    load.failures++;
    if (load.failures >= ATTEMPTS_MAX) {
      load.phase = "failed";
      return report({ room, status: "failed", error });
    }
    const delayMs = Math.min(
      DELAY_MS_MAX,
      DELAY_MS_MIN * 2 ** (load.failures - 1),
    );
    // Half of the delay is random, so that clients do not ask an overloaded backend all at once.
    const retryMs = Math.round(delayMs * (0.5 + Math.random() / 2));
    wait(room, load, retryMs);
    report({ room, status: "retrying", error, retryMs });
  }

  function wait(room, load, ms) {
    load.phase = "waiting";
    load.timer = setTimeout(() => {
      // The state has to be younger than the position, and the old position may be out of the history by now.
      load.phase = "position";
      load.controller = new AbortController();
      ask(room);
    }, ms);
  }

  return {
    /**
     * Begins to load the state of a room. `position` is the position of the room, if it is known. `isGap` says that
     * messages are missing; the load then begins later.
     *
     * @param {string} room
     * @param {Function} getState
     * @param {{ position?: string, isGap?: boolean }} [how]
     */
    start,
    /** Ends the load of a room, if there is one. */
    stop,
    /** Passes on the position of a room, which counts only if the room's load has asked for it. */
    positioned,
    /** Returns the phase of a room's load; undefined if the room has its state, or needs none. */
    phase: (room) => loads.get(room)?.phase,
    /** Returns the position before the state that is loaded or has been loaded; undefined if there is none. */
    since(room) {
      const { phase, position } = loads.get(room);
      return phase === "state" || phase === "join" ? position : undefined;
    },
    /** Returns the join that a load needs now; undefined if it needs none. */
    request(room) {
      const { phase, position } = loads.get(room);
      if (phase === "position") return { room };
      if (phase === "join") return { room, since: position };
    },
    /** Ends the load of a room whose join has been answered. Returns the state and the position before it. */
    finish(room) {
      const { state, position } = loads.get(room);
      loads.delete(room);
      return { state, position };
    },
    /** Ends all loads. */
    close() {
      for (const room of [...loads.keys()]) stop(room);
      for (const { timer } of calls.values()) clearTimeout(timer);
    },
  };
}
