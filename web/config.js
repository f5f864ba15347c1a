// @ts-check
// The deployment's configuration. It is loaded from beside this module, so a page of another origin gets
// the site's too.

/** @import { Config } from "./api.d.ts" */

/** The site's origin. A page that embeds elements has another one. */
export const site = new URL(import.meta.url).origin;

/** Whether this runs in a page of another origin. */
export const embedded = site !== location.origin;

const PATIENCE_MS = 15_000;

/** @type {Promise<Config> | undefined} */
let asked;

/**
 * The configuration, requested once, and again after a failure.
 * @returns {Promise<Config>}
 */
export function config() {
  asked ??= fetch(`${site}/config.json`, { signal: AbortSignal.timeout(PATIENCE_MS) })
    .then((answer) => {
      if (!answer.ok) throw new Error(`config.json: status ${answer.status}`);
      return answer.json();
    })
    .catch((error) => {
      asked = undefined;
      throw error;
    });
  return asked;
}
