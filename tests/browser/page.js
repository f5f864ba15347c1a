// Queries on the page as a visitor sees it: through shadow roots, by visible labels, and only visible
// elements.

function* deep(node) {
  yield node;
  const children = node.shadowRoot
    ? node.shadowRoot.childNodes
    : node instanceof HTMLSlotElement && node.assignedNodes().length > 0
      ? node.assignedNodes()
      : node.childNodes;
  for (const child of children ?? []) yield* deep(child);
}

const tidy = (text) => (text ?? "").replace(/\s+/g, " ").trim();

function isSeen(element) {
  return element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
}

function isHidden(node) {
  for (let at = node; at; at = at.assignedSlot ?? at.parentNode ?? at.host) {
    if (at instanceof Element && at.getAttribute("aria-hidden") === "true") return true;
  }
  return false;
}

/** All visible text below this node. */
function textOf(root) {
  const parts = [];
  for (const node of deep(root)) {
    if (!(node instanceof Text)) continue;
    const parent = node.parentNode instanceof ShadowRoot ? node.parentNode.host : node.parentNode;
    if (parent && !/^(SCRIPT|STYLE|NOSCRIPT)$/.test(parent.tagName) && isSeen(parent)) parts.push(node.data);
  }
  return tidy(parts.join(" "));
}

function nameOf(element) {
  const labels = [...(element.labels ?? [])].map((label) => label.textContent).join(" ");
  return tidy(element.getAttribute("aria-label") || labels || textOf(element));
}

/** The visible controls. */
function controls() {
  const all = [];
  for (const node of deep(document.body)) {
    const isControl = node instanceof Element && node.matches("a[href], button, input, summary");
    if (isControl && isSeen(node) && !isHidden(node)) all.push(node);
  }
  return all;
}

/** The control whose name starts with this, preferably the one with exactly this name. */
function control(name) {
  const found = controls().filter((one) => nameOf(one).startsWith(name));
  return found.find((one) => nameOf(one) === name) ?? found[0] ?? null;
}

/** The focused control's name. */
function focused() {
  let at = document.activeElement;
  while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return at && at !== document.body ? nameOf(at) : "";
}

/** Everything in the document as text, visible or not. */
function everything(node) {
  const own = node instanceof CharacterData
    ? [node.data]
    : node instanceof Element ? [...node.attributes].map((attribute) => attribute.value) : [];
  const below = [...node.childNodes, ...(node.shadowRoot?.childNodes ?? []), ...(node.content?.childNodes ?? [])];
  return [...own, ...below.flatMap(everything)];
}

/** The access token of the learner who is signed in on the site. */
async function accessToken() {
  const { session } = await import("/session.js");
  return (await session.access())?.token ?? null;
}

/** The session that the site has stored. */
async function storedSession() {
  const { load } = await import("/stored-session.js");
  return (await load())?.kept ?? null;
}

/** Changes the stored session as another tab would. */
async function changeStoredSession(change) {
  const { save } = await import("/stored-session.js");
  localStorage.setItem("coursegate.session", await save({ ...await storedSession(), ...change }));
}
