import { lex, type Token } from "./lex";

/** Words that begin a line of their own. */
const BREAKS = new Set(
  "select from where group order having limit offset fetch returning values union intersect except set window insert update delete merge with when and or on".split(
    " ",
  ),
);
const JOINS = new Set(["join", "left", "right", "full", "inner", "cross", "natural"]);
const QUERY_STARTS = new Set(["select", "with", "insert", "update", "delete", "values", "merge"]);

/** A statement up to this width stays on its line. */
const WIDTH = 72;

/**
 * Breaks SQL into lines. Only the white space between tokens changes: what is shown is what was sent, token for token.
 * Text whose author has broken it into lines is left as it is.
 */
export function format(sql: string): Token[] {
  const tokens = lex(sql);
  const lines = sql.trim().split("\n");
  if (lines.every((line) => line.length <= WIDTH + 28) && (lines.length > 1 || sql.length <= WIDTH)) return tokens;
  return broken(tokens);
}

/** What stands open: a sub-query, whose clauses begin lines, or other brackets. */
interface Open {
  query: boolean;
  between: boolean;
}

function broken(tokens: Token[]): Token[] {
  const out: Token[] = [];
  const open: Open[] = [{ query: true, between: false }];
  let spaced = false;
  let fresh = true;
  const significant = tokens.filter((token) => token.kind !== "space");
  const indent = (): string => "  ".repeat(open.filter((one) => one.query).length - 1);
  const line = (): void => {
    if (out.length > 0) out.push({ kind: "space", text: `\n${indent()}` });
    fresh = true;
  };
  let index = 0;
  for (const token of tokens) {
    if (token.kind === "space") {
      spaced = true;
      continue;
    }
    const word = token.kind === "word" ? token.text.toLowerCase() : "";
    const here = open[open.length - 1] ?? { query: true, between: false };
    if (token.text === ")") {
      if (open.length > 1) open.pop();
      if (here.query) {
        line();
        spaced = false;
      }
    } else if (!fresh && here.query && begins(word, significant[index - 1], here, indent())) {
      line();
      spaced = false;
      if (word === "and" || word === "or" || word === "on") out.push({ kind: "space", text: "  " });
    }
    if (spaced && !fresh) out.push({ kind: "space", text: " " });
    out.push(token);
    fresh = false;
    spaced = false;
    if (word === "between") here.between = true;
    else if (word === "and") here.between = false;
    if (token.text === "(") {
      const query = isQueryStart(significant[index + 1]);
      open.push({ query, between: false });
      if (query) line();
    } else if (token.text === ";" || (token.kind === "comment" && token.text.startsWith("--"))) {
      line();
    }
    index += 1;
  }
  return out;
}

function begins(word: string, before: Token | undefined, here: Open, indent: string): boolean {
  const previous = before?.kind === "word" ? before.text.toLowerCase() : "";
  if (JOINS.has(word)) return !JOINS.has(previous) && previous !== "outer";
  if (!BREAKS.has(word)) return false;
  if (word === "and" && here.between) return false;
  // DELETE FROM, ON CONFLICT … DO UPDATE SET, FOR UPDATE, WITHIN GROUP, IS DISTINCT FROM: one thing in several words.
  if (word === "from" && (previous === "delete" || previous === "distinct")) return false;
  if (word === "update" && (previous === "do" || previous === "for" || previous === "key")) return false;
  if (word === "set" && previous === "update") return false;
  if (word === "on" && indent.length === 0 && previous === "distinct") return false;
  return true;
}

function isQueryStart(token: Token | undefined): boolean {
  return token?.kind === "word" && QUERY_STARTS.has(token.text.toLowerCase());
}
