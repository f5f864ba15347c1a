// @ts-check
// `/success?session_id=…`: back from Stripe. Asks the API at once what became of it, waits well while
// the bank is at work, and goes on to the course by itself.

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

/** While the bank is at work, the API is asked again after so long, then seldomer, then no more. */
const PAUSES_S = [2, 3, 4, 6, 9, 13, 20, 30, 45, 60, 60, 60, 90, 90, 120, 120, 180, 180, 300, 300];
/** Long enough to read what was bought. */
const GO_ON_S = 6;
const NEW_MS = 15 * 60 * 1000;
const READING = /^\/(course\/|connect\?)/;

/** @param {Visit} visit */
export async function success(visit) {
  let turn = new AbortController();
  // Whoever asks again ends the asking before it.
  const again = () => {
    turn.abort();
    turn = new AbortController();
    return look({ ...visit, signal: AbortSignal.any([visit.signal, turn.signal]) }, () => void again());
  };
  // Nothing of the learner stays on the page when they have signed out elsewhere.
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
    return page(show, "Purchase", "Which purchase?",
      "Stripe adds it to this address, and it is missing. Your purchases list all there are.",
      ways(link("See your purchases", "/purchases")));
  }
  if (!session.token) return signedOut(show, note);
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
 * Asks what became of the session, and shows it unless it is to be waited for.
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
      page(show, "Purchase", "This purchase is not in your account.",
        "If you came from a chat, go back there: what you bought is open there. If you paid with another account of yours, sign in with that one.",
        ways(link("See your purchases", "/purchases")));
    } else {
      show("Purchase", h("div", { class: "narrow" },
        h("h1", {}, "Your purchase can’t be looked up just now."),
        h("p", { class: "summary" }, "If you have paid, it is safe: it opens without this page too."),
        notice(error, { retry, signal })));
    }
    return "unknown";
  }
}

/**
 * @param {Visit} visit
 * @param {Exclude<Confirmation["status"], "processing">} status
 * @param {Note | null} note
 * @param {boolean} isOpen whether what was to be bought is open, by this purchase or by another
 */
async function became(visit, status, note, isOpen) {
  const { show } = visit;
  if (status === "paid") return paid(visit, note);
  const { back, open } = await around(status, note, isOpen);
  const path = note?.path ?? "/";
  const there = link("Back to where you were", path);
  const again = !isOpen && note && h("unlock-button", { price: note.offer.price, label: "Try again" });
  const mine = link("See your purchases", "/purchases");
  const say = (/** @type {string} */ title, /** @type {string} */ heading, /** @type {string} */ text, /** @type {string} */ next, /** @type {Child[]} */ ...on) =>
    page(show, title, heading, isOpen ? `${text} ${open}` : `${text} ${next}`, ways(...on));
  switch (status) {
    case "open":
      return say("Not paid yet", "Not paid yet.", "The checkout is still open.", "",
        !isOpen && note && h("unlock-button", { price: note.offer.price, label: "Back to the checkout" }), there);
    case "expired":
      return say("Not paid", "The checkout has expired.", "It was open for a day.",
        "You can open a new one.", again, there);
    case "failed":
      return say("Not paid", "The payment failed.", "Your bank has not made it.",
        "Nothing was opened. Another card or another way to pay may work.", again, there);
    case "refunded":
      return say("Refunded", "This purchase was refunded.", `${back} went back to you.`, "What it opened is closed.", again, mine);
    case "suspended":
      return say("On hold", "This purchase is on hold.", "The payment is disputed at the bank.",
        "If it stands, what you bought opens again by itself.", mine);
    case "revoked":
      return say("Ended", "The author ended your access.", "",
        "Ask the author if that is a mistake.", mine);
    case "dispute_lost":
      return say("Ended", "Your access has ended.", "Your bank returned the money.",
        "You can buy it again.", again, mine);
    case "ended":
      return say("Ended", "What you bought has ended.", "It was open for the time that you paid for.", "You can buy it again.", again, mine);
  }
}

/**
 * What the learner's other purchases say of this one: what has gone back of its price, and by what
 * it is open all the same.
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
    back: percent < 100 ? `${percent}% of the price` : "Your money",
    open: other ? still(other) : "What you wanted is open to you all the same.",
  };
}

/** @param {Visit["show"]} show */
function checking(show) {
  page(show, "Purchase", "Thank you.", h("span", { class: "busy", role: "status" }, "Looking up your payment…"));
}

