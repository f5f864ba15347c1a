// @ts-check
// Opens a checkout, and keeps a note of it for the return from Stripe.

/** @import { Offer } from "./api.d.ts" */
/** @typedef {{ session: string, offer: Offer, path: string }} Note */

import { api } from "./client.js";
import { here, ownPath } from "./sign-in.js";

const KEY = "coursegate.checkout";

/** The pages on the way to Stripe and back, which are no place to return to. */
const ON_THE_WAY = /^\/(buy|cancel|success)\b/;

/**
 * Opens a checkout, notes the offer and where the learner was, and returns Stripe's URL.
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
    // Storage is off: the pages after the checkout show less.
  }
  return opened.url;
}

/**
 * This tab's note about the checkout of this session or for this price.
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
