// @ts-check
// `/connect?origin=…&state=…&key=…`: back to a page of another origin, with the token in the fragment,
// encrypted to that page's key. Without a key no token is sent. It leads only to the origins in the
// configuration, and there to one page. See `../connect.js`.

/** @import { Visit } from "../router.js" */

import { config } from "../config.js";
import { RETURN, context } from "../connect.js";
import { h } from "../dom.js";
import { encrypt, isPublicKey } from "../encryption.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { shop } from "../shop.js";
import { here, signInPath } from "../sign-in.js";

/** @param {Visit} visit */
export async function connect(visit) {
  const { query, show, go, signal } = visit;
  const origin = query.get("origin") ?? "";
  const state = query.get("state") ?? "";
  const key = query.get("key") ?? "";
  show("Sign in", h("h1", {}, "Taking you back…"), h("p", { role: "status" }, "One moment."));
  try {
    const { embed_origins } = await config();
    if (!embed_origins.includes(origin)) {
      return show("Sign in", h("div", { class: "narrow" },
        h("h1", {}, "This site isn’t connected."),
        h("p", { class: "summary" }, `${origin || "The page you came from"} isn’t on the author’s list of connected sites. We sent it nothing about you.`),
        h("a", { class: "button quiet", href: "/" }, "See all courses")));
    }
    if (!state || !(await isPublicKey(key))) return show("Sign in", outdated(origin));
    // Makes a request first, so that a token the API refuses isn't passed on.
    await shop.holdings().catch(() => []);
    if (signal.aborted) return;
    // The access token and its expiry, never the refresh token.
    const access = await session.access();
    if (signal.aborted) return;
    if (!access) return go(signInPath(here()));
    const response = await encrypt(key, context(origin, state), JSON.stringify(access));
    if (signal.aborted) return;
    location.replace(`${origin}${RETURN}#${new URLSearchParams({ coursegate: state, response })}`);
  } catch (error) {
    const retry = () => void connect(visit);
    show("Sign in", h("h1", {}, "We couldn’t take you back"), notice(error, { retry, signal }));
  }
}

/**
 * A page that sends no usable key was loaded before the last deployment, or has its own copy of the
 * elements.
 * @param {string} origin
 */
function outdated(origin) {
  const { host } = new URL(origin);
  return h("div", { class: "narrow" },
    h("h1", {}, `We couldn’t sign you in on ${host}.`),
    h("p", { class: "summary" }, "The page you came from is out of date: it didn’t send a key to encrypt your sign-in with, so we sent it nothing. What you’ve bought is still yours."),
    h("p", {}, "Reload that page and press the button again. If you end up here again, tell the site’s author that the page has to load ", h("code", {}, `${location.origin}/elements.js`), "."),
    h("div", { class: "ways" },
      h("a", { class: "button", href: origin }, `Back to ${host}`),
      h("a", { class: "button quiet", href: "/" }, "See all courses")));
}

/**
 * The host of the other site that a path leads back to, if it does.
 * @param {string} path
 */
export function hostBehind(path) {
  const { pathname, searchParams } = new URL(path, location.origin);
  if (pathname !== "/connect") return null;
  try {
    return new URL(searchParams.get("origin") ?? "").host;
  } catch {
    return null;
  }
}
