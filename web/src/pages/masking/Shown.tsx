import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { api, ask, problemOf } from "../../api/client";
import { sentence } from "../../ui/Notice";
import { Text } from "../../ui/Text";
import { spellMask, type Mask, type Sample } from "./masks";

/** What a mask shows of a made-up value: made by the same code that masks real ones. */
export function Shown({ mask, sample, bare = false }: { mask: Mask; sample: Sample; bare?: boolean }): ReactNode {
  const tried = useQuery({
    queryKey: ["masks", spellMask(mask), sample.type, sample.value],
    queryFn: () => ask(api.POST("/api/v1/masks/try", { body: { mask, ...sample } })),
    staleTime: Infinity,
    retry: false,
  });
  const shown = tried.data?.value;
  return (
    <span className="shows mono" role={bare ? "status" : undefined}>
      {!bare && (
        <>
          <span className="muted">
            <Text>{sample.value}</Text>
          </span>
          <span aria-label="is shown as">→</span>
        </>
      )}
      {tried.data && (typeof shown === "string" ? <Text>{shown}</Text> : <i>NULL</i>)}
      {tried.error && <span className="error">{sentence(problemOf(tried.error).message)}</span>}
    </span>
  );
}
