// @ts-check
// Signing in from any page. On the site itself, that is a redirect to the issuer. A page of another
// origin sends the learner to the site with a one-time public key. The site signs them in if necessary,
// and sends them back to that origin's page `/coursegate` with the token in the fragment, encrypted to
// that key; `/coursegate` returns to where the learner was. `pages/connect.js` is the other half. A popup
// wouldn't work: sign-in pages set Cross-Origin-Opener-Policy, which cuts it off from its opener.

import { embedded, site } from "./config.js";
import { h } from "./dom.js";
import { decrypt, makeKeyPair, publicKeyText } from "./encryption.js";
import { expire, keep, take } from "./pending-keys.js";
import { session } from "./session.js";
import { here, random, signInPath } from "./sign-in.js";

/** The page of an embedding site that the site redirects back to. */
export const RETURN = "/coursegate";
/** Prefix for where the learner was while they are at the site, by state. */
const AWAY = "coursegate.away.";
/** The page that the learner was on, and its scroll position. */
const BACK = "coursegate.back";

/** @typedef {{ href: string, top: number }} Place */

/** Signing in from this page couldn't work, so the learner stays on it. */
export class NoWayBack extends Error {}

/**
 * The encryption context: binds a response to this origin and this one request.
 * @param {string} origin
 * @param {string} state
 */
export function context(origin, state) {
  return `${origin} ${state}`;
}

/**
 * The site's path that leads back to this page with the token. Each call makes a new one.
 * @returns {Promise<string>}
 */
export async function wayBack() {
  // Says so before the learner leaves if the return couldn't work.
  if (!crypto.subtle) {
    console.error(`coursegate: ${location.origin} has to use https, or browsers don’t let it encrypt`);
    throw new NoWayBack("You can’t sign in from this page because it doesn’t use https. Please tell its author.");
  }
  const there = await fetch(RETURN, { credentials: "omit" }).catch(() => null);
  if (!there?.ok) {
    console.error(`coursegate: ${location.origin}${RETURN} has to be a page with the same script tag`);
    throw new NoWayBack("This page isn’t set up for signing in yet. Please tell its author.");
  }
  const state = random();
  try {
    const pair = await makeKeyPair();
    await keep(state, pair);
    sessionStorage.setItem(AWAY + state, JSON.stringify({ href: location.href, top: scrollY }));
    const key = await publicKeyText(pair.publicKey);
    return `/connect?${new URLSearchParams({ origin: location.origin, state, key })}`;
  } catch (cause) {
    console.error("coursegate: this browser can’t keep a private key:", cause);
    throw new NoWayBack("Your browser doesn’t let this page store what it needs to sign you in. Allow it to store data, or use another browser.");
  }
}

/** Reads the site's response from this address, if it has one. */
async function arrive() {
  const response = new URLSearchParams(location.hash.slice(1));
  const state = response.get("coursegate");
  if (state === null) return settleIn();
  /** @type {Place | null} */
  const left = taken(AWAY + state);
  history.replaceState(history.state, "", here());
  try {
    // Only the tab that asked can read it, and only once.
    const pair = left && await take(state);
    if (!pair) return refuse(left);
    const text = await decrypt(pair, context(location.origin, state), response.get("response") ?? "");
    const { token, expires } = JSON.parse(text);
    await session.begin({ token, expires, renew: expires });
  } catch (cause) {
    console.error("coursegate: the site’s response can’t be read:", cause);
    return refuse(left);
  }
  sessionStorage.setItem(BACK, JSON.stringify(left));
  location.replace(left.href);
}

/**
 * The response signs nobody in: explains that on the page `/coursegate`.
 * @param {Place | null} left
 */
function refuse(left) {
  if (!location.pathname.startsWith(RETURN)) return;
  const [heading, says] = session.signedIn
    ? ["You’re already signed in.", "This address works only once."]
    : ["You’re not signed in.", "This address works only once, and only in the tab you started from. Go back to the page you were on and press the button again."];
  const way = left
    ? h("a", { href: left.href }, "Back to the page you were on")
    : h("a", { href: "/" }, "Go to the start page");
  const main = document.querySelector("main") ?? document.body;
  main.replaceChildren(h("h1", {}, heading), h("p", { role: "alert" }, says), h("p", {}, way));
}

/** Scrolls to where the learner left this page. */
function settleIn() {
  const { href, top } = taken(BACK) ?? {};
  if (href !== location.href) return;
  const go = () => scrollTo({ top, behavior: "instant" });
  if (document.readyState === "complete") go();
  else addEventListener("load", go, { once: true });
}

/**
 * @param {string} key
 * @returns {any}
 */
function taken(key) {
  try {
    const kept = sessionStorage.getItem(key);
    sessionStorage.removeItem(key);
    return JSON.parse(kept ?? "null");
  } catch {
    return null;
  }
}

/**
 * Signs in and returns to this page: a link on the site, a button on another site.
 * @param {string} label
 * @param {string} [kind]
 */
export function entrance(label, kind = "button") {
  if (!embedded) {
    return h("a", { class: kind, href: signInPath(here()) }, label);
  }
  const says = h("span", { role: "alert" });
  const leave = () => wayBack().then(
    (path) => location.assign(site + path),
    (error) => says.replaceChildren(error.message),
  );
  return h("span", { class: "entrance" },
    h("button", { class: kind, part: "button", type: "button", onclick: leave }, label), says);
}

if (embedded) {
  void arrive();
  // Without storage there are no keys to delete.
  expire().catch(() => {});
}
