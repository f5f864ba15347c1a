// @ts-check
// <course-paywall course="tutorclaw" chapter="6">teaser</course-paywall>: the teaser and the offer,
// and in their place the chapter once access is granted.

/** @import { Child } from "../dom.js" */
/** @import { Access, Course, Offer, Reason } from "../api.d.ts" */

import { ApiError, api } from "../client.js";
import { read } from "../chapter.js";
import { embedded, site } from "../config.js";
import { entrance } from "../connect.js";
import { h, icon } from "../dom.js";
import { choose, money } from "../locale.js";
import { remember } from "../places.js";
import { session } from "../session.js";
import { shop, standing } from "../shop.js";
import { ONCE, before, contains } from "./course-card.js";
import { ShopElement } from "./shop-element.js";
import "./unlock-button.js";

/** While a payment is on its way it is asked again after so long, and each time half as long more. */
const LOOK_MS = 4000;
const LOOK_MAX_MS = 60_000;

export class CoursePaywall extends ShopElement {
  static observedAttributes = ["course", "chapter"];

  /** Whether it has opened while somebody was before it. */
  #opened = false;
  /** Whether the focus was in it, and is to be kept. */
  #hadFocus = false;
  /** What the page around it knows, like "open tutorclaw/6". */
  #told = "";
  #pause = LOOK_MS;
  /** @type {number | undefined} */
  #timer;

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.#timer);
  }

  waiting() {
    return h("div", { class: "lines", "aria-hidden": "true" },
      [1, 2, 3, 4].map(() => h("div", { class: "skeleton line" })));
  }

  /** @param {AbortSignal} signal */
  async content(signal) {
    clearTimeout(this.#timer);
    this.#hadFocus ||= Boolean(this.shadowRoot?.activeElement);
    const number = Number(this.getAttribute("chapter") ?? "1");
    const course = await shop.course(this.getAttribute("course") ?? "");
    const chapter = course.chapters.find((chapter) => chapter.number === number);
    if (!chapter) throw new ApiError("unknown-chapter");
    if (!session.token) {
      // Whoever is reading reads on: what was shown is not taken away by time.
      if (session.expired && this.#isOpen(course, number)) return this.#text(readOn());
      this.#shut(course, number);
      if (session.expired) return this.#panel(signInAgain());
      return chapter.free
        ? this.#panel(freeToRead())
        : this.#panel(offers(course, choose(course.offers)), chapter.title);
    }
    try {
      // What is known to be shut is not asked for in vain.
      const access = await this.#ask(course, chapter, signal);
      if (access.access === "denied") return this.#denied(course, chapter, access.reason, access.offers);
      const text = await read(course.id, number, signal);
      if (signal.aborted) return undefined;
      if (!this.#isOpen(course, number)) {
        this.#open(course, number, text);
        if (!embedded) remember(course.id, number);
      }
      return this.#text();
    } catch (error) {
      if (signal.aborted || !(error instanceof ApiError)) throw error;
      if (error.kind === "access-denied") {
        return this.#denied(course, chapter, error.reason ?? "payment_required", error.offers);
      }
      const isOver = error.kind === "unauthorized";
      if (this.#isOpen(course, number)) return this.#text(isOver && readOn());
      if (isOver) return this.#panel(signInAgain());
      throw error;
    }
  }

  /**
   * May the chapter be read? What is open as far as this page knows is tried.
   * @param {Course} course
   * @param {Course["chapters"][number]} chapter
   * @param {AbortSignal} signal
   * @returns {Promise<Pick<Access, "access" | "reason" | "offers">>}
   */
  async #ask(course, chapter, signal) {
    const isTried = chapter.free || standing(course, await shop.holdings()).standing === "owned";
    return isTried
      ? { access: "granted", reason: "purchased", offers: [] }
      : api.access(course.id, chapter.number, signal);
  }

  /**
   * @param {Course} course
   * @param {Course["chapters"][number]} chapter
   * @param {Reason} reason
   * @param {Offer[]} offered
   */
  async #denied(course, chapter, reason, offered) {
    this.#shut(course, chapter.number);
    if (reason === "payment_processing") this.#lookAgain();
    const { was } = standing(course, await shop.holdings().catch(() => []));
    return this.#panel(denied(reason) ?? [before(was), offers(course, choose(offered))], chapter.title);
  }

  /**
   * @param {Course} course
   * @param {number} chapter
   */
  #isOpen(course, chapter) {
    return this.#told === `open ${course.id}/${chapter}`;
  }

  /**
   * @param {Course} course
   * @param {number} chapter
   * @param {DocumentFragment} text
   */
  #open(course, chapter, text) {
    const wasLocked = this.#told.startsWith("locked");
    this.#clear();
    const shown = h("div", { slot: "chapter", class: "chapter", tabindex: "-1" }, text);
    this.append(shown);
    this.#opened = wasLocked;
    this.draw(this.#text());
    // What had the focus is gone, or goes; if it has not moved on, it is now at the text.
    const isHere = [document.body, this].some((one) => one === document.activeElement);
    if (this.#hadFocus && isHere) shown.focus({ preventScroll: true });
    this.#hadFocus = false;
    this.#state("open", course, chapter);
  }

  /**
   * @param {Course} course
   * @param {number} chapter
   */
  #shut(course, chapter) {
    this.#clear();
    this.#state("locked", course, chapter);
  }

  /**
   * Tells the page around it, unless it knows.
   * @param {"open" | "locked"} state
   * @param {Course} course
   * @param {number} chapter
   */
  #state(state, course, chapter) {
    const now = `${state} ${course.id}/${chapter}`;
    if (now === this.#told) return;
    this.#told = now;
    this.setAttribute("state", state);
    this.tell(state, { course: course.id, chapter });
  }

  #clear() {
    for (const child of this.querySelectorAll(":scope > [slot=chapter]")) child.remove();
  }

  #lookAgain() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void shop.refresh().then(() => this.update()), this.#pause);
    this.#pause = Math.min(this.#pause * 1.5, LOOK_MAX_MS);
  }

  /**
   * The chapter's text, and that it has just opened, for whoever doesn't see it.
   * @param {Child} [below]
   */
  #text(below) {
    return [status(this.#opened ? "The chapter is open." : ""), h("slot", { name: "chapter" }), below];
  }

  /**
   * @param {Child} says
   * @param {string} [title] of the chapter that is shut
   */
  #panel(says, title) {
    const hasTeaser = this.textContent?.trim() !== "" || this.childElementCount > 0;
    const lines = [0, 1, 2, 3, 4].map(() => h("span"));
    return [status(""), h("div", { class: "wall" },
      h("div", { class: "teaser", part: "teaser" }, h("slot")),
      !hasTeaser && h("div", { class: "lines blurred", "aria-hidden": "true" }, lines, lines.map((line) => line.cloneNode())),
      h("section", { class: "panel", part: "panel", "aria-label": title ? `Locked: ${title}` : "Sign in to read" }, says))];
  }
}
customElements.define("course-paywall", CoursePaywall);

