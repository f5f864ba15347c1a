// @ts-check
// Money and dates in the visitor's locale.

import { decimalsOf } from "./currencies.js";

/** @import { Offer } from "./api.d.ts" */

/** The browser's languages, without invalid ones. */
const languages = navigator.languages.filter((language) => {
  try {
    return new Intl.Locale(language);
  } catch {
    return false;
  }
});

/**
 * An amount in Stripe's integers: 999 `usd` is $9.99, 2900 `usd` is $29.00.
 * @param {number} amount
 * @param {string} currency
 */
export function money(amount, currency) {
  const { decimals, written } = decimalsOf(amount, currency);
  return new Intl.NumberFormat(languages, {
    style: "currency",
    currency: currency.toUpperCase(),
    minimumFractionDigits: written,
    maximumFractionDigits: written,
  }).format(amount / 10 ** decimals);
}

/** @param {string} time as the API returns it */
export function date(time) {
  return new Intl.DateTimeFormat(languages, {
    dateStyle: "long",
  }).format(new Date(time));
}

/** The regions of each currency. Elsewhere, the author's first price is shown. */
const CURRENCIES = /** @type {Record<string, string>} */ ({
  eur: "AT BE CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK",
  usd: "US PR EC SV",
  gbp: "GB",
  chf: "CH LI",
  jpy: "JP",
  inr: "IN",
  pkr: "PK",
  cad: "CA",
  aud: "AU",
  brl: "BR",
  mxn: "MX",
  sek: "SE",
  nok: "NO",
  dkk: "DK",
  pln: "PL",
  aed: "AE",
  sar: "SA",
  sgd: "SG",
  krw: "KR",
  cny: "CN",
});

function ownCurrency() {
  const region = new Intl.Locale(languages[0] ?? "en").maximize().region ?? "";
  const found = Object.entries(CURRENCIES).find(([, regions]) => regions.split(" ").includes(region));
  return found?.[0];
}

/**
 * One offer for each product: the one in the visitor's currency, else the author's first.
 * @param {Offer[]} offers
 * @returns {Offer[]}
 */
export function choose(offers) {
  const own = ownCurrency();
  /** @type {Map<string, Offer>} */
  const chosen = new Map();
  for (const offer of offers) {
    const before = chosen.get(offer.product);
    if (!before || (offer.currency === own && before.currency !== own)) {
      chosen.set(offer.product, offer);
    }
  }
  return [...chosen.values()];
}

/**
 * "1 chapter", "2 chapters".
 * @param {number} count
 * @param {string} one
 */
export function counted(count, one) {
  return `${count} ${one}${count === 1 ? "" : "s"}`;
}

/**
 * "a", "a and b", "a, b, and c".
 * @param {string[]} words
 */
export function list(words) {
  return new Intl.ListFormat("en").format(words);
}
