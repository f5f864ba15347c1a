// @ts-check
// The one script for other sites: <course-card>, <course-paywall> and <unlock-button>.

import "./elements/course-card.js";
import "./elements/course-paywall.js";
import "./elements/unlock-button.js";
