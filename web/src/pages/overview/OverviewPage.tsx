import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { api, ask, type Schemas } from "../../api/client";
import { Chips } from "../../ui/Chips";
import { Loading, ProblemNotice } from "../../ui/Notice";
import { Page } from "../../ui/Page";
import { Table } from "../../ui/Table";
import { Who } from "../../ui/Who";
import { Bars } from "./Bars";
import { DAYS, type Range } from "./ranges";

type Overview = Schemas["Overview"];

const CHOICES: { value: Range; label: string }[] = [
  { value: "day", label: "Day" },
  { value: "week", label: "Week" },
  { value: "month", label: "30 days" },
  { value: "quarter", label: "90 days" },
];

export function OverviewPage(): ReactNode {
  const { range = "week" } = useSearch({ from: "/overview" });
  const navigate = useNavigate({ from: "/overview" });
  const found = useQuery({
    queryKey: ["overview", range],
    queryFn: () => {
      const since = new Date(Date.now() - DAYS[range] * 86_400_000).toISOString();
      return ask(api.GET("/api/v1/overview", { params: { query: { since } } }));
    },
    refetchInterval: 30_000,
    placeholderData: keepPreviousData,
  });
  return (
    <Page
      title="Overview"
      aside={<Chips label="How far back" value={range} options={CHOICES} onChange={(next) => void navigate({ search: { range: next as Range }, replace: true })} />}
    >
      {found.isPending && <Loading what="the overview" />}
      {found.error && <ProblemNotice error={found.error} />}
      {found.data && <Shown overview={found.data} />}
    </Page>
  );
}

function Shown({ overview }: { overview: Overview }): ReactNode {
  const { steps, step_seconds: stepSeconds } = overview;
  return (
    <>
      <Figures overview={overview} />
      <div className="charts">
        <Bars title="Requests" steps={steps} stepSeconds={stepSeconds} all="requests" part={["requests_denied", "denied"]} />
        <Bars title="Held statements" steps={steps} stepSeconds={stepSeconds} all="reviews" part={["reviews_denied", "denied"]} />
        <Bars title="Statements" steps={steps} stepSeconds={stepSeconds} all="statements" part={["statements_denied", "refused"]} />
        <Bars title="Masked values" steps={steps} stepSeconds={stepSeconds} all="masked_values" />
      </div>
      <Reviewers of={overview.reviewers} />
      <Principals of={overview.principals} />
    </>
  );
}

/** The few numbers that are asked for first. */
function Figures({ overview: { requests, reviews } }: { overview: Overview }): ReactNode {
  const figures: [string, string, string][] = [
    ["Waiting now", String(requests.pending + reviews.pending), both(requests.pending, reviews.pending)],
    ["Access decided in", spell(requests.median_seconds), spread(requests.most_seconds)],
    ["Statements decided in", spell(reviews.median_seconds), spread(reviews.most_seconds)],
    ["Access given by rule", share(requests.by_rule, requests.by_rule + requests.approved), `${requests.by_rule} without asking, ${requests.approved} by people`],
    ["Denied", String(requests.denied + reviews.denied), both(requests.denied, reviews.denied)],
    ["Not answered in time", String(requests.expired + reviews.expired), both(requests.expired, reviews.expired)],
  ];
  return (
    <dl className="figures">
      {figures.map(([name, value, more]) => (
        <div key={name} className="card">
          <dt>{name}</dt>
          <dd>
            <strong>{value}</strong>
            <span className="muted">{more}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}

function both(requests: number, statements: number): string {
  const some = (count: number, what: string): string => `${count.toLocaleString()} ${what}${count === 1 ? "" : "s"}`;
  return `${some(requests, "request")}, ${some(statements, "statement")}`;
}

function spread(most: number | null | undefined): string {
  return typeof most === "number" ? `half of them; nine of ten within ${spell(most)}` : "nobody has decided any";
}

/** `48 s`, `12 min`, `3 h`; a dash where nothing was decided. */
function spell(seconds: number | null | undefined): string {
  if (typeof seconds !== "number") return "–";
  if (seconds < 1) return "1 s";
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6_000) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3_600)} h`;
}

function share(part: number, of: number): string {
  return of === 0 ? "–" : `${Math.round((part / of) * 100)} %`;
}

/** From so large a share of hardly read approvals on it is said. */
const SUSPICIOUS = 0.2;

function Reviewers({ of }: { of: Schemas["ReviewerLoad"][] }): ReactNode {
  return (
    <section className="group full">
      <h2>Reviewers</h2>
      {of.length === 0 ? (
        <p className="muted">Nobody has answered anything in this time.</p>
      ) : (
        <Table
          label="Reviewers"
          columns={["Who", "Approved", "Denied", "Half within", "Approved in under 5 s"]}
          numbers={["Approved", "Denied", "Half within", "Approved in under 5 s"]}
          rows={of.map((load) => [
            load.reviewer.id,
            <Who key="who" who={load.reviewer} />,
            load.approved.toLocaleString(),
            load.denied.toLocaleString(),
            spell(load.median_seconds),
            <Quick key="quick" load={load} />,
          ])}
        />
      )}
      <p className="muted">A yes within five seconds of the question was hardly read.</p>
    </section>
  );
}

function Quick({ load }: { load: Schemas["ReviewerLoad"] }): ReactNode {
  const { rubber_stamped: quick, approved } = load;
  if (quick === 0) return "–";
  const text = `${quick.toLocaleString()} (${share(quick, approved)})`;
  return quick / approved >= SUSPICIOUS ? <span className="badge warn">{text}</span> : text;
}

function Principals({ of }: { of: Schemas["PrincipalActivity"][] }): ReactNode {
  return (
    <section className="group full">
      <h2>Who ran most</h2>
      {of.length === 0 ? (
        <p className="muted">Nothing was run in this time.</p>
      ) : (
        <Table
          label="Who ran most"
          columns={["Who", "Statements", "Refused", "Masked values", ""]}
          numbers={["Statements", "Refused", "Masked values"]}
          rows={of.map((one) => [
            one.principal.id,
            <Who key="who" who={one.principal} />,
            one.statements.toLocaleString(),
            one.denied > 0 ? <span className="error">{one.denied.toLocaleString()}</span> : "–",
            one.masked_values.toLocaleString(),
            <Link key="audit" to="/audit" search={{ principal: one.principal.id }}>
              Search<span className="hidden"> the audit for {one.principal.name}</span>
            </Link>,
          ])}
        />
      )}
    </section>
  );
}
