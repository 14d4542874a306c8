/** The state of a room and the messages after it always add up to the truth, by hand and by the client module. */
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { io } from "socket.io-client";
import { roomcast } from "../../static/roomcast.js";
import { launch } from "../support/browser.ts";
import { Subscriber } from "../support/client.ts";
import { listen, Proxy } from "../support/net.ts";
import { TestNode } from "../support/node.ts";
import { Random } from "../support/random.ts";
import { Redis } from "../support/redis.ts";
import { Inbox, pauseFor, soon, until } from "../support/wait.ts";

/** How long the test with random faults runs, in ms. */
const CHAOS_MS = Number(Deno.env.get("STATE_JOIN_MS") ?? 5000);

/**
 * An application with data: the number of the last change of each key. A change is written to the data first, and
 * published then.
 */
class Application {
  readonly data: Record<string, number> = {};
  /** The number of the last change. */
  changes = 0;
  readonly #nodes: () => readonly TestNode[];

  constructor(nodes: () => readonly TestNode[]) {
    this.#nodes = nodes;
  }

  /** Changes one key and publishes the change, again until the publish is acknowledged. */
  async change(): Promise<void> {
    const number = ++this.changes;
    const key = `key ${number % 7}`;
    this.data[key] = number;
    const body = { room: "a", message: { key, number }, key: `c${number}` };
    await until("the change is published", async () => {
      for (const node of this.#nodes()) {
        try {
          if ((await node.post("/publish", body)).status === 200) return true;
        } catch {
          // The node is down.
        }
      }
      return false;
    });
  }

  /** Returns the state as the application's own API would. */
  read(): State {
    return { data: { ...this.data }, changes: this.changes };
  }
}

interface State {
  readonly data: Readonly<Record<string, number>>;
  readonly changes: number;
}

interface Change {
  readonly key: string;
  readonly number: number;
}

/** What a page shows: a state, and the changes after it. Fails if a change is missing. */
class View {
  data: Record<string, number> = {};
  /** The number of the last change that the view contains. */
  changes = 0;
  readonly updates = new Inbox<string>();

  load({ data, changes }: State): void {
    this.data = { ...data };
    this.changes = changes;
    this.updates.push("state");
  }

  change({ key, number }: Change): void {
    // A change that is already in the state may come again. One that comes later must be the next one.
    assert.ok(
      number <= this.changes + 1,
      `change ${number} comes after ${this.changes}`,
    );
    this.data[key] = Math.max(this.data[key] ?? 0, number);
    this.changes = Math.max(this.changes, number);
    this.updates.push("change");
  }

  /** Waits until the view equals the application's data. */
  async equals(application: Application): Promise<void> {
    await this.updates.where(() => this.changes === application.changes);
    assert.deepEqual(this.data, application.data);
  }
}

for (const log of ["the embedded log", "the log on Redis"]) {
  Deno.test(`a join since the position of limit=0 delivers exactly what was published after the position, with ${log}`, async () => {
    await using stack = new AsyncDisposableStack();
    const redis = log === "the log on Redis"
      ? stack.use(await Redis.start())
      : undefined;
    const env = redis && { REDIS_URL: redis.url };
    const nodes = [stack.use(await TestNode.start(env))];
    if (redis !== undefined) nodes.push(stack.use(await TestNode.start(env)));
    const subscribers = await Promise.all(
      nodes.map(async ({ url }) =>
        stack.use(
          await Subscriber.connect(url, { auth: { rooms: ["other"] } }),
        )
      ),
    );
    let over = false;
    const ids: string[] = [];
    const publishing = (async () => {
      for (let n = 0; !over; n++) {
        ids.push(await nodes[n % nodes.length]?.publish(n, "a") ?? "");
      }
    })();
    try {
      for (let round = 0; round < 20; round++) {
        const node = nodes[round % nodes.length];
        const subscriber = subscribers[(round >> 1) % nodes.length];
        const acknowledged = ids.at(-1) ?? "0-0";
        const { status, body } = await node?.get(
          "/rooms/a/history?limit=0",
        ) ?? assert.fail();
        assert.equal(status, 200);
        assert.deepEqual(body.messages, []);
        const [, id = ""] = body.position.split(".");
        assert.ok(!isBefore(id, acknowledged), `${id} < ${acknowledged}`);
        // The application reads its data.
        await pauseFor(round);
        const [answer] = await subscriber?.ask("join", {
          room: "a",
          since: body.position,
        }) ?? [];
        assert.deepEqual([answer.ok, answer.recovered], [true, true]);
        const joinedAt = answer.position.split(".")[1];
        await until("more is published", () => isBefore(joinedAt, ids.at(-1)));
        assert.deepEqual(
          answer.messages.map(({ id }: { id: string }) => id),
          ids.filter((one) => isBefore(id, one) && !isBefore(joinedAt, one)),
        );
        await subscriber?.ask("leave", { room: "a" });
      }
    } finally {
      over = true;
      await publishing;
    }
  });
}

/** Returns whether an id is before another one. */
function isBefore(id: string, other = "0-0"): boolean {
  const [ms = 0, seq = 0] = id.split("-").map(Number);
  const [otherMs = 0, otherSeq = 0] = other.split("-").map(Number);
  return ms < otherMs || (ms === otherMs && seq < otherSeq);
}

