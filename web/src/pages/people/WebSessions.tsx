import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { api, ask } from "../../api/client";
import { webSessions } from "../../api/queries";
import { Loading, ProblemNotice } from "../../ui/Notice";
import { SureButton } from "../../ui/SureButton";
import { Table } from "../../ui/Table";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { toast } from "../../ui/toasts";

/** The browsers in which whoever looks is signed in. */
export function WebSessions(): ReactNode {
  const client = useQueryClient();
  const found = useQuery(webSessions);
  const end = useMutation({
    mutationFn: (id: string) => ask(api.DELETE("/api/v1/web/sessions/{id}", { params: { path: { id } } })),
    onSuccess: async () => {
      toast({ tone: "good", title: "That browser is signed out." });
      await client.invalidateQueries({ queryKey: ["web-sessions"] });
    },
  });
  if (found.isPending) return <Loading what="your browsers" />;
  if (!found.data) return <ProblemNotice error={found.error} />;
  return (
    <section className="group full">
      <h2>Browsers in which you are signed in</h2>
      {end.error && <ProblemNotice error={end.error} />}
      <Table
        label="Browsers in which you are signed in"
        columns={["By", "Since", "Last used", "Ends", ""]}
        rows={found.data.map((session) => [
          session.id,
          session.provider ? <Text key="by">{session.provider}</Text> : "an API token",
          <Time key="since" at={session.created_at} />,
          <Time key="used" at={session.last_used_at} />,
          <Time key="ends" at={session.expires_at} />,
          session.current ? (
            <span key="this" className="badge">
              this browser
            </span>
          ) : (
            <SureButton key="end" busy={end.isPending} onSure={() => end.mutate(session.id)}>
              Sign out
            </SureButton>
          ),
        ])}
      />
    </section>
  );
}
