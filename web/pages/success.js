// @ts-check
// `/success?session_id=…`: back from Stripe. Confirms the purchase with the API, waits while the
// payment is processing, and continues to the course.

/** @import { Confirmation, Course, Entitlement, Offer } from "../api.d.ts" */
/** @import { Note } from "../checkout.js" */
/** @import { Child } from "../dom.js" */
/** @import { Visit } from "../router.js" */

import { ApiError, api } from "../client.js";
import { kept } from "../checkout.js";
import { entrance } from "../connect.js";
import { h } from "../dom.js";
import { counted, date, money } from "../locale.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { byTime, opener, shop } from "../shop.js";
import { hostBehind } from "./connect.js";
import { still } from "./purchases.js";

/** The pauses between two checks of a processing payment; after the last one the learner checks. */
const PAUSES_S = [2, 3, 4, 6, 9, 13, 20, 30, 45, 60, 60, 60, 90, 90, 120, 120, 180, 180, 300, 300];
/** Long enough to read what was bought. */
const GO_ON_S = 6;
const NEW_MS = 15 * 60 * 1000;
const READING = /^\/(course\/|connect\?)/;

/** @param {Visit} visit */
export async function success(visit) {
  let turn = new AbortController();
  // A new check replaces the one before it.
  const again = () => {
    turn.abort();
    turn = new AbortController();
    return look({ ...visit, signal: AbortSignal.any([visit.signal, turn.signal]) }, () => void again());
  };
  // Signing out in another tab clears this page too.
  session.addEventListener("change", () => void again(), { signal: visit.signal });
  await again();
}

/**
 * @param {Visit} visit
 * @param {() => void} again
 */
async function look(visit, again) {
  const { query, show, signal } = visit;
  const id = query.get("session_id") ?? "";
  const note = kept({ session: id });
  if (query.get("from") === "chat") return backToTheChat(show, query.get("status"));
  if (!/^cs_\w+$/.test(id)) {
    return page(show, "Purchase", "Purchase not found.",
      "The purchase is missing from this page’s address. You’ll find it under your purchases.",
      ways(link("See your purchases", "/purchases")));
  }
  if (!session.signedIn) return signedOut(show, note);
  checking(show);
  for (const pause of [...PAUSES_S, null]) {
    const status = await confirmed(visit, id, note, again);
    if (status !== "processing" || signal.aborted) return;
    if (pause === null) return waiting(show, note, again);
    waiting(show, note);
    await seconds(pause, signal);
    if (signal.aborted) return;
  }
}

/**
 * Asks for the session's status, and shows it unless the payment is processing.
 * @param {Visit} visit
 * @param {string} id
 * @param {Note | null} note
 * @param {() => void} retry
 * @returns {Promise<Confirmation["status"] | "unknown">}
 */
async function confirmed(visit, id, note, retry) {
  const { show, signal } = visit;
  try {
    const { status, access } = await api.confirm(id, signal);
    if (status !== "processing") await became(visit, status, note, access === "granted");
    return status;
  } catch (problem) {
    if (signal.aborted) return "unknown";
    const error = ApiError.of(problem);
    if (error.kind === "unauthorized") signedOut(show, note);
    else if (error.kind === "unknown-session") {
      page(show, "Purchase", "This purchase isn’t in your account.",
        "If you came from a chat, go back there; that’s where you have access. If you paid with a different account, sign in with that one.",
        ways(link("See your purchases", "/purchases")));
    } else {
      show("Purchase", h("div", { class: "narrow" },
        h("h1", {}, "We can’t check your purchase right now."),
        h("p", { class: "summary" }, "If you’ve paid, your payment is safe. Access opens automatically, even if you close this page."),
        notice(error, { retry, signal })));
    }
    return "unknown";
  }
}

/**
 * @param {Visit} visit
 * @param {Exclude<Confirmation["status"], "processing">} status
 * @param {Note | null} note
 * @param {boolean} isOpen whether the learner has access, through this purchase or another
 */
