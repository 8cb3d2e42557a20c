import { useQuery } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { Loading, ProblemNotice } from "../../ui/Notice";
import { Time } from "../../ui/Time";
import { Who } from "../../ui/Who";
import { Diff } from "./Diff";

type Version = Schemas["PolicyVersion"];

interface Props {
  name: string;
  /** As it is in force. */
  text: string;
  /** Takes an earlier text into the editor, where it can be tried and applied; absent for those who only read. */
  onTake?: (text: string) => void;
}

/** How a file stood before: who changed it when, and what. */
export function History({ name, text, onTake }: Props): ReactNode {
  const found = useQuery({
    queryKey: ["policies", name, "versions"],
    queryFn: () => ask(api.GET("/api/v1/policies/{name}/versions", { params: { path: { name } } })),
  });
  if (found.isPending) return <Loading what="earlier versions" />;
  if (!found.data) return <ProblemNotice error={found.error} />;
  const versions = found.data;
  return (
    <section className="group full">
      <h2>History</h2>
      {versions.length === 0 ? (
        <p className="muted">It comes with Postern and was never changed. Each version that is applied stays here.</p>
      ) : (
        <ol className="history" aria-label="Versions">
          {versions.map((version, at) => (
            <li key={version.version} className="card grant">
              <Entry version={version} before={versions[at + 1]?.text ?? ""} text={text} onTake={onTake} />
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

function Entry({ version, before, text, onTake }: { version: Version; before: string; text: string; onTake: Props["onTake"] }): ReactNode {
  const [open, setOpen] = useState(false);
  const inForce = version.until_version === null || version.until_version === undefined;
  return (
    <>
      <header>
        <p className="badges">
          <strong>Version {version.version}</strong>
          {inForce && <span className="badge good">in force</span>}
          <span className="muted">
            <Time at={version.applied_at} />
          </span>
        </p>
        {version.applied_by ? <Who who={version.applied_by} /> : <span className="muted">by whoever started Postern</span>}
      </header>
      <div className="buttons">
        <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>
          What it changed<span className="hidden"> in version {version.version}</span>
        </button>
        {onTake && version.text !== text && (
          <button type="button" onClick={() => onTake(version.text)}>
            Go back to it…<span className="hidden"> to version {version.version}</span>
          </button>
        )}
      </div>
      {open && <Diff label={`What version ${version.version} changed`} before={before} after={version.text} />}
    </>
  );
}
