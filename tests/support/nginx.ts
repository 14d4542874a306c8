/** nginx in front of nodes, with the configuration of `examples/nginx.conf`. */
import { freePort } from "./net.ts";
import { until } from "./wait.ts";

/** The name of a request header. {@linkcode Nginx} takes its value as the client address of the request. */
export const ADDRESS_HEADER = "x-test-address";

/**
 * nginx with the configuration of `examples/nginx.conf`, except for its ports and the number of nodes; `await using`
 * stops nginx.
 */
export class Nginx {
  /** The URL of nginx. */
  readonly url: string;
  readonly #process: Deno.ChildProcess;
  readonly #folder: string;

  private constructor(url: string, process: Deno.ChildProcess, folder: string) {
    this.url = url;
    this.#process = process;
    this.#folder = folder;
  }

  /**
   * Starts nginx in front of the nodes on `ports`, and waits until a node responds through nginx. `ip_hash` takes a
   * request's client address from {@linkcode ADDRESS_HEADER}. With the real address, which is the same for all requests
   * of a test, all of them would reach one node.
   */
  static async start(
    program: string,
    ports: readonly number[],
  ): Promise<Nginx> {
    const port = await freePort();
    const folder = await Deno.makeTempDir({ prefix: "roomcast-nginx-" });
    // If nginx is started as root, its workers run as another user, which may not write to the folder.
    const user = Deno.uid() === 0 ? "user root;" : "";
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (name) => `${name}_temp_path ${folder}/${name};`,
    );
    await Deno.writeTextFile(
      `${folder}/nginx.conf`,
      `${user} daemon off; pid ${folder}/pid; error_log stderr crit; events {}
      http {
        access_log off; ${temporary.join(" ")}
        set_real_ip_from 127.0.0.1; real_ip_header ${ADDRESS_HEADER};
        ${await configuration(port, ports)}
      }`,
    );
    const process = new Deno.Command(program, {
      args: ["-p", folder, "-c", `${folder}/nginx.conf`],
      stdout: "null",
    }).spawn();
    const proxy = new Nginx(`http://127.0.0.1:${port}`, process, folder);
    try {
      await until(
        "nginx responds",
        () =>
          fetch(new URL("/livez", proxy.url)).then(async (response) => {
            await response.body?.cancel();
            return response.status === 200;
          }, () => false),
      );
    } catch (error) {
      await proxy[Symbol.asyncDispose]();
      throw error;
    }
    return proxy;
  }

  /** Sends a POST request with a JSON body. */
  async post(path: string, body: unknown): Promise<Response> {
    const response = await fetch(new URL(path, this.url), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    await response.body?.cancel();
    return response;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#process.kill("SIGTERM");
    } catch {
      // nginx has already exited.
    }
    await this.#process.status;
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Resolves to the configuration of `examples/nginx.conf`, with these ports instead of its own. */
async function configuration(
  port: number,
  ports: readonly number[],
): Promise<string> {
  const example = await Deno.readTextFile(
    new URL("../../examples/nginx.conf", import.meta.url),
  );
  const servers = /^ *server 127\.0\.0\.1:\d+([^;]*);\n/gm;
  const [, parameters = ""] = servers.exec(example) ?? [];
  let rest = ports.map((port) => `server 127.0.0.1:${port}${parameters};\n`)
    .join("");
  return example.replace("listen 80;", `listen 127.0.0.1:${port};`)
    .replaceAll(servers, () => {
      const all = rest;
      rest = "";
      return all;
    });
}
