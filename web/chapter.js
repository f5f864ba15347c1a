// @ts-check
// Loads a chapter: asks the API for its link, reads it from the content bucket, and sanitizes its HTML.
// Nothing in it can run, load anything, or imitate the page.

import { ApiError, PATIENCE_MS, api, failed } from "./client.js";

const KEPT = new Set(
  ("A ABBR ARTICLE ASIDE B BLOCKQUOTE BR CAPTION CITE CODE DD DEL DETAILS DFN DIV DL DT EM FIGCAPTION " +
    "FIGURE FOOTER H2 H3 H4 H5 H6 HEADER HR I IMG INS KBD LI MARK OL P PRE Q S SAMP SECTION SMALL SPAN " +
    "STRONG SUB SUMMARY SUP TABLE TBODY TD TFOOT TH THEAD TIME TR U UL VAR").split(" "),
);
/** Removed with their text. */
const DROPPED = new Set(
  ("SCRIPT STYLE TEMPLATE IFRAME OBJECT EMBED FORM INPUT BUTTON SELECT TEXTAREA LINK META BASE TITLE " +
    "SVG MATH NOSCRIPT AUDIO VIDEO CANVAS").split(" "),
);
/** Prefix for the chapter's ids, so that none of them clashes with the page's. */
const PLACE = "text-";
/** @type {Record<string, RegExp>} */
const ATTRIBUTES = {
  id: /^\S+$/,
  href: /^(https?:|mailto:|#|\/(?!\/))/i,
  src: /^data:image\/(png|jpeg|gif|webp|avif);/i,
  alt: /^/,
  title: /^/,
  colspan: /^\d+$/,
  rowspan: /^\d+$/,
  scope: /^(row|col)$/,
  start: /^\d+$/,
  datetime: /^/,
  open: /^/,
};

/**
 * @param {Node} from
 * @param {Node} to
 */
function keep(from, to) {
  for (const node of from.childNodes) {
    if (node instanceof Text) {
      to.appendChild(document.createTextNode(node.data));
    } else if (node instanceof Element) {
      const name = node.tagName.toUpperCase();
      if (DROPPED.has(name)) continue;
      // The page has its own <h1>, so the chapter's headings start at <h2>.
      const kept = name === "H1" ? "H2" : name;
      const element = KEPT.has(kept) && copy(node, kept);
      if (element) to.appendChild(kept === "TABLE" ? scrolled(element) : element);
      keep(node, element || to);
    }
  }
}

/**
 * @param {Element} node
 * @param {string} name
 * @returns {HTMLElement | null} null for a link or an image without a usable address
 */
function copy(node, name) {
  const element = document.createElement(name);
  for (const [attribute, allowed] of Object.entries(ATTRIBUTES)) {
    const value = node.getAttribute(attribute)?.trim();
    if (value !== undefined && allowed.test(value)) element.setAttribute(attribute, value);
  }
  if (element.id) element.id = PLACE + element.id;
  if (name === "A") {
    const target = element.getAttribute("href");
    if (target === null) return element.id ? element : null;
    if (target.startsWith("#")) element.setAttribute("href", `#${PLACE}${target.slice(1)}`);
    else element.setAttribute("rel", "noopener");
  }
  if (name === "IMG") {
    if (!element.hasAttribute("src")) return null;
    if (!element.hasAttribute("alt")) element.setAttribute("alt", "");
  }
  // May be wider than a phone: scrolls, with the keyboard too.
  if (name === "PRE") element.tabIndex = 0;
  return element;
}

/**
 * Wraps a table, since scrolling the table itself would take away its semantics.
 * @param {HTMLElement} table
 */
function scrolled(table) {
  const frame = document.createElement("div");
  frame.className = "scrolled";
  frame.tabIndex = 0;
  frame.append(table);
  return frame;
}

/**
 * Sanitizes a chapter's HTML.
 * @param {string} html
 */
export function sanitised(html) {
  const text = document.createDocumentFragment();
  keep(new DOMParser().parseFromString(html, "text/html").body, text);
  return text;
}

/**
 * Loads a chapter that the learner has access to.
 * @param {string} course
 * @param {number} chapter
 * @param {AbortSignal} [signal]
 * @returns {Promise<DocumentFragment>}
 */
export async function read(course, chapter, signal) {
  // A link expires within minutes. One that is refused was slow to get here; the second one won't be.
  for (const isLast of [false, true]) {
    const { url } = await api.chapter(course, chapter, signal);
    const patience = AbortSignal.timeout(PATIENCE_MS);
    const lost = (/** @type {unknown} */ cause) => {
      if (signal?.aborted) throw signal.reason;
      throw failed(cause);
    };
    const answer = await fetch(url, {
      credentials: "omit",
      referrerPolicy: "no-referrer",
      signal: signal ? AbortSignal.any([signal, patience]) : patience,
    }).catch(lost);
    if (answer.ok) return sanitised(await answer.text().catch(lost));
    if (isLast || answer.status !== 403) break;
  }
  throw new ApiError("unavailable");
}
