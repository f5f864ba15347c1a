// @ts-check
// How a page becomes one of a learner's. On the site itself it goes to the sign-in. A page of
// another origin opens the site's page `connect` in a window of its own, which signs in if it has to
// and hands the token over; `pages/connect.js` is the other half.

import { embedded, site } from "./config.js";
import { h } from "./dom.js";
import { session } from "./session.js";
import { shop } from "./shop.js";
import { here } from "./sign-in.js";

/** What the site's window says: it has signed in, or something was bought in it. */
export const CONNECTED = "coursegate:connected";
export const PAID = "coursegate:paid";

const WINDOW = "popup,width=480,height=760";
const LOOK_MS = 400;

/** What waits for the window, if something does: there is one window, and one that waits. */
let pending = new AbortController();

/** The window was closed, or never opened: nothing has gone wrong that the learner didn't see. */
export class NotConnected extends Error {}

/**
 * Opens the site's window and waits until it has signed in. It has to be called by a click, else
 * browsers keep it from opening.
 * @returns {Promise<Window>} the window, to be led on or closed
 */
export function connect() {
  pending.abort();
  const end = new AbortController();
  pending = end;
  const address = `${site}/connect?origin=${encodeURIComponent(location.origin)}`;
  const popup = open(address, "coursegate", WINDOW);
  return new Promise((resolve, reject) => {
    if (!popup) {
      reject(new NotConnected("Your browser has blocked a window. Allow it, and try again."));
      return;
    }
    addEventListener(
      "message",
      ({ origin, source, data }) => {
        if (origin !== site || source !== popup || data?.type !== CONNECTED) return;
        resolve(popup);
        end.abort();
        session.begin({ token: data.token, expires: data.expires });
      },
      { signal: end.signal },
    );
    const timer = setInterval(() => {
      if (!popup.closed) return;
      reject(new NotConnected("The window was closed before you were signed in."));
      end.abort();
    }, LOOK_MS);
    end.signal.addEventListener("abort", () => {
      clearInterval(timer);
      // Unless it has ended already, something else on the page was pressed.
      reject(new NotConnected("The window is used by what you have pressed since."));
    });
  });
}

/**
 * What signs in and comes back to where it stands: a link on the site, a button on another's page.
 * @param {string} label
 * @param {string} [kind]
 */
export function entrance(label, kind = "button") {
  if (!embedded) {
    return h("a", { class: kind, href: `/sign-in?to=${encodeURIComponent(here())}` }, label);
  }
  const says = h("span", { role: "alert" });
  const enter = () =>
    connect().then(
      (popup) => popup.close(),
      (error) => says.replaceChildren(error.message),
    );
  return h("span", { class: "entrance" },
    h("button", { class: kind, part: "button", type: "button", onclick: enter }, label), says);
}

if (embedded) {
  addEventListener("message", ({ origin, data }) => {
    if (origin === site && data?.type === PAID) void shop.refresh();
  });
}
