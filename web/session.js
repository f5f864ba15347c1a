// @ts-check
// Who is signed in: the access token, in memory and in this tab's session storage, nowhere else.
// The session tells a "change" whenever somebody comes, goes, or is signed out by time. Whoever signs
// out in one tab is signed out in all of them, also in those that are elsewhere at the moment.

/** @import { Tokens } from "./api.d.ts" */
/** @typedef {{ token: string, email?: string, learner?: string, expires: number, since?: number }} SignedIn */

import { decode } from "./base64url.js";

const KEY = "coursegate.session";
/** When somebody has signed out in this browser, which ends what was begun before. */
const SIGNED_OUT = "coursegate.signed-out";
/** A token that ends this soon is not worth a request. */
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
    // A laptop that slept has slept through the timer too.
    document.addEventListener("visibilitychange", () => this.#look());
  }

  /** The access token, if somebody is signed in. */
  get token() {
    this.#look();
    return this.#who?.token ?? null;
  }

  /** The e-mail address of whoever is signed in. */
  get email() {
    return this.#who?.email ?? null;
  }

  /** What tells the learner from others in this browser, and says nothing of them. */
  get learner() {
    return this.#who?.learner ?? null;
  }

  /** Whether somebody was signed in, until the token ended. */
  get expired() {
    return this.#expired;
  }

  /** All of it, to be handed to a page that embeds elements. */
  get whole() {
    this.#look();
    return this.#who;
  }

  /** @param {SignedIn} who */
  begin(who) {
    this.#expired = false;
    this.#hold(who);
    try {
      // After the last sign-out, whatever the clock says.
      const since = Math.max(Date.now(), Number(localStorage.getItem(SIGNED_OUT)) + 1);
      sessionStorage.setItem(KEY, JSON.stringify({ ...who, since }));
    } catch {
      // Then it lasts until the page is left.
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
   * The token is no longer accepted: whoever it was has to sign in again.
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
   * The browser has kept this page as it was. Who has come or gone since then is known by what the
   * tab has kept; if that is nobody, nobody is signed in here either.
   */
  #recall() {
    const who = stored();
    if (who === undefined || (who?.token === this.#who?.token && !this.#expired)) return;
    this.#expired = false;
    this.#hold(who);
    this.#tell();
  }

  /** Nothing of the learner stays in the browser, which may be somebody else's next. */
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
 * Whom this tab has kept; `undefined` where the browser keeps nothing.
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

/** The one session of this page. */
export const session = new Session();

/**
 * Reads the tokens that sign-in answers with. The id token came straight from the issuer over TLS,
 * and is used to greet only; what may be opened is the API's to say, by the access token.
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
