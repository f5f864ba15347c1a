// @ts-check
// `/purchases`: what the learner bought, until when they have access, and the history of each payment.

/** @import { Course, Entitlement, Fact } from "../api.d.ts" */
/** @import { Child } from "../dom.js" */
/** @import { Visit } from "../router.js" */

import { api } from "../client.js";
import { entrance } from "../connect.js";
import { h, icon } from "../dom.js";
import { counted, date, money } from "../locale.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { byTime, opener, shop } from "../shop.js";
import { live, waiting } from "./live.js";

/** The statuses that link to the course, to read it or to buy it again. */
const LINKED = new Set(["active", "ended", "failed", "refunded", "dispute_lost"]);

/** @param {Visit} visit */
export async function purchases(visit) {
  const { signal } = visit;
  const heading = () => h("h1", {}, "Your purchases");
  visit.show("Purchases", heading(), waiting("box"));
  await live(visit, async (show, again) => {
    if (!session.signedIn) return show("Purchases", heading(), signedOut());
    try {
      const [courses, holdings] = await shop.all();
      // A processing payment has no time yet, and is the newest.
      const awaited = holdings.filter((held) => !held.since);
      const newestFirst = [...awaited, ...byTime(holdings.filter((held) => held.since)).reverse()];
      show("Purchases", heading(), holdings.length === 0
        ? nothing()
        : h("ul", { class: "purchases" }, newestFirst.map((held) =>
            purchase(held, opener(holdings, held.product), courses, signal))));
    } catch (error) {
      show("Purchases", heading(), notice(error, { retry: again, signal }));
    }
  });
}

function signedOut() {
  return h("div", { class: "empty" },
    h("p", {}, session.expired
      ? "Your session has expired. Sign in again to see what you own."
      : "Sign in to see what you own."),
    entrance(session.expired ? "Sign in again" : "Sign in"));
}

function nothing() {
  return h("div", { class: "empty" },
    h("p", {}, "You haven’t bought anything yet. Free courses are open to you."),
    h("a", { class: "button", href: "/" }, "See all courses"));
}

/**
 * A purchase's name: the offer's, or its courses' if it is no longer sold.
 * @param {Entitlement} held
 * @param {Course[]} courses
 */
function name(held, courses) {
  const offer = courses.flatMap((course) => course.offers).find((offer) => offer.product === held.product);
  const titles = courses.filter((course) => held.courses.includes(course.id)).map((course) => course.title);
  return offer?.name ?? (titles.length > 0 ? titles.join(", ") : held.product);
}

/**
 * @param {Entitlement} held
 * @param {Entitlement | undefined} open source that keeps the same product open
 * @param {Course[]} courses
 * @param {AbortSignal} signal
 */
function purchase(held, open, courses, signal) {
  const opened = courses.filter((course) => held.courses.includes(course.id));
  return h("li", { class: `purchase ${held.status}` },
    h("div", { class: "purchase-head" },
      h("h2", {}, name(held, courses)),
      h("p", { class: "state" }, icon(held.status === "active" ? "check" : held.status === "processing" ? "clock" : "lock"), label(held))),
    describe(held, open).map((text) => h("p", {}, text)),
    (open || LINKED.has(held.status)) && opened.length > 0 && h("ul", { class: "opened" },
      opened.map((course) => h("li", {},
        h("a", { href: `/course/${course.id}` }, course.title),
        h("span", { class: "quiet" }, ` ${counted(course.chapters.length, "chapter")}`)))),
    why(held, name(held, courses), signal));
}

/** @param {Entitlement} held */
function label({ status, refunded_percent }) {
  const labels = {
    active: refunded_percent > 0 ? "Open, partly refunded" : "Open",
    ended: "Ended",
    processing: "Processing",
    failed: "Payment failed",
    refunded: "Refunded",
    suspended: "On hold",
    dispute_lost: "Payment returned by your bank",
    revoked: "Ended by the author",
  };
  return labels[status];
}

/**
 * A purchase's status in sentences. If another source keeps the same product open, there is no next
 * step.
 * @param {Entitlement} held
 * @param {Entitlement | undefined} open
 * @returns {string[]}
 */
