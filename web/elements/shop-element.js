// @ts-check
// The elements' base class: a shadow root, the style sheet, and redrawing when the attributes, the
// session or the entitlements change.

/** @import { Child } from "../dom.js" */

import { ApiError } from "../client.js";
import { nodes, settle } from "../dom.js";
import { notice } from "../notice.js";
import { shop } from "../shop.js";
import { sheet } from "./sheet.js";

export class ShopElement extends HTMLElement {
  #root = this.attachShadow({ mode: "open" });
  #life = new AbortController();
  #turn = new AbortController();

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [sheet];
  }

  /** Aborted when the element leaves the page. */
  get life() {
    return this.#life.signal;
  }

  connectedCallback() {
    this.#life = new AbortController();
    const { signal } = this.#life;
    shop.addEventListener("change", () => this.update(), { signal });
    this.draw(this.waiting());
    this.update();
  }

  disconnectedCallback() {
    this.#life.abort();
  }

  attributeChangedCallback() {
    if (this.isConnected) this.update();
  }

  /** Redraws the element, and aborts an unfinished update. */
  async update() {
    this.#turn.abort();
    this.#turn = new AbortController();
    const signal = AbortSignal.any([this.#life.signal, this.#turn.signal]);
    try {
      const content = await this.content(signal);
      if (!signal.aborted && content !== undefined) this.draw(content);
    } catch (problem) {
      if (signal.aborted) return;
      const error = ApiError.of(problem);
      const course = this.getAttribute("course") ?? undefined;
      this.draw(notice(error, { retry: () => this.update(), course, signal }));
      this.tell("error", { kind: error.kind, message: error.message });
    }
  }

  /** @param {...Child} content */
  draw(...content) {
    settle(this.#root, nodes(content));
  }

  /**
   * The content to show. `undefined` keeps the current content.
   * @param {AbortSignal} _signal aborted by the next update
   * @returns {Promise<Child>}
   */
  async content(_signal) {
    return null;
  }

  /**
   * The content to show while it loads.
   * @returns {Child}
   */
  waiting() {
    return null;
  }

  /**
   * Dispatches an event to the page.
   * @param {string} name
   * @param {unknown} detail
   * @returns {boolean} false if a listener prevented the default action
   */
  tell(name, detail) {
    return this.dispatchEvent(
      new CustomEvent(`coursegate-${name}`, {
        detail,
        bubbles: true,
        composed: true,
        cancelable: name === "checkout",
      }),
    );
  }
}
