import { useSyncExternalStore } from "react";

export interface Toast {
  id: number;
  tone: "good" | "bad";
  title: string;
  detail?: string | undefined;
}

let toasts: readonly Toast[] = [];
let last = 0;
const listeners = new Set<() => void>();

function set(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

/** Says what has happened, for a few seconds. */
export function toast(one: Omit<Toast, "id">): void {
  last += 1;
  set([...toasts.slice(-2), { ...one, id: last }]);
}

export function dismiss(id: number): void {
  set(toasts.filter((one) => one.id !== id));
}

export function useToasts(): readonly Toast[] {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
}
