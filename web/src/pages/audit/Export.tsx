import { useMutation } from "@tanstack/react-query";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { api, ask } from "../../api/client";
import { ProblemNotice } from "../../ui/Notice";
import { toast } from "../../ui/toasts";
import { save, toQuery, type AuditSearch } from "./search";

type Filters = Omit<AuditSearch, "event" | "limit">;

type Format = "csv" | "jsonl";

/** Everything that a search finds, however much, as a file: it is not held by this page, and it is recorded. */
export function Export({ search }: { search: Filters }): ReactNode {
  const [bytes, setBytes] = useState(0);
  const stopping = useRef<AbortController | null>(null);
  useEffect(() => () => stopping.current?.abort(), []);
  const write = useMutation({
    mutationFn: async (format: Format) => {
      setBytes(0);
      const { signal } = (stopping.current = new AbortController());
      const stream = await ask(begin(format, search, signal));
      if (!stream) return;
      try {
        await save(`audit.${format}`, format === "csv" ? "text/csv" : "application/jsonl", counted(stream, setBytes));
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    },
    onError: () => toast({ tone: "bad", title: "The file is not whole, and was not saved." }),
  });
  return (
    <>
      {write.isPending ? (
        <button type="button" className="quiet" onClick={() => stopping.current?.abort()}>
          Stop the export
        </button>
      ) : (
        <>
          <button type="button" className="quiet" onClick={() => write.mutate("csv")}>
            Export CSV
          </button>
          <button type="button" className="quiet" onClick={() => write.mutate("jsonl")}>
            Export JSON Lines
          </button>
        </>
      )}
      <span role="status">{write.isPending && `${(bytes / 1e6).toFixed(1)} MB so far`}</span>
      {write.error && <ProblemNotice error={write.error} />}
    </>
  );
}

function begin(format: Format, search: Filters, signal: AbortSignal) {
  const init = { params: { query: toQuery(search, null) }, parseAs: "stream", signal } as const;
  return format === "csv" ? api.GET("/api/v1/audit/events.csv", init) : api.GET("/api/v1/audit/events.jsonl", init);
}

/** The same, while it is told how much has come. */
function counted(stream: ReadableStream<Uint8Array>, tell: (bytes: number) => void): ReadableStream<Uint8Array> {
  let bytes = 0;
  return stream.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, out) {
        tell((bytes += piece.length));
        out.enqueue(piece);
      },
    }),
  );
}
