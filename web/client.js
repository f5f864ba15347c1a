// @ts-check
// The API client, and the error that every failure becomes: what happened, one sentence for the
// learner, and what they can do next.

/** @import { Access, ChapterLink, Checkout, Confirmation, Courses, Entitlements, Offer, Reason, Why } from "./api.d.ts" */

import { config } from "./config.js";
import { session } from "./session.js";

/** Longer than Stripe takes on a slow day. */
export const PATIENCE_MS = 32_000;

/**
 * What the learner can do next.
 * @typedef {"retry" | "sign-in" | "courses" | "purchases" | "course" | "reload"} Way
 */

/**
 * What each problem type means to a learner. The types are those of docs/ERRORS.md, and four for
 * requests that never reached a function.
 * @type {Record<string, [message: string, way: Way]>}
 */
const PROBLEMS = {
  "offline": ["You are offline.", "retry"],
  "unreachable": ["The shop can’t be reached right now.", "retry"],
  "too-slow": ["The shop is taking too long to respond.", "retry"],
  "unexpected": ["The shop sent an unexpected response.", "reload"],

  "unauthorized": ["Your session has expired. Sign in again to continue.", "sign-in"],
  "forbidden": ["This account can’t be used here. Sign in with a learner’s account.", "sign-in"],
  "access-denied": ["You don’t have access to this chapter yet.", "course"],
  "unknown-course": ["This course doesn’t exist or is no longer offered.", "courses"],
  "unknown-chapter": ["This chapter doesn’t exist.", "course"],
  "unknown-product": ["This product isn’t on sale, and you don’t own it.", "courses"],
  "unknown-price": ["This price has changed or is no longer on sale.", "reload"],
  "unknown-session": ["This purchase isn’t in the account you’re signed in with.", "purchases"],
  "unknown-link": ["This link is no longer valid. Ask for a new one where you got it.", "courses"],
  "already-entitled": ["You have access already, so there is nothing to pay.", "course"],
  "payment-processing": ["Your payment for this is processing. Access opens automatically.", "purchases"],
  "payment-disputed": ["Your payment for this is disputed. You can buy it again once your bank has decided.", "purchases"],
  "checkout-open-elsewhere": ["A checkout for this is already open elsewhere. Finish it there, or try again later.", "purchases"],
  "rate-limited": ["Too many attempts in a short time.", "retry"],
  "internal": ["Something went wrong on our side. Nothing is lost.", "retry"],
  "stripe-refused": ["This can’t be sold right now. The author has been notified.", "courses"],
  "unavailable": ["The shop is unavailable right now. Nothing is lost.", "retry"],
  "stripe-unavailable": ["The payment service is unavailable right now.", "retry"],
};

/** API Gateway's own responses have no problem type. */
const BY_STATUS = /** @type {Record<number, string>} */ ({
  401: "unauthorized",
  403: "forbidden",
  429: "rate-limited",
  500: "internal",
  502: "unavailable",
  503: "unavailable",
  504: "unavailable",
});

/** A request to the API that failed. */
export class ApiError extends Error {
  /**
   * @param {string} kind the last part of the problem's type
   * @param {{ retryAfter?: number, location?: string, reason?: Reason, offers?: Offer[], cause?: unknown }} [more]
   */
  constructor(kind, { retryAfter = 0, location = "", reason, offers, cause } = {}) {
    const known = Object.hasOwn(PROBLEMS, kind) ? kind : "unexpected";
    const [message, way] = PROBLEMS[known] ?? ["", "reload"];
    super(message, { cause });
    /** The problem type. */
    this.kind = known;
    /** What the learner can do next. */
    this.way = way;
    /** Seconds to wait before a retry, from `Retry-After`; otherwise 0. */
    this.retryAfter = retryAfter;
    /** The page that the API's `Location` names, if it names one. */
    this.location = location;
    /** Why access is denied. */
    this.reason = reason;
    /** The offers that would give access. */
    this.offers = offers ?? [];
  }

  /**
   * Any thrown value as an ApiError.
   * @param {unknown} error
   */
  static of(error) {
    return error instanceof ApiError ? error : new ApiError("unreachable", { cause: error });
  }
}

/**
 * @template T
 * @param {"GET" | "POST"} method
 * @param {string} path
 * @param {{ body?: unknown, signal?: AbortSignal, anyone?: boolean }} [how]
 * @returns {Promise<T>}
 */
async function ask(method, path, { body, signal, anyone = false } = {}) {
  const lost = (/** @type {unknown} */ cause) => {
    if (signal?.aborted) throw signal.reason;
    throw failed(cause);
  };
  let token = anyone ? undefined : (await session.access().catch(lost))?.token;
  if (!anyone && !token) throw new ApiError("unauthorized");
  const { api } = await config().catch(lost);
  const send = (/** @type {string | undefined} */ token) => {
    const patience = AbortSignal.timeout(PATIENCE_MS);
    return fetch(new URL(api + path, import.meta.url), {
      method,
      headers: {
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    }).catch(lost);
  };
  let answer = await send(token);
  if (answer.status === 401 && token) {
    // It may be older than it seems, if the clock was changed.
    const renewed = (await session.access(token).catch(lost))?.token;
    if (renewed) answer = await send((token = renewed));
  }
  const received = await answer.json().catch(() => null);
  if (answer.ok && received) return received;
  if (answer.status === 401) session.expire(token);
  const named = String(received?.type ?? "").split(":").at(-1);
  throw new ApiError(named || (BY_STATUS[answer.status] ?? "unexpected"), {
    retryAfter: Number(answer.headers.get("retry-after")) || 0,
    location: answer.headers.get("location") ?? "",
    reason: received?.reason,
    offers: received?.offers,
  });
}

/** @param {unknown} cause why there is no response */
export function failed(cause) {
  if (!navigator.onLine) return new ApiError("offline", { cause });
  const isSlow = cause instanceof DOMException && cause.name === "TimeoutError";
  return new ApiError(isSlow ? "too-slow" : "unreachable", { cause });
}

const part = encodeURIComponent;

/** The API's routes for learners. */
export const api = {
  /** The courses and their offers, without a token. */
  courses: () => /** @type {Promise<Courses>} */ (ask("GET", "/courses", { anyone: true })),

  /** The learner's entitlements. */
  entitlements: () => /** @type {Promise<Entitlements>} */ (ask("GET", "/entitlements")),

  /** @param {string} product @param {AbortSignal} [signal] */
  why: (product, signal) =>
    /** @type {Promise<Why>} */ (ask("GET", `/entitlements/${part(product)}/why`, { signal })),

  /** @param {string} course @param {number} chapter @param {AbortSignal} [signal] */
  access: (course, chapter, signal) =>
    /** @type {Promise<Access>} */ (
      ask("GET", `/courses/${part(course)}/access?chapter=${chapter}`, { signal })
    ),

  /** @param {string} course @param {number} chapter @param {AbortSignal} [signal] */
  chapter: (course, chapter, signal) =>
    /** @type {Promise<ChapterLink>} */ (
      ask("GET", `/courses/${part(course)}/chapters/${chapter}`, { signal })
    ),

  /** @param {string} price */
  checkout: (price) =>
    /** @type {Promise<Checkout>} */ (ask("POST", "/checkout", { body: { price } })),

  /** @param {string} session @param {AbortSignal} [signal] */
  confirm: (session, signal) =>
    /** @type {Promise<Confirmation>} */ (
      ask("POST", `/checkout/${part(session)}/confirm`, { signal })
    ),
};
