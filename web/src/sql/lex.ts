/**
 * Splits SQL into PostgreSQL's tokens, for showing it: colours, line breaks, marks. What a statement does is decided by
 * the connector, which has PostgreSQL's own parser; nothing here decides anything.
 */

export type Kind = "space" | "comment" | "string" | "word" | "quoted" | "number" | "parameter" | "operator" | "punctuation";

export interface Token {
  kind: Kind;
  text: string;
}

const WORD_START = /[A-Za-z_\u0080-\uffff]/;
const WORD = /[\w$\u0080-\uffff]*/y;
const NUMBER = /(?:0[xXoObB][\da-fA-F_]+|\d[\d_]*(?:\.[\d_]*)?(?:[eE][+-]?\d+)?|\.\d[\d_]*(?:[eE][+-]?\d+)?)/y;
const SPACE = /\s+/y;
const DOLLAR_TAG = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;
const PARAMETER = /\$\d+/y;
const OPERATORS = "+-*/<>=~!@#%^&|`?";

export function lex(sql: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < sql.length) {
    const [kind, end] = next(sql, at);
    tokens.push({ kind, text: sql.slice(at, end) });
    at = end;
  }
  return tokens;
}

function next(sql: string, at: number): [Kind, number] {
  const char = sql.charAt(at);
  const space = match(SPACE, sql, at);
  if (space !== null) return ["space", space];
  if (sql.startsWith("--", at)) return ["comment", lineEnd(sql, at)];
  if (sql.startsWith("/*", at)) return ["comment", blockEnd(sql, at)];
  if (char === "'") return ["string", quoteEnd(sql, at, "'", false)];
  if (char === '"') return ["quoted", quoteEnd(sql, at, '"', false)];
  if (char === "$") {
    const parameter = match(PARAMETER, sql, at);
    if (parameter !== null) return ["parameter", parameter];
    const open = match(DOLLAR_TAG, sql, at);
    if (open !== null) {
      const close = sql.indexOf(sql.slice(at, open), open);
      return ["string", close < 0 ? sql.length : close + (open - at)];
    }
  }
  const number = match(NUMBER, sql, at);
  if (number !== null) return ["number", number];
  if (WORD_START.test(char)) return word(sql, at);
  if (OPERATORS.includes(char)) return ["operator", operatorEnd(sql, at)];
  if (sql.startsWith("::", at)) return ["operator", at + 2];
  return ["punctuation", at + 1];
}

/** A word, or a string with a prefix: E'…', U&'…', B'…'. */
function word(sql: string, at: number): [Kind, number] {
  const end = match(WORD, sql, at) ?? at + 1;
  const prefix = sql.slice(at, end).toLowerCase();
  if (sql.charAt(end) === "'" && ["e", "b", "x", "n"].includes(prefix)) {
    return ["string", quoteEnd(sql, end, "'", prefix === "e")];
  }
  if (prefix === "u" && sql.startsWith("&'", end)) return ["string", quoteEnd(sql, end + 1, "'", false)];
  if (prefix === "u" && sql.startsWith('&"', end)) return ["quoted", quoteEnd(sql, end + 1, '"', false)];
  return ["word", end];
}

function match(pattern: RegExp, sql: string, at: number): number | null {
  pattern.lastIndex = at;
  return pattern.test(sql) ? pattern.lastIndex : null;
}

function lineEnd(sql: string, at: number): number {
  const end = sql.slice(at).search(/[\r\n]/);
  return end < 0 ? sql.length : at + end;
}

function blockEnd(sql: string, at: number): number {
  let depth = 0;
  for (let here = at; here < sql.length; here += 1) {
    if (sql.startsWith("/*", here)) {
      depth += 1;
      here += 1;
    } else if (sql.startsWith("*/", here)) {
      depth -= 1;
      here += 1;
      if (depth === 0) return here + 1;
    }
  }
  return sql.length;
}

function quoteEnd(sql: string, at: number, quote: string, escapes: boolean): number {
  for (let here = at + 1; here < sql.length; here += 1) {
    const char = sql.charAt(here);
    if (escapes && char === "\\") here += 1;
    else if (char === quote) {
      if (sql.charAt(here + 1) !== quote) return here + 1;
      here += 1;
    }
  }
  return sql.length;
}

function operatorEnd(sql: string, at: number): number {
  let end = at + 1;
  while (end < sql.length && OPERATORS.includes(sql.charAt(end))) {
    if (sql.startsWith("--", end) || sql.startsWith("/*", end)) break;
    end += 1;
  }
  return end;
}
