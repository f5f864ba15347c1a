// @ts-check
// `/course/{id}/{chapter}`: a chapter, or its paywall.

/** @import { Course } from "../api.d.ts" */
/** @import { Visit } from "../router.js" */

import { ApiError } from "../client.js";
import { h } from "../dom.js";
import { notice } from "../notice.js";
import { shop } from "../shop.js";
import { waiting } from "./live.js";

/** @param {Visit} visit */
export async function chapter({ parts, show, signal }) {
  const [id = "", text = ""] = parts;
  const number = Number(text);
  const draw = async () => {
    try {
      const course = await shop.course(id);
      const chapter = course.chapters.find((chapter) => chapter.number === number);
      if (!chapter) throw new ApiError("unknown-chapter");
      show(`${chapter.title}, ${course.title}`,
        h("div", { class: "reading" },
          h("p", { class: "back" }, h("a", { href: `/course/${course.id}` }, course.title)),
          h("p", { class: "count" }, `Chapter ${number} of ${course.chapters.length}`),
          h("h1", {}, chapter.title),
          h("course-paywall", { course: course.id, chapter: number }),
          pager(course, number)));
    } catch (error) {
      show("Chapter", h("h1", {}, "This chapter can’t be loaded"), notice(error, { retry: draw, course: id, signal }));
    }
  };
  show("Chapter", h("div", { class: "reading" }, waiting("title", "box")));
  await draw();
}

/**
 * @param {Course} course
 * @param {number} number
 */
function pager(course, number) {
  const to = (/** @type {number} */ other, /** @type {string} */ label, /** @type {string} */ rel) => {
    const chapter = course.chapters.find((chapter) => chapter.number === other);
    return chapter
      ? h("a", { href: `/course/${course.id}/${other}`, rel },
          h("span", { class: "count" }, label), " ", chapter.title)
      : h("span");
  };
  return h("nav", { class: "pager", "aria-label": "Chapters" },
    to(number - 1, "Previous", "prev"),
    number < course.chapters.length
      ? to(number + 1, "Next", "next")
      : h("a", { href: "/" }, h("span", { class: "count" }, "You’ve reached the end"), " See all courses"));
}
