import type { QueryClient } from "@tanstack/react-query";

/** What each kind of event brings up to date. */
const CONCERNS: Record<string, string[]> = {
  request: ["requests", "overview", "access"],
  review: ["reviews", "overview"],
  grant: ["grants", "requests", "access"],
  session: ["sessions"],
  configuration: ["connections", "users", "agents", "groups", "policies", "tokens", "parts", "masking", "access"],
};

/** For so long what happens is gathered: much of it comes at once. */
const GATHER_MS = 150;

/** Follows what happens, for as long as somebody is signed in; gives what ends it. */
export function follow(client: QueryClient): () => void {
  const source = new EventSource("/api/v1/events");
  const stale = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = (): void => {
    timer = undefined;
    for (const key of stale) void client.invalidateQueries({ queryKey: [key] });
    stale.clear();
  };
  const refresh = (keys: string[]): void => {
    for (const key of keys) stale.add(key);
    timer ??= setTimeout(flush, GATHER_MS);
  };
  for (const [kind, keys] of Object.entries(CONCERNS)) source.addEventListener(kind, () => refresh(keys));
  const everything = (): void => refresh(Object.values(CONCERNS).flat());
  source.addEventListener("resync", everything);
  // What happened while the line was down.
  source.addEventListener("open", everything);
  return () => {
    clearTimeout(timer);
    source.close();
  };
}
