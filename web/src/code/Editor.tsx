import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, HighlightStyle, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, setDiagnostics, type Diagnostic } from "@codemirror/lint";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef, type ReactNode } from "react";

/** Something at a place of the text. */
export interface Remark {
  line: number;
  column: number;
  message: string;
  severity: "error" | "warning";
}

interface Props {
  label: string;
  value: string;
  language: Extension;
  remarks?: Remark[];
  readOnly?: boolean;
  onChange: (value: string) => void;
}

const COLOURS = HighlightStyle.define([
  { tag: tags.keyword, color: "light-dark(#4338ca, #a5b0ff)", fontWeight: "600" },
  { tag: tags.string, color: "light-dark(#14692f, #8fdba6)" },
  { tag: [tags.number, tags.bool], color: "light-dark(#8a3c00, #f0b36b)" },
  { tag: [tags.typeName, tags.special(tags.string)], color: "light-dark(#0f5f6b, #7fd6e0)" },
  { tag: tags.meta, color: "light-dark(#8a3c00, #f0b36b)" },
  { tag: tags.comment, color: "var(--muted)", fontStyle: "italic" },
]);

const LOOK = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--surface)", fontSize: "0.8125rem", height: "100%" },
  "&.cm-focused": { outline: "2px solid var(--accent)", outlineOffset: "-2px" },
  ".cm-scroller": { fontFamily: "var(--mono)", fontVariantLigatures: "none", lineHeight: "1.6", overflow: "auto" },
  ".cm-content": { caretColor: "var(--text)", padding: "0.75rem 0" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--sunken)", color: "var(--muted)", border: "0" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "light-dark(rgb(67 56 202 / 0.05), rgb(165 176 255 / 0.07))" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "light-dark(#d7d4fb, #33356b) !important" },
  ".cm-tooltip": { backgroundColor: "var(--raised)", color: "var(--text)", border: "1px solid var(--line)", maxWidth: "30rem" },
});

/**
 * An editor in a shadow tree: there its styles are constructed sheets, which the Content-Security-Policy lets be, while
 * in the page they would be an inline style.
 */
export function Editor({ label, value, language, remarks = [], readOnly = false, onChange }: Props): ReactNode {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView>(null);
  const changed = useRef(onChange);
  const writable = useRef(new Compartment());
  useEffect(() => {
    changed.current = onChange;
  });
  useEffect(() => {
    if (!host.current) return;
    const root = host.current.shadowRoot ?? host.current.attachShadow({ mode: "open" });
    const editor = new EditorView({
      root,
      parent: root,
      state: EditorState.create({
        extensions: [
          lineNumbers(), history(), drawSelection(), bracketMatching(), highlightActiveLine(), lintGutter(), language,
          syntaxHighlighting(COLOURS), LOOK, EditorView.lineWrapping,
          // Escape, then Tab leaves it, as CodeMirror lets keys do.
          keymap.of([...defaultKeymap, ...historyKeymap, indentWithTab]),
          EditorView.contentAttributes.of({ "aria-label": label, tabindex: "0" }),
          writable.current.of([]),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) changed.current(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    return () => editor.destroy();
  }, [label, language]);
  useEffect(() => {
    const editor = view.current;
    const now = editor?.state.doc.toString();
    if (editor && now !== value) editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
  }, [value, label, language]);
  useEffect(() => {
    const set = readOnly ? [EditorState.readOnly.of(true)] : [];
    view.current?.dispatch({ effects: writable.current.reconfigure(set) });
  }, [readOnly, label, language]);
  useEffect(() => {
    const editor = view.current;
    if (editor) editor.dispatch(setDiagnostics(editor.state, remarks.map((remark) => placed(editor.state, remark))));
  }, [remarks]);
  return <div ref={host} className="code" />;
}

function placed(state: EditorState, { line, column, message, severity }: Remark): Diagnostic {
  const at = state.doc.line(Math.min(Math.max(line, 1), state.doc.lines));
  const from = Math.min(at.from + Math.max(column - 1, 0), at.to);
  return { from, to: Math.max(at.to, from), message, severity };
}
