// @ts-check
// `/sign-in?to=…`, which leaves for the sign-in, and what is shown on the way back.

/** @import { Visit } from "../router.js" */

import { h } from "../dom.js";
import { notice } from "../notice.js";
import { SignInError, finish, ownPath, signIn } from "../sign-in.js";

/** @param {Visit} visit */
export async function begin({ query, show, signal }) {
  const leave = async () => {
    show("Sign in", h("h1", {}, "Taking you to the sign-in…"), h("p", { role: "status" }, "One moment."));
    try {
      await signIn(ownPath(query.get("to")), { replace: true, signal });
    } catch (error) {
      show("Sign in", h("h1", {}, "The sign-in can’t be reached"), notice(error, { retry: leave, signal }));
    }
  };
  await leave();
}

/**
 * Ends a sign-in and goes on where it began.
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
    : new SignInError("The sign-in can’t be completed: the site can’t be reached.", "/");
  document.title = "Sign in · Coursegate";
  main.replaceChildren(h("div", { class: "narrow" },
    h("h1", {}, "You are not signed in."),
    h("p", { class: "summary", role: "alert" }, error.message),
    h("div", { class: "ways" },
      h("a", { class: "button", href: `/sign-in?to=${encodeURIComponent(error.path)}` }, "Sign in"),
      h("a", { class: "button quiet", href: "/" }, "See all courses"))));
}
