// @ts-check
// The currencies that Stripe charges: decimals, decimals displayed, multiple, minimum, maximum, codes.
// currencies/src/lib.rs reads these lines too, and documents them.

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

/** @type {Map<string, number[]>} */
const currencies = new Map();
for (const line of TABLE.trim().split("\n")) {
  const [decimals, written, , , , ...codes] = line.split(/ +/);
  for (const code of codes) currencies.set(code, [Number(decimals), Number(written)]);
}

/**
 * How many decimals an amount has, and how many to display: all of them unless the rest are zero.
 * @param {number} amount
 * @param {string} currency
 */
export function decimalsOf(amount, currency) {
  const [decimals = 2, written = 2] = currencies.get(currency) ?? [];
  return { decimals, written: amount % 10 ** (decimals - written) ? decimals : written };
}
