//! What the functions that a statement calls do: built-in ones by a list, SQL functions by their bodies, others are unknown.

use std::{rc::Rc, sync::Arc};

use pg_query::NodeEnum;

use super::{
    Analyser, Step,
    effects::shown_as,
    flow::{Flow, Key, Set},
    scope::{Arguments, Ty},
};
use crate::{
    builtin,
    catalog::{FIRST_USER_OID, FunctionKind, Routine},
    context::{Context, parse_search_path},
    facts::{Cause, Place, Standing},
    memo::Shown,
    parse,
};

/// What stands in a definition's flow for what a function's result comes from.
const fn of_routine(oid: u32) -> Key {
    1 << 63 | oid as Key
}

fn routine_of(key: Key) -> Option<u32> {
    (key >> 63 == 1).then(|| u32::try_from(key & u64::from(u32::MAX)).unwrap_or_default())
}

/// What is known of a function whose body was analysed.
#[derive(Debug)]
pub(super) struct Body {
    /// What its result comes from, besides its arguments.
    flow: Flow,
    /// The columns that it uses.
    uses: Set,
}

/// How deep functions' bodies are followed into each other. What is deeper counts as not analysed.
const MAX_BODIES: usize = 12;

impl<'a> Analyser<'a> {
    /// Judges the functions that are called, and those that they call.
    pub(super) fn settle(&mut self) -> Step {
        self.judge_called()?;
        if self.facts.makes_json {
            self.casts_to_json();
        }
        self.casts_of_unknown();
        self.judge_called()
    }

    fn judge_called(&mut self) -> Step {
        self.drawn = 0;
        loop {
            let (oid, heard) = match (self.facts.called.pop(), self.facts.started.pop()) {
                (Some(oid), started) => {
                    self.facts.started.extend(started);
                    (oid, true)
                }
                (None, Some(oid)) => (oid, false),
                (None, None) => return Ok(()),
            };
            self.judge_once(oid)?;
            // What the owner of a definition has its functions do is not the statement's.
            if let Some(body) = self.bodies.get(&oid).filter(|_| heard) {
                self.facts.uses.extend(body.uses.iter().map(|key| (key, Place::Inside)));
            }
        }
    }

    fn judge_once(&mut self, oid: u32) -> Step {
        if oid == 0 || !self.judged.insert(oid) {
            return Ok(());
        }
        let Some(routine) = self.catalog.routine_by_oid(oid) else {
            // It was dropped since the snapshot was taken, or the snapshot is of another moment.
            self.facts.unknown = true;
            return Err(super::unresolved(
                "a function that is used here is not in the catalog",
                "Send the statement again.",
            ));
        };
        self.judge(routine)
    }

    /// Adds what the results of users' functions come from that were called since there were so many. Whether there are any.
    pub(super) fn draw(&mut self, since: usize, flow: &mut Flow) -> Step<bool> {
        let since = since.max(self.drawn);
        self.drawn = self.facts.called.len();
        let called = self.facts.called.get(since..).unwrap_or_default().iter().copied();
        let called: Vec<u32> = called.filter(|oid| *oid >= FIRST_USER_OID).collect();
        for &oid in &called {
            if self.defining {
                // What its body means is for the session to say.
                flow.derive(&Flow::of(of_routine(oid)));
            } else {
                let result = self.result_of(oid)?;
                flow.derive(&result);
            }
        }
        Ok(!called.is_empty())
    }

    /// What a user's function's result comes from, besides its arguments.
    fn result_of(&mut self, oid: u32) -> Step<Flow> {
        let mut flow = Flow::default();
        let mut called = vec![oid];
        while let Some(oid) = called.pop() {
            match self.catalog.routine_by_oid(oid) {
                Some(routine) if routine.kind == FunctionKind::Aggregate => {
                    called.extend(routine.parts.iter().filter(|part| **part >= FIRST_USER_OID));
                }
                _ => {
                    self.judge_once(oid)?;
                    if let Some(body) = self.bodies.get(&oid) {
                        flow.derive(&body.flow);
                    }
                }
            }
        }
        Ok(flow)
    }

    /// Puts in the place of the functions in a definition what their results come from in this session.
    pub(super) fn resolved(&mut self, columns: &Arc<[Shown]>) -> Step<Arc<[Shown]>> {
        let has_routine = |shown: &Shown| shown.origins.iter().any(|key| routine_of(*key).is_some());
        if self.defining || !columns.iter().any(has_routine) {
            return Ok(columns.clone());
        }
        let mut resolved = Vec::with_capacity(columns.len());
        for shown in columns.iter() {
            let mut flow = Flow { changed: shown.changed.iter().copied().collect(), ..Flow::default() };
            for key in &shown.origins {
                match routine_of(*key) {
                    Some(oid) => flow.derive(&self.result_of(oid)?),
                    None => flow.origins.insert(*key),
                }
            }
            resolved.push(shown_as(&flow));
        }
        Ok(resolved.into())
    }

    fn judge(&mut self, routine: &'a Routine) -> Step {
        if routine.is_builtin() {
            let standing = builtin::standing(routine);
            self.record_function(routine, standing);
            if standing == Standing::Effectful && builtin::is_administration(&routine.name.name) {
                self.admin();
            }
            if builtin::runs_text(&routine.name.name) {
                self.barrier();
            }
            return Ok(());
        }
        self.of_signature(routine)?;
        if routine.kind == FunctionKind::Aggregate {
            self.facts.called.extend(&routine.parts);
            self.record_function(routine, Standing::Analysed);
            return Ok(());
        }
        if let Some(body) = &routine.body
            && self.body(routine, body)?
        {
            self.record_function(routine, Standing::Analysed);
            return Ok(());
        }
        self.barrier();
        self.record_function(routine, Standing::Unknown);
        Ok(())
    }