/** Starts the client module with the data of an application. */
function show(
  url: string,
  application: Application,
  getState = (): Promise<State> => Promise.resolve(application.read()),
): { view: View; gaps: string[]; calls: () => number } & AsyncDisposable {
  const view = new View();
  const gaps: string[] = [];
  let calls = 0;
  const cast = roomcast(io, {
    url,
    rooms: ["a"],
    storage: { getItem: () => null, setItem: () => {} },
    options: {
      transports: ["websocket"],
      reconnectionDelay: 10,
      reconnectionDelayMax: 50,
    },
    getState: () => {
      calls++;
      return getState();
    },
    onLoaded: (state) => view.load(state),
    onMessage: (message) => view.change(message),
    onGap: ({ reason }) => gaps.push(reason),
  });
  return {
    view,
    gaps,
    calls: () => calls,
    async [Symbol.asyncDispose]() {
      const { engine } = cast.socket.io;
      cast.close();
      engine?.close();
      await until("closed", () => !engine || engine.readyState === "closed");
    },
  };
}

Deno.test("state and messages equal the truth while connections are cut, nodes change, and the log is trimmed and emptied", async () => {
  const random = new Random(Number(Deno.env.get("SEED") ?? 7));
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await Redis.start());
  const env = { REDIS_URL: redis.url, HISTORY_SIZE: "5" };
  const nodes = [await TestNode.start(env), await TestNode.start(env)];
  stack.defer(async () => {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  });
  const application = new Application(() => nodes);
  const proxy = stack.use(
    await Proxy.start(...nodes.map(({ port }) => port)),
  );
  // The state is read at a random time between the call of getState and its end.
  const slowly = async (): Promise<State> => {
    await pauseFor(random.between(0, 30));
    const state = application.read();
    await pauseFor(random.between(0, 30));
    if (random.chance(0.1)) throw new Error("the backend is down");
    return state;
  };
  const pages = Array.from(
    { length: 4 },
    () => stack.use(show(proxy.url, application, slowly)),
  );
  let over = false;
  const changing = (async () => {
    while (!over) {
      await application.change();
      await pauseFor(random.between(0, 5));
    }
  })();
  const replaceNode = async (): Promise<void> => {
    // A node that starts after the log was trimmed has nothing older in memory.
    const old = nodes.shift();
    await old?.[Symbol.asyncDispose]();
    await redis.command("XTRIM", "roomcast:{roomcast}:log", "MAXLEN", "1");
    nodes.push(await TestNode.start(env));
    proxy.targets = nodes.map(({ port }) => port);
  };
  try {
    const end = performance.now() + CHAOS_MS;
    for (let step = 0; performance.now() < end; step++) {
      await pauseFor(random.between(50, 250));
      if (step % 8 === 5) await redis.command("FLUSHALL");
      else if (step % 8 === 7) await replaceNode();
      else proxy.cut();
    }
  } finally {
    over = true;
    await changing;
  }
  for (const { view } of pages) await view.equals(application);
  // Gaps were found, and each of them was followed by a new state.
  for (const { gaps, calls } of pages) {
    assert.ok(gaps.length > 0);
    assert.ok(calls() > 1);
  }
});

Deno.test("a page in Chromium that loads the module from another origin shows the truth after a gap", async () => {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await Redis.start());
  const node = stack.use(
    await TestNode.start({ REDIS_URL: redis.url, ALLOWED_ORIGINS: "*" }),
  );
  const application = new Application(() => [node]);
  const backend = createServer((request, response) => {
    response.setHeader(
      "content-type",
      request.url === "/state" ? "application/json" : "text/html",
    );
    response.end(
      request.url === "/state"
        ? JSON.stringify(application.read())
        : `<!doctype html><script type="module">
          import { io } from "${node.url}/socket.io/socket.io.esm.min.js";
          import { roomcast } from "${node.url}/roomcast.js";
          const view = window.view = { changes: 0, data: {}, states: 0 };
          window.cast = roomcast(io, {
            url: "${node.url}",
            rooms: ["a"],
            getState: async ({ signal }) => (await fetch("/state", { signal })).json(),
            onLoaded: ({ data, changes }) => Object.assign(view, { data, changes, states: view.states + 1 }),
            onMessage: ({ key, number }) => {
              view.data[key] = Math.max(view.data[key] ?? 0, number);
              view.changes = Math.max(view.changes, number);
            },
          });
        </script>`,
    );
  });
  const port = await listen(backend);
  stack.defer(() => {
    backend.closeAllConnections();
    backend.close();
  });
  const browser = stack.use(await launch());
  const page = await browser.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  await application.change();
  await page.goto(`http://127.0.0.1:${port}/`);
  const shows = async (states: number): Promise<void> => {
    await until(
      "the page shows the truth",
      async () =>
        await page.evaluate("view.changes") === application.changes &&
        await page.evaluate("view.states") as number >= states,
    );
    assert.deepEqual(await page.evaluate("view.data"), application.data);
  };
  await shows(1);
  for (let i = 0; i < 5; i++) await application.change();
  await shows(1);
  await page.evaluate("cast.socket.io.engine.close()");
  for (let i = 0; i < 5; i++) await application.change();
  await shows(1);
  assert.equal(await page.evaluate("view.states"), 1);
  await soon(redis.command("FLUSHALL"), "the log is emptied");
  for (let i = 0; i < 5; i++) await application.change();
  await shows(2);
  assert.deepEqual(errors, []);
});
