// @ts-check
// The last chapter of each course that a learner read in this browser, for "Continue". Each learner has
// their own.

import { session } from "./session.js";

/** @param {string} course */
function key(course) {
  return `coursegate.place.${session.learner}.${course}`;
}

/**
 * @param {string} course
 * @returns {number | null}
 */
export function place(course) {
  try {
    return Number(session.learner && localStorage.getItem(key(course))) || null;
  } catch {
    return null;
  }
}

/**
 * @param {string} course
 * @param {number} chapter
 */
export function remember(course, chapter) {
  try {
    if (session.learner) localStorage.setItem(key(course), String(chapter));
  } catch {
    // Storage is off or full: the card says "Open".
  }
}
