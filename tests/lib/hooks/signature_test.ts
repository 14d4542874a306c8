import assert from "node:assert/strict";
import { Webhook } from "standardwebhooks";
import { keyOfSecret, sign } from "../../../lib/hooks/signature.ts";

const BASE64 = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

Deno.test("sign() makes a signature that the library of Standard Webhooks accepts for this body and secret only", () => {
  const body = '{"client":"c","data":{"name":"Zoë"}}';
  const secret = `whsec_${BASE64}`;
  const headers = sign(keyOfSecret(secret), body, Date.now());
  assert.deepEqual(new Webhook(secret).verify(body, headers), JSON.parse(body));
  assert.throws(() => new Webhook(secret).verify(`${body} `, headers));
  const other = `whsec_${BASE64.toLowerCase()}`;
  assert.throws(() => new Webhook(other).verify(body, headers));
});

Deno.test("sign() uses the bytes of a secret that is not base64 after whsec_", () => {
  for (const secret of ["plain text, 24 bytes long!", BASE64]) {
    const headers = sign(keyOfSecret(secret), "{}", Date.now());
    new Webhook(secret, { format: "raw" }).verify("{}", headers);
  }
});

Deno.test("sign() gives each call an id of its own", () => {
  const ids = [1, 2].map(() => sign(keyOfSecret("x"), "{}", 0)["webhook-id"]);
  assert.notEqual(ids[0], ids[1]);
  assert.match(`${ids[0]}`, /^msg_[\w-]{24}$/);
});

Deno.test("keyOfSecret() refuses a secret whose rest after whsec_ is not base64", () => {
  for (const rest of ["", "abc", "not base64!", `${BASE64}=`, "ab=="]) {
    const isValid = rest === "ab==";
    if (isValid) keyOfSecret(`whsec_${rest}`);
    else assert.throws(() => keyOfSecret(`whsec_${rest}`), TypeError, rest);
  }
});