/**
 * @param {Visit["show"]} show
 * @param {Note | null} note
 * @param {() => void} [again] when it is no longer asked by itself
 */
function waiting(show, note, again) {
  page(show, "On its way", "Your payment is on its way.",
    h("span", { class: again ? null : "busy", role: "status" },
      "Stripe waits for your bank to confirm it. A card takes seconds, a bank debit some days. ",
      again ? "You can leave this page." : "This page asks again by itself."),
    h("p", {}, note ? `${note.offer.name} opens by itself` : "What you bought opens by itself", " as soon as the bank has confirmed the payment. You don’t have to pay again."),
    ways(
      again && h("button", { class: "button", type: "button", onclick: again }, "Ask again now"),
      link("See your purchases", "/purchases")));
}

/**
 * @param {Visit["show"]} show
 * @param {Note | null} note
 */
function signedOut(show, note) {
  page(show, "Purchase", note ? "Thank you. Your sign-in has ended meanwhile." : "Thank you.",
    "Your purchase is safe. Sign in to see it.", ways(entrance("Sign in")));
}

/**
 * Whoever came from a chat is signed in nowhere, and need not be.
 * @param {Visit["show"]} show
 * @param {string | null} status what their link has found, if they have opened it once more
 */
function backToTheChat(show, status) {
  const [heading, text] = {
    paid: ["Paid. Back to your chat.", "What you bought is open there."],
    processing: ["It is on its way. Back to your chat.", "What you bought opens there by itself, once the bank has confirmed the payment. You don’t have to pay again."],
  }[status ?? ""] ?? ["Thank you. Back to your chat.", "What you bought opens there by itself: after a card in a moment, after a bank debit once the bank has confirmed it."];
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
  // Whoever was reading goes on reading, here or on another site.
  const path = note && READING.test(note.path) ? note.path : opened[0] ? `/course/${opened[0].id}` : "/";
  const host = hostBehind(path);
  const stay = new AbortController();
  // Who has paid twice should read that.
  if (isTwice) stay.abort();
  /** @type {Child} */
  let payment = held && "…";
  const draw = () => signal.aborted ||
    page(show, "Paid", "Paid. It is yours.",
      offer ? `${offer.name} is open to you.` : "What you bought is open to you.",
      isTwice && twice(),
      receipt(offer, held, opened.map((course) => course.title), payment),
      ways(
        link(host ? `Back to ${host}` : `Go on${opened.length === 1 ? ` to ${opened[0]?.title}` : ""}`, path, ""),
        isTwice && link("See your purchases", "/purchases")),
      !stay.signal.aborted && h("p", { class: "small quiet going" },
        h("span", { role: "status" }, `This goes on by itself in ${GO_ON_S} seconds. `),
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
  // The wait has begun when this is asked.
  if (held) {
    void arrived(held, signal).then((amount) => {
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
    h("p", { role: "alert" }, "You have paid for this twice. Ask the author to refund the second payment; what you bought stays open."));
}

/**
 * In another tab than the one that went to Stripe, the purchase is known by having just been made.
 * @param {Entitlement} held
 */
function isNew({ since }) {
  return since !== null && Math.abs(Date.now() - Date.parse(since)) < NEW_MS;
}

/**
 * What was paid, as far as the API knows.
 * @param {Entitlement} held
 * @param {AbortSignal} signal
 */
async function arrived(held, signal) {
  const why = await api.why(held.product, signal).catch(() => null);
  const facts = why?.sources.find((source) => source.source === held.source)?.facts;
  const paid = facts?.find((fact) => fact.fact === "paid");
  return paid?.currency ? money(paid.amount ?? 0, paid.currency) : null;
}

/**
 * @param {Offer | undefined} offer
 * @param {Entitlement | undefined} held
 * @param {string[]} titles
 * @param {Child} payment what was paid, which is the offer's price but for a discount
 */
function receipt(offer, held, titles, payment) {
  const row = (/** @type {string} */ term, /** @type {Child} */ value) =>
    value && h("div", {}, h("dt", {}, term), h("dd", {}, value));
  return h("dl", { class: "receipt" },
    row("Bought", offer?.name),
    row("Opens", titles.length > 3 ? counted(titles.length, "course") : titles.join(", ")),
    row("Paid", payment),
    row("On", held?.since && date(held.since)),
    row("For", session.email),
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
