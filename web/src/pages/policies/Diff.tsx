import { useDeferredValue, useMemo, type ReactNode } from "react";
import { diff } from "../../code/diff";
import { Text } from "../../ui/Text";

/** What has to be taken away and added, line by line. */
export function Diff({ label, before, after }: { label: string; before: string; after: string }): ReactNode {
  const lines = useDeferredValue(useMemo(() => diff(before, after), [before, after]));
  return (
    <figure className="sql">
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach */}
      <pre tabIndex={0} aria-label={label} className="diff">
        {lines.map((line, at) => (
          <span key={at} className={line.sign === "+" ? "added" : line.sign === "-" ? "removed" : undefined}>
            {line.sign} <Text>{line.text}</Text>
            {"\n"}
          </span>
        ))}
      </pre>
    </figure>
  );
}
