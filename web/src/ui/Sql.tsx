import { useMemo, useState, type ReactNode } from "react";
import { dangers } from "../sql/dangers";
import { format } from "../sql/format";
import { lex, type Token } from "../sql/lex";
import { isKeyword } from "../sql/words";
import { Copy } from "./Copy";
import { visible } from "./Text";

/** Longer text is shown by its beginning, so that no statement makes the page slow. */
const LONGEST = 20_000;

/** SQL with colours, broken into lines, what deserves a second look marked. */
export function Sql({ text, bare = false }: { text: string; bare?: boolean }): ReactNode {
  const [asSent, setAsSent] = useState(false);
  const [whole, setWhole] = useState(false);
  const shown = whole ? text : text.slice(0, LONGEST);
  const { tokens, marks, differs } = useMemo(() => {
    const sent = lex(shown);
    const formatted = format(shown);
    const tokens = asSent ? sent : formatted;
    return { tokens, marks: dangers(tokens), differs: formatted.some((token, at) => token.text !== sent[at]?.text) };
  }, [shown, asSent]);
  const warnings = [...new Set(marks.values())];
  return (
    <figure className={bare ? "sql bare" : "sql"}>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, which keys have to reach */}
      <pre tabIndex={0} aria-label="SQL">
        <code>{tokens.map((token, at) => piece(token, at, marks.get(at)))}</code>
      </pre>
      {!bare && (
        <figcaption>
          {warnings.map((warning) => (
            <span className="badge danger" key={warning}>
              {warning}
            </span>
          ))}
          <span className="grow" />
          {shown.length < text.length && (
            <button type="button" className="quiet" onClick={() => setWhole(true)}>
              Show all {text.length.toLocaleString()} characters
            </button>
          )}
          {(differs || asSent) && (
            <button type="button" className="quiet" aria-pressed={asSent} onClick={() => setAsSent(!asSent)}>
              As sent
            </button>
          )}
          <Copy text={text} label="Copy SQL" />
        </figcaption>
      )}
    </figure>
  );
}

function piece(token: Token, at: number, warning: string | undefined): ReactNode {
  const style = token.kind === "word" ? (isKeyword(token.text) ? "keyword" : null) : token.kind === "space" ? null : token.kind;
  if (warning !== undefined) {
    return (
      <mark key={at} className={style ?? undefined} title={warning}>
        {visible(token.text)}
      </mark>
    );
  }
  return style === null || style === "punctuation" ? (
    visible(token.text)
  ) : (
    <span key={at} className={style}>
      {visible(token.text)}
    </span>
  );
}
