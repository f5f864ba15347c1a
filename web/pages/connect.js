// @ts-check
// `/connect?origin=…&state=…`: back to a page of another origin, with the token behind its address.
// It leads only to sites that the shop's author has named, and there to one page. See `../connect.js`.

/** @import { Visit } from "../router.js" */

import { config } from "../config.js";
import { RETURN } from "../connect.js";
import { h } from "../dom.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { shop } from "../shop.js";
import { here, signIn } from "../sign-in.js";

/** @param {Visit} visit */
export async function connect(visit) {
  const { query, show, signal } = visit;
  const origin = query.get("origin") ?? "";
  show("Sign in", h("h1", {}, "Taking you back…"), h("p", { role: "status" }, "One moment."));
  try {
    const { embed_origins } = await config();
    if (!embed_origins.includes(origin)) {
      return show("Sign in", h("div", { class: "narrow" },
        h("h1", {}, "This site is not connected."),
        h("p", { class: "summary" }, `${origin || "The page that you come from"} is not among the sites that the author has named. It was told nothing of you.`),
        h("a", { class: "button quiet", href: "/" }, "See all courses")));
    }
    // A token that the API no longer takes is noticed here, and not handed on.
    await shop.holdings().catch(() => []);
    if (signal.aborted) return;
    if (!session.whole) return await signIn(here(), { replace: true, signal });
    // The token and its end are all that the elements need.
    const { token, expires } = session.whole;
    const handed = new URLSearchParams({
      coursegate: query.get("state") ?? "",
      token,
      expires: String(expires),
    });
    location.replace(`${origin}${RETURN}#${handed}`);
  } catch (error) {
    const retry = () => void connect(visit);
    show("Sign in", h("h1", {}, "You could not be taken back"), notice(error, { retry, signal }));
  }
}

/**
 * Where a path of this site leads back to, if that is another site: its host.
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
