// @ts-check
// <course-card course="tutorclaw">: a course's summary and its one action.

/** @import { Child } from "../dom.js" */
/** @import { Course, Entitlement, Offer } from "../api.d.ts" */
/** @import { Standing } from "../shop.js" */

import { site } from "../config.js";
import { h, icon } from "../dom.js";
import { choose, counted, money } from "../locale.js";
import { place } from "../places.js";
import { isOpen, shop, standing } from "../shop.js";
import { ruler } from "./ruler.js";
import { ShopElement } from "./shop-element.js";
import "./unlock-button.js";

/** Shown beside prices, since learners expect subscriptions. */
export const ONCE = "One payment, no subscription.";
/** How many titles show through the blur. */
const PREVIEW = 4;

export class CourseCard extends ShopElement {
  static observedAttributes = ["course", "heading"];

  waiting() {
    return h("div", { class: "card", "aria-hidden": "true" },
      h("div", { class: "skeleton line" }),
      h("div", { class: "skeleton title" }),
      h("div", { class: "skeleton line" }),
      h("div", { class: "skeleton box" }));
  }

  async content() {
    const course = await shop.course(this.getAttribute("course") ?? "");
    const stands = standing(course, await shop.holdings());
    const level = this.getAttribute("heading") ?? "3";
    const isFull = stands.standing === "free" || stands.standing === "owned";
    return h("article", { class: `card ${stands.standing}`, part: "card", "aria-labelledby": "title" },
      h("div", { class: "about" },
        ruler(course, stands.standing),
        h(/^[2-6]$/.test(level) ? `h${level}` : "h3", { id: "title" },
          h("a", { href: `${site}/course/${course.id}` }, course.title)),
        h("p", { class: "summary" }, course.summary),
        h("p", { class: "facts" }, facts(course, isFull), !isFull && continueLink(course, stands.standing))),
      isFull ? openLink(course, stands.standing) : paywall(course, stands));
  }
}
customElements.define("course-card", CourseCard);

/**
 * @param {Course} course
 * @param {boolean} isFull whether all of it is open
 */
function facts(course, isFull) {
  const chapters = counted(course.chapters.length, "chapter");
  const isPart = !isFull && course.free_chapters > 0 && course.free_chapters < course.chapters.length;
  return isPart ? `${chapters}, the first ${course.free_chapters === 1 ? "one" : course.free_chapters} free` : chapters;
}

/**
 * The chapter that the learner read last, if it is open.
 * @param {Course} course
 * @param {Standing} standing
 */
export function lastRead(course, standing) {
  const last = place(course.id);
  return course.chapters.find((chapter) => chapter.number === last && isOpen(chapter, standing))?.number;
}

/**
 * A link back to a locked course's free chapter.
 * @param {Course} course
 * @param {Standing} standing
 */
function continueLink(course, standing) {
  const chapter = lastRead(course, standing);
  return chapter !== undefined && [". ", h("a", {
    href: `${site}/course/${course.id}/${chapter}`,
    "aria-label": `Continue with chapter ${chapter}: ${course.title}`,
  }, `Continue with chapter ${chapter}`)];
}

/**
 * @param {Course} course
 * @param {Standing} standing
 */
function openLink(course, standing) {
  const chapter = lastRead(course, standing);
  return h("p", { class: "door" },
    h("a", {
      class: "button quiet",
      part: "button",
      href: `${site}/course/${course.id}${chapter ? `/${chapter}` : ""}`,
      "aria-label": chapter ? `Continue with chapter ${chapter}: ${course.title}` : `Open: ${course.title}`,
    }, chapter ? `Continue with chapter ${chapter}` : "Open"),
    h("span", { class: "state" }, standing === "owned" ? [icon("check"), "Yours"] : "Free"));
}

/**
 * The paywall's overlay.
 * @param {Course} course
 * @param {{ standing: Standing, was?: Entitlement }} stands
 */
function paywall(course, stands) {
  const locked = course.chapters.filter((chapter) => !chapter.free).slice(0, PREVIEW);
  const offer = choose(course.offers)[0];
  return h("div", { class: "gate", part: "gate" },
    h("ul", { class: "blurred", "aria-hidden": "true" },
      locked.map((chapter) => h("li", {}, chapter.title))),
    h("div", { class: "overlay" }, overlay(course, offer, stands)));
}

/**
 * @param {Course} course
 * @param {Offer | undefined} offer
 * @param {{ standing: Standing, was?: Entitlement }} stands
 * @returns {Child}
 */
function overlay(course, offer, { standing, was }) {
  const purchases = h("a", { class: "button quiet", href: `${site}/purchases`, "aria-label": `Details of your purchase: ${course.title}` }, "Details");
  if (standing === "processing") {
    return [h("p", { class: "state" }, icon("clock"), "Your payment is processing. Access opens automatically."), purchases];
  }
  if (standing === "suspended") {
    return [h("p", { class: "state" }, icon("lock"), "On hold: your payment is disputed."), purchases];
  }
  if (!offer) return h("p", { class: "state" }, icon("lock"), "Not on sale right now.");
  const price = money(offer.amount, offer.currency);
  const isBundle = offer.courses.length > 1;
  return [
    isBundle
      ? h("p", { class: "state" }, icon("lock"),
          `Part of ${offer.name}: ${counted(offer.courses.length, "course")}, ${price} together`)
      : [h("p", { class: "price", part: "price" }, icon("lock"), price),
          h("p", { class: "contains" }, contains(course, offer))],
    before(was),
    h("unlock-button", { class: "soft", price: offer.price, exportparts: "button" }),
  ];
}

/**
 * What an offer contains, as shown on one of its courses.
 * @param {Course} course
 * @param {Offer} offer
 */
export function contains(course, offer) {
  const count = offer.courses.length;
  return count > 1
    ? `This course and ${count - 1} more`
    : `All ${counted(course.chapters.length, "chapter")}`;
}

/**
 * Why the learner lost access to a course.
 * @param {Entitlement | undefined} was
 */
export function before(was) {
  const texts = {
    refunded: "Your purchase was refunded.",
    dispute_lost: "Your bank returned the money, so access has ended.",
    revoked: "The author ended your access.",
    ended: "Your access has ended.",
    failed: "Your last payment failed.",
  };
  const text = was && Object.entries(texts).find(([status]) => status === was.status)?.[1];
  return text && h("p", { class: "before" }, text);
}
