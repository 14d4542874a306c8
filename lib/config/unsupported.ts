/**
 * Settings that other versions of Roomcast have, and this one does not.
 *
 * Such settings are rejected, because an operator could otherwise believe that the setting protects the server,
 * although it has no effect.
 *
 * @module
 */
import type { EnvReader } from "./env_reader.ts";

/**
 * The settings that this version does not support, by name. A setting may still have the value that is given here,
 * which switches the setting off; undefined if no value is allowed.
 */
const UNSUPPORTED: Readonly<Record<string, string | undefined>> = {
  WORKERS: "1",
  WEBHOOK_URL: undefined,
  WEBHOOK_SECRET: undefined,
  ADMIN_KEY: undefined,
  PRESENCE_BYTES_MAX: undefined,
  PRESENCE_MEMBERS_MAX: undefined,
  REBALANCE: "false",
};

/** The names of all settings that this version does not support. */
export const UNSUPPORTED_NAMES: readonly string[] = Object.keys(UNSUPPORTED);

/** Records a problem for each setting that this version does not support, unless its value switches the setting off. */
export function checkUnsupported(reader: EnvReader): void {
  for (const [name, nothing] of Object.entries(UNSUPPORTED)) {
    if (!reader.isSet(name) || reader.text(name) === nothing) continue;
    reader.fail(
      name,
      "is not supported by this version and would have no effect; unset it",
    );
  }
}
