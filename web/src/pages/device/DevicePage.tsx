import { useMutation, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import { api, ask } from "../../api/client";
import { Field } from "../../ui/Field";
import { Empty, Loading, ProblemNotice } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { Text } from "../../ui/Text";
import { Time } from "../../ui/Time";

const route = getRouteApi("/device");

/** A command line that waits to be signed in as whoever is signed in here. */
export function DevicePage(): ReactNode {
  const { code } = route.useSearch();
  return (
    <Page title="Sign a command line in">
      {code ? <Decide key={code} code={code} /> : <AskForCode />}
    </Page>
  );
}

function AskForCode(): ReactNode {
  const navigate = route.useNavigate();
  const [code, setCode] = useState("");
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (code.trim()) void navigate({ search: { code: code.trim() } });
  };
  return (
    <form className="card" onSubmit={submit}>
      <Field label="Code" hint="As postern login shows it.">
        {(field) => <input {...field} value={code} onChange={(event) => setCode(event.target.value)} autoComplete="off" spellCheck={false} />}
      </Field>
      <button type="submit" className="primary">
        Go on
      </button>
    </form>
  );
}

function Decide({ code }: { code: string }): ReactNode {
  const path = { params: { path: { code } } };
  const device = useQuery({ queryKey: ["device", code], queryFn: () => ask(api.GET("/api/v1/web/devices/{code}", path)), retry: false });
  const answer = useMutation({
    mutationFn: (yes: boolean) =>
      ask(yes ? api.POST("/api/v1/web/devices/{code}/approve", path) : api.POST("/api/v1/web/devices/{code}/deny", path)),
  });
  if (device.isPending) return <Loading what="the command line" />;
  if (device.error) return <ProblemNotice error={device.error} />;
  if (answer.isSuccess) {
    return answer.variables ? (
      <Empty title="Your command line is signed in">
        <p>Go back to it. You can close this page.</p>
      </Empty>
    ) : (
      <Empty title="Nothing was signed in">
        <p>If somebody sent you that code, tell whoever runs Postern.</p>
      </Empty>
    );
  }
  return (
    <section className="card">
      <p>
        Does your terminal show this code? A command line asked <Time at={device.data.created_at} />.
      </p>
      <p>
        <strong>
          <Text>{device.data.user_code}</Text>
        </strong>
      </p>
      <p>Say yes only if you ran postern login yourself, just now. Whoever shows this code will act as you.</p>
      {answer.error && <ProblemNotice error={answer.error} />}
      <div className="buttons">
        <button type="button" className="deny" onClick={() => answer.mutate(false)} disabled={answer.isPending}>
          No
        </button>
        <button type="button" className="primary" onClick={() => answer.mutate(true)} disabled={answer.isPending}>
          Yes, sign it in
        </button>
      </div>
    </section>
  );
}
