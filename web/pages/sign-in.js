// @ts-check
// `/sign-in?to=…`, which redirects to the issuer, and the page that its redirect returns to.

/** @import { Visit } from "../router.js" */

import { h } from "../dom.js";
import { notice } from "../notice.js";
import { SignInError, finish, ownPath, signIn } from "../sign-in.js";

/** @param {Visit} visit */
export async function begin({ query, show, signal }) {
  const leave = async () => {
    show("Sign in", h("h1", {}, "Taking you to sign-in…"), h("p", { role: "status" }, "One moment."));
    try {
      await signIn(ownPath(query.get("to")), { replace: true, signal });
    } catch (error) {
      show("Sign in", h("h1", {}, "Sign-in can’t be reached"), notice(error, { retry: leave, signal }));
    }
  };
  await leave();
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
      h("a", { class: "button", href: `/sign-in?to=${encodeURIComponent(error.path)}` }, "Sign in"),
      h("a", { class: "button quiet", href: "/" }, "See all courses"))));
}
