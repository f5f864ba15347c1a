// @ts-check
// `/course/{id}`: the chapters, and beside them what the learner owns or can buy.

/** @import { Course, Entitlement } from "../api.d.ts" */
/** @import { Child } from "../dom.js" */
/** @import { Visit } from "../router.js" */
/** @import { Standing } from "../shop.js" */

import { h, icon } from "../dom.js";
import { ONCE, before, contains, lastRead } from "../elements/course-card.js";
import { ruler } from "../elements/ruler.js";
import { choose, counted, date, money } from "../locale.js";
import { notice } from "../notice.js";
import { isOpen, shop, standing } from "../shop.js";
import { live, waiting } from "./live.js";

/** @param {Visit} visit */
export async function course(visit) {
  const [id = ""] = visit.parts;
  visit.show("Course", waiting("title", "line", "box"));
  await live(visit, async (show, again) => {
    try {
      const [course, [courses, holdings]] = await Promise.all([shop.course(id), shop.all()]);
      show(course.title, ...content(course, courses, holdings));
    } catch (error) {
      const { signal } = visit;
      show("Course", h("h1", {}, "This course can’t be loaded"), notice(error, { retry: again, signal }));
    }
  });
}

/**
 * @param {Course} course
 * @param {Course[]} courses
 * @param {Entitlement[]} holdings
 * @returns {Child[]}
 */
function content(course, courses, holdings) {
  const stands = standing(course, holdings);
  return [
    h("p", { class: "back" }, h("a", { href: "/" }, "All courses")),
    h("div", { class: "course-head" },
      h("h1", {}, course.title),
      h("p", { class: "summary" }, course.summary),
      ruler(course, stands.standing)),
    h("div", { class: "course" },
      h("section", { "aria-labelledby": "chapters" },
        h("h2", { id: "chapters" }, counted(course.chapters.length, "chapter")),
        h("ol", { class: "chapters" },
          course.chapters.map((chapter) => row(course, chapter, stands.standing)))),
      h("aside", { class: "panel", "aria-label": "Access" }, ...access(course, courses, holdings, stands))),
  ];
}

/**
 * @param {Course} course
 * @param {Course["chapters"][number]} chapter
 * @param {Standing} standing
 */
function row(course, chapter, standing) {
  const open = isOpen(chapter, standing);
  const label = !open ? [icon("lock"), "Locked"] : chapter.free && standing !== "owned" ? "Free" : null;
  return h("li", { class: open ? "open" : "locked" },
    h("a", { href: `/course/${course.id}/${chapter.number}` },
      h("span", { class: "number", "aria-hidden": "true" }, chapter.number),
      h("span", { class: "name" }, chapter.title),
      label && h("span", { class: "state" }, label)));
}

/**
 * @param {Course} course
 * @param {Course[]} courses
 * @param {Entitlement[]} holdings
 * @param {{ standing: Standing, was?: Entitlement }} stands
 * @returns {Child[]}
 */
function access(course, courses, holdings, { standing, was }) {
  const last = lastRead(course, standing);
  const number = last ?? course.chapters.find((chapter) => isOpen(chapter, standing))?.number;
  const read = (/** @type {string} */ kind, start = "Start reading") => number !== undefined &&
    h("a", { class: `button ${kind}`, href: `/course/${course.id}/${number}` },
      last ? `Continue with chapter ${last}` : start);
  switch (standing) {
    case "free":
      return [h("p", { class: "lead" }, "Free"), h("p", {}, "Every chapter is free once you sign in."), read("")];
    case "owned": {
      const ends = holdings
        .filter((held) => held.status === "active" && held.courses.includes(course.id))
        .map((held) => held.until ?? "");
      const until = ends.includes("") ? null : ends.sort().at(-1);
      return [
        h("p", { class: "lead" }, icon("check"), "Yours"),
        h("p", {}, until ? `You have access until ${date(until)}.` : "You have access to every chapter."),
        read(""),
      ];
    }
    case "processing":
      return [
        h("p", { class: "lead" }, icon("clock"), "Your payment is processing"),
        h("p", {}, "Access opens automatically once your bank confirms it."),
        h("a", { class: "button quiet", href: "/purchases" }, "See your purchases"),
        read("quiet"),
      ];
    case "suspended":
      return [
        h("p", { class: "lead" }, icon("lock"), "On hold"),
        h("p", {}, "Your payment is disputed. If your bank upholds it, access returns automatically."),
        h("a", { class: "button quiet", href: "/purchases" }, "See your purchases"),
        read("quiet", `Read chapter ${number} free`),
      ];
    case "locked":
      return [before(was), ...offers(course, courses), read("quiet", `Read chapter ${number} free`)];
  }
}

/**
 * @param {Course} course
 * @param {Course[]} courses
 * @returns {Child[]}
 */
function offers(course, courses) {
  const [first, ...others] = choose(course.offers);
  if (!first) return [h("p", { class: "lead" }, "Not on sale right now")];
  return [
    h("p", { class: "lead" }, first.name),
    h("p", { class: "price" }, money(first.amount, first.currency)),
    h("p", { class: "contains" }, contains(course, first), first.courses.length > 1 && ":"),
    first.courses.length > 1 && h("ul", { class: "titles" },
      courses.filter((other) => first.courses.includes(other.id)).map((other) =>
        h("li", {}, other === course ? other.title : h("a", { href: `/course/${other.id}` }, other.title)))),
    h("unlock-button", { price: first.price }),
    others.map((offer) => h("unlock-button", {
      class: "other",
      price: offer.price,
      label: `Or buy ${offer.name} for ${money(offer.amount, offer.currency)}`,
    })),
    h("p", { class: "small quiet" }, ONCE),
  ];
}