/** @param {string} says */
function status(says) {
  return h("p", { class: "unseen", role: "status" }, says);
}

function freeToRead() {
  return [
    h("p", { class: "lead" }, "This chapter is free."),
    h("p", {}, "Sign in with your e-mail address to read it. No password, no card."),
    entrance("Sign in and read"),
  ];
}

function signInAgain() {
  return [
    h("p", { class: "lead" }, "Your sign-in has ended."),
    h("p", {}, "Sign in again, and go on reading where you are."),
    entrance("Sign in again"),
  ];
}

/** Said below a text that stays. */
function readOn() {
  return h("p", { class: "small quiet again" }, "Your sign-in has ended. For the next chapter, ", entrance("sign in again", "link"), ".");
}

/**
 * Why nothing is offered, if nothing is.
 * @param {Reason} reason
 */
function denied(reason) {
  const purchases = h("a", { class: "button quiet", href: `${site}/purchases` }, "See your purchases");
  if (reason === "payment_processing") {
    return [
      h("p", { class: "lead", role: "status" }, icon("clock"), "Your payment is on its way."),
      h("p", {}, "The bank has not confirmed it yet. This page looks again by itself, and opens as soon as it has."),
      purchases,
    ];
  }
  if (reason === "payment_disputed") {
    return [
      h("p", { class: "lead" }, icon("lock"), "On hold: your payment is disputed."),
      h("p", {}, "Your bank is looking into it. If it decides that the payment stands, this opens again."),
      purchases,
    ];
  }
}

/**
 * @param {Course} course
 * @param {Offer[]} found
 */
function offers(course, found) {
  const [first, ...others] = found;
  if (!first) return h("p", { class: "lead" }, icon("lock"), "This course is not on sale at the moment.");
  return [
    h("p", { class: "lead" }, icon("lock"), first.name),
    h("p", { class: "price", part: "price" }, money(first.amount, first.currency)),
    h("p", { class: "contains" }, contains(course, first)),
    h("unlock-button", { price: first.price, label: "Unlock", exportparts: "button" }),
    others.map((offer) => h("unlock-button", {
      class: "other",
      price: offer.price,
      label: `Or ${offer.name} for ${money(offer.amount, offer.currency)}`,
    })),
    h("p", { class: "small quiet" }, ONCE),
    !session.token && h("p", { class: "small" }, "Bought it already? ",
      entrance("Sign in", "link")),
  ];
}
