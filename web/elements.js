// @ts-check
// The one script for other sites: <course-card>, <course-paywall> and <unlock-button>, and
// a way to sign out.

import "./elements/course-card.js";
import "./elements/course-paywall.js";
import "./elements/unlock-button.js";
export { signOut } from "./sign-in.js";
