import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { api, ask, problemOf, type Schemas } from "../../api/client";
import { cedar } from "../../code/cedar";
import { Editor, type Remark } from "../../code/Editor";
import { Dialog } from "../../ui/Dialog";
import { ProblemNotice, sentence } from "../../ui/Notice";
import { Text } from "../../ui/Text";
import { toast } from "../../ui/toasts";
import { Bench } from "./Bench";
import { Diff } from "./Diff";
import { History } from "./History";

/** How long nothing is typed before it is checked. */
const PAUSE_MS = 400;

/** A file: read, changed, checked while it is changed, tried, applied. */
export function PolicyEditor({ name, text, mayChange }: { name: string; text: string; mayChange: boolean }): ReactNode {
  const [draft, setDraft] = useState(text);
  const [base, setBase] = useState(text);
  const [overtaken, setOvertaken] = useState(false);
  // What is in force may change while somebody writes: nothing of theirs is lost by it.
  if (text !== base) {
    setBase(text);
    if (draft === base) setDraft(text);
    else setOvertaken(draft !== text);
  }
  const [comparing, setComparing] = useState(false);
  const editor = useRef<HTMLElement>(null);
  const changed = draft !== text;
  const settled = useSettled(draft);
  const files = useMemo(() => (changed ? [{ name, text: draft }] : []), [changed, name, draft]);
  const checked = useQuery({
    queryKey: ["policies", "check", name, settled],
    queryFn: () => ask(api.POST("/api/v1/plan", { body: { policies: [{ name, text: settled }] } })),
    enabled: mayChange && settled !== text,
    retry: false,
    staleTime: Infinity,
  });
  const failed = settled !== text && checked.error ? problemOf(checked.error) : null;
  const problems = useMemo(() => failed?.problems ?? [], [failed]);
  const remarks = useMemo(() => problems.filter((problem) => problem.file === name).map(remark), [problems, name]);
  const take = (earlier: string): void => {
    setDraft(earlier);
    toast({ tone: "good", title: "It is in the editor: look at it, try it, apply it." });
    editor.current?.scrollIntoView({ block: "start" });
  };
  return (
    <>
      <section className="editor" ref={editor}>
        <Editor label={`Policies of ${name}`} value={draft} language={cedar} remarks={remarks} readOnly={!mayChange} onChange={setDraft} />
        {overtaken && changed && (
          <p className="notice warn" role="alert">
            Another version was applied while you were writing. Your change is compared with that one: look at what would be undone before you
            apply it.
          </p>
        )}
        <div className="bar">
          <p role="status">
            {!changed && <span className="muted">{mayChange ? "As it is in force." : "As it is in force. Only an admin changes it."}</span>}
            {changed && (settled !== draft || checked.isFetching) && <span className="muted">Checking…</span>}
            {changed && settled === draft && checked.data && <span className="badge good">valid with all the others</span>}
            {failed && <span className="badge danger">{problems.length > 0 ? `${problems.length} to mend` : "cannot be applied"}</span>}
          </p>
          {mayChange && (
            <div className="buttons">
              <button type="button" disabled={!changed} onClick={() => setDraft(text)}>
                Undo all
              </button>
              <button type="button" className="primary" disabled={!changed || settled !== draft || !checked.data} onClick={() => setComparing(true)}>
                Apply…
              </button>
            </div>
          )}
        </div>
        {failed && problems.length === 0 && <ProblemNotice error={failed} />}
        {problems.length > 0 && (
          <ul className="problems">
            {problems.map((problem) => (
              <li key={`${problem.line}:${problem.column}:${problem.what}`} className="notice bad">
                <strong>
                  Line {problem.line}, column {problem.column}: <Text>{sentence(problem.what)}</Text>
                </strong>{" "}
                <Text>{sentence(problem.hint)}</Text>
              </li>
            ))}
          </ul>
        )}
      </section>
      <Bench files={files} />
      <History name={name} text={text} {...(mayChange && { onTake: take })} />
      {comparing && <Compare name={name} before={text} after={draft} onClose={() => setComparing(false)} />}
    </>
  );
}

function remark({ line, column, what, hint }: Schemas["PolicyProblem"]): Remark {
  return { line, column, message: `${what}. ${hint}`, severity: "error" };
}

/** A text once it has not changed for a moment. */
function useSettled(text: string): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}

/** What would change, before it does. */
function Compare({ name, before, after, onClose }: { name: string; before: string; after: string; onClose: () => void }): ReactNode {
  const client = useQueryClient();
  const apply = useMutation({
    mutationFn: () => ask(api.POST("/api/v1/apply", { body: { policies: [{ name, text: after }], merge: true } })),
    onSuccess: async () => {
      toast({ tone: "good", title: `${name} is in force.` });
      onClose();
      await client.invalidateQueries({ queryKey: ["policies"] });
    },
  });
  return (
    <Dialog open onClose={onClose} title={`Apply ${name}`} description="It holds for each statement from now on, also in sessions that are open.">
      <Diff label="What changes" before={before} after={after} />
      {apply.error && <ProblemNotice error={apply.error} />}
      <div className="buttons">
        <button type="button" onClick={onClose}>
          Cancel
        </button>
        <button type="button" className="primary" onClick={() => apply.mutate()} disabled={apply.isPending}>
          {apply.isPending ? "Applying…" : "Apply"}
        </button>
      </div>
    </Dialog>
  );
}
