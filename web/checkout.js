// @ts-check
// The way to Stripe, and what is kept of it for the way back.

/** @import { Offer } from "./api.d.ts" */
/** @typedef {{ session: string, offer: Offer, path: string }} Note */

import { api } from "./client.js";
import { here, ownPath } from "./sign-in.js";

const KEY = "coursegate.checkout";

/** These pages are on the way to Stripe or back; nobody wants to come back to them. */
const ON_THE_WAY = /^\/(buy|cancel|success)\b/;

/**
 * Opens a checkout and keeps what it is for and where the learner was. Answers Stripe's address.
 * @param {Offer} offer
 * @param {string} [from] where the learner was
 */
export async function checkout(offer, from = here()) {
  const opened = await api.checkout(offer.price);
  const path = ON_THE_WAY.test(from)
    ? (kept({ price: offer.price })?.path ?? `/course/${offer.courses[0]}`)
    : from;
  /** @type {Note} */
  const note = { session: opened.session_id, offer, path };
  try {
    sessionStorage.setItem(KEY, JSON.stringify(note));
  } catch {
    // Then the pages after it say less.
  }
  return opened.url;
}

/**
 * What was kept of the checkout of this session or for this price, in this tab.
 * @param {{ session?: string | null, price?: string | null }} of
 * @returns {Note | null}
 */
export function kept({ session, price }) {
  try {
    /** @type {Note | null} */
    const note = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    const isIt = note && (note.session === session || note.offer.price === price);
    return isIt ? { ...note, path: ownPath(note.path) } : null;
  } catch {
    return null;
  }
}
