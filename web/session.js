// @ts-check
// Who is signed in. On the site, all tabs share one session, which is renewed with a refresh token until
// the learner signs out or the issuer ends it. A page of another origin has only the access token that
// the site gave it, in memory and in its tab's session storage, until that expires.
// Dispatches "change" when somebody signs in or out, or when the session expires. Signing out in one tab
// signs out all of them, even those that show another site at the moment.

/** @typedef {{ token: string, expires: number, renew: number, email?: string, learner?: string }} SignedIn */
/** @typedef {SignedIn & { renewable: boolean, since: number }} Held */
/** @import { Kept } from "./stored-session.js" */

import { embedded } from "./config.js";
import { load, remove, save } from "./stored-session.js";
import { TokenError, readTokens, request, revoke } from "./tokens.js";

/** Whether a session is stored. It changes with the session, which other tabs notice. */
const KEY = "coursegate.session";
/** When the session began that this tab's stored data belongs to. */
const SINCE = "coursegate.since";
/** The time of the last sign-out in this browser, which ends every session begun before it. */
const SIGNED_OUT = "coursegate.signed-out";
/** A token that expires this soon isn't used any more. */
const MARGIN_MS = 20_000;
/** How long a renewal waits for its first answer, and how soon a failed one is tried again. */
const RETRY_MS = 4_000;
/** Timers can't wait longer than this. */
const TIMER_MAX_MS = 2 ** 31 - 1;
/** How long the site waits for the browser's storage before it starts without it. */
const STORAGE_MS = 1_000;

class Session extends EventTarget {
  /** @type {Held | null} */
  #who = null;
  #expired = false;
  /** Whether only this page has the session, since the browser stores nothing. */
  #isAlone = false;
  /** The refresh token of such a session. @type {string | undefined} */
  #refresh;
  /** @type {number | undefined} */
  #timer;
  /** When a failed renewal may be tried again. */
  #retry = 0;
  /** @type {Promise<void> | undefined} */
  #renewing;

