// @ts-check
// <unlock-button price="tutorclaw_paid">: one press leads to Stripe. A second press does nothing, and
// whatever prevents a purchase is shown in its place.

/** @import { Offer } from "../api.d.ts" */

import { ApiError } from "../client.js";
import { checkout } from "../checkout.js";
import { embedded, site } from "../config.js";
import { NoWayBack, wayBack } from "../connect.js";
import { h, icon } from "../dom.js";
import { list, money } from "../locale.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { availability, shop } from "../shop.js";
import { here, signInPath } from "../sign-in.js";
import { ShopElement } from "./shop-element.js";

/** If the page is still here after this long, the navigation was stopped. */
const LEAVING_MS = 20_000;

export class UnlockButton extends ShopElement {
  static observedAttributes = ["price", "label"];

  /** @type {Offer | undefined} */
  #offer;
  #isBusy = false;
  #label = h("span");
  #button = h(
    "button",
    { class: "button", part: "button", type: "button", onclick: () => void this.#press() },
    this.#label,
  );
  #below = h("div", { class: "below" });

  connectedCallback() {
    super.connectedCallback();
    // The browser may restore the page as it was when the learner left for Stripe.
    addEventListener("pageshow", () => this.#rest(), { signal: this.life });
  }

  waiting() {
    return h("span", { class: "button skeleton", "aria-hidden": "true" }, "\u00a0");
  }

  async content() {
    const offer = await shop.offer(this.getAttribute("price") ?? "");
    const { availability: is, owned } = availability(offer, ...(await shop.all()));
    if (is === "owned") {
      return h("a", { class: "button", part: "button", href: `${site}/course/${offer.courses[0]}` },
        icon("check"), "Open course");
    }
    if (is === "processing") {
      return h("p", { class: "state" }, icon("clock"), "Your payment is processing.");
    }
    if (is === "suspended") {
      return h("p", { class: "state" }, icon("lock"), "On hold: your payment is disputed.");
    }
    // While the checkout opens, the button stays as it is.
    if (this.#isBusy) return undefined;
    this.#offer = offer;
    this.#name(offer);
    return [
      this.#button,
      owned.length > 0 && h("p", { class: "small quiet" },
        `You already own ${list(owned.map((course) => course.title))}.`),
      this.#below,
    ];
  }

  /** @param {Offer} offer */
  #name({ amount, currency, name }) {
    const label = this.getAttribute("label") ?? `Buy for ${money(amount, currency)}`;
    this.#label.replaceChildren(label);
    // Each of several buttons on a page names its product, after the visible label.
    this.#button.setAttribute("aria-label", `${label}: ${name}`);
  }

  /** Enables the button again. */
  #rest() {
    if (!this.#offer) return;
    this.#isBusy = false;
    this.#button.removeAttribute("aria-disabled");
    this.#label.className = "";
    this.#below.replaceChildren();
    this.#name(this.#offer);
  }

  /** @param {string} label */
  #work(label) {
    this.#isBusy = true;
    this.#button.setAttribute("aria-disabled", "true");
    this.#button.removeAttribute("aria-label");
    this.#label.className = "busy";
    this.#label.replaceChildren(label);
    this.#below.replaceChildren(h("p", { class: "unseen", role: "status" }, label));
  }

  async #press() {
    const offer = this.#offer;
    if (!offer || this.#isBusy) return;
    this.#work("Opening checkout…");
    try {
      await this.#leave(offer);
    } catch (problem) {
      this.#fail(problem, offer);
    }
  }

  /**
   * Goes to Stripe: directly, or from another site or without a session by the site's page `/buy`.
   * @param {Offer} offer
   */
  async #leave(offer) {
    const { price } = offer;
    const buy = (/** @type {string} */ from) => `/buy?${new URLSearchParams({ price, from })}`;
    const { life } = this;
    if (!embedded && !session.signedIn) return location.assign(signInPath(buy(here())));
    const url = embedded ? site + buy(await wayBack()) : await checkout(offer);
    // The learner may have gone to another page meanwhile.
    if (life.aborted) return;
    if (!this.tell("checkout", { price, url })) return this.#rest();
    location.assign(url);
    setTimeout(() => this.#rest(), LEAVING_MS);
  }

  /**
   * @param {unknown} problem
   * @param {Offer} offer
   */
  #fail(problem, offer) {
    this.#rest();
    if (problem instanceof NoWayBack) {
      this.#below.replaceChildren(h("p", { role: "alert" }, problem.message));
      return;
    }
    const error = ApiError.of(problem);
    const retry = () => {
      this.#below.replaceChildren();
      void this.#press();
    };
    const again = error.way === "retry" ? retry : undefined;
    this.#below.replaceChildren(
      notice(error, { retry: again, course: offer.courses[0], signal: this.life, paying: true }),
    );
    this.tell("error", { kind: error.kind, message: error.message });
    // The rest of the page should show it too.
    if (["already-entitled", "payment-processing", "payment-disputed"].includes(error.kind)) {
      void shop.refresh();
    }
  }
}
customElements.define("unlock-button", UnlockButton);
