/** Checks out the code of an earlier commit into a directory of its own. */

/** A directory with the code of a commit; `await using` deletes the directory. */
export interface Checkout extends AsyncDisposable {
  /** The `file:` URL of the directory, with a slash at the end. */
  readonly url: URL;
}

const root = new URL("../../", import.meta.url);

/** Runs a program in a directory. Resolves to whether the program succeeded, and to what it printed. */
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

/**
 * Resolves to whether this clone of the repository has a commit. If the clone is shallow, tries to fetch the commit
 * from `origin` first.
 */
export async function hasCommit(commit: string): Promise<boolean> {
  const isThere = async (): Promise<boolean> =>
    (await run("git", ["cat-file", "-e", `${commit}^{commit}`])).success;
  if (await isThere()) return true;
  const shallow = await run("git", ["rev-parse", "--is-shallow-repository"]);
  if (shallow.output.trim() !== "true") return false;
  await run("git", ["fetch", "--quiet", "--depth=1", "origin", commit]);
  return await isThere();
}

/** Checks out a commit into a directory of its own, and installs the packages that its code needs. */
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