  constructor() {
    super();
    addEventListener("storage", ({ key }) => {
      if (key === SIGNED_OUT) clear("sessionStorage");
      if (key === SIGNED_OUT || key === KEY) void this.recall();
    });
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) void this.recall();
      this.#look();
    });
    // A timer doesn't fire while the laptop sleeps.
    document.addEventListener("visibilitychange", () => this.#look());
    addEventListener("online", () => this.#look());
    if (embedded) this.#take(inTab()?.kept ?? null);
  }

  /** Whether somebody is signed in. */
  get signedIn() {
    this.#look();
    return this.#who !== null;
  }

  /** The learner's email address. */
  get email() {
    return this.#who?.email ?? null;
  }

  /** The learner's opaque id, to keep learners of one browser apart. */
  get learner() {
    return this.#who?.learner ?? null;
  }

  /** Whether the session has expired. */
  get expired() {
    return this.#expired;
  }

  /**
   * An access token that works, renewed if necessary; null if nobody is signed in. Throws if the issuer
   * can't be reached, which ends no session.
   * @param {string} [refused] a token that the API has refused
   * @returns {Promise<{ token: string, expires: number } | null>}
   */
  async access(refused) {
    this.#look();
    if (this.#who?.renewable && !isUsable(this.#who, refused)) await this.#renew(refused);
    if (!this.#who || !isUsable(this.#who, refused)) return null;
    const { token, expires } = this.#who;
    return { token, expires };
  }

  /**
   * @param {SignedIn} who
   * @param {string} [refresh] the refresh token
   */
  async begin(who, refresh) {
    // Later than the last sign-out, even if the clock was set back.
    const since = Math.max(Date.now(), signedOut() + 1);
    const held = { ...who, renewable: Boolean(refresh), since };
    this.#expired = false;
    this.#hold(held);
    await this.#keep(held, refresh);
    this.#tell();
  }

  /** Signs out, here and in the other tabs. Returns the refresh token, which is still to be revoked. */
  async end() {
    const refresh = this.#refresh;
    try {
      // Later than the session began, even if the clock was set back meanwhile.
      const at = Math.max(Date.now(), this.#who?.since ?? 0, signedOut() + 1);
      localStorage.setItem(SIGNED_OUT, String(at));
    } catch {
      // Storage is off: no other tab has kept anything.
    }
    // Removes everything of the learner's from the browser, which somebody else may use next.
    clear("sessionStorage");
    clear("localStorage");
    this.#drop(false);
    if (embedded) return undefined;
    const found = await load().catch(() => null);
    await remove().catch(() => {});
    return found?.kept.refresh ?? refresh;
  }

  /**
   * The API refused the token: the learner has to sign in again.
   * @param {string | undefined} token the one that was refused
   */
  expire(token = this.#who?.token) {
    if (this.#who && this.#who.token === token) void this.#discard();
  }

  /** Takes over the session that is stored now, or none. */
  async recall() {
    clearIfSignedOut();
    if (this.#who && this.#who.since <= signedOut()) this.#drop(false);
    if (this.#isAlone) return;
    const found = embedded ? inTab() : await stored();
    if (found !== undefined) this.#take(found?.kept ?? null);
  }

  /** Waits for what is stored, but not for long. */
  async restore() {
    await Promise.race([this.recall(), new Promise((resolve) => setTimeout(resolve, STORAGE_MS))]);
  }

  /** @param {Held | null} kept */
  #take(kept) {
    const was = this.#who;
    if (kept?.token === was?.token) return;
    if (!kept) return this.#drop(true);
    const isRenewal = was && was.learner === kept.learner && !embedded;
    this.#expired = false;
    this.#hold(kept);
    if (!isRenewal) this.#tell();
  }

  /** @param {Held} who */
  #hold({ token, expires, renew, email, learner, renewable, since }) {
    // Without the refresh token, which stays in the store.
    this.#who = { token, expires, renew, email, learner, renewable, since };
    try {
      sessionStorage.setItem(SINCE, String(since));
    } catch {
      // Storage is off: the tab keeps nothing.
    }
    this.#wait(dueAt(this.#who) - Date.now());
  }

  /** @param {number} ms */
  #wait(ms) {
    clearTimeout(this.#timer);
    const least = this.#who?.renewable ? RETRY_MS : 0;
    this.#timer = setTimeout(() => this.#look(), Math.min(Math.max(ms, least), TIMER_MAX_MS));
  }

  /** Renews the session if it is time, while somebody sees the page, or notices that it has expired. */
  #look() {
    if (!this.#who || dueAt(this.#who) > Date.now()) return;
    if (!this.#who.renewable) return void this.#discard();
    if (document.visibilityState !== "visible" || this.#retry > Date.now()) return;
    this.#renew().catch(() => {
      this.#retry = Date.now() + RETRY_MS;
      this.#wait(RETRY_MS);
    });
  }

  /** @param {string} [refused] */
  #renew(refused) {
    // One tab at a time: the others take over what it gets.
    this.#renewing ??= navigator.locks
      .request(KEY, () => this.#rotate(refused))
      .finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  /** @param {string} [refused] */
  async #rotate(refused) {
    await this.recall();
    const who = this.#who;
    if (!who || (isUsable(who, refused) && dueAt(who) > Date.now())) return;
    const found = this.#isAlone ? null : await stored();
    if (found === undefined) throw new Error("the browser’s storage doesn’t answer");
    const refresh = this.#isAlone ? this.#refresh : found?.kept.refresh;
    if (!refresh) return this.#discard();
    /** @type {import("./api.d.ts").Tokens} */
    let tokens;
    try {
      tokens = await exchange(refresh);
    } catch (error) {
      // Only this says that the session is over. A failing issuer or network doesn't.
      if (error instanceof TokenError && error.code === "invalid_grant") return this.#discard();
      throw error;
    }
    const next = tokens.refresh_token ?? refresh;
    const held = { ...who, ...readTokens(tokens) };
    const isKept = found ? await this.#keep(held, next, found.id) : this.#who === who;
    if (isKept && held.since > signedOut()) {
      if (!found) this.#refresh = next;
      this.#hold(held);
      return;
    }
    // Somebody has signed out or in meanwhile.
    void revoke(next).catch(() => {});
    this.#isAlone = false;
    this.#refresh = undefined;
    const left = await load().catch(() => null);
    if (left?.kept.token === held.token) await remove(left.id).catch(() => {});
    await this.recall();
  }

  /**
   * Stores the session for all tabs; if the browser stores nothing, only this page has it. Returns false
   * if another state than the one to be replaced is stored by now.
   * @param {Held} held
   * @param {string | undefined} refresh
   * @param {string} [instead]
   */
  async #keep(held, refresh, instead) {
    try {
      if (embedded) {
        sessionStorage.setItem(KEY, JSON.stringify(held));
      } else {
        const id = await save({ ...held, refresh }, instead);
        if (!id) return false;
        localStorage.setItem(KEY, id);
      }
      this.#isAlone = false;
      this.#refresh = undefined;
    } catch {
      this.#isAlone = true;
      this.#refresh = refresh;
    }
    return true;
  }

  /** The session has expired: ends it in all tabs. */
  async #discard() {
    const token = this.#who?.token;
    const wasAlone = this.#isAlone;
    this.#drop(true);
    if (embedded) clear("sessionStorage", KEY);
    if (embedded || wasAlone) return;
    const found = await stored();
    const isIt = found?.kept.token === token;
    if (isIt && (await remove(found?.id).catch(() => true))) clear("localStorage", KEY);
    else await this.recall();
  }

  /** @param {boolean} expired */
  #drop(expired) {
    this.#expired = expired;
    this.#who = null;
    this.#isAlone = false;
    this.#refresh = undefined;
    clearTimeout(this.#timer);
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * Exchanges a refresh token. If the answer is lost, the second attempt still comes within Cognito's
 * grace period for a replaced token, ten seconds.
 * @param {string} refresh
 */
function exchange(refresh) {
  const grant = { grant_type: "refresh_token", refresh_token: refresh };
  return request(grant, RETRY_MS).catch((error) => {
    if (error instanceof TokenError) throw error;
    return request(grant);
  });
}

/**
 * When a session has to be renewed, or has expired if it can't be.
 * @param {Held} who
 */
function dueAt({ renewable, renew, expires }) {
  return renewable ? Math.min(renew, expires - MARGIN_MS) : expires - MARGIN_MS;
}

/**
 * @param {Held} who
 * @param {string} [refused]
 */
function isUsable({ token, expires }, refused) {
  return token !== refused && expires - MARGIN_MS > Date.now();
}

/** When somebody last signed out in this browser. */
function signedOut() {
  try {
    return Number(localStorage.getItem(SIGNED_OUT));
  } catch {
    return 0;
  }
}

/**
 * The site's stored session; `undefined` if storage is off.
 * @returns {Promise<{ id: string, kept: Kept } | null | undefined>}
 */
async function stored() {
  try {
    // Nobody has signed in here: doesn't open the database.
    if (localStorage.getItem(KEY) === null) return null;
    const found = await load();
    return found && found.kept.since > signedOut() ? found : null;
  } catch {
    return undefined;
  }
}

/**
 * The session that an embedding page's tab stores; `undefined` if storage is off.
 * @returns {{ kept: Held } | null | undefined}
 */
function inTab() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    const isWhole = typeof kept?.token === "string" && typeof kept.expires === "number";
    return isWhole && !(kept.since <= signedOut()) ? { kept } : null;
  } catch {
    return undefined;
  }
}

/**
 * Removes what we have stored, except the time of the last sign-out.
 * @param {"sessionStorage" | "localStorage"} where
 * @param {string} [prefix]
 */
function clear(where, prefix = "coursegate.") {
  try {
    const storage = window[where];
    for (const key of Object.keys(storage)) {
      if (key.startsWith(prefix) && key !== SIGNED_OUT) storage.removeItem(key);
    }
  } catch {
    // Storage is off: nothing was kept.
  }
}

/** Somebody may have signed out while the tab showed another site. */
function clearIfSignedOut() {
  try {
    const since = sessionStorage.getItem(SINCE);
    if (since !== null && Number(since) <= signedOut()) clear("sessionStorage");
  } catch {
    // Storage is off: the tab kept nothing.
  }
}

clearIfSignedOut();

/** This page's session. */
export const session = new Session();

if (!embedded) await session.restore();
