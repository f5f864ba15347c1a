// @ts-check
// `/sign-up?to=…`: creates an account with an email address and a code, then goes to sign-in.

/** @import { Visit } from "../router.js" */

import { config } from "../config.js";
import { h } from "../dom.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { ownPath, signInPath } from "../sign-in.js";
import { confirm, resend, signUp } from "../sign-up.js";
import { leave } from "./sign-in.js";

/** @param {Visit} visit */
export async function register(visit) {
  const { query, show, go, signal } = visit;
  const to = ownPath(query.get("to"));
  if (session.signedIn) return go(to);
  try {
    const { sign_in } = await config();
    if (!sign_in.sign_up) return go(signInPath(to));
  } catch (error) {
    const retry = () => void register(visit);
    return show("Create an account", h("h1", {}, "Sign-up can’t be reached"), notice(error, { retry, signal }));
  }
  askForAddress(visit, to);
}

/**
 * @param {Visit} visit
 * @param {string} to
 * @param {string} [value] the address that was entered before
 */
function askForAddress(visit, to, value) {
  const email = emailField(value);
  const send = async () => {
    const address = email.value.trim();
    if (await signUp(address)) askForCode(visit, to, address);
    else hasAccount(visit, to, address);
  };
  page(visit, "Create your account", "You don’t need a password. We’ll email you a code to confirm your address.",
    form([["Email address", email]], "Send me a code", send),
    h("p", { class: "small" }, "Already have an account? ", button("Sign in", () => leave(visit, to))),
    h("p", { class: "small" }, button("I have a code already", () => askForBoth(visit, to, email.value))));
}

/**
 * For somebody who comes back with a code, or has reloaded the page.
 * @param {Visit} visit
 * @param {string} to
 * @param {string} value the address that was entered before
 */
function askForBoth(visit, to, value) {
  const [email, code] = [emailField(value), codeField()];
  const send = () => confirmAndLeave(visit, to, email.value.trim(), code);
  page(visit, "Enter your code", "Enter the address that you signed up with, and the code that we sent to it.",
    form([["Email address", email], ["Code", code]], "Confirm", send),
    afterwards(),
    h("p", { class: "small" }, button("Send me a new code", () => askForAddress(visit, to, email.value))));
  (value ? code : email).focus();
}

/**
 * @param {Visit} visit
 * @param {string} to
 * @param {string} address
 */
function askForCode(visit, to, address) {
  const code = codeField();
  const send = () => confirmAndLeave(visit, to, address, code);
  const says = h("p", { class: "small quiet", role: "status" });
  const another = async () => {
    try {
      if (!(await resend(address))) return await leave(visit, to, address);
      says.replaceChildren("We’ve sent you a new code. Earlier ones no longer work.");
    } catch (error) {
      says.replaceChildren(reason(error));
    }
  };
  page(visit, "Enter your code", ["We sent a code to ", h("strong", {}, address), ". Check your spam folder if it isn’t there in a minute."],
    form([["Code", code]], "Confirm", send, says),
    afterwards(),
    h("div", { class: "ways small" },
      button("Send another code", another),
      button("Use another address", () => askForAddress(visit, to, address))));
  code.focus();
}

/**
 * @param {Visit} visit
 * @param {string} to
 * @param {string} address
 * @param {HTMLInputElement} code
 */
async function confirmAndLeave(visit, to, address, code) {
  await confirm(address, code.value.replace(/\s/g, ""));
  if (!visit.signal.aborted) await leave(visit, to, address);
}

/**
 * @param {Visit} visit
 * @param {string} to
 * @param {string} address
 */
function hasAccount(visit, to, address) {
  page(visit, "You have an account", [h("strong", {}, address), " is registered already. Sign in with a code."],
    h("div", { class: "ways" },
      h("button", { class: "button", type: "button", onclick: () => void leave(visit, to, address) }, "Sign in"),
      h("button", { class: "button quiet", type: "button", onclick: () => askForAddress(visit, to) }, "Use another address")));
}

/**
 * Shows a step. Each one is made of new elements.
 * @param {Visit} visit
 * @param {string} heading
 * @param {import("../dom.js").Child} summary
 * @param {...HTMLElement} content
 */
function page({ show }, heading, summary, ...content) {
  show("Create an account", h("div", { class: "narrow", "data-step": heading },
    h("h1", {}, heading), h("p", { class: "summary" }, summary), ...content));
}

function afterwards() {
  return h("p", { class: "small quiet" }, "Once your address is confirmed, you sign in with a second code.");
}

/** @param {string} [value] */
function emailField(value) {
  return h("input", { id: "email", type: "email", autocomplete: "email", required: true, value });
}

function codeField() {
  return h("input", { id: "code", inputmode: "numeric", autocomplete: "one-time-code", required: true });
}

/**
 * A form that can't be sent twice at a time, and says what went wrong.
 * @param {[label: string, field: HTMLInputElement][]} fields
 * @param {string} name the button's
 * @param {() => Promise<void>} send
 * @param {...HTMLElement} more
 */
function form(fields, name, send, ...more) {
  const says = h("p", { role: "alert" });
  const press = h("button", { class: "button" }, name);
  let isBusy = false;
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (isBusy) return;
    isBusy = true;
    press.setAttribute("aria-disabled", "true");
    press.replaceChildren(h("span", { class: "busy" }, name));
    says.replaceChildren();
    await send().catch((error) => {
      says.replaceChildren(reason(error));
      fields.at(-1)?.[1].select();
    });
    isBusy = false;
    press.removeAttribute("aria-disabled");
    press.replaceChildren(name);
  };
  return h("form", { onsubmit: submit },
    fields.flatMap(([label, field]) => [h("label", { for: field.id }, label), field]), press, says, ...more);
}

/** @param {unknown} error */
function reason(error) {
  return error instanceof Error ? error.message : String(error);
}

/** @param {string} label @param {() => void | Promise<void>} press */
function button(label, press) {
  return h("button", { class: "link", type: "button", onclick: press }, label);
}
