// @ts-check
// `/`: every course, by category.

/** @import { Course, Entitlement } from "../api.d.ts" */
/** @import { Visit } from "../router.js" */
/** @import { Standing } from "../shop.js" */

import { h } from "../dom.js";
import { choose, counted, money } from "../locale.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { shop, standing } from "../shop.js";
import { live, waiting } from "./live.js";

/** @type {[Course["category"], string][]} */
const GROUPS = [
  ["free", "Free"],
  ["curriculum", "Curriculum"],
  ["alacarte", "Single courses"],
];

/** @param {Visit} visit */
export async function dashboard(visit) {
  visit.show("Courses", head(), placeholders());
  await live(visit, async (show, again) => {
    try {
      const [courses, holdings] = await shop.all();
      show("Courses", head(courses, holdings), groups(courses));
    } catch (error) {
      show("Courses", head([]), notice(error, { retry: again, signal: visit.signal }));
    }
  });
}

/**
 * @param {Course[]} [courses]
 * @param {Entitlement[]} [holdings]
 */
function head(courses, holdings = []) {
  return h("div", { class: "hello" },
    h("h1", {}, session.signedIn ? "Your courses" : "All courses"),
    courses ? h("p", { class: "summary" }, summary(courses, holdings)) : h("div", { class: "skeleton line", "aria-hidden": "true" }));
}

/**
 * @param {Course[]} courses
 * @param {Entitlement[]} holdings
 */
function summary(courses, holdings) {
  const count = (/** @type {Standing} */ which) =>
    courses.filter((course) => standing(course, holdings).standing === which).length;
  const [free, owned, waiting] = [count("free"), count("owned"), count("processing")];
  const [held, locked] = [count("suspended"), count("locked")];
  const parts = [
    owned > 0 && `${counted(owned, "course")} owned`,
    free > 0 && `${counted(free, "free course")}`,
    waiting > 0 && `${waiting} waiting for your payment`,
    held > 0 && `${held} on hold`,
    locked > 0 && `${locked} to buy`,
  ];
  const counts = parts.filter((part) => part !== false);
  return counts.length > 0 ? `${counts.join(", ")}.` : "";
}

/** @param {Course[]} courses */
function groups(courses) {
  if (courses.length === 0) {
    return h("p", { class: "empty" }, "There are no courses yet. Come back soon.");
  }
  return GROUPS.map(([category, title]) => {
    const group = courses.filter((course) => course.category === category);
    return group.length > 0 && h("section", { class: "group", "aria-labelledby": `group-${category}` },
      h("div", { class: "group-head" },
        h("h2", { id: `group-${category}` }, title),
        h("p", {}, about(category, group))),
      h("div", { class: "cards" }, group.map((course) => h("course-card", { course: course.id }))));
  });
}

/**
 * The line below a group's heading.
 * @param {Course["category"]} category
 * @param {Course[]} group
 */
function about(category, group) {
  if (category === "free") return "Free once you sign in.";
  if (category === "alacarte") return "Buy just the one you need.";
  const offers = choose(group.flatMap((course) => course.offers));
  const bundle = offers.find((offer) => group.every((course) => offer.courses.includes(course.id)));
  return bundle
    ? `${bundle.name}: all ${group.length} courses for ${money(bundle.amount, bundle.currency)}.`
    : "";
}

function placeholders() {
  const card = () => h("div", { class: "card" }, waiting("line", "title", "box"));
  return h("div", { class: "group" },
    h("div", { class: "group-head" }, waiting("line")),
    h("div", { class: "cards", "aria-hidden": "true" }, card(), card()));
}
