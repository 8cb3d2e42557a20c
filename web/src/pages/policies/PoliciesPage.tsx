import { useQuery } from "@tanstack/react-query";
import { Link, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { api, ask } from "../../api/client";
import { policies, whoami } from "../../api/queries";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";
import { PolicyEditor } from "./PolicyEditor";

export function PoliciesPage(): ReactNode {
  const me = useQuery(whoami).data;
  const found = useQuery(policies);
  const { file } = useSearch({ from: "/policies" });
  const name = file ?? found.data?.[0]?.name;
  if (!me) return null;
  return (
    <Page title="Policies" wide aside={<span className="muted">What may be done, by whom. All files hold together; a forbid wins.</span>}>
      {found.isPending && <Loading what="policies" />}
      {found.error && <ProblemNotice error={found.error} />}
      {found.data?.length === 0 && (
        <Empty title="No policy is in force">
          <p>
            Nothing is permitted by default, and so nothing runs. Policies are files, applied with <code>postern apply</code>;{" "}
            <code>postern policy list</code> shows which hold.
          </p>
        </Empty>
      )}
      <nav aria-label="Files">
        <ul className="files">
          {found.data?.map((policy) => (
            <li key={policy.name}>
              <Link to="/policies" search={{ file: policy.name }} className="button" aria-current={policy.name === name ? "page" : undefined}>
                <span className="mono">
                  <Text>{policy.name}</Text>
                </span>
                <span className="muted">
                  {policy.version === 0 ? "comes with Postern" : `version ${policy.version}`}
                  {policy.applied_at && (
                    <>
                      {", "}
                      <Time at={policy.applied_at} />
                    </>
                  )}
                </span>
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      {name && <File key={name} name={name} mayChange={me.roles.includes("admin")} />}
    </Page>
  );
}

function File({ name, mayChange }: { name: string; mayChange: boolean }): ReactNode {
  const found = useQuery({
    queryKey: ["policies", name],
    queryFn: () => ask(api.GET("/api/v1/policies/{name}", { params: { path: { name } } })),
  });
  if (found.isPending) return <Loading what={name} />;
  if (!found.data) return <ProblemNotice error={found.error} />;
  return <PolicyEditor name={name} text={found.data.text ?? ""} mayChange={mayChange} />;
}
