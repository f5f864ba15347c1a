// @ts-check
// `/sign-in?to=…`, which redirects to the issuer, and the page that its redirect returns to. Where the
// site can create accounts itself, it first asks whether the visitor has one.

/** @import { Visit } from "../router.js" */

import { config } from "../config.js";
import { h } from "../dom.js";
import { notice } from "../notice.js";
import { session } from "../session.js";
import { SignInError, finish, ownPath, signIn, signInPath } from "../sign-in.js";

/** @param {Visit} visit */
export async function begin(visit) {
  const { query, show, signal } = visit;
  const to = ownPath(query.get("to"));
  try {
    const { sign_in } = await config();
    // Whoever was signed in has an account.
    if (!sign_in.sign_up || session.expired) return await leave(visit, to);
  } catch (error) {
    return unreachable(visit, error, () => void begin(visit));
  }
  if (signal.aborted) return;
  show("Sign in", h("div", { class: "narrow" },
    h("h1", {}, "Do you have an account?"),
    h("p", { class: "summary" }, "You don’t need a password. We email you a code whenever you sign in."),
    h("div", { class: "ways" },
      h("button", { class: "button", type: "button", onclick: () => void leave(visit, to) }, "I have an account"),
      h("a", { class: "button quiet", href: `/sign-up?to=${encodeURIComponent(to)}` }, "Create an account"))));
}

/**
 * Redirects to the issuer.
 * @param {Visit} visit
 * @param {string} to
 * @param {string} [email] the address to begin with
 */
export async function leave(visit, to, email) {
  const { show, signal } = visit;
  show("Sign in", h("h1", {}, "Taking you to sign-in…"), h("p", { role: "status" }, "One moment."));
  await signIn(to, { email, signal }).catch((error) => unreachable(visit, error, () => void leave(visit, to, email)));
}

/**
 * @param {Visit} visit
 * @param {unknown} error
 * @param {() => void} retry
 */
function unreachable({ show, signal }, error, retry) {
  show("Sign in", h("h1", {}, "Sign-in can’t be reached"), notice(error, { retry, signal }));
}

/**
 * Finishes a sign-in and returns to where it began.
 * @param {HTMLElement} main
 * @param {(path: string) => Promise<void>} go
 */
export async function end(main, go) {
  main.replaceChildren(h("h1", {}, "Signing you in…"), h("p", { role: "status" }, "One moment."));
  // The code in the address works once; a reload should not try it again.
  const finished = finish();
  history.replaceState(null, "", "/");
  await finished.then(
    go,
    (problem) => failed(main, problem),
  );
}

/**
 * @param {HTMLElement} main
 * @param {unknown} problem
 */
function failed(main, problem) {
  const error = problem instanceof SignInError
    ? problem
    : new SignInError("Sign-in failed: the site can’t be reached.", "/");
  document.title = "Sign in · Coursegate";
  main.replaceChildren(h("div", { class: "narrow" },
    h("h1", {}, "You’re not signed in."),
    h("p", { class: "summary", role: "alert" }, error.message),
    h("div", { class: "ways" },
      h("a", { class: "button", href: signInPath(error.path) }, "Sign in"),
      h("a", { class: "button quiet", href: "/" }, "See all courses"))));
}
