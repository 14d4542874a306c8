/**
 * Installs the programs that the tests need beside Deno, so that a bare machine can run them:
 *
 *     deno run -A tests/support/install.ts [tool …] [--optional tool …]
 *
 * Without arguments it installs all of them, as listed in `usual`. It uses apt-get if that is permitted. Otherwise one
 * sentence says what to install, and the exit code is 1; a missing optional tool is only mentioned.
 */

interface Tool {
  name: string;
  /** The names that the program may have. One such program is enough. */
  programs: readonly string[];
  /** Arguments with which the program has to succeed to be suitable. */
  proof?: readonly string[];
  apt: readonly string[];
  brew: string;
}

const tools = {
  redis: {
    name: "redis-server",
    programs: ["redis-server", "valkey-server"],
    apt: ["redis-server"],
    brew: "redis",
  },
  chromium: {
    name: "chromium",
    programs: [
      "chromium",
      "chromium-browser",
      "google-chrome",
      "google-chrome-stable",
    ],
    apt: ["chromium"],
    brew: "chromium",
  },
  nginx: { name: "nginx", programs: ["nginx"], apt: ["nginx"], brew: "nginx" },
  python: {
    name: "python3 with its redis module",
    programs: ["python3"],
    proof: ["-c", "import redis"],
    apt: ["python3", "python3-redis"],
    brew: "python",
  },
  curl: { name: "curl", programs: ["curl"], apt: ["curl"], brew: "curl" },
  php: {
    name: "php with its redis extension",
    programs: ["php"],
    proof: ["-r", "exit(extension_loaded('redis') ? 0 : 1);"],
    apt: ["php-cli", "php-redis"],
    brew: "php",
  },
  go: { name: "go", programs: ["go"], apt: ["golang-go"], brew: "go" },
  systemd: {
    name: "systemd-analyze",
    programs: ["systemd-analyze"],
    apt: ["systemd"],
    brew: "",
  },
} as const satisfies Record<string, Tool>;

export type ToolName = keyof typeof tools;

const usual = [
  "redis",
  "chromium",
  "--optional",
  "nginx",
  "python",
  "curl",
  "php",
  "go",
  "systemd",
];

/** Resolves to the path of the first suitable program; undefined if none is installed. */
export async function find(name: ToolName): Promise<string | undefined> {
  const { programs, proof }: Tool = tools[name];
  // Also search these folders: PATH may lack the sbin folders, which have the servers, or name another python3 before
  // the system's.
  const folders = (Deno.env.get("PATH") ?? "").split(":").concat(
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
  );
  for (const program of programs) {
    for (const folder of new Set(folders)) {
      const path = `${folder}/${program}`;
      if (
        await isProgram(path) &&
        (proof === undefined || (await run(path, proof)).success)
      ) return path;
    }
  }
  return undefined;
}

async function isProgram(path: string): Promise<boolean> {
  try {
    const { isFile, mode } = await Deno.stat(path);
    return isFile && ((mode ?? 0o111) & 0o111) !== 0;
  } catch {
    return false;
  }
}

async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ success: boolean; lastLine: string }> {
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    env,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  const lines = `${decoder.decode(stdout)}\n${decoder.decode(stderr)}`.trim()
    .split("\n");
  return { success, lastLine: lines.at(-1) ?? "" };
}

async function missing(names: readonly ToolName[]): Promise<ToolName[]> {
  const found = await Promise.all(names.map(find));
  return names.filter((_, index) => found[index] === undefined);
}

async function mayInstall(): Promise<boolean> {
  return Deno.build.os === "linux" && Deno.uid() === 0 &&
    await isProgram("/usr/bin/apt-get");
}

/** Installs the packages of the given tools. If that fails, resolves to the last line that apt-get printed. */
async function install(
  names: readonly ToolName[],
): Promise<string | undefined> {
  const packages = names.flatMap((name) => tools[name].apt);
  say(
    `Installing ${packages.join(", ")} with apt-get: the tests need ${
      packages.length > 1 ? "them" : "it"
    }`,
  );
  const wait = ["-qq", "-o", "DPkg::Lock::Timeout=300"];
  // In runlevel 1 a package starts no service. A service that is started anyway does
  // no harm, because the tests use ports of their own.
  const env = { DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  const args = [
    ...wait,
    "install",
    "-y",
    "--no-install-recommends",
    ...packages,
  ];
  if ((await run("apt-get", args, env)).success) return undefined;
  // The package lists may be missing or outdated.
  await run("apt-get", [...wait, "update"], env);
  const { success, lastLine } = await run("apt-get", args, env);
  return success ? undefined : lastLine;
}

function sentence(
  names: readonly ToolName[],
  aptError: string | undefined,
): string {
  const what = names.map((name) => tools[name].name).join(" and ");
  const [are, them] = names.length > 1 ? ["are", "them"] : ["is", "it"];
  if (aptError !== undefined) {
    return `${what} ${are} not on PATH, and apt-get could not install ${them}: ${aptError}`;
  }
  const command = Deno.build.os === "darwin"
    ? `brew install ${names.map((name) => tools[name].brew).join(" ")}`
    : `sudo apt-get install ${
      names.flatMap((name) => tools[name].apt).join(" ")
    }`;
  return `${what} ${are} not on PATH; install ${them} with \`${command}\``;
}

/**
 * Installs missing programs. Resolves to a sentence about the programs that are still missing then; undefined if there
 * are none.
 */
async function ensure(names: readonly ToolName[]): Promise<string | undefined> {
  const wanted = await missing(names);
  if (wanted.length === 0) return undefined;
  const aptError = await mayInstall() ? await install(wanted) : undefined;
  // Check for the programs and ignore the exit code of apt-get, which also fails if a service does not start.
  const left = await missing(wanted);
  return left.length === 0 ? undefined : sentence(left, aptError);
}

function say(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}

function isToolName(word: string): word is ToolName {
  return Object.hasOwn(tools, word);
}

async function main(words: readonly string[]): Promise<number> {
  const unknown = words.find((word) =>
    word !== "--optional" && !isToolName(word)
  );
  if (unknown !== undefined) {
    say(
      `Cannot run the tests: ${unknown} is not one of ${
        Object.keys(tools).join(", ")
      }`,
    );
    return 1;
  }
  const optionalFrom = words.includes("--optional")
    ? words.indexOf("--optional")
    : words.length;
  const needed = await ensure(words.slice(0, optionalFrom).filter(isToolName));
  if (needed !== undefined) {
    say(`Cannot run the tests: ${needed}`);
    return 1;
  }
  const optional = await ensure(words.slice(optionalFrom).filter(isToolName));
  if (optional !== undefined) say(`Some tests will be skipped: ${optional}`);
  return 0;
}

if (import.meta.main) {
  Deno.exit(await main(Deno.args.length > 0 ? Deno.args : usual));
}
