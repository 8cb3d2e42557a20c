const UNITS: Record<string, number> = { d: 86_400, h: 3_600, m: 60, s: 1 };

/** The seconds of `1h30m`, as the API writes durations. */
export function seconds(text: string): number {
  let sum = 0;
  for (const [, number, unit] of text.matchAll(/(\d+)([dhms])/g)) sum += Number(number) * (UNITS[unit ?? ""] ?? 0);
  return sum;
}

const CHOICES = ["5m", "15m", "30m", "1h", "2h", "4h", "8h", "24h"];

/** The usual durations up to a longest one, which is one of them. */
export function choices(longest: string): string[] {
  const most = seconds(longest);
  return [...CHOICES.filter((choice) => seconds(choice) < most), longest];
}

/** `1h30m` as people write it. */
export function spelled(text: string): string {
  return text.replace(/(\d+)([dhms])/g, (_, number: string, unit: string) => `${number} ${unit === "m" ? "min" : unit} `).trim();
}
