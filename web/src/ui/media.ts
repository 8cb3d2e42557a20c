import { useSyncExternalStore } from "react";

const WIDE = window.matchMedia("(min-width: 64rem)");

/** Whether there is room for a list and what is chosen of it, side by side. */
export function useWide(): boolean {
  return useSyncExternalStore(
    (listener) => {
      WIDE.addEventListener("change", listener);
      return () => WIDE.removeEventListener("change", listener);
    },
    () => WIDE.matches,
  );
}
