// @ts-check
// Base64url without padding (RFC 4648, section 5): PKCE, JWTs and keys in addresses.

/** @param {Uint8Array} bytes */
export function encode(bytes) {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/**
 * Throws if the text is anything else.
 * @param {string} text
 */
export function decode(text) {
  if (!/^[\w-]*$/.test(text)) throw new TypeError("this is not base64url");
  const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(bytes, (byte) => byte.charCodeAt(0));
}
