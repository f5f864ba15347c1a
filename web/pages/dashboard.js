// @ts-check
// `/`: what is free, what is mine, and what can be unlocked.

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
  ["alacarte", "À la carte"],
];

/** @param {Visit} visit */
export async function dashboard(visit) {
  visit.show("Courses", head(), groupsToCome());
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
  const email = session.email;
  return h("div", { class: "hello" },
    h("h1", {}, email ? ["Welcome, ", h("span", { class: "email" }, email)] : "Start free. Unlock the rest when you want it."),
    courses ? h("p", { class: "summary" }, summary(courses, holdings)) : h("div", { class: "skeleton line", "aria-hidden": "true" }));
}

/**
 * @param {Course[]} courses
 * @param {Entitlement[]} holdings
 */
function summary(courses, holdings) {
  const count = (/** @type {Standing} */ which) =>
    courses.filter((course) => standing(course, holdings).standing === which).length;
  const [free, owned, waiting, held] = [count("free"), count("owned"), count("processing"), count("suspended")];
  const parts = [
    owned > 0 && `${counted(owned, "course")} ${owned === 1 ? "is" : "are"} yours`,
    free > 0 && `${counted(free, "course")} ${free === 1 ? "is" : "are"} free`,
    waiting > 0 && `${waiting} ${waiting === 1 ? "opens" : "open"} once your payment has arrived`,
    held > 0 && `${held} ${held === 1 ? "is" : "are"} on hold`,
    count("locked") > 0 && `${count("locked")} can be unlocked`,
  ];
  const said = parts.filter((part) => part !== false);
  const last = said.pop();
  return said.length > 0 ? `${said.join(", ")} and ${last}.` : `${last ?? ""}${last ? "." : ""}`;
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
 * What a group has in common.
 * @param {Course["category"]} category
 * @param {Course[]} group
 */
function about(category, group) {
  if (category === "free") return "Open to everybody who signs in.";
  if (category === "alacarte") return "Each by itself.";
  const offers = choose(group.flatMap((course) => course.offers));
  const bundle = offers.find((offer) => group.every((course) => offer.courses.includes(course.id)));
  return bundle
    ? `${bundle.name}: one purchase, ${money(bundle.amount, bundle.currency)}, opens all ${group.length}.`
    : "";
}

function groupsToCome() {
  const card = () => h("div", { class: "card" }, waiting("line", "title", "box"));
  return h("div", { class: "group" },
    h("div", { class: "group-head" }, waiting("line")),
    h("div", { class: "cards", "aria-hidden": "true" }, card(), card()));
}
