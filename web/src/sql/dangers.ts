import type { Token } from "./lex";

/** Why a token deserves a second look, by its position among the tokens. */
export type Dangers = Map<number, string>;

const ALWAYS: Record<string, string> = {
  truncate: "empties the whole table",
  drop: "removes it for good",
  alter: "changes the schema",
  grant: "gives rights to others",
  revoke: "takes rights from others",
  cascade: "also what depends on it",
  program: "runs a program on the database server",
  do: "runs a block of code",
};

/** What stands before a statement, also one within another. */
const STARTS = new Set([undefined, ";", "(", ")"]);

/**
 * What a reviewer should not overlook. A help for reading and no more: what a statement does was found out by the
 * connector, from its syntax tree.
 */
export function dangers(tokens: Token[]): Dangers {
  const found: Dangers = new Map();
  const significant = tokens.flatMap((token, at) =>
    token.kind === "space" || token.kind === "comment" ? [] : [{ at, text: token.text, word: wordOf(token) }],
  );
  significant.forEach((token, index) => {
    const before = significant[index - 1];
    const after = significant[index + 1];
    const starts = STARTS.has(before?.text);
    if (token.word === "delete" && after?.word === "from" && starts && !hasWhere(significant, index)) {
      found.set(token.at, "no WHERE: every row of the table");
    }
    if (token.word === "update" && starts && !hasWhere(significant, index)) {
      found.set(token.at, "no WHERE: every row of the table");
    }
    const first = before === undefined || before.text === ";";
    const always = ALWAYS[token.word];
    if (always && (first || token.word === "cascade" || (token.word === "program" && isCopy(significant, index)))) {
      found.set(token.at, always);
    }
    if ((token.word === "where" || token.word === "or") && isAlwaysTrue(significant, index)) {
      found.set(token.at, "always true");
    }
    if (token.word === "role" && before?.word === "set") found.set(token.at, "acts as another database role");
  });
  tokens.forEach((token, at) => {
    if ((token.kind === "word" || token.kind === "quoted") && /[^\x20-\x7e]/.test(token.text)) {
      found.set(at, "letters outside ASCII: it may look like another name");
    }
  });
  return found;
}

interface Significant {
  at: number;
  text: string;
  word: string;
}

function wordOf(token: Token): string {
  return token.kind === "word" ? token.text.toLowerCase() : "";
}

/** Whether a WHERE follows at the same depth before the statement is over. */
function hasWhere(tokens: Significant[], from: number): boolean {
  let depth = 0;
  for (const token of tokens.slice(from)) {
    if (token.text === "(") depth += 1;
    else if (token.text === ")") depth -= 1;
    if (depth < 0 || (depth === 0 && token.text === ";")) return false;
    if (depth === 0 && token.word === "where") return true;
  }
  return false;
}

function isCopy(tokens: Significant[], index: number): boolean {
  return tokens.slice(Math.max(0, index - 40), index).some((token) => token.word === "copy");
}

function isAlwaysTrue(tokens: Significant[], index: number): boolean {
  const [one, operator, other, last] = tokens.slice(index + 1, index + 5);
  if (!one) return false;
  const closes = (token: Significant | undefined): boolean =>
    token === undefined || [";", ")"].includes(token.text) || ["returning", "order", "limit", "or", "group"].includes(token.word);
  if (one.word === "true") return closes(operator);
  return operator?.text === "=" && one.text === other?.text && /^['\d]/.test(one.text) && closes(last);
}
