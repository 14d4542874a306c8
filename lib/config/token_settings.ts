/**
 * Reads the settings that say how client tokens are verified.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createPublicKey, X509Certificate } from "node:crypto";
import { isLoopback } from "../access/origins.ts";
import { SECRET_BYTES_MIN, type TokenSettings } from "../access/tokens.ts";
import type { EnvReader } from "./env_reader.ts";

/** Matches the beginning of a key or a certificate in PEM, and a field that every JSON Web Key or key set has. */
const PEM_OR_JWK = /-----BEGIN |"(?:kty|keys)"\s*:/;

/** Reads how client tokens are verified. Returns undefined if clients need no token. */
export function readTokenSettings(
  reader: EnvReader,
): TokenSettings | undefined {
  const secrets = reader.list("TOKEN_SECRET");
  const jwksUrl = reader.text("TOKEN_JWKS_URL") || undefined;
  const settings = {
    secrets,
    jwksUrl,
    issuer: reader.text("TOKEN_ISSUER") || undefined,
    audience: reader.text("TOKEN_AUDIENCE") || undefined,
  };
  checkSecrets(reader, secrets);
  if (jwksUrl !== undefined && !isKeySetUrl(jwksUrl)) {
    // The URL is not shown, because it may have a password or a key in it.
    reader.fail(
      "TOKEN_JWKS_URL",
      "is not an https: URL without a user; only for a loopback address may it be http:",
    );
  }
  return reader.isSet("TOKEN_SECRET") || jwksUrl !== undefined
    ? settings
    : undefined;
}

/** Records a problem for each secret with which tokens should not be signed. The secrets themselves are never shown. */
function checkSecrets(reader: EnvReader, secrets: readonly string[]): void {
  const name = "TOKEN_SECRET";
  if (reader.isSet(name) && secrets.length === 0) {
    reader.fail(name, "is a list without secrets; unset it or set a secret");
  }
  // A key in JSON has commas, which separate secrets here.
  if (PEM_OR_JWK.test(reader.text(name)) || secrets.some(isPublic)) {
    reader.fail(
      name,
      "has a key or a certificate instead of a secret, and anyone who knows a public key could sign tokens with it; set TOKEN_JWKS_URL to the key set of the issuer instead",
    );
    return;
  }
  for (const [index, secret] of secrets.entries()) {
    const bytes = Buffer.byteLength(secret);
    if (bytes >= SECRET_BYTES_MIN) continue;
    reader.fail(
      name,
      `entry ${
        index + 1
      } has ${bytes} bytes and needs at least ${SECRET_BYTES_MIN}; make one with: openssl rand -base64 48`,
    );
  }
}

/** Returns whether a text is a public key or a certificate in base64, as identity providers show them. */
function isPublic(text: string): boolean {
  const der = Buffer.from(text, "base64");
  try {
    createPublicKey({ key: der, format: "der", type: "spki" });
    return true;
  } catch {
    // It is not a public key.
  }
  try {
    new X509Certificate(der);
    return true;
  } catch {
    return false;
  }
}

function isKeySetUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password, hash } = new URL(text);
  if (username + password + hash !== "") return false;
  return protocol === "https:" ||
    (protocol === "http:" && isLoopback(hostname));
}
