// @ts-check
// `/cancel?price=…`: somebody has left Stripe's page. Their place is kept.

/** @import { Offer } from "../api.d.ts" */
/** @import { Note } from "../checkout.js" */
/** @import { Visit } from "../router.js" */

import { kept } from "../checkout.js";
import { h } from "../dom.js";
import { money } from "../locale.js";
import { session } from "../session.js";
import { shop } from "../shop.js";
import { hostBehind } from "./connect.js";

/** @param {Visit} visit */
export async function cancel({ query, show }) {
  const price = query.get("price");
  const note = kept({ price });
  draw(show, note, note?.offer, "unknown");
  // The address alone knows the price too, and the offer may be found by it.
  const offer = (price && (await shop.offer(price).catch(() => null))) || note?.offer;
  draw(show, note, offer, await became(offer));
}

/**
 * What has become of it, which may have been paid for in another tab, or before somebody went back.
 * @param {Offer | undefined} offer
 * @returns {Promise<"active" | "processing" | "nothing" | "unknown">}
 */
async function became(offer) {
  if (!offer || !session.token) return "unknown";
  await shop.refresh();
  const holdings = await shop.holdings().catch(() => null);
  const has = (/** @type {string} */ status) =>
    holdings?.some((held) => held.product === offer.product && held.status === status);
  if (!holdings) return "unknown";
  return has("active") ? "active" : has("processing") ? "processing" : "nothing";
}

/**
 * @param {Visit["show"]} show
 * @param {Note | null} note
 * @param {Offer | undefined} offer
 * @param {"active" | "processing" | "nothing" | "unknown"} became
 */
function draw(show, note, offer, became) {
  const course = offer?.courses[0];
  const host = note && hostBehind(note.path);
  const heading = {
    active: "It is yours already.",
    processing: "Your payment is on its way.",
    nothing: "You left before paying.",
    unknown: "You left before paying.",
  }[became];
  const thing = offer ? `${offer.name}, ${money(offer.amount, offer.currency)}` : "";
  const text = {
    active: `${offer?.name} is open to you.`,
    processing: `${offer?.name} opens by itself once the bank has confirmed the payment. You don’t have to pay again.`,
    nothing: `Nothing was charged. ${thing}, is here whenever you want it.`,
    unknown: offer ? `${thing}, is here whenever you want it.` : "Your place is kept.",
  }[became];
  show(heading.slice(0, -1),
    h("div", { class: "narrow" },
      h("h1", {}, heading),
      h("p", { class: "summary" }, text),
      h("div", { class: "ways" },
        became === "processing"
          ? h("a", { class: "button quiet", href: "/purchases" }, "See your purchases")
          : offer && h("unlock-button", { price: offer.price, label: "Back to the checkout" }),
        h("a", { class: "button quiet", href: note?.path ?? (course ? `/course/${course}` : "/") },
          host ? `Back to ${host}` : note || course ? "Back to where you were" : "See all courses"))));
}
