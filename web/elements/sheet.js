// @ts-check
// The style of the elements, read once for all of them.

const PATIENCE_MS = 5000;
const address = new URL("elements.css", import.meta.url);

export const sheet = new CSSStyleSheet();
// Without it the elements are plain, and work.
await fetch(address, { signal: AbortSignal.timeout(PATIENCE_MS) })
  .then(async (answer) => answer.ok && sheet.replace(await answer.text()))
  .catch(() => {});
