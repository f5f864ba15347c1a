// @ts-check
// <course-paywall course="tutorclaw" chapter="6">teaser</course-paywall>: shows the teaser and the
// offer, or the chapter once the learner has access.

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

/** The first pause between two checks of a processing payment. Each is half as long again as the last. */
const LOOK_MS = 4000;
const LOOK_MAX_MS = 60_000;

export class CoursePaywall extends ShopElement {
  static observedAttributes = ["course", "chapter"];

  /** Whether the chapter opened while the paywall was on screen. */
  #opened = false;
  /** Whether the focus was inside the element, to be moved to the chapter. */
  #hadFocus = false;
  /** The last state the page was told, like "open tutorclaw/6". */
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
    if (!session.signedIn) {
      // An expired session does not close a chapter that is being read.
      if (session.expired && this.#isOpen(course, number)) return this.#text(sessionExpired());
      this.#lock(course, number);
      if (session.expired) return this.#panel(signInAgain());
      return chapter.free
        ? this.#panel(freeToRead())
        : this.#panel(offers(course, choose(course.offers)), chapter.title);
    }
    try {
      // Skips the request for a chapter that is known to be locked.
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
      const isExpired = error.kind === "unauthorized";
      if (this.#isOpen(course, number)) return this.#text(isExpired && sessionExpired());
      if (isExpired) return this.#panel(signInAgain());
      throw error;
    }
  }

  /**
   * Asks whether the chapter may be read, unless this page already knows.
   * @param {Course} course
   * @param {Course["chapters"][number]} chapter
   * @param {AbortSignal} signal
   * @returns {Promise<Pick<Access, "access" | "reason" | "offers">>}
   */
  async #ask(course, chapter, signal) {
    const isKnown = chapter.free || standing(course, await shop.holdings()).standing === "owned";
    return isKnown
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
    this.#lock(course, chapter.number);
    if (reason === "payment_processing") this.#checkLater();
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
    // Whatever had the focus is being removed: moves it to the text, unless it has moved elsewhere.
    const isHere = [document.body, this].some((one) => one === document.activeElement);
    if (this.#hadFocus && isHere) shown.focus({ preventScroll: true });
    this.#hadFocus = false;
    this.#state("open", course, chapter);
  }

  /**
   * @param {Course} course
   * @param {number} chapter
   */
  #lock(course, chapter) {
    this.#clear();
    this.#state("locked", course, chapter);
  }

  /**
   * Dispatches the state, if it changed.
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

  #checkLater() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void shop.refresh().then(() => this.update()), this.#pause);
    this.#pause = Math.min(this.#pause * 1.5, LOOK_MAX_MS);
  }

  /**
   * The chapter's text, and for screen readers, that it has just opened.
   * @param {Child} [below]
   */
  #text(below) {
    return [status(this.#opened ? "The chapter is open." : ""), h("slot", { name: "chapter" }), below];
  }

  /**
   * @param {Child} content
   * @param {string} [title] of the locked chapter
   */
  #panel(content, title) {
    const hasTeaser = this.textContent?.trim() !== "" || this.childElementCount > 0;
    const lines = [0, 1, 2, 3, 4].map(() => h("span"));
    return [status(""), h("div", { class: "wall" },
      h("div", { class: "teaser", part: "teaser" }, h("slot")),
      !hasTeaser && h("div", { class: "lines blurred", "aria-hidden": "true" }, lines, lines.map((line) => line.cloneNode())),
      h("section", { class: "panel", part: "panel", "aria-label": title ? `Locked: ${title}` : "Sign in to read" }, content))];
  }
}
customElements.define("course-paywall", CoursePaywall);

/** @param {string} text */
function status(text) {
  return h("p", { class: "unseen", role: "status" }, text);
}

function freeToRead() {
  return [
    h("p", { class: "lead" }, "This chapter is free."),
    h("p", {}, "Sign in with your email address to read it. No password, no card."),
    entrance("Sign in and read"),
  ];
}

function signInAgain() {
  return [
    h("p", { class: "lead" }, "Your session has expired."),
    h("p", {}, "Sign in again to keep reading."),
    entrance("Sign in again"),
  ];
}

/** Shown below a chapter that stays open. */
function sessionExpired() {
  return h("p", { class: "small quiet again" }, "Your session has expired. To read the next chapter, ", entrance("sign in again", "link"), ".");
}

/**
 * What the panel shows when nothing is for sale because of a payment.
 * @param {Reason} reason
 */
function denied(reason) {
  const purchases = h("a", { class: "button quiet", href: `${site}/purchases` }, "See your purchases");
  if (reason === "payment_processing") {
    return [
      h("p", { class: "lead", role: "status" }, icon("clock"), "Your payment is processing."),
      h("p", {}, "Your bank hasn’t confirmed it yet. This page checks automatically and opens the chapter as soon as it has."),
      purchases,
    ];
  }
  if (reason === "payment_disputed") {
    return [
      h("p", { class: "lead" }, icon("lock"), "On hold: your payment is disputed."),
      h("p", {}, "Your bank is reviewing it. If it upholds the payment, access returns automatically."),
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
  if (!first) return h("p", { class: "lead" }, icon("lock"), "This course isn’t on sale right now.");
  return [
    h("p", { class: "lead" }, icon("lock"), first.name),
    h("p", { class: "price", part: "price" }, money(first.amount, first.currency)),
    h("p", { class: "contains" }, contains(course, first)),
    h("unlock-button", { price: first.price, exportparts: "button" }),
    others.map((offer) => h("unlock-button", {
      class: "other",
      price: offer.price,
      label: `Or buy ${offer.name} for ${money(offer.amount, offer.currency)}`,
    })),
    h("p", { class: "small quiet" }, ONCE),
    !session.signedIn && h("p", { class: "small" }, "Already bought it? ",
      entrance("Sign in", "link")),
  ];
}