function describe({ source, status, since, until, refunded_percent, paid_twice }, open) {
  const begun = since ? `${isGift(source) ? "Given to you" : "Bought"} on ${date(since)}. ` : "";
  const back = refunded_percent < 100 ? `${refunded_percent}% of the price` : "Your payment";
  /** @type {Record<Entitlement["status"], [became: string, next?: string]>} */
  const texts = {
    active: [`${begun}${until ? `You have access until ${date(until)}.` : "Yours to keep."}`],
    ended: [until ? `Your access ended on ${date(until)}.` : "Your access has ended."],
    processing: ["Your payment is processing.", "Access opens automatically once your bank confirms it. A bank debit can take a few days."],
    failed: ["Your bank declined this payment.", "You can try again."],
    refunded: [`${back} was refunded, so your access has ended.`, "You can buy it again."],
    suspended: ["Your payment is disputed, so your access is on hold.", "If your bank upholds it, access returns automatically."],
    dispute_lost: ["Your bank returned the money, so access has ended.", "You can buy it again."],
    revoked: ["The author ended your access.", "If you think that’s a mistake, contact the author."],
  };
  const [became, next = ""] = texts[status];
  const more = [];
  if (status !== "active" && open) more.push(still(open));
  if (status !== "refunded" && refunded_percent > 0) {
    more.push(`${refunded_percent}% of the price refunded.${status === "active" ? " You keep access." : ""}`);
  }
  if (paid_twice) {
    more.push("You paid for this twice. Ask the author to refund this payment. You keep access.");
  }
  return [open || !next ? became : `${became} ${next}`, ...more];
}

/**
 * Says that the learner still has access.
 * @param {Entitlement} open the source that gives it
 */
export function still({ source }) {
  return `You still have access, ${isGift(source) ? "as a gift from the author" : "through another purchase"}.`;
}

/** @param {string} source */
function isGift(source) {
  return source.startsWith("grant_");
}

/**
 * The history of a purchase, loaded when it is opened.
 * @param {Entitlement} held
 * @param {string} name
 * @param {AbortSignal} signal
 */
function why(held, name, signal) {
  const answer = h("div", { class: "facts-answer", "aria-live": "polite" });
  let isAsked = false;
  const ask = async () => {
    answer.replaceChildren(h("div", { class: "skeleton line", "aria-hidden": "true" }));
    try {
      const { sources } = await api.why(held.product, signal);
      const facts = sources.find((source) => source.source === held.source)?.facts ?? [];
      answer.replaceChildren(facts.length > 0
        ? h("ol", { class: "facts-list" }, facts.map((fact) => step(fact, facts)))
        : h("p", {}, "There is no history for this purchase."));
    } catch (error) {
      if (!signal.aborted) answer.replaceChildren(notice(error, { retry: ask, signal }));
    }
  };
  const open = () => {
    if (isAsked) return;
    isAsked = true;
    void ask();
  };
  return h("details", { ontoggle: open },
    h("summary", {}, isGift(held.source) ? "History" : "Payment history",
      h("span", { class: "unseen" }, `: ${name}`)),
    answer,
    h("p", { class: "quiet small" }, "Need help? Contact the author and mention ", h("code", {}, held.source), "."));
}

/**
 * @param {Fact} fact
 * @param {Fact[]} facts of the same purchase
 * @returns {Child}
 */
function step(fact, facts) {
  const { at, effect } = fact;
  const did = {
    opens: "Access opened.",
    suspends: "Access put on hold.",
    closes: "Access ended.",
    restores: "Access restored.",
    nothing: "",
  };
  // The text of these says it already.
  const change = fact.fact === "revoked" || fact.fact === "ended" ? "" : did[effect];
  return h("li", {},
    h("span", { class: "quiet" }, at ? h("time", { datetime: at }, date(at)) : "Date unknown"),
    h("span", {}, text(fact, facts), change && [" ", h("strong", {}, change)]));
}

/**
 * What happened, with amounts in the visitor's locale.
 * @param {Fact} fact
 * @param {Fact[]} facts of the same purchase
 */
function text({ fact, amount, currency, text }, facts) {
  if (!amount || !currency) return text;
  const paid = facts.find((other) => other.fact === "paid")?.amount ?? amount;
  const sum = money(amount, currency);
  const part = amount < paid ? `${sum} of ${money(paid, currency)}` : sum;
  /** @type {Partial<Record<Fact["fact"], string>>} */
  const texts = {
    payment_processing: `Payment of ${sum} processing.`,
    payment_failed: `Payment of ${sum} failed.`,
    paid: `Paid ${sum}.`,
    refund_pending: `Refund of ${part} pending.`,
    refund_requires_action: `Refund of ${part} needs your action.`,
    refunded: `${part} refunded.`,
    refund_canceled: `Refund of ${part} canceled.`,
    refund_failed: `Refund of ${part} failed.`,
  };
  return texts[fact] ?? text;
}
