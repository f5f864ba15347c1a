// @ts-check
// The courses and the learner's entitlements, requested once and shared by the page. Dispatches "change"
// when somebody signs in or out, buys something, or loses access.

/** @import { Course, Entitlement, Offer } from "./api.d.ts" */

import { ApiError, api } from "./client.js";
import { session } from "./session.js";

/** Data older than this is requested again when the page returns to the front. */
const STALE_MS = 15_000;

/**
 * A course's status for the learner.
 * - `free`: every chapter is free.
 * - `owned`: bought or given.
 * - `processing`: a payment is processing.
 * - `suspended`: the payment is disputed, and the bank has not decided.
 * - `locked`: no access; `was` is the last entitlement, if there was one.
 * @typedef {"free" | "owned" | "processing" | "suspended" | "locked"} Standing
 */

class Shop extends EventTarget {
  /** @type {Promise<Course[]> | undefined} */
  #courses;
  /** @type {Promise<Entitlement[]> | undefined} */
  #holdings;
  /** The last entitlements that were loaded. @type {Entitlement[]} */
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
    // A page restored from the browser's cache missed what happened at Stripe.
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
   * The learner's entitlements; none while nobody is signed in. After a session expires, the last known
   * ones stay, so that nobody is offered what they own.
   * @returns {Promise<Entitlement[]>}
   */
  holdings() {
    if (!session.signedIn) return Promise.resolve(session.expired ? this.#known : []);
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
   * Courses and entitlements, requested in parallel.
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

  /** Reloads the entitlements, and dispatches "change" if they differ. */
  async refresh() {
    if (!session.signedIn) return;
    const before = this.#holdings ? await this.#holdings.catch(() => null) : [];
    this.#holdings = undefined;
    const after = await this.holdings().catch(() => null);
    if (after && JSON.stringify(after) !== JSON.stringify(before)) this.#tell();
  }

  /** Reloads everything, prices too, and dispatches "change" if anything differs. */
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

  /** Drops everything, prices too, so that it is requested again. */
  reload() {
    this.#courses = undefined;
    this.#holdings = undefined;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

/** This page's shop. */
export const shop = new Shop();

/**
 * Sorted by time, with those that have none yet first.
 * @param {Entitlement[]} holdings
 */
export function byTime(holdings) {
  return [...holdings].sort((one, other) => (one.since ?? "").localeCompare(other.since ?? ""));
}

/**
 * The latest entitlement that gives access to a product.
 * @param {Entitlement[]} holdings
 * @param {string | undefined} product
 */
export function opener(holdings, product) {
  return byTime(holdings).findLast((held) => held.status === "active" && held.product === product);
}

/**
 * A course's status for the learner, and if it is locked, the last entitlement.
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
 * Whether an offer is for sale to the learner, by the API's rule:
 * - `owned`: each of its courses is open, with no end date.
 * - `suspended`: a payment for one of them is disputed, and the bank has not decided.
 * - `processing`: nothing is left to buy once the processing payments succeed.
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
 * Whether the learner can open a chapter. This decides only what is drawn; the API decides who gets
 * the text.
 * @param {{ free: boolean }} chapter
 * @param {Standing} standing
 */
export function isOpen(chapter, standing) {
  return chapter.free || standing === "free" || standing === "owned";
}
