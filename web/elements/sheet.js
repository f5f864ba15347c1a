// @ts-check
// The elements' shared style sheet, loaded once.

const PATIENCE_MS = 5000;
const address = new URL("elements.css", import.meta.url);

export const sheet = new CSSStyleSheet();
// Without it the elements are unstyled, but work.
await fetch(address, { signal: AbortSignal.timeout(PATIENCE_MS) })
  .then(async (answer) => answer.ok && sheet.replace(await answer.text()))
  .catch(() => {});
