// @ts-check
// The learner's session: the access token, in memory and in this tab's session storage, nowhere else.
// Dispatches "change" when somebody signs in or out, or when the session expires. Signing out in one tab
// signs out all of them, even those that show another site at the moment.

/** @import { Tokens } from "./api.d.ts" */
/** @typedef {{ token: string, email?: string, learner?: string, expires: number, since?: number }} SignedIn */

import { decode } from "./base64url.js";

const KEY = "coursegate.session";
/** The time of the last sign-out in this browser, which ends every session begun before it. */
const SIGNED_OUT = "coursegate.signed-out";
/** A token that expires this soon isn't used any more. */
const MARGIN_MS = 20_000;
/** Timers can't wait longer than this. */
const TIMER_MAX_MS = 2 ** 31 - 1;

class Session extends EventTarget {
  /** @type {SignedIn | null} */
  #who = null;
  #expired = false;
  /** @type {number | undefined} */
  #timer;

  constructor() {
    super();
    this.#hold(stored() ?? null);
    addEventListener("storage", ({ key }) => {
      if (key === SIGNED_OUT) this.#forget();
    });
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) this.#recall();
      this.#look();
    });
    // A timer doesn't fire while the laptop sleeps.
    document.addEventListener("visibilitychange", () => this.#look());
  }

  /** The access token, if somebody is signed in. */
  get token() {
    this.#look();
    return this.#who?.token ?? null;
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

  /** The whole session, to be passed to a page that embeds elements. */
  get whole() {
    this.#look();
    return this.#who;
  }

  /** @param {SignedIn} who */
  begin(who) {
    this.#expired = false;
    this.#hold(who);
    try {
      // Later than the last sign-out, even if the clock was set back.
      const since = Math.max(Date.now(), Number(localStorage.getItem(SIGNED_OUT)) + 1);
      sessionStorage.setItem(KEY, JSON.stringify({ ...who, since }));
    } catch {
      // Storage is off: the session lasts until the page is left.
    }
    this.#tell();
  }

  /** Signs out, here and in the other tabs. */
  end() {
    this.#forget();
    try {
      localStorage.setItem(SIGNED_OUT, String(Date.now()));
    } catch {
      // Storage is off: no other tab has kept anything.
    }
  }

  /**
   * The API refused the token: the learner has to sign in again.
   * @param {string | null} token the one that was refused
   */
  expire(token = this.#who?.token ?? null) {
    if (this.#who && this.#who.token === token) this.#drop(true);
  }

  /** @param {SignedIn | null} who */
  #hold(who) {
    const isWhole = typeof who?.token === "string" && typeof who.expires === "number";
    this.#who = isWhole ? who : null;
    clearTimeout(this.#timer);
    if (!this.#who) return;
    const rest = this.#who.expires - MARGIN_MS - Date.now();
    this.#timer = setTimeout(() => this.#look(), Math.min(Math.max(rest, 0), TIMER_MAX_MS));
  }

  /**
   * The page was restored from the browser's cache: takes over the session that the tab stores now, or
   * none.
   */
  #recall() {
    const who = stored();
    if (who === undefined || (who?.token === this.#who?.token && !this.#expired)) return;
    this.#expired = false;
    this.#hold(who);
    this.#tell();
  }

  /** Removes everything of the learner's from the browser, which somebody else may use next. */
  #forget() {
    try {
      clear(sessionStorage);
      clear(localStorage);
    } catch {
      // Storage is off: nothing was kept.
    }
    this.#drop(false);
  }

  #look() {
    if (this.#who && this.#who.expires - MARGIN_MS <= Date.now()) this.#drop(true);
  }

  /** @param {boolean} expired */
  #drop(expired) {
    this.#expired = expired;
    this.#hold(null);
    try {
      sessionStorage.removeItem(KEY);
    } catch {
      // There was nothing to remove.
    }
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * The session that this tab stores; `undefined` if storage is off.
 * @returns {SignedIn | null | undefined}
 */
function stored() {
  try {
    /** @type {SignedIn | null} */
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    const isOver = kept && (kept.since ?? 0) <= Number(localStorage.getItem(SIGNED_OUT));
    if (isOver) clear(sessionStorage);
    return isOver ? null : kept;
  } catch {
    return undefined;
  }
}

/** @param {Storage} storage */
function clear(storage) {
  for (const key of Object.keys(storage)) {
    if (key.startsWith("coursegate.") && key !== SIGNED_OUT) storage.removeItem(key);
  }
}

/** This page's session. */
export const session = new Session();

/**
 * Reads the issuer's token response. The ID token comes straight from the issuer over TLS and is only
 * displayed; the API decides by the access token who may open what.
 * @param {Tokens} tokens
 * @returns {SignedIn}
 */
export function readTokens(tokens) {
  const bytes = decode(tokens.id_token.split(".")[1] ?? "");
  const claims = JSON.parse(new TextDecoder().decode(bytes));
  return {
    token: tokens.access_token,
    email: String(claims.email ?? ""),
    learner: String(claims.sub ?? ""),
    expires: Date.now() + tokens.expires_in * 1000,
  };
}
