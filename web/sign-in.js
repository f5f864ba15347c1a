// @ts-check
// Sign-in: OAuth 2's authorization code with PKCE, the same at the local issuer and at Cognito.

import { encode } from "./base64url.js";
import { config, embedded } from "./config.js";
import { readTokens, session } from "./session.js";

/** What is kept of a sign-in that is under way, under its state. */
const KEY = "coursegate.sign-in.";
const PATIENCE_MS = 20_000;

/** The browser came back from sign-in without being signed in. */
export class SignInError extends Error {
  /**
   * @param {string} says what happened, for the learner
   * @param {string} path where to go on once signed in
   */
  constructor(says, path) {
    super(says);
    this.path = path;
  }
}

/** What nobody guesses. */
export function random() {
  return encode(crypto.getRandomValues(new Uint8Array(32)));
}

/** Where the browser is, without the origin. */
export function here() {
  return location.pathname + location.search;
}

/**
 * A path of this site, or the start page in the place of anything else.
 * @param {string | null} path
 */
export function ownPath(path) {
  try {
    const address = new URL(path ?? "/", location.origin);
    // Nobody signs in to be led to the sign-in.
    if (address.pathname === "/sign-in") return ownPath(address.searchParams.get("to"));
    const own = address.pathname + address.search;
    // "/.//elsewhere" is of this origin, but its path, taken by itself, leads to another.
    if (address.origin === location.origin && !own.startsWith("//")) return own;
  } catch {
    // Not an address.
  }
  return "/";
}

/**
 * Leaves for the sign-in, which comes back to the path.
 * @param {string} path
 * @param {{ replace?: boolean, signal?: AbortSignal }} [how] `replace` leaves no entry in the history,
 *   `signal` ends it as long as the browser has not left
 */
export async function signIn(path = here(), { replace = false, signal } = {}) {
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
  }).toString();
  if (signal?.aborted) return;
  if (replace) location.replace(address);
  else location.assign(address);
}

/** Whether this address is one that sign-in came back to. */
export function isReturn() {
  const query = new URLSearchParams(location.search);
  return query.has("state") && (query.has("code") || query.has("error"));
}

/**
 * Ends a sign-in: takes the code from the address and makes a session of it.
 * @returns {Promise<string>} the path that it began at
 */
export async function finish() {
  const query = new URLSearchParams(location.search);
  const state = query.get("state") ?? "";
  const kept = sessionStorage.getItem(KEY + state);
  sessionStorage.removeItem(KEY + state);
  if (!kept) {
    // With the browser's Back, a sign-in that has ended well comes back once more.
    if (session.token) return "/";
    throw new SignInError(
      "This sign-in was begun in another tab or window. Go back there, or sign in here.",
      "/",
    );
  }
  const { verifier, path: began } = JSON.parse(kept);
  const path = ownPath(began);
  const code = query.get("code");
  if (!code) throw new SignInError("The sign-in was not completed.", path);
  const lost = () => {
    throw new SignInError("The sign-in can’t be reached at the moment. Try again in a moment.", path);
  };
  const { sign_in } = await config().catch(lost);
  const answer = await fetch(sign_in.token, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: sign_in.client_id,
      code,
      redirect_uri: sign_in.redirect,
      code_verifier: verifier,
    }),
    signal: AbortSignal.timeout(PATIENCE_MS),
  }).catch(lost);
  if (!answer.ok) {
    throw new SignInError("The sign-in was not accepted. It may have taken too long.", path);
  }
  session.begin(readTokens(await answer.json()));
  return path;
}

/**
 * Signs out here and at the issuer, which comes back to the start page. A page of another origin
 * forgets the learner, and stays; the sign-in itself is the site's to end.
 */
export async function signOut() {
  session.end();
  if (embedded) return;
  const { sign_in } = await config();
  const address = new URL(sign_in.logout);
  address.search = new URLSearchParams({
    client_id: sign_in.client_id,
    // Cognito's name for it, and OpenID Connect's.
    logout_uri: sign_in.redirect,
    post_logout_redirect_uri: sign_in.redirect,
  }).toString();
  location.assign(address);
}
