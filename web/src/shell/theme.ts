export type Theme = "system" | "light" | "dark";

const KEY = "theme";

export function theme(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : "system";
}

export function applyTheme(next?: Theme): void {
  if (next) localStorage.setItem(KEY, next);
  const wanted = next ?? theme();
  if (wanted === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = wanted;
}
