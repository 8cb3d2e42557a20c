//! What is asked for a preview, one batch after the other: what follows depends on the answers. What there is to tell in the
//! end: `told`.

mod told;

use super::{
    counts::{COUNTS, Counts, Written},
    of::{Of, Trial},
    plan::{Plan, grouped},
    sample::{Key, MAX_ROWS, ask_key},
    talk::{Ask, Heard, Reply, put_end, texts},
};
use postern_proto::v1::ClientError;
use postern_sql::excerpt::Count;
use postern_wire::error;
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

/// The most rows, by the planner's estimate, with which a statement is run for show.
const MAX_ESTIMATE: u64 = 10_000;

/// How long all of it may take: what is nice to know is left out then.
const MAX_TIME: Duration = Duration::from_secs(5);

/// Nothing waits longer for a lock, and nothing runs longer.
const BOUNDS: &str = "SELECT pg_catalog.set_config('lock_timeout', '100ms', true), \
                      pg_catalog.set_config('statement_timeout', '2s', true), pg_catalog.current_setting('track_counts')";

/// To which a transaction of the client's is rolled back.
const OUTER: &str = "\"postern's own preview\"";

/// To which each try is.
const STEP: &str = "\"postern's own step\"";

/// A relation of at most so many bytes has its rows counted.
const MAX_COUNTED_BYTES: i64 = 8 << 20;

/// As many relations have.
const MAX_COUNTED: usize = 4;

/// What is being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The transaction begins, and the server plans the statement.
    Opening,
    /// Some of its rows, as they are.
    Before,
    /// It runs.
    Running,
    /// Its rows, as they have become.
    After,
    /// It runs again, to return them.
    Returning,
    /// It does not run: its rows are counted.
    Counting,
    /// How large the relations are.
    Sizes,
    /// How many rows they have.
    Totals,
    /// All is rolled back.
    Closing,
    Over,
}

/// A preview that is being made.
#[derive(Debug)]
pub(super) struct Stages {
    of: Of,
    stage: Stage,
    since: Instant,
    /// The types of the statement's parameters, as the server has them.
    parameters: Vec<u32>,
    plan: Plan,
    key: Option<Key>,
    before: Option<Reply>,
    after: Option<Reply>,
    written: Option<Vec<Written>>,
    /// All that it would write was counted.
    exact: bool,
    /// Why it was not run, in the end.
    untried: Option<String>,
    fails: Option<ClientError>,
    totals: HashMap<u32, i64>,
    /// Bytes of each relation.
    sizes: BTreeMap<u32, i64>,
    /// The relations whose rows are being counted.
    counting: Vec<u32>,
}

impl Stages {
    pub fn begin(of: Of, due: &mut Vec<u8>) -> Self {
        let untried = match &of.trial {
            Trial::Run => None,
            Trial::Plan(why) | Trial::Nothing(why) => Some(why.clone()),
        };
        let stages = Self {
            of,
            stage: Stage::Opening,
            since: Instant::now(),
            parameters: Vec::new(),
            plan: Plan::default(),
            key: None,
            before: None,
            after: None,
            written: None,
            exact: false,
            untried,
            fails: None,
            totals: HashMap::new(),
            sizes: BTreeMap::new(),
            counting: Vec::new(),
        };
        stages.put_opening(due);
        stages
    }

    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    fn put_opening(&self, due: &mut Vec<u8>) {
        let savepoint = format!("SAVEPOINT {OUTER}");
        // Serializable ones that may be deferred would wait for others.
        let begin = if self.of.in_transaction { &savepoint } else { "BEGIN NOT DEFERRABLE" };
        for sql in [begin, BOUNDS, &format!("SAVEPOINT {STEP}")] {
            Ask::of(sql).put(due);
        }
        if !matches!(self.of.trial, Trial::Nothing(_)) {
            let Of { text, types, values, .. } = &self.of;
            let itself = Ask { sql: text, types, values: values.as_deref(), rows: 0 };
            itself.put_described(due);
            let explain = [b"EXPLAIN (FORMAT JSON) ", text.as_slice()].concat();
            Ask { sql: &explain, ..itself }.put(due);
        }
        put_end(due);
    }

