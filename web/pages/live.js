// @ts-check
// Pages that redraw when the learner's access changes.

/** @import { Visit } from "../router.js" */

import { h } from "../dom.js";
import { shop } from "../shop.js";

/**
 * Placeholders while something loads.
 * @param {...("title" | "line" | "box")} shapes
 */
export function waiting(...shapes) {
  return h("div", { class: "waiting" },
    h("p", { class: "unseen", role: "status" }, "Loading…"),
    shapes.map((shape) => h("div", { class: `skeleton ${shape}`, "aria-hidden": "true" })));
}

/**
 * Draws a page now and after every change of the shop. The latest drawing wins, even if an earlier one
 * finishes after it.
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
