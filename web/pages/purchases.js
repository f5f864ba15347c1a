// @ts-check
// `/purchases`: what I own, why, until when, and what became of it.

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

/** Of these, a course's page has more to offer than a lock: the course, or to buy it again. */
const LINKED = new Set(["active", "ended", "failed", "refunded", "dispute_lost"]);

/** @param {Visit} visit */
export async function purchases(visit) {
  const { signal } = visit;
  const heading = () => h("h1", {}, "Your purchases");
  visit.show("Purchases", heading(), waiting("box"));
  await live(visit, async (show, again) => {
    if (!session.token) return show("Purchases", heading(), signedOut());
    try {
      const [courses, holdings] = await shop.all();
      // What is on its way has no time yet, and is the newest.
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
      ? "Your sign-in has ended. Sign in again to see what you own."
      : "Sign in to see what you own."),
    entrance(session.expired ? "Sign in again" : "Sign in"));
}

function nothing() {
  return h("div", { class: "empty" },
    h("p", {}, "You haven’t bought anything yet. What is free is open to you all the same."),
    h("a", { class: "button", href: "/" }, "See the courses"));
}

/**
 * What a purchase is called: as it is sold, or if it no longer is, by its courses.
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
 * @param {Entitlement | undefined} open what keeps the same product open, if something does
 * @param {Course[]} courses
 * @param {AbortSignal} signal
 */
function purchase(held, open, courses, signal) {
  const opened = courses.filter((course) => held.courses.includes(course.id));
  return h("li", { class: `purchase ${held.status}` },
    h("div", { class: "purchase-head" },
      h("h2", {}, name(held, courses)),
      h("p", { class: "state" }, icon(held.status === "active" ? "check" : held.status === "processing" ? "clock" : "lock"), label(held))),
    words(held, open).map((text) => h("p", {}, text)),
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
    processing: "On its way",
    failed: "Payment failed",
    refunded: "Refunded",
    suspended: "On hold",
    dispute_lost: "Ended by your bank",
    revoked: "Ended by the author",
  };
  return labels[status];
}

/**
 * What has become of a purchase, in words. If something else keeps the same product open, nothing is
 * offered and nothing is waited for.
 * @param {Entitlement} held
 * @param {Entitlement | undefined} open
 * @returns {string[]}
 */
function words({ status, since, until, refunded_percent, paid_twice }, open) {
  const from = since ? ` since ${date(since)}` : "";
  const back = refunded_percent < 100 ? `${refunded_percent}% of the price` : "Your money";
  /** @type {Record<Entitlement["status"], [became: string, next?: string]>} */
  const told = {
    active: [until ? `Open to you${from}, until ${date(until)}.` : `Open to you${from}, without an end.`],
    ended: [until ? `Your access ended on ${date(until)}.` : "Your access has ended."],
    processing: ["Your payment is on its way.", "Once the bank has confirmed it, this opens by itself; a bank debit can take some days."],
    failed: ["The bank did not make this payment.", "Nothing was opened, and you can try again."],
    refunded: [`${back} went back to you, so this is closed.`, "You can buy it again."],
    suspended: ["The payment is disputed at the bank, so this is on hold.", "If the payment stands, it opens again by itself."],
    dispute_lost: ["Your bank returned the money, so access has ended.", "You can buy it again."],
    revoked: ["The author ended your access.", "Ask the author if that is a mistake."],
  };
  const [became, next = ""] = told[status];
  const more = [];
  if (status !== "active" && open) more.push(still(open));
  if (status !== "refunded" && refunded_percent > 0) {
    more.push(`${refunded_percent}% of the price was refunded.${status === "active" ? " You keep access." : ""}`);
  }
  if (paid_twice) {
    more.push("You have paid for this twice. Ask the author to refund this payment; what you bought stays open.");
  }
  return [open || !next ? became : `${became} ${next}`, ...more];
}

/**
 * That something is open all the same.
 * @param {Entitlement} open what keeps it so
 */
export function still({ source }) {
  return `What it is for is still open to you, ${source.startsWith("grant_") ? "as the author’s gift" : "by another purchase"}.`;
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
        : h("p", {}, "Nothing more is known of it."));
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
    h("summary", {}, held.source.startsWith("grant_") ? "History" : "Payment history",
      h("span", { class: "unseen" }, `: ${name}`)),
    answer,
    h("p", { class: "quiet small" }, "If you ask somebody about it, name ", h("code", {}, held.source), "."));
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
  // These say so themselves.
  const says = fact.fact === "revoked" || fact.fact === "ended" ? "" : did[effect];
  return h("li", {},
    h("span", { class: "quiet" }, at ? h("time", { datetime: at }, date(at)) : "Date unknown"),
    h("span", {}, text(fact, facts), says && [" ", h("strong", {}, says)]));
}

/**
 * What happened, with the money as the visitor writes it.
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
