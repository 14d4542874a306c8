/** The code of an earlier commit, as a checkout of its own. */

/** A directory with the code of a commit; `await using` deletes it. */
export interface Checkout extends AsyncDisposable {
  /** Its address, with a slash at the end. */
  readonly url: URL;
}

const root = new URL("../../", import.meta.url);

/** Runs a program in a directory. Returns whether it succeeded, and what it printed. */
async function run(
  program: string,
  args: string[],
  cwd = root,
): Promise<{ success: boolean; output: string }> {
  try {
    const { success, stdout, stderr } = await new Deno.Command(program, {
      args,
      cwd,
      stdin: "null",
      signal: AbortSignal.timeout(60_000),
    }).output();
    const decoder = new TextDecoder();
    return {
      success,
      output: decoder.decode(stdout) + decoder.decode(stderr),
    };
  } catch (error) {
    return { success: false, output: String(error) };
  }
}

/** Returns whether the history of this clone has a commit. Fetches it from `origin` if the clone is shallow. */
export async function hasCommit(commit: string): Promise<boolean> {
  const isThere = async (): Promise<boolean> =>
    (await run("git", ["cat-file", "-e", `${commit}^{commit}`])).success;
  if (await isThere()) return true;
  const shallow = await run("git", ["rev-parse", "--is-shallow-repository"]);
  if (shallow.output.trim() !== "true") return false;
  await run("git", ["fetch", "--quiet", "--depth=1", "origin", commit]);
  return await isThere();
}

/** Checks out a commit into a directory of its own, and installs what it needs. */
export async function checkOut(commit: string): Promise<Checkout> {
  const folder = await Deno.makeTempDir({ prefix: "roomcast-commit-" });
  const url = new URL(`file://${folder}/`);
  const dispose = (): Promise<void> => Deno.remove(folder, { recursive: true });
  const archive = `${folder}/archive.tar`;
  try {
    for (
      const [program, ...args] of [
        ["git", "archive", `--output=${archive}`, commit],
        ["tar", "-xf", archive, "-C", folder],
      ] as const
    ) {
      const { success, output } = await run(program, args);
      if (!success) throw new Error(`Cannot check out ${commit}: ${output}`);
    }
    const installed = await run(Deno.execPath(), ["install", "--frozen"], url);
    if (!installed.success) {
      throw new Error(`Cannot install ${commit}: ${installed.output}`);
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  return { url, [Symbol.asyncDispose]: dispose };
}
