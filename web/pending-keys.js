// @ts-check
// The private keys that a page of another origin keeps while its learner is at the site to sign in: one
// per departure, deleted when its response is read. IndexedDB is the only storage that outlives the page
// and can hold a non-extractable key.

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
  await inStore((store) => {
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
  const pending = await inStore((store) => {
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
  if (databases.some(({ name }) => name === DATABASE)) await inStore(deleteExpired);
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

/**
 * Runs one transaction and returns the result of its request.
 * @template T
 * @param {(store: IDBObjectStore) => IDBRequest<T>} work
 * @returns {Promise<T>}
 */
async function inStore(work) {
  const database = await open();
  try {
    const transaction = database.transaction(STORE, "readwrite");
    const request = work(transaction.objectStore(STORE));
    await new Promise((resolve, reject) => {
      transaction.addEventListener("complete", resolve);
      transaction.addEventListener("abort", () => reject(transaction.error));
    });
    return request.result;
  } finally {
    // A page with an open connection isn't eligible for the back/forward cache.
    database.close();
  }
}

/** @returns {Promise<IDBDatabase>} */
function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.addEventListener("upgradeneeded", () => request.result.createObjectStore(STORE));
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}
