// @ts-check
// What has gone wrong, in a sentence, and the way on.

import { ApiError } from "./client.js";
import { site } from "./config.js";
import { entrance } from "./connect.js";
import { h, nodes } from "./dom.js";
import { shop } from "./shop.js";

const SECOND_MS = 1000;

/**
 * Says what has gone wrong and offers what helps.
 * @param {unknown} problem
 * @param {{ retry?: () => void, course?: string, signal?: AbortSignal, paying?: boolean }} [on]
 *   `retry` does it again, `course` is the course that it is about, `signal` ends the waiting for a connection,
 *   `paying` says that somebody was about to pay. Whether they have paid, perhaps in another tab, is
 *   not known here, so nothing is said about it
 */
export function notice(problem, { retry, course, signal, paying = false } = {}) {
  const error = ApiError.of(problem);
  const waits = error.kind === "offline" && retry && !paying;
  // Nobody is taken to pay without a press.
  if (waits) addEventListener("online", retry, { once: true, signal });
  const box = h("div", { class: "notice", "data-kind": error.kind });
  box.append(
    h("p", { role: "alert" }, error.message, waits && " This goes on by itself once you are connected again."),
    ...nodes([wayOn(error, retry, course, () => box.remove())]),
  );
  return box;
}

/**
 * @param {ApiError} error
 * @param {(() => void) | undefined} retry
 * @param {string | undefined} course
 * @param {() => void} close
 */
function wayOn(error, retry, course, close) {
  switch (error.way) {
    case "sign-in":
      return entrance("Sign in again", "button quiet");
    case "courses":
      return link("See all courses", `${site}/`);
    case "purchases":
      return link("See your purchases", `${site}/purchases`);
    case "course":
      return link("Go to the course", error.location || `${site}/${course ? `course/${course}` : ""}`);
    case "reload":
      return button("Show what is current", () => {
        shop.reload();
        if (retry) retry();
        else close();
      });
    case "retry":
      return retry && later(button("Try again", busily(retry)), error.retryAfter);
  }
}

/**
 * Does something once, and says on the button that has been pressed that it is being done.
 * @param {() => void} press
 * @returns {(event: Event) => void}
 */
function busily(press) {
  return ({ currentTarget: button }) => {
    if (!(button instanceof HTMLElement) || button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    button.replaceChildren(h("span", { class: "busy" }, "Trying again…"));
    press();
  };
}

/** @param {string} label @param {(event: Event) => void} press */
function button(label, press) {
  return h("button", { class: "button quiet", type: "button", onclick: press }, label);
}

/** @param {string} label @param {string} href */
function link(label, href) {
  return h("a", { class: "button quiet", href }, label);
}

/**
 * Keeps a button from being pressed for so many seconds, and counts them on it. That goes on until
 * they are over, since the button may stay when what has shown it ends.
 * @param {HTMLButtonElement} button
 * @param {number} seconds
 */
function later(button, seconds) {
  const label = button.textContent;
  const end = Date.now() + seconds * SECOND_MS;
  const count = () => {
    const rest = Math.ceil((end - Date.now()) / SECOND_MS);
    button.disabled = rest > 0;
    button.textContent = rest > 0 ? `${label} in ${rest} s` : label;
    if (rest > 0) setTimeout(count, SECOND_MS);
  };
  count();
  return button;
}
