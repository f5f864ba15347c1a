// @ts-check
// IndexedDB, the only storage that can hold a key that no script can export. Each use has a database of
// its own, with one store.

const PATIENCE_MS = 5_000;

/**
 * Runs one transaction and returns the result of its request. Fails if that takes too long.
 * @template T
 * @param {string} name the database
 * @param {string} store its store
 * @param {(store: IDBObjectStore) => IDBRequest<T>} work
 * @returns {Promise<T>}
 */
export function inStore(name, store, work) {
  // Browsers have had errors that leave IndexedDB without an answer.
  /** @type {Promise<never>} */
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("IndexedDB doesn’t answer")), PATIENCE_MS);
  });
  return Promise.race([transact(name, store, work), late]);
}

/**
 * @template T
 * @param {string} name
 * @param {string} store
 * @param {(store: IDBObjectStore) => IDBRequest<T>} work
 * @returns {Promise<T>}
 */
async function transact(name, store, work) {
  const database = await open(name, store);
  try {
    const transaction = database.transaction(store, "readwrite");
    const request = work(transaction.objectStore(store));
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

/**
 * @param {string} name
 * @param {string} store
 * @returns {Promise<IDBDatabase>}
 */
function open(name, store) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.addEventListener("upgradeneeded", () => request.result.createObjectStore(store));
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}
