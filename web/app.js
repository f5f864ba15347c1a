// @ts-check
// The site: routes, the header, and the return from sign-in.

/** @import { Page } from "./router.js" */

import "./elements.js";
import { config } from "./config.js";
import { h, nodes, settle } from "./dom.js";
import { buy } from "./pages/buy.js";
import { cancel } from "./pages/cancel.js";
import { chapter } from "./pages/chapter.js";
import { connect } from "./pages/connect.js";
import { course } from "./pages/course.js";
import { dashboard } from "./pages/dashboard.js";
import { nowhere } from "./pages/nowhere.js";
import { purchases } from "./pages/purchases.js";
import { begin, end } from "./pages/sign-in.js";
import { register } from "./pages/sign-up.js";
import { success } from "./pages/success.js";
import { Router } from "./router.js";
import { session } from "./session.js";
import { here, isReturn, ownPath, signInPath, signOut } from "./sign-in.js";

/** @type {[RegExp, Page][]} */
const ROUTES = [
  [/^\/$/, dashboard],
  [/^\/course\/([^/]+)\/?$/, course],
  [/^\/course\/([^/]+)\/(\d+)\/?$/, chapter],
  [/^\/purchases\/?$/, purchases],
  [/^\/buy\/?$/, buy],
  [/^\/success\/?$/, success],
  [/^\/cancel\/?$/, cancel],
  [/^\/connect\/?$/, connect],
  [/^\/sign-in\/?$/, begin],
  [/^\/sign-up\/?$/, register],
  [/^/, nowhere],
];

/** @param {string} id */
function part(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element;
}

const router = new Router(ROUTES, part("main"));

/** Where the issuer adds a passkey, if it can. */
let passkeys = "";

/** The account part of the header. */
function account() {
  const email = session.email;
  const content = session.signedIn
    ? [
        email && h("span", { class: "email", title: email }, email),
        passkeys && h("a", { class: "link", href: passkeys, title: "Sign in with this device instead of a code" }, "Add a passkey"),
        h("button", {
          class: "link",
          type: "button",
          onclick: () => void signOut().catch(() => router.go("/")),
        }, "Sign out"),
      ]
    : [
        session.expired && h("span", { class: "email" }, "Your session has expired."),
        h("button", {
          class: "button quiet",
          type: "button",
          onclick: () => void router.go(signInPath(ownPath(here()))),
        }, session.expired ? "Sign in again" : "Sign in"),
      ];
  settle(part("account"), nodes(content));
}

session.addEventListener("change", account);
account();
// Starts loading early. Whoever else needs it handles a failure.
config().then(({ sign_in: { passkeys: page, client_id, redirect } }) => {
  if (!page) return;
  passkeys = `${page}?${new URLSearchParams({ client_id, redirect_uri: redirect })}`;
  account();
}, () => {});

if (isReturn()) {
  await end(part("main"), (path) => router.replace(path));
} else {
  await router.start();
}
