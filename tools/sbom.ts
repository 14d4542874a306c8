/**
 * Lists the packages whose code is in the bundle, as a software bill of materials in the form of CycloneDX 1.6.
 *
 *     deno task sbom > sbom.json
 *
 * `deno task bundle` writes the same list into the bundle. The list depends only on the bundle and on `deno.lock`, so it
 * has no date and no serial number.
 */
// deno-lint-ignore-file no-console -- a program prints its result
import * as Enums from "@cyclonedx/cyclonedx-library/Enums";
import * as Models from "@cyclonedx/cyclonedx-library/Models";
import * as Serialize from "@cyclonedx/cyclonedx-library/Serialize";
import * as Spec from "@cyclonedx/cyclonedx-library/Spec";
import { Buffer } from "node:buffer";

const root = new URL("../", import.meta.url);

/** A package of npm in one version. */
interface Package {
  readonly name: string;
  readonly version: string;
}

/** The parts of `deno.lock` that are used here. */
interface Lock {
  readonly npm: Readonly<Record<string, { readonly integrity: string }>>;
}

/**
 * Returns the packages of which a bundle has code. Deno's bundler writes the path of each module before the module's
 * code.
 */
export function packagesIn(bundle: string): Package[] {
  const paths = bundle.matchAll(
    /^ *\/\/ (?:\.\.\/)*node_modules\/\.deno\/([^/\n]+)\/node_modules\//gm,
  );
  const names = new Set([...paths].map(([, name = ""]) => name));
  return [...names].map((name) => {
    const [, full = "", version = ""] = /^(@?[^@]+)@([^_]+)/.exec(name) ?? [];
    return { name: full.replace("+", "/"), version };
  });
}

/** Returns the version of Socket.IO's client, which its file begins with. */
export function clientIn(file: string): Package {
  const [, version] = /^\/\*!\n \* Socket\.IO v(\S+)\n/.exec(file) ?? [];
  if (version === undefined) {
    throw new Error(
      "Cannot list the packages: the client of Socket.IO does not say its version",
    );
  }
  return { name: "socket.io-client", version };
}

/**
 * Returns the list as JSON.
 *
 * @param bundle The code of `main.js`.
 * @param client The code of Socket.IO's client for browsers.
 */
export async function sbomOf(bundle: string, client: string): Promise<string> {
  const lock: Lock = JSON.parse(
    await Deno.readTextFile(new URL("deno.lock", root)),
  );
  const bom = new Models.Bom();
  bom.metadata.component = new Models.Component(
    Enums.ComponentType.Application,
    "roomcast",
    { licenses: licenses("MIT"), bomRef: "roomcast" },
  );
  for (const found of [...packagesIn(bundle), clientIn(client)]) {
    bom.components.add(await componentOf(found, lock));
  }
  const serializer = new Serialize.JsonSerializer(
    new Serialize.JSON.Normalize.Factory(Spec.Spec1dot6),
  );
  return `${serializer.serialize(bom, { sortLists: true, space: 2 })}\n`;
}

async function componentOf(
  { name, version }: Package,
  lock: Lock,
): Promise<Models.Component> {
  const id = `${name}@${version}`;
  const entry = Object.entries(lock.npm).find(([key]) =>
    key === id || key.startsWith(`${id}_`)
  );
  if (entry === undefined) {
    throw new Error(
      `Cannot list the packages: ${id} is in the bundle and not in deno.lock`,
    );
  }
  const [key, { integrity }] = entry;
  const short = name.slice(name.indexOf("/") + 1);
  const group = name.includes("/") ? name.split("/")[0] : undefined;
  const hash = Buffer.from(integrity.replace("sha512-", ""), "base64");
  const archive = new Models.ExternalReference(
    `https://registry.npmjs.org/${name}/-/${short}-${version}.tgz`,
    Enums.ExternalReferenceType.Distribution,
    {
      hashes: new Models.HashDictionary([[
        Enums.HashAlgorithm["SHA-512"],
        hash.toString("hex"),
      ]]),
    },
  );
  return new Models.Component(Enums.ComponentType.Library, short, {
    group,
    version,
    // The scope's @ is encoded (https://github.com/package-url/purl-spec).
    purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
    bomRef: id,
    licenses: licenses(await licenseOf(key, name)),
    externalReferences: new Models.ExternalReferenceRepository([archive]),
  });
}

/** Resolves to the license that an installed package names. */
async function licenseOf(key: string, name: string): Promise<string> {
  const folder = key.replaceAll("/", "+").split("_")[0];
  const path = `node_modules/.deno/${folder}/node_modules/${name}/package.json`;
  const { license } = JSON.parse(
    await Deno.readTextFile(new URL(path, root)),
  );
  if (typeof license === "string") return license;
  throw new Error(`Cannot list the packages: ${name} names no license`);
}

function licenses(id: string): Models.LicenseRepository {
  return new Models.LicenseRepository([new Models.SpdxLicense(id)]);
}

/** Makes a bundle in a temporary folder and prints the list of its packages. */
async function print(): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "roomcast-sbom-" });
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--cached-only", "tools/bundle.ts", folder],
      cwd: root,
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    console.log((await Deno.readTextFile(`${folder}/sbom.json`)).trimEnd());
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) await print();
