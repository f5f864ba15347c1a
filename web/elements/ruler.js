// @ts-check
// A course as a row of strokes, one for each chapter: full where it is open, hollow where it is shut.

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
    h("span", { class: isOpen(chapter, standing) ? "open" : "shut" });
  return h("div", { class: "ruler", "aria-hidden": "true" }, course.chapters.map(stroke));
}
