// @ts-check
// The client of the API, and the one error that everything that fails becomes: it knows what
// happened, says it in a sentence, and names a way on.

/** @import { Access, ChapterLink, Checkout, Confirmation, Courses, Entitlements, Offer, Reason, Why } from "./api.d.ts" */

import { config } from "./config.js";
import { session } from "./session.js";

/** Longer than a slow Stripe takes. */
export const PATIENCE_MS = 32_000;

/**
 * What helps: the same again, signing in, another page, or nothing but time.
 * @typedef {"retry" | "sign-in" | "courses" | "purchases" | "course" | "reload"} Way
 */

/**
 * What each kind of problem means to a learner. The kinds are those of docs/ERRORS.md, and four
 * that never came as far as a function.
 * @type {Record<string, [says: string, way: Way]>}
 */
const PROBLEMS = {
  "offline": ["You are offline.", "retry"],
  "unreachable": ["The shop can’t be reached at the moment.", "retry"],
  "too-slow": ["The shop takes too long to answer.", "retry"],
  "unexpected": ["The shop answered with something that this page doesn’t understand.", "reload"],

  "unauthorized": ["Your sign-in has ended. Sign in again, and go on where you are.", "sign-in"],
  "forbidden": ["This sign-in is not for learners. Sign in again.", "sign-in"],
  "access-denied": ["This chapter is not open to you yet.", "course"],
  "unknown-course": ["There is no such course, or it is no longer offered.", "courses"],
  "unknown-chapter": ["This course has no such chapter.", "course"],
  "unknown-product": ["This is neither on sale nor among your purchases.", "courses"],
  "unknown-price": ["This price has changed or is no longer on sale.", "reload"],
  "unknown-session": ["This purchase is not in the account that you are signed in with.", "purchases"],
  "unknown-link": ["This link leads nowhere any more. Ask for a new one where you got it.", "courses"],
  "already-entitled": ["You own this already.", "course"],
  "payment-processing": ["A payment for this is on its way. It opens by itself.", "purchases"],
  "payment-disputed": ["A payment for this is disputed at your bank. You can buy it again once the bank has decided.", "purchases"],
  "checkout-open-elsewhere": ["A checkout for this is already open elsewhere. Finish it there, or try again later.", "purchases"],
  "rate-limited": ["That was a lot of tries in a short time.", "retry"],
  "internal": ["Something is wrong on our side. Nothing is lost.", "retry"],
  "stripe-refused": ["This can’t be sold at the moment. The author has been told.", "courses"],
  "unavailable": ["The shop can’t answer for a moment. Nothing is lost.", "retry"],
  "stripe-unavailable": ["The payment service can’t answer for a moment.", "retry"],
};

/** API Gateway's own answers name no kind. */
const BY_STATUS = /** @type {Record<number, string>} */ ({
  401: "unauthorized",
  403: "forbidden",
  429: "rate-limited",
  500: "internal",
  502: "unavailable",
  503: "unavailable",
  504: "unavailable",
});

/** Why the API has not done what it was asked. */
export class ApiError extends Error {
  /**
   * @param {string} kind the last part of the problem's type
   * @param {{ retryAfter?: number, location?: string, reason?: Reason, offers?: Offer[], cause?: unknown }} [more]
   */
  constructor(kind, { retryAfter = 0, location = "", reason, offers, cause } = {}) {
    const known = Object.hasOwn(PROBLEMS, kind) ? kind : "unexpected";
    const [says, way] = PROBLEMS[known] ?? ["", "reload"];
    super(says, { cause });
    /** What kind of problem it is. */
    this.kind = known;
    /** What helps. */
    this.way = way;
    /** Not before so many seconds; 0 if nobody said. */
    this.retryAfter = retryAfter;
    /** The page where it goes on, if the API named one. */
    this.location = location;
    /** Why access is denied. */
    this.reason = reason;
    /** What would open it. */
    this.offers = offers ?? [];
  }

  /**
   * Anything that was thrown, as such an error.
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
  const token = anyone ? null : session.token;
  if (!anyone && !token) throw new ApiError("unauthorized");
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const { api } = await config().catch((cause) => {
    throw failed(cause);
  });
  const answer = await fetch(new URL(api + path, import.meta.url), {
    method,
    headers: {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, patience]) : patience,
  }).catch((cause) => {
    if (signal?.aborted) throw signal.reason;
    throw failed(cause);
  });
  const said = await answer.json().catch(() => null);
  if (answer.ok && said) return said;
  if (answer.status === 401) session.expire(token);
  const named = String(said?.type ?? "").split(":").at(-1);
  throw new ApiError(named || (BY_STATUS[answer.status] ?? "unexpected"), {
    retryAfter: Number(answer.headers.get("retry-after")) || 0,
    location: answer.headers.get("location") ?? "",
    reason: said?.reason,
    offers: said?.offers,
  });
}

/** @param {unknown} cause why there is no answer */
export function failed(cause) {
  if (!navigator.onLine) return new ApiError("offline", { cause });
  const isSlow = cause instanceof DOMException && cause.name === "TimeoutError";
  return new ApiError(isSlow ? "too-slow" : "unreachable", { cause });
}

const part = encodeURIComponent;

/** The API, as far as a learner's page needs it. */
export const api = {
  /** What there is to learn, and what it costs. Anyone may ask. */
  courses: () => /** @type {Promise<Courses>} */ (ask("GET", "/courses", { anyone: true })),

  /** What the learner has. */
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
