// @ts-check
// How a page gets its learner signed in. On the site itself it goes to the sign-in. A page of another
// origin sends the learner to the site with a public key made for this one time. The site signs them
// in if it has to, and sends them back to that origin's page `/coursegate`, with the token in the
// fragment, encrypted to that key; that page goes on to where the learner was. `pages/connect.js` is
// the other half. A popup would not do: sign-in pages cut it off from the page that opened it.

import { embedded, site } from "./config.js";
import { h } from "./dom.js";
import { decrypt, makeKeyPair, publicKeyText } from "./encryption.js";
import { expire, keep, take } from "./pending-keys.js";
import { session } from "./session.js";
import { here, random } from "./sign-in.js";

/** The page of an embedding site that the sign-in comes back to. */
export const RETURN = "/coursegate";
/** What is kept of a page while the learner is at the site, under its state. */
const AWAY = "coursegate.away.";
/** The page that the learner was on, and the place on it. */
const BACK = "coursegate.back";

/** @typedef {{ href: string, top: number }} Place */

/** The learner could not be signed in on this page, so they don't leave it. */
export class NoWayBack extends Error {}

/**
 * What a response is encrypted for, beside the key: this origin, and this one time.
 * @param {string} origin
 * @param {string} state
 */
export function context(origin, state) {
  return `${origin} ${state}`;
}

/**
 * The path of the site that leads back to this page, with the token. It is made anew each time.
 * @returns {Promise<string>}
 */
export async function wayBack() {
  // Who could not come back is told before they leave.
  if (!crypto.subtle) {
    console.error(`coursegate: ${location.origin} has to use https, or browsers don’t let it encrypt`);
    throw new NoWayBack("You can’t sign in from this page because it doesn’t use https. Please tell its author.");
  }
  const there = await fetch(RETURN, { credentials: "omit" }).catch(() => null);
  if (!there?.ok) {
    console.error(`coursegate: ${location.origin}${RETURN} has to be a page with the same script tag`);
    throw new NoWayBack("This page is not set up for signing in yet. Its author should know.");
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

/** Reads the site's response, if that is what this address has behind it. */
async function arrive() {
  const response = new URLSearchParams(location.hash.slice(1));
  const state = response.get("coursegate");
  if (state === null) return settleIn();
  /** @type {Place | null} */
  const left = taken(AWAY + state);
  history.replaceState(history.state, "", here());
  try {
    // Only the tab that has asked may read it, and only once.
    const pair = left && await take(state);
    if (!pair) return refuse(left);
    const text = await decrypt(pair, context(location.origin, state), response.get("response") ?? "");
    const { token, expires } = JSON.parse(text);
    session.begin({ token, expires });
  } catch (cause) {
    console.error("coursegate: the site’s response can’t be read:", cause);
    return refuse(left);
  }
  sessionStorage.setItem(BACK, JSON.stringify(left));
  location.replace(left.href);
}

/**
 * Nobody is signed in by this response: says so on the page `/coursegate`, and what to do.
 * @param {Place | null} left
 */
function refuse(left) {
  if (!location.pathname.startsWith(RETURN)) return;
  const [heading, says] = session.token
    ? ["You’re already signed in.", "This address works only once."]
    : ["You’re not signed in.", "This address works only once, and only in the tab you started from. Go back to the page you were on and press the button again."];
  const way = left
    ? h("a", { href: left.href }, "Back to the page you were on")
    : h("a", { href: "/" }, "Go to the start page");
  const main = document.querySelector("main") ?? document.body;
  main.replaceChildren(h("h1", {}, heading), h("p", { role: "alert" }, says), h("p", {}, way));
}

/** Goes to the place on this page where the learner left it. */
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
 * What signs in and comes back to where it stands: a link on the site, a button on another's page.
 * @param {string} label
 * @param {string} [kind]
 */
export function entrance(label, kind = "button") {
  if (!embedded) {
    return h("a", { class: kind, href: `/sign-in?to=${encodeURIComponent(here())}` }, label);
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
  // Without storage there are none.
  expire().catch(() => {});
}
