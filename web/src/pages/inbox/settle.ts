/** A key that was meant for what was shown before must not decide what is shown now. */
export const SETTLE_MS = 400;
