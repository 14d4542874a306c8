/**
 * Real Redis servers for tests of failovers: a master with its replica, the addresses by which nodes reach the master,
 * and a sentinel.
 *
 * Every connection runs through a {@linkcode Proxy}, so that a test can delay the connection, cut it, or lead it to
 * another server:
 *
 *     node ── address ──▶ master ── link ──▶ replica
 */
import { freePort, Proxy } from "./net.ts";
import { command, Redis, serverProgram } from "./redis.ts";
import { until } from "./wait.ts";

/**
 * Arguments of `redis-server` with which a new replica gets the master's data at once. By default, the master waits 5 s
 * for further replicas that need the same copy.
 */
const REPLICATION = [
  ...["--repl-diskless-sync", "yes"],
  ...["--repl-diskless-sync-delay", "0"],
  ...["--repl-ping-replica-period", "1"],
];

/** A real master with its replica; `await using` ends both. */
export class Servers {
  /** The newest master. Older masters may still run. */
  master: Redis;
  /** The replica of the master; undefined after its promotion. */
  replica: Redis | undefined;
  /** The proxy between the master and its replica. In this proxy, connections of replicas have the name "replica". */
  readonly link: Proxy;
  /**
   * The addresses of the nodes, as proxies. In these proxies, the connections of a node have the names "commands",
   * "reader", "bridge" and "cluster".
   */
  readonly addresses: readonly Proxy[];
  readonly #args: readonly string[];
  readonly #all: Redis[];

  private constructor(
    master: Redis,
    link: Proxy,
    addresses: readonly Proxy[],
    args: readonly string[],
  ) {
    this.master = master;
    this.link = link;
    this.addresses = addresses;
    this.#args = args;
    this.#all = [master];
  }

  /**
   * Starts a master, a replica unless `replica` is false, and as many addresses that lead to the master as `addresses`
   * says. `args` are additional arguments of each `redis-server`.
   */
  static async start(
    { addresses, replica = true, args = [] }: {
      addresses: number;
      replica?: boolean;
      args?: readonly string[];
    },
  ): Promise<Servers> {
    const all = [...REPLICATION, ...args];
    const master = await Redis.start({ args: all });
    const starting = Array.from(
      { length: addresses },
      () => Proxy.start(master.port),
    );
    const servers = new Servers(
      master,
      await Proxy.start(master.port),
      await Promise.all(starting),
      all,
    );
    if (replica) await servers.follow();
    return servers;
  }

  /** The `REDIS_URL` of the node that uses the address with this index. */
  url(index: number): string {
    return `redis://127.0.0.1:${this.addresses[index]?.port}`;
  }

  /**
   * Makes `server`, or a new server, a replica of the master without lag. Resolves when the replica has the master's
   * data.
   */
  async follow(server?: Redis): Promise<void> {
    const follower = server ?? await Redis.start({ args: this.#args });
    if (server === undefined) this.#all.push(follower);
    this.lag(0);
    this.link.targets = [this.master.port];
    await follower.command("REPLICAOF", "127.0.0.1", `${this.link.port}`);
    this.replica = follower;
    await this.linked();
  }

  /** Waits until the replica has loaded the master's data and receives the master's changes. */
  async linked(): Promise<void> {
    const { replica } = this;
    await until(
      "the replica follows",
      () =>
        replica?.info("replication", "master_link_status").then(
          (status) => status === "up",
          () => false,
        ) ?? false,
    );
    await replica?.rewritten();
  }

  /**
   * Keeps the replica `ms` behind the master from now on. `Infinity` stops the replication but keeps the connection
   * open.
   */
  lag(ms: number): void {
    this.link.delayMs = (name) => name === "replica" ? ms : 0;
  }

  /** Waits until the replica has everything that the master has now. */
  async level(): Promise<void> {
    const wants = await this.master.info("replication", "master_repl_offset");
    await until("the replica has everything", async () => {
      const has = await this.replica?.info("replication", "slave_repl_offset");
      return has !== undefined && Number(has) >= Number(wants);
    });
  }

  /**
   * Promotes the replica to master, and discards the changes that are in flight to the replica. Returns the old master,
   * which continues to run as a master, and to which the addresses still lead.
   */
  async promote(): Promise<Redis> {
    this.link.targets = [];
    this.link.cut("replica");
    await this.replica?.command("REPLICAOF", "NO", "ONE");
    return this.promoted();
  }

  /** Records that the replica was promoted, and returns the old master. */
  promoted(): Redis {
    const { master, replica } = this;
    if (replica === undefined) {
      throw new Error("Cannot promote: there is no replica; call follow()");
    }
    this.master = replica;
    this.replica = undefined;
    return master;
  }

  /**
   * Makes these addresses, or all addresses, lead new connections to the master. Existing connections stay with their
   * server until {@linkcode Proxy.cut}.
   */
  lead(...addresses: readonly Proxy[]): void {
    for (const address of addresses.length > 0 ? addresses : this.addresses) {
      address.targets = [this.master.port];
    }
  }

  /** Makes these addresses, or all addresses, lead to the master, and cuts their existing connections. */
  move(...addresses: readonly Proxy[]): void {
    this.lead(...addresses);
    for (const address of addresses.length > 0 ? addresses : this.addresses) {
      address.cut();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const address of this.addresses) await address[Symbol.asyncDispose]();
    await this.link[Symbol.asyncDispose]();
    for (const server of this.#all) await server[Symbol.asyncDispose]();
  }
}

/** A real sentinel that watches one master; `await using` ends it. */
export class Sentinel {
  readonly #process: Deno.ChildProcess;
  readonly #folder: string;
  readonly #port: number;

  private constructor(
    process: Deno.ChildProcess,
    folder: string,
    port: number,
  ) {
    this.#process = process;
    this.#folder = folder;
    this.#port = port;
  }

  /**
   * Starts a sentinel for the master at `port`. The sentinel decides alone that the master is down, after `downAfterMs`
   * without a reply.
   */
  static async start(port: number, downAfterMs: number): Promise<Sentinel> {
    const folder = await Deno.makeTempDir({ prefix: "roomcast-sentinel-" });
    const own = await freePort();
    await Deno.writeTextFile(
      `${folder}/sentinel.conf`,
      [
        `port ${own}`,
        "bind 127.0.0.1",
        `dir ${folder}`,
        `sentinel monitor roomcast 127.0.0.1 ${port} 1`,
        `sentinel down-after-milliseconds roomcast ${downAfterMs}`,
        "sentinel failover-timeout roomcast 10000",
        "",
      ].join("\n"),
    );
    const process = new Deno.Command(await serverProgram(), {
      args: [`${folder}/sentinel.conf`, "--sentinel"],
      stdout: "null",
      stderr: "null",
    }).spawn();
    const sentinel = new Sentinel(process, folder, own);
    await until(
      "the sentinel knows master and replica",
      () =>
        sentinel.#command("SENTINEL", "MASTER", "roomcast").then(
          (facts) => String(facts).includes("num-slaves,1"),
          () => false,
        ),
    );
    return sentinel;
  }

  /** Returns the port of the server that the sentinel names as the master. */
  async master(): Promise<number> {
    const [, port] = await this.#command(
      "SENTINEL",
      "GET-MASTER-ADDR-BY-NAME",
      "roomcast",
    ) as [string, string];
    return Number(port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.status;
    await Deno.remove(this.#folder, { recursive: true });
  }

  #command(...args: string[]): Promise<unknown> {
    return command(`redis://127.0.0.1:${this.#port}`, ...args);
  }
}
