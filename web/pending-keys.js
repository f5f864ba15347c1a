// @ts-check
// The private keys that a page of another origin keeps while its learner is at the site to sign in: one
// per departure, deleted when its response is read.

import { inStore } from "./database.js";

const DATABASE = "coursegate";
const STORE = "pending-keys";
/** Longer than a checkout stays open at Stripe (24 hours), since paying uses the same redirect. */
const LIFETIME_MS = 36 * 60 * 60 * 1000;

/** @typedef {{ pair: CryptoKeyPair, until: number }} Pending */

/**
 * Stores the key pair for this state.
 * @param {string} state
 * @param {CryptoKeyPair} pair
 */
export async function keep(state, pair) {
  /** @type {Pending} */
  const pending = { pair, until: Date.now() + LIFETIME_MS };
  await inStore(DATABASE, STORE, (store) => {
    deleteExpired(store);
    return store.put(pending, state);
  });
}

/**
 * Removes this state's key pair from the store and returns it.
 * @param {string} state
 * @returns {Promise<CryptoKeyPair | null>}
 */
export async function take(state) {
  const pending = await inStore(DATABASE, STORE, (store) => {
    deleteExpired(store);
    /** @type {IDBRequest<Pending | undefined>} */
    const found = store.get(state);
    store.delete(state);
    return found;
  });
  return pending && pending.until > Date.now() ? pending.pair : null;
}

/** Deletes the keys of learners who never came back, without creating the database if there is none. */
export async function expire() {
  const databases = await indexedDB.databases();
  if (databases.some(({ name }) => name === DATABASE)) await inStore(DATABASE, STORE, deleteExpired);
}

/** @param {IDBObjectStore} store */
function deleteExpired(store) {
  const request = store.openCursor();
  request.addEventListener("success", () => {
    const cursor = request.result;
    if (!cursor) return;
    if (cursor.value.until <= Date.now()) cursor.delete();
    cursor.continue();
  });
  return request;
}
