/** nginx in front of nodes, with the configuration of `examples/nginx.conf`. */
import { fencedBlocks } from "./documents.ts";
import { freePort } from "./net.ts";
import { until } from "./wait.ts";

/** The name of a request header. {@linkcode Nginx} takes its value as the client address of the request. */
export const ADDRESS_HEADER = "x-test-address";

/** Options of {@linkcode Nginx.start}. */
export interface NginxOptions {
  /** Whether nginx serves `https:` with the lines of `docs/deploy/nginx.md` and a certificate of its own. */
  readonly tls?: boolean;
}

/**
 * nginx with the configuration of `examples/nginx.conf`, except for its ports and the number of nodes; `await using`
 * stops nginx.
 */
export class Nginx {
  /** The URL of nginx. */
  readonly url: string;
  /** With TLS, the port on which nginx redirects requests without TLS; nothing listens there otherwise. */
  readonly plainPort: number;
  readonly #process: Deno.ChildProcess;
  readonly #folder: string;
  readonly #client: Deno.HttpClient;

  private constructor(
    url: string,
    plainPort: number,
    process: Deno.ChildProcess,
    folder: string,
    client: Deno.HttpClient,
  ) {
    this.url = url;
    this.plainPort = plainPort;
    this.#process = process;
    this.#folder = folder;
    this.#client = client;
  }

  /**
   * Starts nginx in front of the nodes on `ports`, and waits until a node responds through nginx. `ip_hash` takes a
   * request's client address from {@linkcode ADDRESS_HEADER}. With the real address, which is the same for all requests
   * of a test, all of them would reach one node.
   */
  static async start(
    program: string,
    ports: readonly number[],
    { tls = false }: NginxOptions = {},
  ): Promise<Nginx> {
    const port = await freePort();
    const folder = await Deno.makeTempDir({ prefix: "roomcast-nginx-" });
    // If nginx is started as root, its workers run as another user, which may not write to the folder.
    const user = Deno.uid() === 0 ? "user root;" : "";
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (name) => `${name}_temp_path ${folder}/${name};`,
    );
    const plainPort = await freePort();
    const redirect = tls ? redirectFrom(plainPort) : "";
    const listen = tls
      ? await listenWithTls(folder, port)
      : `listen 127.0.0.1:${port};`;
    await Deno.writeTextFile(
      `${folder}/nginx.conf`,
      `${user} daemon off; pid ${folder}/pid; error_log stderr crit; events {}
      http {
        access_log off; ${temporary.join(" ")}
        set_real_ip_from 127.0.0.1; real_ip_header ${ADDRESS_HEADER};
        ${await configuration(listen, ports)} ${redirect}
      }`,
    );
    const process = new Deno.Command(program, {
      args: ["-p", folder, "-c", `${folder}/nginx.conf`],
      stdout: "null",
    }).spawn();
    const client = await clientFor(folder, tls);
    const url = `${tls ? "https" : "http"}://127.0.0.1:${port}`;
    const proxy = new Nginx(url, plainPort, process, folder, client);
    try {
      await until(
        "nginx responds",
        () =>
          proxy.fetch("/livez").then(async (response) => {
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

  /** Sends a request. With TLS, the certificate of nginx is accepted. */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(new URL(path, this.url), { ...init, client: this.#client });
  }

  /** Sends a POST request with a JSON body. */
  async post(path: string, body: unknown): Promise<Response> {
    const response = await this.fetch(path, {
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
    this.#client.close();
    await this.#process.status;
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Makes a certificate in `folder`, and resolves to the lines of `docs/deploy/nginx.md` with it and with this port. */
async function listenWithTls(folder: string, port: number): Promise<string> {
  const { success, stderr } = await new Deno.Command("openssl", {
    args: [
      ...["req", "-x509", "-newkey", "ec", "-pkeyopt"],
      ...["ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=127.0.0.1"],
      ...["-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
      ...["-keyout", `${folder}/site.key`, "-out", `${folder}/site.pem`],
    ],
    stdout: "null",
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  const [block] = fencedBlocks("docs/deploy/nginx.md");
  return (block?.code ?? "").replace("443", `127.0.0.1:${port}`)
    .replaceAll(/\/etc\/ssl\/[\w.]+(?=\.(pem|key);)/g, `${folder}/site`);
}

/** Returns the server of `docs/deploy/nginx.md` that redirects to TLS, with this port. */
function redirectFrom(port: number): string {
  const [, block] = fencedBlocks("docs/deploy/nginx.md");
  return (block?.code ?? "").replace("80", `127.0.0.1:${port}`);
}

/** Creates the client for requests to nginx, which accepts the certificate in `folder` if there is one. */
async function clientFor(
  folder: string,
  tls: boolean,
): Promise<Deno.HttpClient> {
  return Deno.createHttpClient(
    tls ? { caCerts: [await Deno.readTextFile(`${folder}/site.pem`)] } : {},
  );
}

/** Resolves to the configuration of `examples/nginx.conf`, with these lines and ports instead of its own. */
async function configuration(
  listen: string,
  ports: readonly number[],
): Promise<string> {
  const example = await Deno.readTextFile(
    new URL("../../examples/nginx.conf", import.meta.url),
  );
  const servers = /^ *server 127\.0\.0\.1:\d+([^;]*);\n/gm;
  const [, parameters = ""] = servers.exec(example) ?? [];
  let rest = ports.map((port) => `server 127.0.0.1:${port}${parameters};\n`)
    .join("");
  return example.replace("listen 80;", () => `${listen}\n`)
    .replaceAll(servers, () => {
      const all = rest;
      rest = "";
      return all;
    });
}