async function became(visit, status, note, isOpen) {
  const { show } = visit;
  if (status === "paid") return paid(visit, note);
  const { back, open } = await around(status, note, isOpen);
  const path = note?.path ?? "/";
  const there = link("Go back", path);
  const again = !isOpen && note && h("unlock-button", { price: note.offer.price, label: "Try again" });
  const mine = link("See your purchases", "/purchases");
  const say = (/** @type {string} */ title, /** @type {string} */ heading, /** @type {string} */ text, /** @type {string} */ next, /** @type {Child[]} */ ...on) =>
    page(show, title, heading, isOpen ? `${text} ${open}` : `${text} ${next}`, ways(...on));
  switch (status) {
    case "open":
      return say("Not paid yet", "You haven’t paid yet.", "The checkout is still open.", "",
        !isOpen && note && h("unlock-button", { price: note.offer.price, label: "Return to checkout" }), there);
    case "expired":
      return say("Not paid", "This checkout has expired.", "Checkouts stay open for a day.",
        "You can start a new one.", again, there);
    case "failed":
      return say("Not paid", "Your payment failed.", "Your bank declined it.",
        "You don’t have access yet. Try another card or payment method.", again, there);
    case "refunded":
      return say("Refunded", "This purchase was refunded.", `${back} was refunded.`, "Your access has ended.", again, mine);
    case "suspended":
      return say("On hold", "This purchase is on hold.", "Your payment is disputed.",
        "If your bank upholds it, access returns automatically.", mine);
    case "revoked":
      return say("Ended", "The author ended your access.", "",
        "If you think that’s a mistake, contact the author.", mine);
    case "dispute_lost":
      return say("Ended", "Your access has ended.", "Your bank returned the money.",
        "You can buy it again.", again, mine);
    case "ended":
      return say("Ended", "Your access has ended.", "The period you paid for is over.", "You can buy it again.", again, mine);
  }
}

/**
 * What the learner's entitlements add: how much of the price was refunded, and what else gives access.
 * @param {Confirmation["status"]} status
 * @param {Note | null} note
 * @param {boolean} isOpen
 */
async function around(status, note, isOpen) {
  await shop.refresh();
  const holdings = await shop.holdings().catch(() => []);
  const product = note?.offer.product;
  const held = byTime(holdings).findLast((held) => held.product === product && held.status === status);
  const percent = held?.refunded_percent ?? 100;
  const other = isOpen && opener(holdings, product);
  return {
    back: percent < 100 ? `${percent}% of the price` : "The full price",
    open: other ? still(other) : "You still have access.",
  };
}

/** @param {Visit["show"]} show */
function checking(show) {
  page(show, "Purchase", "Thank you.", h("span", { class: "busy", role: "status" }, "Checking your payment…"));
}

/**
 * @param {Visit["show"]} show
 * @param {Note | null} note
 * @param {() => void} [again] shown once the page no longer checks automatically
 */
function waiting(show, note, again) {
  page(show, "Processing", "Your payment is processing.",
    h("span", { class: again ? null : "busy", role: "status" },
      "Stripe is waiting for your bank. Cards take seconds, bank debits a few days. ",
      again ? "You can leave this page." : "This page checks automatically."),
    h("p", {}, note ? `${note.offer.name} opens` : "Access opens", " automatically as soon as your bank confirms the payment. Don’t pay again."),
    ways(
      again && h("button", { class: "button", type: "button", onclick: again }, "Check again"),
      link("See your purchases", "/purchases")));
}

/**
 * @param {Visit["show"]} show
 * @param {Note | null} note
 */
function signedOut(show, note) {
  page(show, "Purchase", note ? "Thank you. Your session has expired." : "Thank you.",
    "Your purchase is safe. Sign in to see it.", ways(entrance("Sign in")));
}

/**
 * A learner who came from a chat isn't signed in here, and needn't be.
 * @param {Visit["show"]} show
 * @param {string | null} status what the link found when it was opened again
 */
function backToTheChat(show, status) {
  const [heading, text] = {
    paid: ["Paid. Back to your chat.", "You have access there now."],
    processing: ["Your payment is processing. Back to your chat.", "Access opens there automatically once your bank confirms the payment. Don’t pay again."],
  }[status ?? ""] ?? ["Thank you. Back to your chat.", "Access opens there automatically: within seconds for a card, after a few days for a bank debit."];
  page(show, "Back to your chat", heading ?? "", text, h("p", {}, "You can close this page."));
}

/**
 * @param {Visit} visit
 * @param {Note | null} note
 */