    /// What a call runs besides the body: the checks of domains among its arguments and results, and its defaults.
    fn of_signature(&mut self, routine: &'a Routine) -> Step {
        let out = routine.out.iter().map(|(_, ty)| ty);
        for ty in routine.args.iter().chain([&routine.result]).chain(out) {
            self.type_checks(*ty)?;
        }
        let Some(defaults) = &routine.default_values else { return Ok(()) };
        let mut inner = self.inner(self.context.of_definitions(), routine.oid);
        match inner.definition_expressions(defaults, None).and_then(|_| inner.settle()) {
            Ok(()) => self.absorb(inner),
            Err(refusal) if refusal.cause == Cause::TooComplex => return Err(refusal),
            Err(_) => self.unknown_definition(&routine.name),
        }
        Ok(())
    }

    /// Whether the body of an SQL function was understood; then what it does is among the facts.
    fn body(&mut self, routine: &'a Routine, body: &str) -> Step<bool> {
        if self.active.contains(&routine.oid) {
            return Ok(true);
        }
        if self.active.len() >= MAX_BODIES {
            return Ok(false);
        }
        let new_style = ["BEGIN ATOMIC", "RETURN"].iter().any(|start| body.trim_start().starts_with(start));
        let Some(context) = self.context_of(routine, new_style) else { return Ok(false) };
        let wrapped = format!("CREATE FUNCTION f() RETURNS void LANGUAGE sql {body}");
        let text = if new_style { wrapped.as_str() } else { body };
        let Ok(tree) = parse::parse(text, context.lexing, crate::version::NEWEST) else { return Ok(false) };
        let mut inner = self.inner(context, routine.oid);
        inner.arguments = Some(Rc::new(arguments(self, routine)));
        let done = inner.body_statements(&tree).and_then(|()| {
            inner.casts_of_result(routine.result);
            inner.settle()
        });
        match done {
            // What a body does to transactions or prepared statements is not for it to do.
            Ok(()) if inner.facts.transaction.is_none() && inner.facts.handles.is_empty() => {
                let uses = std::mem::take(&mut inner.facts.uses).into_iter().map(|(key, _)| key).collect();
                let output = std::mem::take(&mut inner.facts.output);
                inner.facts.joins.clear();
                let mut flow = std::mem::take(&mut inner.returned);
                output.flows().for_each(|of| flow.derive(of));
                self.bodies.insert(routine.oid, Rc::new(Body { flow, uses }));
                self.absorb(inner);
                Ok(true)
            }
            Ok(()) => Ok(false),
            Err(refusal) if refusal.cause == Cause::TooComplex => Err(refusal),
            Err(_) => Ok(false),
        }
    }

    fn body_statements(&mut self, tree: &parse::Tree) -> Step {
        for raw in &tree.statements {
            let Some(node) = raw.stmt.as_ref().and_then(|node| node.node.as_ref()) else { continue };
            match node {
                NodeEnum::CreateFunctionStmt(create) if create.sql_body.is_some() => {
                    let body = create.sql_body.as_ref().and_then(|node| node.node.as_ref());
                    self.sql_body(body)?;
                }
                node => {
                    self.statement(node)?;
                    self.keep_returned();
                }
            }
        }
        Ok(())
    }

    /// Any of a body's statements may be the one whose rows are the function's.
    fn keep_returned(&mut self) {
        let output = std::mem::take(&mut self.facts.output);
        output.flows().for_each(|flow| self.returned.derive(flow));
    }

    /// What the catalog prints of a `BEGIN ATOMIC` or `RETURN` body.
    pub(super) fn sql_body(&mut self, body: Option<&NodeEnum>) -> Step {
        self.enter()?;
        match body {
            Some(NodeEnum::ReturnStmt(returns)) => {
                let root = self.root();
                let mut flow = Flow::default();
                self.maybe(returns.returnval.as_deref(), &root, &mut flow)?;
                self.use_flow(&flow, Place::Derived);
                self.returned.derive(&flow);
            }
            Some(NodeEnum::List(list)) => {
                for node in &list.items {
                    self.sql_body(node.node.as_ref())?;
                }
            }
            Some(node) => {
                self.statement(node)?;
                self.keep_returned();
            }
            None => {}
        }
        self.leave();
        Ok(())
    }

    /// The context in which a function's body runs. `None` where it cannot be told.
    fn context_of(&self, routine: &Routine, new_style: bool) -> Option<Context> {
        let mut context = Context { prepared: Default::default(), cursors: Default::default(), ..self.context.clone() };
        if new_style {
            context.search_path = Vec::new();
        }
        for setting in &routine.config {
            let (name, value) = setting.split_once('=')?;
            match name.to_ascii_lowercase().as_str() {
                "search_path" => context.search_path = parse_search_path(value)?,
                "role" | "session_authorization" => return None,
                // The body is read by them.
                "standard_conforming_strings" | "backslash_quote" => return None,
                _ => {}
            }
        }
        // Whose the path is depends on the owner, which the snapshot does not say.
        let of_owner = routine.security_definer && context.search_path.iter().any(|item| &**item == "$user");
        (!of_owner).then_some(context)
    }
}

fn arguments(analyser: &Analyser<'_>, routine: &Routine) -> Arguments {
    let ty = |oid: u32| if analyser.is_polymorphic(oid) { Ty::Opaque } else { Ty::Known(oid) };
    let types: Vec<Ty> = routine.args.iter().map(|&oid| ty(oid)).collect();
    let names = routine.arg_names.iter().map(|name| name.to_string()).zip(types.iter().copied());
    Arguments { function: routine.name.name.to_string(), names: names.collect(), types }
}
