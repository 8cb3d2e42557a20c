import { useEffect, useState, type ReactNode } from "react";

const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const NEAR = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const FAR = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** The present moment, again each so many seconds. */
export function useNow(seconds = 1): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), seconds * 1000);
    return () => clearInterval(timer);
  }, [seconds]);
  return now;
}

/** A moment in the viewer's zone; the exact instant on hover. */
export function Time({ at, relative = true }: { at: string; relative?: boolean }): ReactNode {
  const now = useNow(relative ? 10 : 60);
  const then = new Date(at);
  const seconds = (then.getTime() - now) / 1000;
  return (
    <time dateTime={at} title={`${EXACT.format(then)} · ${at}`}>
      {relative ? ago(seconds) : Math.abs(seconds) < 43_200 ? NEAR.format(then) : FAR.format(then)}
    </time>
  );
}

function ago(seconds: number): string {
  const size = Math.abs(seconds);
  if (size < 45) return seconds > 0 ? "in a moment" : "just now";
  const [unit, length] = STEPS.find(([, length]) => size >= length) ?? ["minute", 60];
  return RELATIVE.format(Math.round(seconds / length), unit);
}

/** How long until then: `12:05`, `3 h 20 min`. */
export function Countdown({ until, over = "over" }: { until: string; over?: string }): ReactNode {
  const now = useNow();
  const left = Math.max(0, Math.floor((Date.parse(until) - now) / 1000));
  return (
    <time dateTime={until} title={`${EXACT.format(new Date(until))} · ${until}`} className={left < 60 ? "soon" : ""}>
      {left === 0 ? over : remaining(left)}
    </time>
  );
}

/** How long since then, while it goes on. */
export function Elapsed({ since }: { since: string }): ReactNode {
  const now = useNow();
  const seconds = Math.max(0, Math.floor((now - Date.parse(since)) / 1000));
  return (
    <time dateTime={since} title={`${EXACT.format(new Date(since))} · ${since}`}>
      {remaining(seconds)}
    </time>
  );
}

function remaining(seconds: number): string {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (hours >= 24) return `${Math.floor(hours / 24)} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return `${minutes}:${String(rest).padStart(2, "0")}`;
}
