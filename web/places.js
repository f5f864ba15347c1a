// @ts-check
// Which chapter of each course was read last in this browser, so that a card can say "Continue".

const KEY = "coursegate.place.";

/**
 * @param {string} course
 * @returns {number | null}
 */
export function place(course) {
  try {
    return Number(localStorage.getItem(KEY + course)) || null;
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
    localStorage.setItem(KEY + course, String(chapter));
  } catch {
    // Storage is off or full: the card says "Open".
  }
}
