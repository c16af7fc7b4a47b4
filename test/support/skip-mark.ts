// How a skipped suite says why in its name. Apart from the two that use it, because the reporter is loaded where vitest's
// own functions do not exist.

/** Opens the reason in a suite's name; a `]` closes it. */
export const skipMark = '[skipped: '
