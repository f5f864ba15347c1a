// @ts-check
// Any other address.

/** @import { Visit } from "../router.js" */

import { h } from "../dom.js";

/** @param {Visit} visit */
export async function nowhere({ show }) {
  show("Not found",
    h("div", { class: "narrow" },
      h("h1", {}, "There is nothing here."),
      h("p", { class: "summary" }, "The address may be mistyped, or the page is gone."),
      h("a", { class: "button", href: "/" }, "See all courses")));
}
