/** The documents of this repository, and the code in them. */

export const ROOT = new URL("../../", import.meta.url);

/** A fenced block of a document. */
export interface Block {
  /** `<document>:<line>`, for messages. */
  readonly where: string;
  readonly language: string;
  /** The lines between the fences, without their indentation. */
  readonly code: string;
}

/** Returns the fenced blocks of a document, in order. Blocks inside of list items count, too. */
export function fencedBlocks(path: string): Block[] {
  const text = Deno.readTextFileSync(new URL(path, ROOT));
  return [...text.matchAll(/^( *)```(.*)\n([^]*?)^ *```$/gm)].map((match) => {
    const [, indentation = "", language = "", code = ""] = match;
    const line = text.slice(0, match.index).split("\n").length;
    return {
      where: `${path}:${line}`,
      language,
      code: code.replaceAll(new RegExp(`^${indentation}`, "gm"), ""),
    };
  });
}
