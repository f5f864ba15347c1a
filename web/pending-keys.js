// @ts-check
// The private keys of learners who are at the site to sign in, on the page of another origin that
// they left: one for each time somebody leaves, deleted when its response is read. IndexedDB is the
// only storage that outlives the page and can keep a key that no script can read.

const DATABASE = "coursegate";
const STORE = "pending-keys";
/** Longer than Stripe keeps a checkout open (24 hours), which lies on the way of a payment. */
const LIFETIME_MS = 36 * 60 * 60 * 1000;

/** @typedef {{ pair: CryptoKeyPair, until: number }} Pending */

/**
 * Keeps the key pair whose response will come under this state.
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
 * Takes the key pair of this state out of the store: there is no second time.
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

/** Deletes the keys of learners who never came back. Who has none gets no database by that. */
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
 * Does something in one transaction, and returns the result of its request.
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
    // A page with an open connection can't be kept for the Back button.
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
