//! INSERT, UPDATE, DELETE and MERGE, alone or in a WITH.

use std::sync::Arc;

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, CmdType, OnConflictAction},
};

use super::{
    Analyser, Step,
    effects::Event,
    flow::{Flow, Key, Set},
    missing,
    names::range_schema,
    query::Output,
    scope::{Item, Scope, Source, Ty, key, made_key},
    unexpected,
};
use crate::{
    catalog::{Relation, RelationKind},
    facts::{Action, Name, Object, Place},
    version,
};

/// What a statement writes to.
struct Target<'a> {
    relation: Option<&'a Relation>,
    name: Name,
    item: Item<'a>,
    /// References to it from elsewhere in the string before this statement.
    hits: u32,
    /// The key of all its columns.
    all: Key,
}

/// A column that is written.
struct Written {
    /// The keys of it and of what it shows, if it is a view's.
    keys: Set,
    /// Its type, where its whole value is written.
    ty: Ty,
    name: Arc<str>,
}

impl<'a> Analyser<'a> {
    /// SELECT, INSERT, UPDATE, DELETE or MERGE where the names in `outer` are in sight: of a rule, or of nothing.
    pub(super) fn data_statement(&mut self, node: &NodeEnum, outer: &Scope<'_, 'a>) -> Step<Output> {
        match node {
            NodeEnum::SelectStmt(select) => self.query(select, outer),
            // A rule may do nothing, or notify.
            NodeEnum::NotifyStmt(notify) => {
                self.notify(notify);
                Ok(Output::default())
            }
            other => self.data_modifying(other, outer),
        }
    }

    /// INSERT, UPDATE, DELETE or MERGE; its result is what RETURNING puts out.
    pub(super) fn data_modifying(&mut self, node: &NodeEnum, outer: &Scope<'_, 'a>) -> Step<Output> {
        self.enter()?;
        let mut scope = Scope::inside(outer);
        let with = match node {
            NodeEnum::InsertStmt(insert) => insert.with_clause.as_ref(),
            NodeEnum::UpdateStmt(update) => update.with_clause.as_ref(),
            NodeEnum::DeleteStmt(delete) => delete.with_clause.as_ref(),
            NodeEnum::MergeStmt(merge) => merge.with_clause.as_ref(),
            _ => return Err(unexpected("a statement")),
        };
        let ctes = self.with(with, &mut scope)?;
        let output = match node {
            NodeEnum::InsertStmt(insert) => self.insert(insert, &scope)?,
            NodeEnum::UpdateStmt(update) => self.update(update, &scope)?,
            NodeEnum::DeleteStmt(delete) => self.delete(delete, &scope)?,
            NodeEnum::MergeStmt(merge) => self.merge_into(merge, &scope)?,
            _ => Output::default(),
        };
        self.finish_ctes(&ctes);
        self.leave();
        Ok(output)
    }

