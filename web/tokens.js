// @ts-check
// Requests to the issuer's token endpoint (RFC 6749) and revocation endpoint (RFC 7009).

/** @import { Tokens } from "./api.d.ts" */
/** @import { SignedIn } from "./session.js" */

import { decode } from "./base64url.js";
import { config } from "./config.js";

const PATIENCE_MS = 20_000;
/** The lifetime of a token whose answer doesn't say: RFC 6749 only recommends that it does. */
const LIFETIME_S = 300;
/** The part of a token's lifetime after which it is renewed. */
const RENEWED_AT = 0.9;

/** The issuer has answered with an error. */
export class TokenError extends Error {
  /** @param {string} code RFC 6749's, or the status */
  constructor(code) {
    super(`the token endpoint answers ${code}`);
    this.code = code;
  }
}

/**
 * Requests tokens for a grant.
 * @param {Record<string, string>} grant
 * @param {number} [patience] how long to wait for the answer, in milliseconds
 * @returns {Promise<Tokens>}
 */
export async function request(grant, patience = PATIENCE_MS) {
  const { sign_in } = await config();
  const answer = await fetch(sign_in.token, {
    method: "POST",
    body: new URLSearchParams({ client_id: sign_in.client_id, ...grant }),
    signal: AbortSignal.timeout(patience),
  });
  if (answer.ok) return answer.json();
  const { error } = await answer.json().catch(() => ({}));
  throw new TokenError(String(error ?? answer.status));
}

/**
 * Revokes a refresh token, as far as possible, even if the page is being left.
 * @param {string} token
 */
export async function revoke(token) {
  const { sign_in } = await config();
  if (!sign_in.revoke) return;
  const body = new URLSearchParams({ client_id: sign_in.client_id, token });
  // Nothing depends on the answer.
  void fetch(sign_in.revoke, { method: "POST", body, keepalive: true }).catch(() => {});
}

/**
 * Reads a token response. The ID token comes straight from the issuer over TLS and is only displayed;
 * the API decides by the access token who may open what. A refresh may come without one.
 * @param {Tokens} tokens
 * @returns {SignedIn}
 */
export function readTokens({ access_token, id_token, expires_in }) {
  const ms = (Number(expires_in) || LIFETIME_S) * 1000;
  const who = { token: access_token, expires: Date.now() + ms, renew: Date.now() + ms * RENEWED_AT };
  if (!id_token) return who;
  const bytes = decode(id_token.split(".")[1] ?? "");
  const { email, sub } = JSON.parse(new TextDecoder().decode(bytes));
  // An ID token of a refresh may leave the address out; the one that is known stays.
  return { ...who, ...(email && { email: String(email) }), ...(sub && { learner: String(sub) }) };
}
