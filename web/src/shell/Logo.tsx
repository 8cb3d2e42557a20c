import type { ReactNode } from "react";

export function Logo(): ReactNode {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M9 26V14a7 7 0 0 1 14 0v12" />
      <circle cx="18.5" cy="19" r="1.8" />
    </svg>
  );
}
