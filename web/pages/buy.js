// @ts-check
// `/buy?price=…&from=…`: straight to Stripe. It can be linked from anywhere; signing in first returns
// here.

/** @import { Visit } from "../router.js" */

import { ApiError } from "../client.js";
import { checkout } from "../checkout.js";
import { h } from "../dom.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { shop } from "../shop.js";
import { here, ownPath, signInPath } from "../sign-in.js";
import { hostBehind } from "./connect.js";

/** @param {Visit} visit */
export async function buy({ query, show, go, signal }) {
  const price = query.get("price") ?? "";
  const from = ownPath(query.get("from") ?? here());
  const host = hostBehind(from);
  const open = async () => {
    show("Checkout",
      h("h1", {}, "Opening checkout…"),
      h("p", { class: "busy", role: "status" }, "One moment. You’ll pay securely on Stripe’s page."));
    /** @type {string | undefined} */
    let course;
    try {
      if (!session.signedIn) return go(signInPath(here()));
      const offer = await shop.offer(price);
      course = offer.courses[0];
      const url = await checkout(offer, from);
      // The Back button must not lead to Stripe again.
      if (!signal.aborted) location.replace(url);
    } catch (problem) {
      const error = ApiError.of(problem);
      const retry = () => void open();
      const back = host
        ? h("a", { href: from }, `Back to ${host}`)
        : h("a", { href: course ? `/course/${course}` : "/" }, course ? "Back to the course" : "See all courses");
      // The notice links to the course or to all courses itself.
      const isLinked = !host && (error.way === "course" || (error.way === "courses" && !course));
      show("Checkout", h("h1", {}, title(error)), notice(error, { retry, course, signal, paying: true }),
        !isLinked && h("p", {}, back));
    }
  };
  await open();
}

/** @param {ApiError} error */
function title(error) {
  if (error.kind === "already-entitled") return "You already own this";
  if (error.kind === "payment-processing") return "Your payment is processing";
  return "Checkout can’t be opened";
}
