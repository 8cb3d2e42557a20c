import type { QueryClient } from "@tanstack/react-query";

/** What each kind of event brings up to date. */
const CONCERNS: Record<string, string[]> = {
  request: ["requests", "overview", "access"],
  review: ["reviews", "overview"],
  grant: ["grants", "requests", "access"],
  session: ["sessions"],
};

/** Follows what happens, for as long as somebody is signed in; gives what ends it. */
export function follow(client: QueryClient): () => void {
  const source = new EventSource("/api/v1/events");
  const refresh = (keys: string[]): void => {
    for (const key of keys) void client.invalidateQueries({ queryKey: [key] });
  };
  for (const [kind, keys] of Object.entries(CONCERNS)) source.addEventListener(kind, () => refresh(keys));
  const everything = (): void => refresh([...new Set(Object.values(CONCERNS).flat())]);
  source.addEventListener("resync", everything);
  // What happened while the line was down.
  source.addEventListener("open", everything);
  return () => source.close();
}
