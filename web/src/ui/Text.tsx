import type { ReactNode } from "react";

/**
 * Characters that are not seen, or that change how those around them are read: control characters, directions,
 * characters without width.
 */
// eslint-disable-next-line no-control-regex -- they are what is looked for
const ODD = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

/** What others have written, as text: what would not be seen is shown by its number. */
export function Text({ children }: { children: string }): ReactNode {
  return <bdi>{visible(children)}</bdi>;
}

export function visible(text: string): ReactNode {
  const parts: ReactNode[] = [];
  let from = 0;
  for (const match of text.matchAll(ODD)) {
    if (match[0] === "\r" && text[match.index + 1] === "\n") continue;
    parts.push(text.slice(from, match.index));
    const code = (match[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
    parts.push(
      <span key={match.index} className="odd" title="a character that is not seen">
        U+{code}
      </span>,
    );
    from = match.index + match[0].length;
  }
  if (parts.length === 0) return text;
  parts.push(text.slice(from));
  return parts;
}
