/** Secrets that tests give to nodes, so that each node's log can be checked for them. */

/** Shorter secrets are not looked for, because other words may contain them. */
const LENGTH_MIN = 6;
/** Every header of a token begins like this, because it is JSON in base64url. */
const TOKEN = /eyJ[\w-]{10,}/g;
/** Settings whose values are lists of secrets. An item of `PUBLISH_KEYS` is `name:secret`. */
const LISTS = [
  "PUBLISH_KEYS",
  "TOKEN_SECRET",
  "HOOK_SECRET",
  "WEBHOOK_SECRET",
  "ADMIN_KEY",
];

/** Secrets that this process has given to any node or client. */
const kept = new Set<string>();

/** Adds a secret, such as that of a session, to those for which the log of each node is searched when it stops. */
export function keepSecret(secret: string): void {
  if (secret.length >= LENGTH_MIN) kept.add(secret);
}

/** Adds the secrets in these settings to those for which the log of each node is searched when it stops. */
export function keepSecretsOf(env: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(env)) {
    if (LISTS.includes(name)) {
      for (const item of value.split(",")) {
        keepSecret(item.replace(/^[\w-]+:/, "").trim());
      }
    } else if (name.endsWith("_URL") && URL.canParse(value)) {
      const { password, searchParams } = new URL(value);
      for (const text of [password, ...searchParams.values()]) keepSecret(text);
    }
  }
}

/** Returns each secret and each token in the log of a node, with the line that has it. */
export function leaksIn(output: string): string[] {
  const leaked = [...output.match(TOKEN) ?? []];
  for (const secret of kept) if (output.includes(secret)) leaked.push(secret);
  const lines = output.split("\n");
  return leaked.map((secret) =>
    `${secret} in: ${lines.find((line) => line.includes(secret))}`
  );
}
