// @ts-check
// One stroke for each chapter: filled if it is open, hollow if it is locked.

/** @import { Course } from "../api.d.ts" */
/** @import { Standing } from "../shop.js" */

import { h } from "../dom.js";
import { isOpen } from "../shop.js";

/**
 * @param {Course} course
 * @param {Standing} standing
 */
export function ruler(course, standing) {
  const stroke = (/** @type {{ free: boolean }} */ chapter) =>
    h("span", { class: isOpen(chapter, standing) ? "open" : "locked" });
  return h("div", { class: "ruler", "aria-hidden": "true" }, course.chapters.map(stroke));
}