    /// Takes what was heard of a batch, and appends the next one.
    pub fn heard(&mut self, heard: Heard, due: &mut Vec<u8>) {
        let next = match self.stage {
            Stage::Opening => self.opened(heard),
            Stage::Before => {
                self.seen_before(heard);
                Stage::Running
            }
            Stage::Running => self.ran(heard),
            Stage::After => {
                self.after = heard.replies.into_iter().next();
                Stage::Sizes
            }
            Stage::Returning => {
                self.after = heard.replies.into_iter().nth(1);
                Stage::Sizes
            }
            Stage::Counting => {
                self.counted(&heard);
                Stage::Sizes
            }
            Stage::Sizes => {
                self.sized(&heard);
                Stage::Totals
            }
            Stage::Totals => {
                self.totalled(&heard);
                Stage::Closing
            }
            Stage::Closing | Stage::Over => Stage::Over,
        };
        self.go(next, due);
    }

    /// Goes to the first stage from here on in which there is something to ask.
    fn go(&mut self, mut stage: Stage, due: &mut Vec<u8>) {
        loop {
            self.stage = stage;
            if stage == Stage::Over || self.put(due) {
                return;
            }
            stage = match stage {
                Stage::Before => Stage::Running,
                Stage::Running => Stage::Counting,
                Stage::After | Stage::Returning | Stage::Counting => Stage::Sizes,
                Stage::Sizes => Stage::Totals,
                _ => Stage::Closing,
            };
        }
    }

    /// Whether there was something to ask.
    fn put(&mut self, due: &mut Vec<u8>) -> bool {
        let is_late = self.since.elapsed() > MAX_TIME;
        match self.stage {
            Stage::Before => self.put_before(due),
            Stage::Running => self.put_run(due),
            Stage::After if !is_late => self.put_after(due),
            Stage::Returning if !is_late => self.put_returning(due),
            Stage::Counting if !is_late => self.put_count(due),
            Stage::Sizes => self.put_sizes(due),
            Stage::Totals if !is_late => self.put_totals(due),
            Stage::Closing => {
                let outer = [format!("ROLLBACK TO SAVEPOINT {OUTER}"), format!("RELEASE SAVEPOINT {OUTER}")];
                let own = ["ROLLBACK".to_owned()];
                let closing: &[String] = if self.of.in_transaction { &outer } else { &own };
                closing.iter().for_each(|sql| Ask::of(sql).put(due));
                put_end(due);
                true
            }
            _ => false,
        }
    }

    fn opened(&mut self, heard: Heard) -> Stage {
        let Heard { replies, parameters, error, .. } = heard;
        let mut replies = replies.into_iter();
        let (bounds, explained) = (replies.nth(1), replies.nth(1));
        if bounds.is_none() || (matches!(self.of.trial, Trial::Nothing(_)) && error.is_some()) {
            self.untried.get_or_insert_with(|| "the database did not let it begin".to_owned());
            return Stage::Closing;
        }
        if matches!(self.of.trial, Trial::Nothing(_)) {
            return Stage::Sizes;
        }
        self.parameters = parameters.unwrap_or_else(|| self.of.types.clone());
        if let Some(error) = error {
            self.failed(&error);
            return Stage::Closing;
        }
        let told = explained.iter().flat_map(|reply| &reply.rows).flat_map(|row| texts(row)).flatten();
        match Plan::read(&told.collect::<String>()) {
            Some(plan) => self.plan = plan,
            None => self.untried = Some("the server's plan of it is not understood".to_owned()),
        }
        let counts = bounds.and_then(|reply| texts(reply.rows.first()?).into_iter().nth(2)?);
        if counts.as_deref() != Some("on") {
            self.untried.get_or_insert_with(|| "the database does not count rows (track_counts)".to_owned());
        } else if self.plan.writes > MAX_ESTIMATE {
            let estimate = grouped(self.plan.writes);
            self.untried
                .get_or_insert_with(|| format!("it would change about {estimate} rows, by the planner's estimate"));
        }
        Stage::Before
    }

    /// A statement made of the client's own, with its parameters.
    fn own<'a>(&'a self, sql: &'a str, rows: usize) -> Ask<'a> {
        let rows = u32::try_from(rows).unwrap_or_default();
        Ask { sql: sql.as_bytes(), types: &self.parameters, values: self.of.values.as_deref(), rows }
    }

