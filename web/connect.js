// @ts-check
// How a page becomes one of a learner's. On the site itself it goes to the sign-in. A page of another
// origin leaves for the site, which signs in if it has to, and comes back with the token behind its
// address; `pages/connect.js` is the other half. A window of its own would not do: sign-in pages cut
// the ties to whoever has opened them.

import { embedded, site } from "./config.js";
import { h } from "./dom.js";
import { session } from "./session.js";
import { here, random } from "./sign-in.js";

/** What is kept of a page while the learner is at the site, under its state. */
const KEY = "coursegate.away.";

/**
 * The path of the site that leads back to this page, with the token. It is made anew each time.
 * @returns {string}
 */
export function wayBack() {
  const state = random();
  try {
    sessionStorage.setItem(KEY + state, JSON.stringify({ hash: location.hash, top: scrollY }));
  } catch {
    // Storage is off: the site, which needs it to sign in, says so.
  }
  const back = location.origin + here();
  return `/connect?${new URLSearchParams({ back, state })}`;
}

/** Takes the token that the site has sent along, if this page has asked for it. */
function arrive() {
  const told = new URLSearchParams(location.hash.slice(1));
  const state = told.get("coursegate");
  if (state === null) return;
  const kept = taken(KEY + state);
  const { hash = "", top = 0 } = JSON.parse(kept ?? "{}");
  // It stays neither in the address nor in the history.
  history.replaceState(history.state, "", here() + hash);
  const token = told.get("token");
  if (!kept || !token) return;
  session.begin({ token, expires: Number(told.get("expires")) });
  const goBack = () => scrollTo({ top, behavior: "instant" });
  if (document.readyState === "complete") goBack();
  else addEventListener("load", goBack, { once: true });
}

/** @param {string} key */
function taken(key) {
  try {
    const kept = sessionStorage.getItem(key);
    sessionStorage.removeItem(key);
    return kept;
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
  const leave = () => location.assign(site + wayBack());
  return h("button", { class: kind, part: "button", type: "button", onclick: leave }, label);
}

if (embedded) arrive();
