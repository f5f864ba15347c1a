// @ts-check
// What the elements have in common: a shadow root, the style, and that each draws itself anew
// whenever its attributes, the learner, or what the learner has, change.

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

  /** Ends when the element leaves the page. */
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

  /** Draws the element anew. The turn before ends, whatever it was waiting for. */
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
   * What to show. `undefined` leaves what is there.
   * @param {AbortSignal} _signal ends with this turn
   * @returns {Promise<Child>}
   */
  async content(_signal) {
    return null;
  }

  /**
   * What to show until then.
   * @returns {Child}
   */
  waiting() {
    return null;
  }

  /**
   * Tells the page around it.
   * @param {string} name
   * @param {unknown} detail
   * @returns {boolean} whether nobody has prevented what comes next
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
