import type { ReactNode } from "react";

interface Props {
  title: ReactNode;
  /** What stands beside it. */
  aside?: ReactNode;
  /** As wide as the screen. */
  wide?: boolean;
  children: ReactNode;
}

/** A page with its name, which is there before anything else is known. */
export function Page({ title, aside, wide = false, children }: Props): ReactNode {
  return (
    <div className={wide ? "page wide" : "page"}>
      <header>
        <h1>{title}</h1>
        {aside}
      </header>
      {children}
    </div>
  );
}
