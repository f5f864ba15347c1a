// @ts-check
// Any other path.

/** @import { Visit } from "../router.js" */

import { h } from "../dom.js";

/** @param {Visit} visit */
export async function nowhere({ show }) {
  show("Not found",
    h("div", { class: "narrow" },
      h("h1", {}, "Page not found."),
      h("p", { class: "summary" }, "The address may be wrong, or the page has moved."),
      h("a", { class: "button", href: "/" }, "See all courses")));
}
