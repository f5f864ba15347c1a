// @ts-check
// `/cancel?price=…`: somebody has left Stripe's page without paying. Their place is kept.

/** @import { Visit } from "../router.js" */

import { kept } from "../checkout.js";
import { h } from "../dom.js";
import { money } from "../locale.js";
import { shop } from "../shop.js";

/** @param {Visit} visit */
export async function cancel({ query, show }) {
  const price = query.get("price");
  const note = kept({ price });
  const draw = (offer = note?.offer) => {
    const course = offer?.courses[0];
    show("Not bought",
      h("div", { class: "narrow" },
        h("h1", {}, "Nothing was charged."),
        h("p", { class: "summary" }, offer
          ? `You left before paying for ${offer.name}, ${money(offer.amount, offer.currency)}. It is here whenever you want it.`
          : "You left before paying. Everything is as it was."),
        h("div", { class: "ways" },
          offer && h("unlock-button", { price: offer.price, label: "Back to the checkout" }),
          h("a", { class: "button quiet", href: note?.path ?? (course ? `/course/${course}` : "/") },
            note || course ? "Back to where you were" : "See all courses"))));
  };
  draw();
  if (!price) return;
  // The address alone knows the price too, and the offer may be found by it.
  const offer = await shop.offer(price).catch(() => note?.offer);
  draw(offer);
}
