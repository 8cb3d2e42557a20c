import { useMutation, useQuery } from "@tanstack/react-query";
import { useState, type ReactNode, type SyntheticEvent } from "react";
import { setWho } from "../api/cache";
import { api, ask } from "../api/client";
import { providers } from "../api/queries";
import { Field } from "../ui/Field";
import { backHere, Loading, ProblemNotice } from "../ui/Notice";
import { Text } from "../ui/Text";
import { Logo } from "./Logo";

/** At an identity provider where there is one; else a token for a cookie. */
export function SignIn(): ReactNode {
  const known = useQuery(providers);
  const choices = known.data ?? [];
  return (
    <main className="alone">
      <div className="card signin">
        <Logo />
        <h1>Sign in to Postern</h1>
        {known.error && <ProblemNotice error={known.error} />}
        {known.isPending && <Loading what="where to sign in" />}
        {choices.map(({ name, login }) => (
          <a key={name} className="button primary wide" href={backHere(login)}>
            Sign in with <Text>{name}</Text>
          </a>
        ))}
        {choices.length > 0 ? (
          <details>
            <summary>Sign in with an API token</summary>
            <WithToken />
          </details>
        ) : (
          !known.isPending && <WithToken />
        )}
      </div>
    </main>
  );
}

/** The token is kept nowhere in the browser. */
function WithToken(): ReactNode {
  const [token, setToken] = useState("");
  const signIn = useMutation({
    mutationFn: () => ask(api.POST("/api/v1/web/session", { body: { token } })),
    onSuccess: (me) => {
      setToken("");
      setWho(me);
    },
  });
  const submit = (event: SyntheticEvent): void => {
    event.preventDefault();
    if (token.trim()) signIn.mutate();
  };
  return (
    <form onSubmit={submit}>
      <Field label="API token" hint="It begins with postern_. This page does not keep it: a cookie takes its place for at most 12 hours.">
        {(field) => (
          <input
            {...field}
            type="password"
            value={token}
            onChange={(event) => setToken(event.target.value)}
            autoComplete="off"
            spellCheck={false}
            // eslint-disable-next-line jsx-a11y/no-autofocus -- there is nothing else to do here
            autoFocus
          />
        )}
      </Field>
      {signIn.error && <ProblemNotice error={signIn.error} />}
      <button type="submit" className="primary wide" disabled={signIn.isPending}>
        {signIn.isPending ? "Signing in…" : "Sign in"}
      </button>
      <details>
        <summary>Where do I get one?</summary>
        <p>
          From your admin, or with the command line: <code>postern tokens create --name console --expires 30d</code>
        </p>
        <p>
          Of the demo: <code>postern dev env admin</code> shows it after <code>POSTERN_TOKEN=</code>.
        </p>
      </details>
    </form>
  );
}
