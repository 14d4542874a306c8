/**
 * Finds settings that are valid and probably do not do what the operator wants.
 *
 * @module
 */
import { warningsOf as accessWarnings } from "./access_settings.ts";
import type { Config } from "./config.ts";
import { limitWarnings } from "./limit_settings.ts";

/** Returns a sentence for each valid setting that probably does not do what the operator wants. */
export function warningsOf(config: Config): readonly string[] {
  return [...accessWarnings(config), ...limitWarnings(config)];
}
