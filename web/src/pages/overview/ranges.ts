/** How far back the overview looks, as it stands in the address. */
export const RANGES = ["day", "week", "month", "quarter"] as const;

export type Range = (typeof RANGES)[number];

export const DAYS: Record<Range, number> = { day: 1, week: 7, month: 30, quarter: 90 };
