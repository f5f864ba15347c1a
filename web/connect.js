// @ts-check
// How a page becomes one of a learner's. On the site itself it goes to the sign-in. A page of another
// origin leaves for the site, which signs in if it has to and comes back to that origin's page
// `/coursegate` with the token behind its address; that page leads on to where the learner was.
// `pages/connect.js` is the other half. A window of its own would not do: sign-in pages cut the ties
// to whoever has opened them.

import { embedded, site } from "./config.js";
import { h } from "./dom.js";
import { session } from "./session.js";
import { here, random } from "./sign-in.js";

/** The page of an embedding site that the sign-in comes back to. */
export const RETURN = "/coursegate";
/** What is kept of a page while the learner is at the site, under its state. */
const AWAY = "coursegate.away.";
/** The page that the learner was on, and the place on it. */
const BACK = "coursegate.back";

/** The page has no way back from the site. */
export class NoWayBack extends Error {}

/**
 * The path of the site that leads back to this page, with the token. It is made anew each time.
 * @returns {Promise<string>}
 */
export async function wayBack() {
  // Who would come back to nothing is told before they leave.
  const there = await fetch(RETURN, { credentials: "omit" }).catch(() => null);
  if (!there?.ok) {
    console.error(`coursegate: ${location.origin}${RETURN} has to be a page with the same script tag`);
    throw new NoWayBack("This page is not set up for signing in yet. Its author should know.");
  }
  const state = random();
  sessionStorage.setItem(AWAY + state, JSON.stringify({ href: location.href, top: scrollY }));
  return `/connect?${new URLSearchParams({ origin: location.origin, state })}`;
}

/** Takes the token that the site has sent along, if a page of this origin has asked for it. */
function arrive() {
  const told = new URLSearchParams(location.hash.slice(1));
  const state = told.get("coursegate");
  if (state === null) return settleIn();
  const kept = taken(AWAY + state);
  const token = told.get("token");
  // It stays neither in the address nor in the history.
  history.replaceState(history.state, "", here());
  if (!kept || !token) return;
  session.begin({ token, expires: Number(told.get("expires")) });
  sessionStorage.setItem(BACK, JSON.stringify(kept));
  location.replace(kept.href);
}

/** Goes to the place on this page where the learner has left it. */
function settleIn() {
  const { href, top } = taken(BACK) ?? {};
  if (href !== location.href) return;
  const go = () => scrollTo({ top, behavior: "instant" });
  if (document.readyState === "complete") go();
  else addEventListener("load", go, { once: true });
}

/** @param {string} key */
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

if (embedded) arrive();
