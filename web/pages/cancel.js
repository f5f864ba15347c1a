// @ts-check
// `/cancel?price=…`: back from Stripe without paying.

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
 * The state of a checkout; `unknown` until the API has answered.
 * @typedef {"active" | "processing" | "suspended" | "nothing" | "unknown"} Became
 */

/** @param {Visit} visit */
export async function cancel({ query, show }) {
  const price = query.get("price");
  if (query.get("from") === "chat") return backToTheChat(show);
  const note = kept({ price });
  draw(show, note, note?.offer, "unknown");
  // In another tab, only the address has the price.
  const offer = (price && (await shop.offer(price).catch(() => null))) || note?.offer;
  draw(show, note, offer, await became(offer));
}

/**
 * Checks the learner's entitlements: they may have paid in another tab, or before they went back.
 * @param {Offer | undefined} offer
 * @returns {Promise<Became>}
 */
async function became(offer) {
  if (!offer || !session.signedIn) return "unknown";
  await shop.refresh();
  const holdings = await shop.holdings().catch(() => null);
  if (!holdings) return "unknown";
  const own = holdings.filter((held) => held.product === offer.product);
  const statuses = /** @type {const} */ (["active", "processing", "suspended"]);
  return statuses.find((status) => own.some((held) => held.status === status)) ?? "nothing";
}

/**
 * A learner who came from a chat isn't signed in here, and would pay for another account.
 * @param {Visit["show"]} show
 */
function backToTheChat(show) {
  show("Back to your chat", h("div", { class: "narrow" },
    h("h1", {}, "You left the checkout."),
    h("p", { class: "summary" }, "If you haven’t paid, open the link in your chat again whenever you like. If you have, access opens there automatically."),
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
    active: "You already own this.",
    processing: "Your payment is processing.",
    suspended: "Your purchase is on hold.",
    nothing: "You left the checkout.",
    unknown: "You left the checkout.",
  }[became];
  const text = {
    active: `You have access to ${offer?.name}.`,
    processing: `${offer?.name} opens automatically once your bank confirms the payment. Don’t pay again.`,
    suspended: "Your payment is disputed. If your bank upholds it, access returns automatically.",
    nothing: offer && `${offer.name}, ${money(offer.amount, offer.currency)}, is still available.`,
    unknown: "If you’ve paid, your purchase is safe.",
  }[became];
  show(heading.slice(0, -1),
    h("div", { class: "narrow" },
      h("h1", {}, heading),
      h("p", { class: "summary" }, text),
      h("div", { class: "ways" },
        became === "processing" || became === "suspended"
          ? h("a", { class: "button quiet", href: "/purchases" }, "See your purchases")
          : offer && h("unlock-button", { price: offer.price, label: "Return to checkout" }),
        h("a", { class: "button quiet", href: note?.path ?? (course ? `/course/${course}` : "/") },
          host ? `Back to ${host}` : note || course ? "Go back" : "See all courses"))));
}
