// @ts-check
// `/buy?price=…&from=…`: straight to Stripe. A link to it may stand anywhere; who is not signed in comes
// back to it from the sign-in.

/** @import { Visit } from "../router.js" */

import { ApiError } from "../client.js";
import { checkout } from "../checkout.js";
import { h } from "../dom.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { shop } from "../shop.js";
import { here, ownPath, signIn } from "../sign-in.js";
import { hostBehind } from "./connect.js";

/** @param {Visit} visit */
export async function buy({ query, show, signal }) {
  const price = query.get("price") ?? "";
  const from = ownPath(query.get("from") ?? here());
  const host = hostBehind(from);
  const open = async () => {
    show("Checkout",
      h("h1", {}, "Opening the checkout…"),
      h("p", { class: "busy", role: "status" }, "One moment. You pay on Stripe’s own page."));
    /** @type {string | undefined} */
    let course;
    try {
      if (!session.token) return await signIn(here(), { replace: true, signal });
      const offer = await shop.offer(price);
      course = offer.courses[0];
      const url = await checkout(offer, from);
      // Nobody who comes back with the browser's button is sent to Stripe again.
      if (!signal.aborted) location.replace(url);
    } catch (problem) {
      const error = ApiError.of(problem);
      const retry = () => void open();
      show("Checkout", h("h1", {}, title(error)), notice(error, { retry, course, signal, paying: true }),
        h("p", {}, host
          ? h("a", { href: from }, `Back to ${host}`)
          : h("a", { href: course ? `/course/${course}` : "/" }, course ? "Back to the course" : "See all courses")));
    }
  };
  await open();
}

/** @param {ApiError} error */
function title(error) {
  if (error.kind === "already-entitled") return "It is yours already";
  if (error.kind === "payment-processing") return "Your payment is on its way";
  return "The checkout can’t be opened";
}
