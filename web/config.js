// @ts-check
// What the site is told when it is deployed. Found beside this module, so that it is the site's own
// also when a page of another origin has asked for it.

/** @import { Config } from "./api.d.ts" */

/** The origin of the site, which is another than the page's where elements are embedded. */
export const site = new URL(import.meta.url).origin;

/** Whether a page of another origin has asked for this. */
export const embedded = site !== location.origin;

const PATIENCE_MS = 15_000;

/** @type {Promise<Config> | undefined} */
let asked;

/**
 * The configuration, asked for once, and again after a failure.
 * @returns {Promise<Config>}
 */
export function config() {
  asked ??= fetch(`${site}/config.json`, { signal: AbortSignal.timeout(PATIENCE_MS) })
    .then((answer) => {
      if (!answer.ok) throw new Error(`config.json is answered with ${answer.status}`);
      return answer.json();
    })
    .catch((error) => {
      asked = undefined;
      throw error;
    });
  return asked;
}