    /// The rows that are there, if they can be shown.
    fn put_before(&self, due: &mut Vec<u8>) -> bool {
        let Some(target) = self.of.target.as_ref().filter(|target| target.screen.is_some()) else { return false };
        let Some(before) = &target.before else { return false };
        Ask::of(&ask_key(target.oid)).put(due);
        self.own(before, MAX_ROWS).put(due);
        put_end(due);
        true
    }

    fn seen_before(&mut self, heard: Heard) {
        let mut replies = heard.replies.into_iter();
        self.key = replies.next().as_ref().and_then(Key::read);
        self.before = replies.next();
    }

    fn put_back(&self, due: &mut Vec<u8>) {
        Ask::of(&format!("ROLLBACK TO SAVEPOINT {STEP}")).put(due);
    }

    fn put_run(&self, due: &mut Vec<u8>) -> bool {
        if self.untried.is_some() {
            return false;
        }
        let Of { text, types, values, .. } = &self.of;
        self.put_back(due);
        Ask::of(COUNTS).put(due);
        // What it returns is of no interest: it runs to its end whatever is taken of that.
        Ask { sql: text, types, values: values.as_deref(), rows: 1 }.put(due);
        Ask::of(COUNTS).put(due);
        Ask::of("SET CONSTRAINTS ALL IMMEDIATE").put(due);
        Ask::of(COUNTS).put(due);
        put_end(due);
        true
    }

    fn ran(&mut self, heard: Heard) -> Stage {
        let Heard { replies, error, .. } = heard;
        let count = |at: usize| replies.get(at).and_then(Counts::read);
        // Constraints may be about what came before in the client's transaction, and be met once it commits.
        let is_open = self.of.in_transaction && error.is_some() && replies.len() == 4;
        let (before, after) = (count(1), if is_open { count(3) } else { count(5) });
        match (before, after, error.filter(|_| !is_open)) {
            (_, _, Some(error)) => match sqlstate(&error) {
                b"57014" => {
                    self.untried = Some("it runs for more than 2 s".to_owned());
                    Stage::Counting
                }
                _ => {
                    self.failed(&error);
                    if self.fails.is_some() { Stage::Sizes } else { Stage::Counting }
                }
            },
            (Some(before), Some(after), None) => {
                self.written = Some(after.since(&before, &self.of.named));
                self.exact = !is_open;
                self.of.notes.push("no lock waited for (longer than 100 ms)".to_owned());
                if is_open {
                    let note = "constraints that are checked when the transaction commits are not met as yet";
                    self.of.notes.push(note.to_owned());
                }
                let returns = self.of.target.as_ref().is_some_and(|target| target.returning.is_some());
                if returns { Stage::Returning } else { Stage::After }
            }
            _ => {
                self.untried = Some("the database does not say what it has counted".to_owned());
                Stage::Counting
            }
        }
    }

    /// The rows that were shown before, by their keys.
    fn put_after(&self, due: &mut Vec<u8>) -> bool {
        let Some(target) = self.of.target.as_ref().filter(|target| target.stays) else { return false };
        let (Some(key), Some(before)) = (&self.key, &self.before) else { return false };
        let Some((sql, types, values)) = key.again(&target.quoted, before) else { return false };
        Ask { sql: sql.as_bytes(), types: &types, values: Some(&values), rows: 0 }.put(due);
        put_end(due);
        true
    }

    fn put_returning(&self, due: &mut Vec<u8>) -> bool {
        let target = self.of.target.as_ref().filter(|target| target.screen.is_some());
        let Some(returning) = target.and_then(|target| target.returning.as_ref()) else { return false };
        self.put_back(due);
        self.own(returning, MAX_ROWS).put(due);
        put_end(due);
        true
    }

    fn put_count(&self, due: &mut Vec<u8>) -> bool {
        let Some(Count::Asked(count)) = self.of.target.as_ref().and_then(|target| target.count.as_ref()) else {
            return false;
        };
        self.put_back(due);
        self.own(count, 0).put(due);
        put_end(due);
        true
    }

    fn counted(&mut self, heard: &Heard) {
        let row = heard.replies.get(1).and_then(|reply| reply.rows.first());
        let count = row.and_then(|row| texts(row).into_iter().next()??.parse().ok());
        self.about(count);
    }

