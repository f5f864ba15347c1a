// @ts-check
// What there is to learn and what the learner has of it: asked for once, shared by everything on
// the page. Tells a "change" when somebody signs in or out, or buys something, or loses access.

/** @import { Course, Entitlement, Offer } from "./api.d.ts" */

import { ApiError, api } from "./client.js";
import { session } from "./session.js";

/** What was learnt so long ago is asked again when the page comes back to the front. */
const STALE_MS = 15_000;

/**
 * How a course stands to the learner.
 * - `free`: every chapter is open to everybody.
 * - `owned`: bought or given.
 * - `processing`: a payment is on its way.
 * - `suspended`: the payment is disputed, and not decided.
 * - `locked`: to be unlocked; `was` says if it was owned before.
 * @typedef {"free" | "owned" | "processing" | "suspended" | "locked"} Standing
 */

class Shop extends EventTarget {
  /** @type {Promise<Course[]> | undefined} */
  #courses;
  /** @type {Promise<Entitlement[]> | undefined} */
  #holdings;
  /** What was known of the learner last. @type {Entitlement[]} */
  #known = [];
  #asked = Date.now();

  constructor() {
    super();
    session.addEventListener("change", () => {
      this.#holdings = undefined;
      if (!session.expired) this.#known = [];
      this.#tell();
    });
    const look = () => {
      const isStale = Date.now() - this.#asked > STALE_MS;
      if (document.visibilityState === "visible" && isStale) void this.renew();
    };
    document.addEventListener("visibilitychange", look);
    addEventListener("focus", look);
    // A page that the browser kept while the learner was at Stripe knows nothing of it.
    addEventListener("pageshow", (event) => {
      if (event.persisted) void this.renew();
    });
  }

  /**
   * Every course, in the author's order.
   * @returns {Promise<Course[]>}
   */
  courses() {
    this.#courses ??= api
      .courses()
      .then((answer) => answer.courses)
      .catch((error) => {
        this.#courses = undefined;
        throw error;
      });
    return this.#courses;
  }

  /**
   * What the learner has; nothing while nobody is signed in. Whose sign-in has ended by time still
   * sees what they had, so that nothing of theirs is offered to them.
   * @returns {Promise<Entitlement[]>}
   */
  holdings() {
    if (!session.token) return Promise.resolve(session.expired ? this.#known : []);
    if (this.#holdings) return this.#holdings;
    const asked = api
      .entitlements()
      .then(({ entitlements }) => (this.#known = entitlements))
      .catch((error) => {
        if (this.#holdings === asked) this.#holdings = undefined;
        if (ApiError.of(error).kind === "unauthorized") return this.holdings();
        throw error;
      });
    this.#holdings = asked;
    return asked;
  }

  /**
   * Both, side by side.
   * @returns {Promise<[Course[], Entitlement[]]>}
   */
  all() {
    return Promise.all([this.courses(), this.holdings()]);
  }

  /**
   * The course of this id.
   * @param {string} id
   * @returns {Promise<Course>}
   */
  async course(id) {
    const course = (await this.courses()).find((course) => course.id === id);
    if (!course) throw new ApiError("unknown-course");
    return course;
  }

  /**
   * The offer at this price.
   * @param {string} price
   * @returns {Promise<Offer>}
   */
  async offer(price) {
    const offers = (await this.courses()).flatMap((course) => course.offers);
    const offer = offers.find((offer) => offer.price === price);
    if (!offer) throw new ApiError("unknown-price");
    return offer;
  }

  /** Asks anew what the learner has, and tells if it is something else. */
  async refresh() {
    if (!session.token) return;
    const before = this.#holdings ? await this.#holdings.catch(() => null) : [];
    this.#holdings = undefined;
    const after = await this.holdings().catch(() => null);
    if (after && JSON.stringify(after) !== JSON.stringify(before)) this.#tell();
  }

  /** Asks everything anew, prices too, and tells if something is different. */
  async renew() {
    this.#asked = Date.now();
    const before = await this.#courses?.catch(() => null);
    const courses = api.courses().then((answer) => answer.courses);
    const after = await courses.catch(() => null);
    if (before && after && JSON.stringify(after) !== JSON.stringify(before)) {
      this.#courses = courses;
      this.#tell();
    }
    await this.refresh();
  }

  /** Forgets everything, prices too, so that it is asked anew. */
  reload() {
    this.#courses = undefined;
    this.#holdings = undefined;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

/** The one shop of this page. */
export const shop = new Shop();

/**
 * The earliest first; what has no time yet before all.
 * @param {Entitlement[]} holdings
 */
export function byTime(holdings) {
  return [...holdings].sort((one, other) => (one.since ?? "").localeCompare(other.since ?? ""));
}

/**
 * The latest that keeps a product open.
 * @param {Entitlement[]} holdings
 * @param {string | undefined} product
 */
export function opener(holdings, product) {
  return byTime(holdings).findLast((held) => held.status === "active" && held.product === product);
}

/**
 * How a course stands to the learner, and if it is shut, how it stood before.
 * @param {Course} course
 * @param {Entitlement[]} holdings
 * @returns {{ standing: Standing, was?: Entitlement }}
 */
export function standing(course, holdings) {
  if (course.chapters.every((chapter) => chapter.free)) return { standing: "free" };
  const own = byTime(holdings.filter((holding) => holding.courses.includes(course.id)));
  if (own.some((holding) => holding.status === "active")) return { standing: "owned" };
  for (const status of /** @type {const} */ (["processing", "suspended"])) {
    const was = own.findLast((holding) => holding.status === status);
    if (was) return { standing: status, was };
  }
  return { standing: "locked", was: own.at(-1) };
}

/**
 * Whether the course is open to the learner with no end date.
 * @param {Course} course
 * @param {Entitlement[]} holdings
 */
function isForGood(course, holdings) {
  return course.chapters.every((chapter) => chapter.free) || holdings.some((held) =>
    held.status === "active" && held.until === null && held.courses.includes(course.id));
}

/**
 * Whether an offer is for sale to the learner, by the rule that the API sells by:
 * - `owned`: each of its courses is open, with no end date.
 * - `suspended`: a payment for one of them is disputed, and the bank has not decided.
 * - `processing`: nothing is left to buy once payments that are on their way arrive.
 * - `for sale`: `owned` lists the courses that are open already.
 * @param {Offer} offer
 * @param {Course[]} courses
 * @param {Entitlement[]} holdings
 * @returns {{ availability: "owned" | "suspended" | "processing" | "for sale", owned: Course[] }}
 */
export function availability(offer, courses, holdings) {
  const sold = courses.filter((course) => offer.courses.includes(course.id));
  const owned = sold.filter((course) => isForGood(course, holdings));
  const stands = sold.filter((course) => !owned.includes(course))
    .map((course) => standing(course, holdings).standing);
  if (stands.length === 0) return { availability: "owned", owned };
  if (stands.includes("suspended")) return { availability: "suspended", owned };
  if (stands.every((it) => it === "processing")) return { availability: "processing", owned };
  return { availability: "for sale", owned };
}

/**
 * Whether somebody of this standing may open the chapter. It only decides what is drawn; the
 * chapter itself is handed out by the API.
 * @param {{ free: boolean }} chapter
 * @param {Standing} standing
 */
export function isOpen(chapter, standing) {
  return chapter.free || standing === "free" || standing === "owned";
}
