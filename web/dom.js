// @ts-check
// How elements are made: `h("p", { class: "quiet" }, "text")`. Text is always text, never HTML.

/** @typedef {Node | string | number | null | undefined | false | Child[]} Child */

/** Elements with listeners, which must not be reused for another element. */
const listening = new WeakSet();

/**
 * Makes an element. `true` sets an attribute without a value; false, null and undefined leave it out; a
 * function under a name like `onclick` becomes a listener.
 * @template {string} T
 * @param {T} tag
 * @param {Record<string, unknown>} [attributes]
 * @param {...Child} children
 * @returns {T extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[T] : HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
      listening.add(element);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  element.append(...nodes(children));
  return /** @type {any} */ (element);
}

/**
 * @param {Child[]} children
 * @returns {(Node | string)[]}
 */
export function nodes(children) {
  return children.flatMap((child) => {
    if (Array.isArray(child)) return nodes(child);
    if (child === null || child === undefined || child === false) return [];
    return [typeof child === "number" ? String(child) : child];
  });
}

/**
 * Replaces a node's children, but keeps those that look the same: the focus stays, and a busy button
 * stays busy. Nodes that look the same must also behave the same.
 * @param {Node & ParentNode} parent
 * @param {(Node | string)[]} fresh
 */
export function settle(parent, fresh) {
  const old = [...parent.childNodes];
  for (const [index, item] of fresh.entries()) {
    const node = typeof item === "string" ? document.createTextNode(item) : item;
    const was = old[index];
    if (!was) parent.append(node);
    else if (was === node || was.isEqualNode(node)) continue;
    else if (isAlike(was, node)) settle(was, [...node.childNodes]);
    else was.replaceWith(node);
  }
  for (const surplus of old.slice(fresh.length)) surplus.remove();
}

/**
 * Whether two elements differ only in their children, and neither has a listener.
 * @param {Node} one
 * @param {Node} other
 * @returns {one is Element}
 */
function isAlike(one, other) {
  if (!(one instanceof Element) || listening.has(one) || listening.has(other)) return false;
  return one.cloneNode(false).isEqualNode(other.cloneNode(false));
}

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  lock: "M5 10V7a5 5 0 0 1 10 0v3m-11 0h12v8H4z",
  check: "m4 10.5 4.5 4.5L16.5 6",
  clock: "M10 5.5V10l3 2m5-2a8 8 0 1 1-16 0 8 8 0 0 1 16 0z",
  arrow: "M4 10h12m-5-5 5 5-5 5",
};

/**
 * A decorative icon; the text beside it says the same.
 * @param {keyof typeof ICONS} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}
