// @ts-check
// Sign-in: OAuth 2's authorization code with PKCE, the same at the local issuer and at Cognito.

import { encode } from "./base64url.js";
import { config, embedded } from "./config.js";
import { session } from "./session.js";
import { TokenError, readTokens, request, revoke } from "./tokens.js";

/** Prefix for the stored data of a sign-in in progress, by its state. */
const KEY = "coursegate.sign-in.";

/** A sign-in that failed. */
export class SignInError extends Error {
  /**
   * @param {string} message for the learner
   * @param {string} path where to continue once signed in
   */
  constructor(message, path) {
    super(message);
    this.path = path;
  }
}

/** An unguessable value. */
export function random() {
  return encode(crypto.getRandomValues(new Uint8Array(32)));
}

/** The current path and query. */
export function here() {
  return location.pathname + location.search;
}

/**
 * A path of this site, or the start page for anything else.
 * @param {string | null} path
 */
export function ownPath(path) {
  try {
    const address = new URL(path ?? "/", location.origin);
    // Signing in must not lead to signing in.
    if (/^\/sign-(in|up)$/.test(address.pathname)) return ownPath(address.searchParams.get("to"));
    const own = address.pathname + address.search;
    // "/.//elsewhere" has this origin, but its path alone would lead to another one.
    if (address.origin === location.origin && !own.startsWith("//")) return own;
  } catch {
    // Not an address.
  }
  return "/";
}

/**
 * The page that signs the learner in and returns to this path.
 * @param {string} path
 */
export function signInPath(path) {
  return `/sign-in?to=${encodeURIComponent(path)}`;
}

/**
 * Redirects to the issuer, which returns to the path. Leaves no entry in the history.
 * @param {string} path
 * @param {{ email?: string, signal?: AbortSignal }} [how] `email` is the address to begin with, `signal`
 *   cancels until the browser leaves
 */
export async function signIn(path, { email, signal } = {}) {
  const { sign_in } = await config();
  const verifier = random();
  const state = random();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  sessionStorage.setItem(KEY + state, JSON.stringify({ verifier, path }));
  const address = new URL(sign_in.authorize);
  address.search = new URLSearchParams({
    response_type: "code",
    client_id: sign_in.client_id,
    redirect_uri: sign_in.redirect,
    scope: sign_in.scope,
    state,
    code_challenge: encode(new Uint8Array(digest)),
    code_challenge_method: "S256",
    ...(email ? { login_hint: email } : {}),
  }).toString();
  if (!signal?.aborted) location.replace(address);
}

/** Whether the issuer has redirected to this address. */
export function isReturn() {
  const query = new URLSearchParams(location.search);
  return query.has("state") && (query.has("code") || query.has("error"));
}

/**
 * Finishes a sign-in: exchanges the code in the address for a session.
 * @returns {Promise<string>} the path that it began at
 */
export async function finish() {
  const query = new URLSearchParams(location.search);
  const state = query.get("state") ?? "";
  const kept = sessionStorage.getItem(KEY + state);
  sessionStorage.removeItem(KEY + state);
  if (!kept) {
    // The Back button returns to a sign-in that is already finished.
    if (session.signedIn) return "/";
    throw new SignInError(
      "You started signing in from another tab or window. Go back there, or sign in here.",
      "/",
    );
  }
  const { verifier, path: began } = JSON.parse(kept);
  const path = ownPath(began);
  const code = query.get("code");
  if (!code) throw new SignInError("Sign-in was not completed.", path);
  const failed = (/** @type {unknown} */ cause) => {
    throw new SignInError(
      cause instanceof TokenError
        ? "Sign-in failed. It may have taken too long. Try again."
        : "Sign-in can’t be reached right now. Try again in a moment.",
      path,
    );
  };
  const { sign_in } = await config().catch(failed);
  const tokens = await request({
    grant_type: "authorization_code",
    code,
    redirect_uri: sign_in.redirect,
    code_verifier: verifier,
  }).catch(failed);
  await session.begin(readTokens(tokens), tokens.refresh_token);
  return path;
}

/**
 * Signs out here and at the issuer, which returns to the start page. A page of another origin only
 * forgets the learner: the issuer's session belongs to the site.
 */
export async function signOut() {
  const refresh = await session.end();
  if (embedded) return;
  if (refresh) await revoke(refresh);
  const { sign_in } = await config();
  const address = new URL(sign_in.logout);
  address.search = new URLSearchParams({
    client_id: sign_in.client_id,
    // Cognito's parameter, then OpenID Connect's.
    logout_uri: sign_in.redirect,
    post_logout_redirect_uri: sign_in.redirect,
  }).toString();
  location.assign(address);
}
