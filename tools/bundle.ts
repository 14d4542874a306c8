/**
 * Puts everything that the server needs beside Deno into one folder: the program as one file, the page, Socket.IO's
 * client, and a `deno.json` with the permissions and `deno task start`. Adds `sbom.json`, which lists the packages whose
 * code is in the folder.
 *
 *     deno task bundle [folder]
 *
 * The folder is `dist` if none is named. An existing folder with this name is replaced.
 */
import { cp, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sbomOf } from "./sbom.ts";

const root = new URL("../", import.meta.url);

interface Task {
  readonly description: string;
  readonly command: string;
}

interface Configuration {
  readonly permissions: {
    readonly default: { readonly read: readonly string[] };
  };
  readonly tasks: Readonly<Record<string, Task>>;
}

/**
 * Returns the configuration of the bundle: the permissions of the server, and the tasks that run the server. They have
 * no dependencies, because the bundle has no packages to install.
 */
export function bundledConfiguration(
  { permissions, tasks }: Configuration,
): Configuration {
  const ofServer = Object.entries(tasks).filter(([, { command }]) =>
    /^deno run .* main\.ts( |$)/.test(command)
  );
  return {
    permissions: {
      ...permissions,
      // The program in the bundle imports nothing from packages.
      default: { ...permissions.default, read: ["./static"] },
    },
    tasks: Object.fromEntries(
      ofServer.map(([name, { description, command }]) => [name, {
        description,
        command: command.replace(" main.ts", " main.js"),
      }]),
    ),
  };
}

async function bundle(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const { success } = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "-q",
      "--platform=deno",
      "-o",
      join(folder, "main.js"),
      "main.ts",
    ],
    cwd: root,
  }).spawn().status;
  if (!success) Deno.exit(1);
  await cp(new URL("static", root), join(folder, "static"), {
    recursive: true,
  });
  await cp(
    new URL("client-dist", import.meta.resolve("socket.io")),
    join(folder, "static/client-dist"),
    { recursive: true },
  );
  const config = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", root)),
  );
  await writeFile(
    join(folder, "deno.json"),
    `${JSON.stringify(bundledConfiguration(config), undefined, 2)}\n`,
  );
  const sbom = await sbomOf(
    await Deno.readTextFile(join(folder, "main.js")),
    await Deno.readTextFile(join(folder, "static/client-dist/socket.io.js")),
  );
  await writeFile(join(folder, "sbom.json"), sbom);
}

if (import.meta.main) await bundle(Deno.args[0] ?? "dist");
