// @ts-check
// `/connect?back=…&state=…`: the way back to a page of another origin, with the token behind its
// address. It leads only to the sites that the shop's author has named. See `../connect.js`.

/** @import { Visit } from "../router.js" */

import { config } from "../config.js";
import { h } from "../dom.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { shop } from "../shop.js";
import { here, signIn } from "../sign-in.js";

/**
 * Addresses in which no other address hides: a page that leads on to one would take the token along.
 * Letters beyond ASCII are fine.
 */
const PLAIN = /^(\/([\w.~-]|%[89a-f][\da-f])*)+(\?[\w.~=&-]*)?$/i;

/** @param {Visit} visit */
export async function connect(visit) {
  const { query, show, signal } = visit;
  const say = (/** @type {string} */ title, /** @type {string} */ text) =>
    show("Sign in", h("div", { class: "narrow" },
      h("h1", {}, title),
      h("p", { class: "summary" }, text),
      h("a", { class: "button quiet", href: "/" }, "See all courses")));
  show("Sign in", h("h1", {}, "Taking you back…"), h("p", { role: "status" }, "One moment."));
  try {
    const { embed_origins } = await config();
    const back = address(query.get("back"));
    if (!back || !embed_origins.includes(back.origin)) {
      return say("This site is not connected.", `${back?.origin ?? "The page that you come from"} is not among the sites that the author has named. It was told nothing of you.`);
    }
    if (back.pathname.includes("//") || !PLAIN.test(back.pathname + back.search)) {
      return say("Your sign-in stays here.", `The address that you come from may lead on to another site, so it was told nothing of you. Go back to ${back.host} by another way, or read on here.`);
    }
    // A token that the API no longer takes is noticed here, and not handed on.
    await shop.holdings().catch(() => []);
    if (!session.whole) return await signIn(here(), { replace: true });
    // The token and its end are all that the elements need.
    const { token, expires } = session.whole;
    const handed = new URLSearchParams({
      coursegate: query.get("state") ?? "",
      token,
      expires: String(expires),
    });
    if (!signal.aborted) location.replace(`${back.origin}${back.pathname}${back.search}#${handed}`);
  } catch (error) {
    const retry = () => void connect(visit);
    show("Sign in", h("h1", {}, "You could not be taken back"), notice(error, { retry, signal }));
  }
}

/**
 * Where a path of this site leads back to, if that is a page of another: its host.
 * @param {string} path
 */
export function hostBehind(path) {
  const { pathname, searchParams } = new URL(path, location.origin);
  return pathname === "/connect" ? (address(searchParams.get("back"))?.host ?? null) : null;
}

/** @param {string | null} text */
function address(text) {
  try {
    return new URL(text ?? "");
  } catch {
    return null;
  }
}
