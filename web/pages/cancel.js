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

/**
 * What has become of a checkout; `unknown` as long as nobody could be asked.
 * @typedef {"active" | "processing" | "suspended" | "nothing" | "unknown"} Became
 */

/** @param {Visit} visit */
export async function cancel({ query, show }) {
  const price = query.get("price");
  if (query.get("from") === "chat") return backToTheChat(show);
  const note = kept({ price });
  draw(show, note, note?.offer, "unknown");
  // The address alone knows the price too, and the offer may be found by it.
  const offer = (price && (await shop.offer(price).catch(() => null))) || note?.offer;
  draw(show, note, offer, await became(offer));
}

/**
 * What has become of it, which may have been paid for in another tab, or before somebody went back.
 * @param {Offer | undefined} offer
 * @returns {Promise<Became>}
 */
async function became(offer) {
  if (!offer || !session.token) return "unknown";
  await shop.refresh();
  const holdings = await shop.holdings().catch(() => null);
  if (!holdings) return "unknown";
  const own = holdings.filter((held) => held.product === offer.product);
  const statuses = /** @type {const} */ (["active", "processing", "suspended"]);
  return statuses.find((status) => own.some((held) => held.status === status)) ?? "nothing";
}

/**
 * Whoever came from a chat is signed in nowhere, and would pay for somebody else here.
 * @param {Visit["show"]} show
 */
function backToTheChat(show) {
  show("Back to your chat", h("div", { class: "narrow" },
    h("h1", {}, "You have left the checkout."),
    h("p", { class: "summary" }, "If you haven’t paid, open the link in your chat again whenever you want it. What you have paid for opens there by itself."),
    h("p", {}, "You can close this page.")));
}

/**
 * @param {Visit["show"]} show
 * @param {Note | null} note
 * @param {Offer | undefined} offer
 * @param {Became} became
 */
function draw(show, note, offer, became) {
  const course = offer?.courses[0];
  const host = note && hostBehind(note.path);
  const heading = {
    active: "It is yours already.",
    processing: "Your payment is on its way.",
    suspended: "It is on hold.",
    nothing: "You have left the checkout.",
    unknown: "You have left the checkout.",
  }[became];
  const text = {
    active: `${offer?.name} is open to you.`,
    processing: `${offer?.name} opens by itself once the bank has confirmed the payment. You don’t have to pay again.`,
    suspended: "Your payment is disputed at the bank. If it stands, what you bought opens again by itself.",
    nothing: offer && `${offer.name}, ${money(offer.amount, offer.currency)}, is here whenever you want it.`,
    unknown: "What you have paid for is yours all the same.",
  }[became];
  show(heading.slice(0, -1),
    h("div", { class: "narrow" },
      h("h1", {}, heading),
      h("p", { class: "summary" }, text),
      h("div", { class: "ways" },
        became === "processing" || became === "suspended"
          ? h("a", { class: "button quiet", href: "/purchases" }, "See your purchases")
          : offer && h("unlock-button", { price: offer.price, label: "Back to the checkout" }),
        h("a", { class: "button quiet", href: note?.path ?? (course ? `/course/${course}` : "/") },
          host ? `Back to ${host}` : note || course ? "Back to where you were" : "See all courses"))));
}