    fn target(&mut self, range: Option<&protobuf::RangeVar>, action: Option<Action>) -> Step<Target<'a>> {
        let Some(range) = range else { return Err(unexpected("a statement without a table")) };
        let alias = range.alias.as_ref().map_or(range.relname.as_str(), |alias| alias.aliasname.as_str());
        let hits = self.target_hits;
        if let Some((name, made)) = self.made(range_schema(range), &range.relname) {
            let all = made_key(made.number, None);
            let mut item = made.item(alias);
            item.target = true;
            if let Some(action) = action {
                self.access(action, Object::Relation(name.clone()));
            }
            return Ok(Target { relation: None, name, item, hits, all });
        }
        let relation = self.relation(range)?;
        if matches!(relation.kind, RelationKind::Index | RelationKind::Composite) {
            return Err(missing(format!("cannot write to \"{}\"", range.relname), range.location));
        }
        let name = self.facts_name(relation);
        if let Some(action) = action {
            self.written(relation, action)?;
        }
        let source = Source::Base(relation, name.clone(), self.shown(relation)?);
        let schema = range.alias.is_none().then(|| relation.name.schema.clone());
        let item = Item { schema, target: true, ..Item::new(Some(alias), source) };
        Ok(Target { relation: Some(relation), name, item, hits, all: key(relation, None) })
    }

    /// A relation is written; what that starts comes with it.
    pub(super) fn written(&mut self, relation: &'a Relation, action: Action) -> Step {
        let name = self.facts_name(relation);
        self.access(action, Object::Relation(name.clone()));
        if relation.is_builtin() {
            // Some system views have rules that change settings; the tables are the server's own memory.
            self.admin();
            self.barrier();
            if *name.name == *"pg_settings" {
                let setting = crate::facts::Setting { name: None, value: None, local: false };
                self.facts.settings.push(setting);
            }
            return Ok(());
        }
        let event = match action {
            Action::Insert => Event::Insert,
            Action::Update => Event::Update,
            Action::Delete => Event::Delete,
            _ => Event::Truncate,
        };
        self.started_by_writing(relation, event)
    }

    fn insert(&mut self, insert: &protobuf::InsertStmt, outer: &Scope<'_, 'a>) -> Step<Output> {
        let target = self.target(insert.relation.as_ref(), Some(Action::Insert))?;
        let mut scope = Scope::inside(outer);
        scope.push(target.item.clone());
        let mut written = Vec::new();
        for node in &insert.cols {
            written.push(self.written_column(node, &target, outer, Place::Write)?);
        }
        let source = insert.select_stmt.as_ref().and_then(|node| node.node.as_ref());
        let mut output = Output::default();
        match source {
            Some(NodeEnum::SelectStmt(select)) => {
                output = self.query(select, outer)?;
                if insert.cols.is_empty() {
                    written = self.first_columns(&target, output.columns.len());
                }
                for (column, written) in output.columns.iter().zip(&written) {
                    self.writes(written, &column.flow, column.ty)?;
                }
                self.put_away(&output);
            }
            Some(_) => return Err(unexpected("the source of an INSERT")),
            None => {}
        }
        if let Some(conflict) = &insert.on_conflict_clause {
            self.on_conflict(conflict, &target, excluded(&target, &written, output), &scope)?;
        }
        let output = self.returning(insert.returning_clause.as_ref(), &target, &mut scope)?;
        self.reads_target(&target, insert.returning_clause.is_some());
        Ok(output)
    }

    /// A value that is written to a column.
    fn writes(&mut self, written: &Written, flow: &Flow, from: Ty) -> Step {
        for key in written.keys.iter() {
            self.wrote(flow, key);
        }
        if let Ty::Known(ty) = written.ty { self.assigned(ty, from) } else { Ok(()) }
    }

    /// The columns that an INSERT without a list writes.
    fn first_columns(&mut self, target: &Target<'a>, count: usize) -> Vec<Written> {
        if target.item.is_open() {
            self.facts.uses.insert((target.all, Place::Write));
        }
        let columns = target.item.columns().into_iter().take(count);
        let written: Vec<Written> = columns
            .map(|column| Written { keys: column.flow.direct().collect(), ty: column.ty, name: column.name })
            .collect();
        for column in &written {
            self.facts.uses.extend(column.keys.iter().map(|key| (key, Place::Write)));
        }
        written
    }

    /// A column that is written: also that which a view shows.
    fn written_column(
        &mut self,
        node: &Node,
        target: &Target<'a>,
        scope: &Scope<'_, 'a>,
        place: Place,
    ) -> Step<Written> {
        let Some(NodeEnum::ResTarget(column)) = &node.node else { return Err(unexpected("a column")) };
        let name: Arc<str> = column.name.as_str().into();
        let mut flow = Flow::default();
        let Some(ty) = target.item.lookup(&column.name, &mut flow) else {
            if target.item.is_open() {
                self.facts.uses.insert((target.all, place));
                return Ok(Written { keys: Set::One(target.all), ty: Ty::Opaque, name });
            }
            return Err(missing(format!("column \"{}\" does not exist", column.name), column.location));
        };
        let keys: Set = flow.direct().collect();
        self.facts.uses.extend(keys.iter().map(|key| (key, place)));
        for step in &column.indirection {
            if let Some(NodeEnum::AIndices(indices)) = &step.node {
                for index in [&indices.lidx, &indices.uidx] {
                    let ty = self.used(index.as_deref(), scope, Place::Source)?;
                    self.casts_of_use(ty);
                }
            }
        }
        Ok(Written { keys, ty: if column.indirection.is_empty() { ty } else { Ty::Opaque }, name })
    }

    /// `SET a = 1, (b, c) = (SELECT …)`.
    fn set_list(&mut self, nodes: &[Node], target: &Target<'a>, scope: &Scope<'_, 'a>) -> Step {
        let mut shared = Flow::default();
        for node in nodes {
            let written = self.written_column(node, target, scope, Place::Overwrite)?;
            let Some(NodeEnum::ResTarget(column)) = &node.node else { continue };
            let mut flow = Flow::default();
            // All columns of `(b, c) = …` share one source; it is walked once.
            let from = match column.val.as_deref() {
                Some(Node { node: Some(NodeEnum::MultiAssignRef(assign)) }) if assign.colno > 1 => {
                    flow.clone_from(&shared);
                    Ty::Opaque
                }
                Some(value @ Node { node: Some(NodeEnum::MultiAssignRef(_)) }) => {
                    let ty = self.expr(value, scope, &mut flow)?;
                    shared.clone_from(&flow);
                    ty
                }
                Some(Node { node: Some(NodeEnum::SetToDefault(_)) }) => {
                    if let Some(relation) = target.relation {
                        self.started_by_defaults(relation)?;
                    }
                    Ty::Literal
                }
                value => self.maybe(value, scope, &mut flow)?,
            };
            self.use_flow(&flow, Place::Source);
            self.writes(&written, &flow, from)?;
        }
        Ok(())
    }

    fn on_conflict(
        &mut self,
        conflict: &protobuf::OnConflictClause,
        target: &Target<'a>,
        excluded: Item<'a>,
        scope: &Scope<'_, 'a>,
    ) -> Step {
        if let Some(infer) = &conflict.infer {
            for node in &infer.index_elems {
                let Some(NodeEnum::IndexElem(element)) = &node.node else { return Err(unexpected("ON CONFLICT")) };
                if element.expr.is_some() {
                    self.used(element.expr.as_deref(), scope, Place::Filter)?;
                } else {
                    let mut flow = Flow::default();
                    if target.item.lookup(&element.name, &mut flow).is_none() && !target.item.is_open() {
                        return Err(missing(format!("column \"{}\" does not exist", element.name), -1));
                    }
                    // What is inserted is compared with what is there.
                    self.use_flow(&flow, Place::Compared);
                }
                self.target_hits += 1;
            }
            self.condition(infer.where_clause.as_deref(), scope, Place::Filter)?;
        }
        match OnConflictAction::try_from(conflict.action) {
            Ok(OnConflictAction::OnconflictNothing) => Ok(()),
            Ok(OnConflictAction::OnconflictUpdate) => {
                match target.relation {
                    Some(relation) => self.written(relation, Action::Update)?,
                    None => self.access(Action::Update, Object::Relation(target.name.clone())),
                }
                let mut inner = Scope::inside(scope);
                inner.items.push(excluded);
                self.set_list(&conflict.target_list, target, &inner)?;
                self.condition(conflict.where_clause.as_deref(), &inner, Place::Filter)?;
                self.target_hits += 1;
                Ok(())
            }
            _ => Err(unexpected("ON CONFLICT")),
        }
    }

    fn update(&mut self, update: &protobuf::UpdateStmt, outer: &Scope<'_, 'a>) -> Step<Output> {
        let target = self.target(update.relation.as_ref(), Some(Action::Update))?;
        let mut scope = Scope::inside(outer);
        scope.push(target.item.clone());
        self.from(&update.from_clause, &mut scope)?;
        self.set_list(&update.target_list, &target, &scope)?;
        self.filter_of_write(update.where_clause.as_deref(), &scope)?;
        let output = self.returning(update.returning_clause.as_ref(), &target, &mut scope)?;
        self.reads_target(&target, update.returning_clause.is_some());
        self.finish_scope(&scope);
        Ok(output)
    }

    fn delete(&mut self, delete: &protobuf::DeleteStmt, outer: &Scope<'_, 'a>) -> Step<Output> {
        let target = self.target(delete.relation.as_ref(), Some(Action::Delete))?;
        let mut scope = Scope::inside(outer);
        scope.push(target.item.clone());
        self.from(&delete.using_clause, &mut scope)?;
        self.filter_of_write(delete.where_clause.as_deref(), &scope)?;
        let output = self.returning(delete.returning_clause.as_ref(), &target, &mut scope)?;
        self.reads_target(&target, delete.returning_clause.is_some());
        self.finish_scope(&scope);
        Ok(output)
    }

    /// The WHERE of an UPDATE or DELETE: it bounds the rows only if it is about the table that is written.
    fn filter_of_write(&mut self, node: Option<&Node>, scope: &Scope<'_, 'a>) -> Step {
        let before = self.target_hits;
        self.condition(node, scope, Place::Filter)?;
        if self.target_hits == before {
            self.facts.unfiltered = true;
        }
        Ok(())
    }

    fn merge_into(&mut self, merge: &protobuf::MergeStmt, outer: &Scope<'_, 'a>) -> Step<Output> {
        version::require("MERGE", 15, self.context.major)?;
        let target = self.target(merge.relation.as_ref(), None)?;
        let mut scope = Scope::inside(outer);
        if let Some(source) = merge.source_relation.as_deref() {
            let star = self.item_of_from(source, &mut scope)?;
            scope.star.extend(star);
        }
        scope.push(target.item.clone());
        let before = self.target_hits;
        self.condition(merge.join_condition.as_deref(), &scope, Place::Join)?;
        let filtered = self.target_hits != before;
        for node in &merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(when)) = &node.node else { return Err(unexpected("MERGE")) };
            self.merge_when(when, &target, filtered, &scope)?;
        }
        if merge.returning_clause.is_some() {
            version::require("MERGE with RETURNING", 17, self.context.major)?;
        }
        // What matches is what the target's rows say.
        self.access(Action::Read, Object::Relation(target.name.clone()));
        let output = self.returning(merge.returning_clause.as_ref(), &target, &mut scope)?;
        self.finish_scope(&scope);
        Ok(output)
    }

    fn merge_when(
        &mut self,
        when: &protobuf::MergeWhenClause,
        target: &Target<'a>,
        filtered: bool,
        scope: &Scope<'_, 'a>,
    ) -> Step {
        use protobuf::MergeMatchKind as Kind;
        let by_source = Kind::try_from(when.match_kind) == Ok(Kind::MergeWhenNotMatchedBySource);
        if by_source {
            version::require("NOT MATCHED BY SOURCE", 17, self.context.major)?;
        }
        let before = self.target_hits;
        self.condition(when.condition.as_deref(), scope, Place::Filter)?;
        // Rows without a match are bounded by a condition of their own only.
        let filtered = if by_source { self.target_hits != before } else { filtered };
        let action = match CmdType::try_from(when.command_type) {
            Ok(CmdType::CmdInsert) => Action::Insert,
            Ok(CmdType::CmdUpdate) => Action::Update,
            Ok(CmdType::CmdDelete) => Action::Delete,
            Ok(CmdType::CmdNothing) => return Ok(()),
            _ => return Err(unexpected("MERGE")),
        };
        match target.relation {
            Some(relation) => self.written(relation, action)?,
            None => self.access(action, Object::Relation(target.name.clone())),
        }
        if action != Action::Insert && !filtered {
            self.facts.unfiltered = true;
        }
        match action {
            Action::Insert => {
                let mut written = Vec::new();
                for node in &when.target_list {
                    written.push(self.written_column(node, target, scope, Place::Write)?);
                }
                if when.target_list.is_empty() {
                    written = self.first_columns(target, when.values.len());
                }
                for (at, value) in when.values.iter().enumerate() {
                    let mut flow = Flow::default();
                    let from = self.expr(value, scope, &mut flow)?;
                    self.use_flow(&flow, Place::Source);
                    if let Some(written) = written.get(at) {
                        self.writes(written, &flow, from)?;
                    }
                }
                Ok(())
            }
            Action::Update => self.set_list(&when.target_list, target, scope),
            _ => Ok(()),
        }
    }

    /// RETURNING; `old` and `new` are names of their own since 18.
    fn returning(
        &mut self,
        clause: Option<&protobuf::ReturningClause>,
        target: &Target<'a>,
        scope: &mut Scope<'_, 'a>,
    ) -> Step<Output> {
        let Some(clause) = clause else { return Ok(Output::default()) };
        let mut aliases = vec!["old".to_owned(), "new".to_owned()];
        for node in &clause.options {
            version::require("RETURNING WITH", 18, self.context.major)?;
            let Some(NodeEnum::ReturningOption(option)) = &node.node else { return Err(unexpected("RETURNING")) };
            aliases.push(option.value.clone());
        }
        if self.context.major >= 18 {
            for alias in aliases {
                // A relation of that name comes first.
                if scope.items.iter().any(|item| item.alias.as_deref() == Some(&*alias)) {
                    continue;
                }
                let mut item = target.item.clone();
                item.alias = Some(alias.as_str().into());
                item.schema = None;
                item.qualified_only = true;
                scope.items.push(item);
            }
        }
        self.targets(&clause.exprs, scope)
    }

    /// Whoever names a column of what it writes reads it.
    fn reads_target(&mut self, target: &Target<'a>, returning: bool) {
        if returning || self.target_hits != target.hits {
            self.access(Action::Read, Object::Relation(target.name.clone()));
        }
    }
}

/// What ON CONFLICT calls `excluded`: the row that was to be inserted.
fn excluded<'a>(target: &Target<'a>, written: &[Written], output: Output) -> Item<'a> {
    // What is not given is a default; what is computed is computed of what is given.
    let mut all = Flow::default();
    output.flows().for_each(|flow| all.derive(flow));
    let mut given: Vec<(&Arc<str>, Flow)> =
        written.iter().map(|written| &written.name).zip(output.columns.into_iter().map(|column| column.flow)).collect();
    let columns = target.item.known_columns().into_iter().map(|mut column| {
        let at = given.iter().position(|(name, _)| **name == column.name);
        column.flow = at.map_or_else(|| all.clone(), |at| given.swap_remove(at).1);
        column
    });
    let rest = target.item.is_open().then(|| all.clone());
    Item { qualified_only: true, ..Item::derived(Some("excluded"), columns.collect(), rest) }
}
