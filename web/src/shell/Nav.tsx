import { useMutation } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { setWho } from "../api/cache";
import { api, ask } from "../api/client";
import type { Whoami } from "../api/types";
import { useInbox } from "../pages/inbox/items";
import { Chips } from "../ui/Chips";
import { Dialog } from "../ui/Dialog";
import { Text } from "../ui/Text";
import { Icon } from "./Icon";
import { Logo } from "./Logo";
import { PAGES } from "./pages";
import { applyTheme, theme, type Theme } from "./theme";

/** How many pages the bar of a phone has room for, beside the menu. */
const IN_BAR = 4;

export function Nav({ me }: { me: Whoami }): ReactNode {
  const [menu, setMenu] = useState(false);
  const waiting = useInbox(me).inbox?.waiting.length ?? 0;
  const pages = PAGES.filter((page) => page.for(me));
  const links = pages.map((page, at) => (
    <li key={page.to} className={at < IN_BAR ? "" : "in-menu"}>
      <Link to={page.to} onClick={() => setMenu(false)}>
        <Icon name={page.icon} />
        <span>{page.label}</span>
        {page.counted && waiting > 0 && (
          <span className="count">
            {waiting}
            <span className="hidden"> waiting</span>
          </span>
        )}
      </Link>
    </li>
  ));
  return (
    <nav className="nav" aria-label="Pages">
      <Link to="/" className="brand" aria-label="Postern, to the first page">
        <Logo />
        <span>Postern</span>
      </Link>
      <ul>
        {links}
        <li className="more">
          <button type="button" className="quiet" onClick={() => setMenu(true)}>
            <Icon name="menu" />
            <span>More</span>
          </button>
        </li>
      </ul>
      <div className="account">
        <Account me={me} />
      </div>
      <Dialog open={menu} onClose={() => setMenu(false)} title="Menu" side>
        <ul className="menu">{links.slice(IN_BAR)}</ul>
        <Account me={me} />
      </Dialog>
    </nav>
  );
}

function Account({ me }: { me: Whoami }): ReactNode {
  const [chosen, setChosen] = useState<Theme>(theme);
  const signOut = useMutation({
    mutationFn: () => ask(api.DELETE("/api/v1/web/session")),
    onSuccess: ({ continue_at }) => {
      setWho(null);
      // The identity provider's session would sign them in again at once.
      if (continue_at) window.location.assign(continue_at);
    },
    onError: () => setWho(null),
  });
  return (
    <>
      <Chips
        label="Colours"
        value={chosen}
        options={[
          { value: "system", label: "Auto" },
          { value: "light", label: "Light" },
          { value: "dark", label: "Dark" },
        ]}
        onChange={(next) => {
          setChosen(next as Theme);
          applyTheme(next as Theme);
        }}
      />
      <div className="me">
        <span>
          <strong>
            <Text>{me.name}</Text>
          </strong>
          <span className="muted">{me.roles.length > 0 ? me.roles.join(", ") : me.kind}</span>
        </span>
        <button type="button" className="quiet" onClick={() => signOut.mutate()}>
          Sign out
        </button>
      </div>
      <a className="licences muted" href="/licences.txt">
        Licences
      </a>
    </>
  );
}