    /// What is known of a statement that was not run.
    fn about(&mut self, count: Option<u64>) {
        let Some(target) = &self.of.target else { return };
        let known = match target.count {
            Some(Count::Known(rows)) => Some(rows),
            _ => None,
        };
        let mut rows = [0; 3];
        let Some(count) = count.or(known).or(Some(self.plan.writes).filter(|rows| *rows > 0)) else { return };
        if let Some(changed) = rows.get_mut(target.change) {
            *changed = count;
        }
        self.written = Some(vec![Written::about(target.oid, target.name.clone(), rows)]);
    }

    fn put_sizes(&mut self, due: &mut Vec<u8>) -> bool {
        if self.untried.is_some() && self.written.is_none() && !matches!(self.of.trial, Trial::Nothing(_)) {
            self.about(None);
        }
        let named = self.of.named.values().map(|(oid, _)| *oid);
        let written = self.written.iter().flatten().map(|written| written.oid);
        let mut oids: Vec<u32> = named.chain(written).collect();
        oids.sort_unstable();
        oids.dedup();
        oids.truncate(50);
        if oids.is_empty() {
            return false;
        }
        self.put_back(due);
        let oids = oids.iter().map(|oid| format!("{oid}::pg_catalog.oid")).collect::<Vec<_>>().join(", ");
        // A relation and its parts.
        Ask::of(&format!(
            "SELECT root::pg_catalog.int8, pg_catalog.sum(c.reltuples)::pg_catalog.int8, \
             pg_catalog.bool_or(c.reltuples OPERATOR(pg_catalog.<) 0), \
             pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid))::pg_catalog.int8 \
             FROM pg_catalog.unnest(ARRAY[{oids}]) AS root LEFT JOIN LATERAL pg_catalog.pg_partition_tree(root) AS part ON true \
             JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) coalesce(part.relid::pg_catalog.oid, root) \
             WHERE c.relkind OPERATOR(pg_catalog.=) 'r' OR c.relkind OPERATOR(pg_catalog.=) 'm' GROUP BY root"
        ))
        .put(due);
        put_end(due);
        true
    }

    fn sized(&mut self, heard: &Heard) {
        for row in heard.replies.get(1).into_iter().flat_map(|reply| &reply.rows) {
            if let [Some(oid), Some(rows), Some(unknown), Some(bytes)] = texts(row).as_slice()
                && let (Ok(oid), Ok(rows), Ok(bytes)) = (oid.parse(), rows.parse::<i64>(), bytes.parse())
            {
                self.totals.insert(oid, if unknown == "t" { -1 } else { rows });
                self.sizes.insert(oid, bytes);
            }
        }
    }

    /// Small ones are counted.
    fn put_totals(&mut self, due: &mut Vec<u8>) -> bool {
        let is_small = |oid: &u32| self.sizes.get(oid).is_some_and(|bytes| *bytes <= MAX_COUNTED_BYTES);
        let Some(target) = self.of.target.as_ref().filter(|target| is_small(&target.oid)) else { return false };
        let others =
            self.written.iter().flatten().filter(|written| written.oid != target.oid && is_small(&written.oid));
        let named = |written: &Written| {
            let (schema, relation) = written.name.split_once('.')?;
            Some((written.oid, format!("{}.{}", sql_name(schema), sql_name(relation))))
        };
        let relations = [(target.oid, target.quoted.clone())].into_iter().chain(others.filter_map(named));
        let (oids, relations): (Vec<u32>, Vec<String>) = relations.take(MAX_COUNTED).unzip();
        self.put_back(due);
        for relation in &relations {
            Ask::of(&format!("SELECT pg_catalog.count(*) FROM {relation}")).put(due);
        }
        put_end(due);
        self.counting = oids;
        true
    }

    fn totalled(&mut self, heard: &Heard) {
        for (oid, reply) in self.counting.iter().zip(heard.replies.iter().skip(1)) {
            let count = reply.rows.first().and_then(|row| texts(row).into_iter().next()??.parse().ok());
            if let Some(count) = count {
                self.totals.insert(*oid, count);
            }
        }
    }
}

fn sqlstate(error: &[u8]) -> &[u8] {
    error::field(error, b'C').unwrap_or_default()
}

fn sql_name(name: &str) -> String {
    postern_sql::excerpt::quoted(name)
}
