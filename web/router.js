// @ts-check
// Client-side routing: a link within the site changes the page without loading a document. History,
// title, focus and scroll position behave as with real pages.

/** @import { Child } from "./dom.js" */

import { nodes, settle } from "./dom.js";

/**
 * A visit to a page.
 * @typedef {object} Visit
 * @property {string[]} parts the groups of the path's pattern
 * @property {URLSearchParams} query
 * @property {AbortSignal} signal ends when the page is left
 * @property {(title: string, ...content: Child[]) => void} show shows this content under this title
 * @property {(path: string) => void} go replaces this page with another one
 */
/** @typedef {(visit: Visit) => Promise<void>} Page */

/** Paths that belong to the API, the stack or a file, not to a page. */
const NOT_OURS = /^\/(api|local|webhook)(\/|$)|\.[^/]*$/;

export class Router {
  #routes;
  #main;
  #leave = new AbortController();
  /** Path and query of the page that is shown. */
  #at = "";
  /** Whether the scroll position is still to be restored. */
  #isRestoring = false;

  /**
   * @param {[RegExp, Page][]} routes the last one matches everything
   * @param {HTMLElement} main where pages are shown
   */
  constructor(routes, main) {
    this.#routes = routes;
    this.#main = main;
    history.scrollRestoration = "manual";
    addEventListener("popstate", () => {
      if (this.#at !== location.pathname + location.search) void this.#visit(true);
      else this.#restore();
    });
    addEventListener("pagehide", () => this.#keepPlace());
    // The Back button gives no notice.
    addEventListener("scrollend", () => this.#keepPlace());
    document.addEventListener("click", (event) => this.#follow(event));
  }

  /** Shows the page of the address that the document was loaded with. */
  start() {
    return this.#visit(false);
  }

  /** @param {string} path */
  go(path) {
    this.#keepPlace();
    history.pushState(null, "", path);
    return this.#visit(true);
  }

  /** @param {string} path */
  replace(path) {
    history.replaceState(null, "", path);
    return this.#visit(true);
  }

  /** @param {MouseEvent} event */
  #follow(event) {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.composedPath().find((node) => node instanceof HTMLAnchorElement);
    if (!link?.href || link.target || link.hasAttribute("download")) return;
    const address = new URL(link.href);
    if (address.origin !== location.origin || NOT_OURS.test(address.pathname)) return;
    const path = address.pathname + address.search;
    if (address.hash && path === location.pathname + location.search) {
      // The browser scrolls to a fragment of the same page; this keeps the position for Back.
      this.#keepPlace();
      return;
    }
    event.preventDefault();
    if (path === location.pathname + location.search) void this.replace(path);
    else void this.go(path + address.hash);
  }

  #keepPlace() {
    if (this.#isRestoring) return;
    history.replaceState({ top: scrollY }, "");
  }

  /** @param {boolean} moved whether the learner came from another page */
  async #visit(moved) {
    this.#leave.abort();
    this.#leave = new AbortController();
    const { signal } = this.#leave;
    this.#at = location.pathname + location.search;
    let isNew = true;
    let isFirst = moved;
    /** @type {Visit["show"]} */
    const show = (title, ...content) => {
      if (signal.aborted) return;
      document.title = `${title} · Coursegate`;
      const hadFocus = this.#main.contains(document.activeElement);
      if (isNew) this.#main.replaceChildren(...nodes(content));
      else settle(this.#main, nodes(content));
      if (isNew && moved) scrollTo({ top: 0, behavior: "instant" });
      isNew = false;
      // A page that is still being loaded may have no heading yet.
      const isLost = hadFocus && !this.#main.contains(document.activeElement);
      if ((isFirst || isLost) && this.#focus()) isFirst = false;
    };
    this.#mark();
    const [page, parts] = this.#find();
    const query = new URLSearchParams(location.search);
    this.#restore();
    await page({ parts, query, signal, show, go: (path) => void this.replace(path) });
  }

  /**
   * Restores the scroll position of this history entry, or scrolls to the address's fragment, once the
   * page is long enough; unless the reader scrolls first.
   */
  #restore() {
    const top = Number(history.state?.top ?? NaN);
    const name = decoded(location.hash.slice(1));
    if (top === 0) scrollTo({ top, behavior: "instant" });
    if (!top && !(Number.isNaN(top) && name)) return;
    this.#isRestoring = true;
    const end = new AbortController();
    const growth = new ResizeObserver(() => {
      const named = Number.isNaN(top) ? document.getElementById(name) : null;
      const isLong = document.documentElement.scrollHeight - innerHeight >= top;
      if (!named && !isLong) return;
      end.abort();
      if (named) named.scrollIntoView({ behavior: "instant" });
      else scrollTo({ top, behavior: "instant" });
    });
    const { signal } = end;
    signal.addEventListener("abort", () => {
      growth.disconnect();
      this.#isRestoring = false;
    });
    for (const moved of ["wheel", "touchmove", "keydown", "pointerdown"]) {
      addEventListener(moved, () => end.abort(), { passive: true, signal });
    }
    this.#leave.signal.addEventListener("abort", () => end.abort(), { signal });
    growth.observe(this.#main);
  }

  /** @returns {[Page, string[]]} */
  #find() {
    for (const [pattern, page] of this.#routes) {
      const match = pattern.exec(location.pathname);
      if (match) return [page, match.slice(1).map(decoded)];
    }
    throw new Error("no route takes every path");
  }

  /** Marks the links to the page that is shown. */
  #mark() {
    for (const link of document.querySelectorAll("nav a")) {
      if (link.getAttribute("href") === location.pathname) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  #focus() {
    const heading = this.#main.querySelector("h1");
    if (!heading) return false;
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    return true;
  }
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
