// @ts-check
// The currencies that Stripe charges, and the amounts it takes in each. This is the only such table:
// the functions, the command and the Stripe simulator are built from these lines (currencies/src/lib.rs).

/**
 * A line is five numbers and the currencies they apply to:
 *
 * 1. how many decimals Stripe's integer amounts have: 999 is 9.99 dollars;
 * 2. how many of them people write: none in krónur and Ugandan shillings, which Stripe still counts in hundredths;
 * 3. what an amount must be a multiple of;
 * 4. the smallest amount that can be charged; where Stripe lists none, the smallest there is;
 * 5. the largest amount that every payment method takes.
 *
 * Sources, as of November 2026: https://docs.stripe.com/currencies#presentment-currencies, #zero-decimal,
 * #three-decimal, #special-cases and #minimum-and-maximum-charge-amounts of that page.
 */
const TABLE = `
2 2   1     1     99999999 afn all amd ang aoa awg azn bam bbd bdt bmd bnd bob bsd bwp byn bzd cdf
2 2   1     1     99999999 cny crc cve dop dzd egp etb fjd fkp gel gip gmd gtq gyd hnl htg jmd kes
2 2   1     1     99999999 kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk
2 2   1     1     99999999 mzn nad ngn nio npr pab pen pgk pkr qar rsd sar sbd scr shp sle sos srd
2 2   1     1     99999999 std szl tjs top try ttd twd tzs uah uyu uzs wst xcd xcg yer zmw
2 2   1    30     99999999 gbp
2 2   1    50     99999999 ars aud brl cad chf eur ils nzd php rub sgd usd zar
2 2   1    50    999999999 inr
2 2   1    50   9999999999 cop
2 2   1    50 999999999999 idr
2 2   1   200     99999999 aed myr pln ron
2 2   1   250     99999999 dkk
2 2   1   300     99999999 nok sek
2 2   1   400     99999999 hkd
2 2   1  1000     99999999 mxn thb
2 2   1  1500     99999999 czk
2 2   1 17500     99999999 huf
2 0 100   100     99999900 isk ugx
3 3  10    10     99999990 bhd jod kwd omr tnd
0 0   1     1     99999999 bif clp djf gnf kmf mga pyg rwf vnd vuv xaf xof xpf
0 0   1    50     99999999 jpy krw
`;

/** @type {Map<string, { decimals: number, written: number }>} */
const currencies = new Map();
for (const line of TABLE.trim().split("\n")) {
  const [decimals, written, , , , ...codes] = line.split(/ +/);
  for (const code of codes) {
    currencies.set(code, { decimals: Number(decimals), written: Number(written) });
  }
}

/**
 * The decimals of an amount: of the integer itself, and of what people write. A currency that is not in the table has
 * two, which is Stripe's rule; an amount that does not come out even is written in full.
 * @param {number} amount
 * @param {string} currency
 */
export function decimalsOf(amount, currency) {
  const { decimals, written } = currencies.get(currency) ?? { decimals: 2, written: 2 };
  return { decimals, written: amount % 10 ** (decimals - written) === 0 ? written : decimals };
}
