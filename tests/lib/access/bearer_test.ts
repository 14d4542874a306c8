import assert from "node:assert/strict";
import { bearerSecret } from "../../../lib/access/bearer.ts";

Deno.test("bearerSecret() returns the text after Bearer in any case and after any number of spaces", () => {
  for (
    const [header, secret] of [
      ["Bearer secret", "secret"],
      ["bearer   two words", "two words"],
      ["BEARER x", "x"],
      ["Bearer", undefined],
      ["Bearer ", undefined],
      ["Bearersecret", undefined],
      ["Basic c2VjcmV0", undefined],
      ["", undefined],
    ] as const
  ) {
    assert.equal(bearerSecret(header), secret, header);
  }
});