async function paid({ show, go, signal }, note) {
  await shop.refresh();
  const [courses, holdings] = await shop.all().catch(() => /** @type {[Course[], Entitlement[]]} */ ([[], []]));
  const held = byTime(holdings)
    .findLast((held) => held.status === "active" && (note ? held.product === note.offer.product : isNew(held)));
  const isTwice = holdings.some((other) => other.product === held?.product && other.paid_twice);
  const offer = note?.offer ?? courses.flatMap((course) => course.offers).find((offer) => offer.product === held?.product);
  const opened = courses.filter((course) => (held ?? offer)?.courses.includes(course.id));
  // Returns to the chapter that was being read, here or on another site.
  const path = note && READING.test(note.path) ? note.path : opened[0] ? `/course/${opened[0].id}` : "/";
  const host = hostBehind(path);
  const stay = new AbortController();
  // The page stays, so that the learner reads that they paid twice.
  if (isTwice) stay.abort();
  /** @type {Child} */
  let payment = held && "…";
  const draw = () => signal.aborted ||
    page(show, "Paid", "Thank you. It’s yours.",
      offer ? `You now have access to ${offer.name}.` : "You now have access to your purchase.",
      isTwice && twice(),
      receipt(offer, held, opened.map((course) => course.title), payment),
      ways(
        link(host ? `Back to ${host}` : opened.length === 1 ? `Continue to ${opened[0]?.title}` : "Continue", path, ""),
        isTwice && link("See your purchases", "/purchases")),
      !stay.signal.aborted && h("p", { class: "small quiet going" },
        h("span", { role: "status" }, `${host ? `Going back to ${host}` : "Opening your course"} in ${GO_ON_S} s… `),
        h("button", {
          class: "link",
          type: "button",
          onclick: () => {
            stay.abort();
            draw();
            document.getElementById("main")?.focus();
          },
        }, "Stay here")));
  draw();
  // Asked while the countdown runs.
  if (held) {
    void amountPaid(held, signal).then((amount) => {
      payment = amount;
      draw();
    });
  }
  if (stay.signal.aborted) return;
  await seconds(GO_ON_S, AbortSignal.any([signal, stay.signal]));
  if (signal.aborted || stay.signal.aborted) return;
  void go(path);
}

function twice() {
  return h("div", { class: "notice" },
    h("p", { role: "alert" }, "You paid for this twice. Ask the author to refund the second payment. You keep access."));
}

/**
 * In a tab other than the one that went to Stripe, the newest purchase is taken for this one.
 * @param {Entitlement} held
 */
function isNew({ since }) {
  return since !== null && Math.abs(Date.now() - Date.parse(since)) < NEW_MS;
}

/**
 * The amount paid, if the API knows it.
 * @param {Entitlement} held
 * @param {AbortSignal} signal
 */
async function amountPaid(held, signal) {
  const why = await api.why(held.product, signal).catch(() => null);
  const facts = why?.sources.find((source) => source.source === held.source)?.facts;
  const paid = facts?.find((fact) => fact.fact === "paid");
  return paid?.currency ? money(paid.amount ?? 0, paid.currency) : null;
}

/**
 * @param {Offer | undefined} offer
 * @param {Entitlement | undefined} held
 * @param {string[]} titles
 * @param {Child} payment the amount paid, which a discount makes less than the offer's price
 */
function receipt(offer, held, titles, payment) {
  const row = (/** @type {string} */ term, /** @type {Child} */ value) =>
    value && h("div", {}, h("dt", {}, term), h("dd", {}, value));
  return h("dl", { class: "receipt" },
    row("Bought", offer?.name),
    row("Opens", titles.length > 3 ? counted(titles.length, "course") : titles.join(", ")),
    row("Paid", payment),
    row("Date", held?.since && date(held.since)),
    row("Account", session.email),
    row("Reference", held && h("code", {}, held.source)));
}

/**
 * @param {Visit["show"]} show
 * @param {string} title
 * @param {string} heading
 * @param {Child} text
 * @param {...Child} more
 */
function page(show, title, heading, text, ...more) {
  show(title, h("div", { class: "narrow" }, h("h1", {}, heading), h("p", { class: "summary" }, text), more));
}

/** @param {...Child} ways */
function ways(...ways) {
  return h("div", { class: "ways" }, ways);
}

/** @param {string} label @param {string} href */
function link(label, href, kind = "quiet") {
  return h("a", { class: `button ${kind}`, href }, label);
}

/**
 * @param {number} count
 * @param {AbortSignal} signal
 * @returns {Promise<void>}
 */
function seconds(count, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, count * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
