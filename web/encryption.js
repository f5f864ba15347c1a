// @ts-check
// Encrypts a text to a public key, so that only the page that has the private key can read it: ECDH
// on P-256 with a key pair made for this one text, HKDF with SHA-256, and AES-256-GCM, all in
// WebCrypto. ADR 27 gives the reasons.
//
// An encrypted text is base64url of: the sender's public key (65 bytes), the nonce (12 bytes), and
// AES-GCM's ciphertext with its tag.

import { decode, encode } from "./base64url.js";

const CURVE = { name: "ECDH", namedCurve: "P-256" };
/** An uncompressed point on P-256, which is how WebCrypto exports a public key. */
const POINT_BYTES = 65;
/** The length that NIST SP 800-38D recommends. */
const NONCE_BYTES = 12;

const utf8 = new TextEncoder();

/** Makes a key pair with a non-extractable private key. */
export function makeKeyPair() {
  return crypto.subtle.generateKey(CURVE, false, ["deriveBits"]);
}

/**
 * A public key as text, for an address.
 * @param {CryptoKey} key
 */
export async function publicKeyText(key) {
  return encode(await point(key));
}

/**
 * Whether a text is a public key that can be encrypted to.
 * @param {string} text
 */
export async function isPublicKey(text) {
  return readPublicKey(text).then(() => true, () => false);
}

/**
 * Encrypts a text to a public key.
 * @param {string} recipient the public key, as text
 * @param {string} context additional authenticated data, which the recipient has to know too
 * @param {string} text
 */
export async function encrypt(recipient, context, text) {
  const theirs = await readPublicKey(recipient);
  const own = await makeKeyPair();
  const sender = await point(own.publicKey);
  const key = await sharedKey(own.privateKey, theirs, sender, await point(theirs), "encrypt");
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const ciphertext = await crypto.subtle.encrypt(cipher(nonce, context), key, utf8.encode(text));
  return encode(joined(sender, nonce, new Uint8Array(ciphertext)));
}

/**
 * Decrypts a text with this pair's private key. Throws if it was encrypted to another key or in another
 * context, or was changed.
 * @param {CryptoKeyPair} pair
 * @param {string} context
 * @param {string} encrypted
 */
export async function decrypt(pair, context, encrypted) {
  const bytes = decode(encrypted);
  const sender = bytes.slice(0, POINT_BYTES);
  const nonce = bytes.slice(POINT_BYTES, POINT_BYTES + NONCE_BYTES);
  const ciphertext = bytes.slice(POINT_BYTES + NONCE_BYTES);
  const theirs = await importPoint(sender);
  const own = await point(pair.publicKey);
  const key = await sharedKey(pair.privateKey, theirs, sender, own, "decrypt");
  const text = await crypto.subtle.decrypt(cipher(nonce, context), key, ciphertext);
  return new TextDecoder().decode(text);
}

/**
 * Derives the AES key. Both public keys go into it as well as the ECDH secret, which is the same for a
 * point and its negation.
 * @param {CryptoKey} own the private key of one side
 * @param {CryptoKey} theirs the public key of the other
 * @param {Uint8Array<ArrayBuffer>} sender
 * @param {Uint8Array<ArrayBuffer>} recipient
 * @param {"encrypt" | "decrypt"} use
 */
async function sharedKey(own, theirs, sender, recipient, use) {
  const secret = await crypto.subtle.deriveBits({ name: "ECDH", public: theirs }, own, 256);
  const material = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveKey"]);
  const info = joined(utf8.encode("coursegate P-256 HKDF-SHA-256 AES-256-GCM"), sender, recipient);
  const derivation = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info };
  return crypto.subtle.deriveKey(derivation, material, { name: "AES-GCM", length: 256 }, false, [use]);
}

/**
 * @param {Uint8Array<ArrayBuffer>} nonce
 * @param {string} context
 */
function cipher(nonce, context) {
  return { name: "AES-GCM", iv: nonce, additionalData: utf8.encode(context) };
}

/** @param {string} text */
async function readPublicKey(text) {
  return importPoint(decode(text));
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
async function importPoint(bytes) {
  // A browser may also take compressed points, which others refuse.
  if (bytes.length !== POINT_BYTES) throw new TypeError("this is not a public key on P-256");
  return crypto.subtle.importKey("raw", bytes, CURVE, true, []);
}

/** @param {CryptoKey} key */
async function point(key) {
  return new Uint8Array(await crypto.subtle.exportKey("raw", key));
}

/** @param {...Uint8Array} parts */
function joined(...parts) {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
