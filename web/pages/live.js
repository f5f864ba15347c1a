// @ts-check
// Pages that stay true while they are looked at.

/** @import { Visit } from "../router.js" */

import { h } from "../dom.js";
import { shop } from "../shop.js";

/**
 * What stands in the place of what is not there yet.
 * @param {...("title" | "line" | "box")} shapes
 */
export function waiting(...shapes) {
  return h("div", { class: "waiting" },
    h("p", { class: "unseen", role: "status" }, "Loading…"),
    shapes.map((shape) => h("div", { class: `skeleton ${shape}`, "aria-hidden": "true" })));
}

/**
 * Draws a page now, and again whenever somebody signs in or out or something is bought or taken
 * back. Of two drawings the later one counts, however long the earlier one takes.
 * @param {Visit} visit
 * @param {(show: Visit["show"], again: () => void) => Promise<void>} draw
 */
export async function live({ show, signal }, draw) {
  let turn = 0;
  const run = async () => {
    const mine = ++turn;
    await draw((title, ...content) => {
      if (mine === turn) show(title, ...content);
    }, () => void run());
  };
  shop.addEventListener("change", () => void run(), { signal });
  await run();
}
