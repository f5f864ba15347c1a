// @ts-check
// An error message with the next step.

import { ApiError } from "./client.js";
import { site } from "./config.js";
import { entrance } from "./connect.js";
import { h, nodes } from "./dom.js";
import { shop } from "./shop.js";

const SECOND_MS = 1000;

/**
 * An error message with the next step.
 * @param {unknown} problem
 * @param {{ retry?: () => void, course?: string, signal?: AbortSignal, paying?: boolean }} [on]
 *   `retry` tries again, `course` is the course concerned, `signal` stops waiting for a connection, and
 *   `paying` is set when the learner was about to pay: then nothing is retried without a press
 */
export function notice(problem, { retry, course, signal, paying = false } = {}) {
  const error = ApiError.of(problem);
  const waits = error.kind === "offline" && retry && !paying;
  // Never opens a checkout without a press.
  if (waits) addEventListener("online", retry, { once: true, signal });
  const box = h("div", { class: "notice", "data-kind": error.kind });
  box.append(
    h("p", { role: "alert" }, error.message, waits && " We’ll try again when you’re back online."),
    ...nodes([nextStep(error, retry, course, () => box.remove())]),
  );
  return box;
}

/**
 * @param {ApiError} error
 * @param {(() => void) | undefined} retry
 * @param {string | undefined} course
 * @param {() => void} close
 */
function nextStep(error, retry, course, close) {
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
      return button("See current prices", () => {
        shop.reload();
        if (retry) retry();
        else close();
      });
    case "retry":
      return retry && later(button("Try again", busily(retry)), error.retryAfter);
  }
}

/**
 * Runs an action once, and shows on its button that it is running.
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
 * Disables a button for this many seconds, and counts down on it. The countdown doesn't stop with the
 * page that started it, since the button may stay.
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
