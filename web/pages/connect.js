// @ts-check
// `/connect?origin=…`: the window that a page of another origin has opened. It hands the token to
// exactly that origin, if the shop's author has named it, and to no other. See `../connect.js`.

/** @import { Visit } from "../router.js" */

import { config } from "../config.js";
import { CONNECTED, PAID } from "../connect.js";
import { h } from "../dom.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { here, signIn } from "../sign-in.js";

const KEY = "coursegate.opener";

/** @param {Visit} visit */
export async function connect(visit) {
  const { query, show, signal } = visit;
  const origin = query.get("origin") ?? "";
  const say = (/** @type {string} */ title, /** @type {string} */ text) =>
    show("Sign in", h("div", { class: "narrow" }, h("h1", {}, title), h("p", { class: "summary" }, text)));
  say("Signing you in…", "One moment.");
  try {
    const { embed_origins } = await config();
    if (!embed_origins.includes(origin)) {
      return say("This site is not connected.", `${origin || "The page that opened this window"} is not among the sites that the author has named. You were not signed in there.`);
    }
    const { whole } = session;
    if (!whole) return await signIn(here(), { replace: true });
    sessionStorage.setItem(KEY, origin);
    /** @type {Window | null} */
    const opener = window.opener;
    // The token and its end are all that the elements need.
    const { token, expires } = whole;
    opener?.postMessage({ type: CONNECTED, token, expires }, origin);
    say("You are signed in.", opener && !opener.closed
      ? `Go on at ${new URL(origin).host}. You can close this window.`
      : "The page that opened this window is gone. You can close it.");
  } catch (error) {
    const retry = () => void connect(visit);
    show("Sign in", h("h1", {}, "You could not be signed in"), notice(error, { retry, signal }));
  }
}

/**
 * Tells the page that opened this window, if one did and is still there, that something was bought in it.
 * @returns {string | null} its host
 */
export function tellOpener() {
  const origin = sessionStorage.getItem(KEY);
  /** @type {Window | null} */
  const opener = window.opener;
  if (!origin || !opener || opener.closed) return null;
  opener.postMessage({ type: PAID }, origin);
  return new URL(origin).host;
}
