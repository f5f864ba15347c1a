// @ts-check
// The session that this browser keeps, for all tabs of the site: one record in IndexedDB, encrypted under
// a key that no script can export. ADR 33 says what that protects, and what it doesn't.

/** @import { Held } from "./session.js" */
/** @typedef {Held & { refresh?: string }} Kept */
/** @typedef {{ id: string, key: CryptoKey, nonce: Uint8Array<ArrayBuffer>, ciphertext: ArrayBuffer }} Row */

import { inStore } from "./database.js";

const DATABASE = "coursegate-session";
const STORE = "session";
const NAME = "current";
const CIPHER = "AES-GCM";

/**
 * The stored session, with the id of this state of it.
 * @returns {Promise<{ id: string, kept: Kept } | null>}
 */
export async function load() {
  /** @type {Row | undefined} */
  const row = await inStore(DATABASE, STORE, (store) => store.get(NAME));
  if (!row) return null;
  const { id, key, nonce, ciphertext } = row;
  const text = await crypto.subtle.decrypt({ name: CIPHER, iv: nonce }, key, ciphertext);
  return { id, kept: JSON.parse(new TextDecoder().decode(text)) };
}

/**
 * Stores a session under a new key, and returns its id.
 * @param {Kept} kept
 * @param {string} [instead] the state that it replaces; if another one is stored by now, nothing is
 *   stored and the result is null
 */
export async function save(kept, instead) {
  const key = await crypto.subtle.generateKey({ name: CIPHER, length: 256 }, false, ["encrypt", "decrypt"]);
  const nonce = crypto.getRandomValues(new Uint8Array(12));
  const text = new TextEncoder().encode(JSON.stringify(kept));
  const ciphertext = await crypto.subtle.encrypt({ name: CIPHER, iv: nonce }, key, text);
  /** @type {Row} */
  const row = { id: crypto.randomUUID(), key, nonce, ciphertext };
  const isDone = await ifStored(instead, (store) => store.put(row, NAME));
  return isDone ? row.id : null;
}

/**
 * Removes the stored session, and says whether it did.
 * @param {string} [id] only this state of it
 */
export function remove(id) {
  return ifStored(id, (store) => store.delete(NAME));
}

/**
 * Changes the store if this state is stored, or in any case if there is no id. Says whether it did.
 * @param {string | undefined} id
 * @param {(store: IDBObjectStore) => void} change
 */
async function ifStored(id, change) {
  const isIt = (/** @type {Row | undefined} */ row) => id === undefined || row?.id === id;
  /** @type {Row | undefined} */
  const found = await inStore(DATABASE, STORE, (store) => {
    const request = store.get(NAME);
    request.addEventListener("success", () => {
      if (isIt(request.result)) change(store);
    });
    return request;
  });
  return isIt(found);
}
