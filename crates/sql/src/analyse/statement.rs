//! Each kind of statement, with its command tag and its one treatment. What is not listed is refused.

use pg_query::NodeEnum;

use super::{Analyser, Step, query::Output, unexpected};
use crate::facts::{Action, Object, Place};

impl<'a> Analyser<'a> {
    /// One statement, top-level or nested in EXPLAIN, PREPARE, DECLARE or a function's body.
    pub(super) fn statement(&mut self, node: &NodeEnum) -> Step<&'static str> {
        self.enter()?;
        let tag = match self.rows(node)? {
            Some(tag) => tag,
            None => match self.of_session(node)? {
                Some(tag) => tag,
                None => match self.maintenance(node)? {
                    Some(tag) => tag,
                    None => self.schema_change(node)?,
                },
            },
        };
        self.leave();
        Ok(tag)
    }

    /// Statements that read or write rows.
    fn rows(&mut self, node: &NodeEnum) -> Step<Option<&'static str>> {
        let root = self.root();
        let tag = match node {
            NodeEnum::SelectStmt(select) => {
                let output = self.query(select, &root)?;
                self.facts.limit = super::utility::limit(select);
                if super::utility::into(select).is_some() {
                    self.put_away(&output);
                    "SELECT INTO"
                } else {
                    self.put_out(output);
                    "SELECT"
                }
            }
            NodeEnum::InsertStmt(_) | NodeEnum::UpdateStmt(_) | NodeEnum::DeleteStmt(_) | NodeEnum::MergeStmt(_) => {
                let output = self.data_modifying(node, &root)?;
                self.put_out(output);
                match node {
                    NodeEnum::InsertStmt(_) => "INSERT",
                    NodeEnum::UpdateStmt(_) => "UPDATE",
                    NodeEnum::DeleteStmt(_) => "DELETE",
                    _ => "MERGE",
                }
            }
            NodeEnum::CopyStmt(copy) => {
                self.copy(copy)?;
                "COPY"
            }
            NodeEnum::TruncateStmt(truncate) => {
                self.truncate(truncate)?;
                "TRUNCATE TABLE"
            }
            NodeEnum::CallStmt(call) => {
                self.call_procedure(call)?;
                "CALL"
            }
            NodeEnum::DoStmt(_) => {
                self.code_block();
                "DO"
            }
            NodeEnum::ExplainStmt(explain) => {
                self.explain(explain)?;
                "EXPLAIN"
            }
            NodeEnum::CreateTableAsStmt(create) => self.create_table_as(create)?,
            NodeEnum::RefreshMatViewStmt(refresh) => {
                self.refresh(refresh)?;
                "REFRESH MATERIALIZED VIEW"
            }
            NodeEnum::LockStmt(lock) => {
                self.lock(lock)?;
                "LOCK TABLE"
            }
            _ => return Ok(None),
        };
        Ok(Some(tag))
    }

    /// The result's columns are what leaves the database.
    pub(super) fn put_out(&mut self, output: Output) {
        for flow in output.flows() {
            self.charge(flow.origins.len() * 4);
            for origin in flow.origins.iter() {
                let place = if flow.changed.contains(origin) { Place::Derived } else { Place::Output };
                self.facts.uses.insert((origin, place));
            }
        }
        self.facts.output = output;
    }

    /// Statements about the session itself.
    fn of_session(&mut self, node: &NodeEnum) -> Step<Option<&'static str>> {
        let tag = match node {
            NodeEnum::VariableSetStmt(set) => {
                self.set(set)?;
                let reset = [protobuf_reset(), protobuf_reset_all()].contains(&set.kind);
                if reset { "RESET" } else { "SET" }
            }
            NodeEnum::VariableShowStmt(show) => {
                self.show(show);
                "SHOW"
            }
            NodeEnum::DiscardStmt(discard) => self.discard(discard)?,
            NodeEnum::TransactionStmt(transaction) => self.transaction(transaction)?,
            NodeEnum::ConstraintsSetStmt(_) => "SET CONSTRAINTS",
            NodeEnum::PrepareStmt(prepare) => {
                self.prepare(prepare)?;
                "PREPARE"
            }
            NodeEnum::ExecuteStmt(execute) => {
                self.execute(execute)?;
                "EXECUTE"
            }
            NodeEnum::DeallocateStmt(deallocate) => {
                self.deallocate(deallocate);
                if deallocate.isall { "DEALLOCATE ALL" } else { "DEALLOCATE" }
            }
            NodeEnum::DeclareCursorStmt(declare) => {
                self.declare(declare)?;
                "DECLARE CURSOR"
            }
            NodeEnum::FetchStmt(fetch) => self.fetch(fetch)?,
            NodeEnum::ClosePortalStmt(close) => {
                self.close(close);
                if close.portalname.is_empty() { "CLOSE CURSOR ALL" } else { "CLOSE CURSOR" }
            }
            NodeEnum::ListenStmt(listen) => {
                self.listen(&listen.conditionname);
                "LISTEN"
            }
            NodeEnum::UnlistenStmt(_) => "UNLISTEN",
            NodeEnum::NotifyStmt(notify) => {
                self.notify(notify);
                "NOTIFY"
            }
            _ => return Ok(None),
        };
        Ok(Some(tag))
    }

    /// The server's upkeep, which changes no name.
    fn maintenance(&mut self, node: &NodeEnum) -> Step<Option<&'static str>> {
        let tag = match node {
            NodeEnum::VacuumStmt(vacuum) => {
                self.vacuum(vacuum)?;
                if vacuum.is_vacuumcmd { "VACUUM" } else { "ANALYZE" }
            }
            NodeEnum::ClusterStmt(cluster) => {
                self.cluster(cluster)?;
                "CLUSTER"
            }
            NodeEnum::ReindexStmt(reindex) => {
                self.reindex(reindex)?;
                "REINDEX"
            }
            NodeEnum::CheckPointStmt(_) => self.administration("CHECKPOINT"),
            NodeEnum::LoadStmt(_) => {
                self.barrier();
                self.administration("LOAD")
            }
            NodeEnum::AlterSystemStmt(_) => self.administration("ALTER SYSTEM"),
            _ => return Ok(None),
        };
        Ok(Some(tag))
    }

    /// Something that is done to the server as a whole.
    pub(super) fn administration(&mut self, tag: &'static str) -> &'static str {
        self.admin();
        tag
    }

    /// What runs on DDL, also on that which makes a relation of a query's rows.
    pub(super) fn event_triggers(&mut self) {
        let triggers: Vec<u32> = self.catalog.event_triggers().map(|routine| routine.oid).collect();
        for oid in triggers {
            self.facts.called.push(oid);
            self.effect("an event trigger runs".into());
        }
    }

    /// DDL. Names may mean something else after any of it, and event triggers run on it.
    fn schema_change(&mut self, node: &NodeEnum) -> Step<&'static str> {
        self.barrier();
        self.event_triggers();
        let tag = match self.creation(node)? {
            Some(tag) => tag,
            None => match self.alteration(node)? {
                Some(tag) => tag,
                None => match self.of_server(node) {
                    Some(tag) => return Ok(self.administration(tag)),
                    None => return Err(unexpected("this kind of statement")),
                },
            },
        };
        // INVARIANT: no DDL passes for nothing, whatever it names.
        let told = |access: &crate::facts::Access| matches!(access.action, Action::Ddl | Action::Admin);
        if !self.facts.accesses.iter().any(told) {
            self.access(Action::Ddl, Object::Database);
        }
        Ok(tag)
    }
}

const fn protobuf_reset() -> i32 {
    pg_query::protobuf::VariableSetKind::VarReset as i32
}

const fn protobuf_reset_all() -> i32 {
    pg_query::protobuf::VariableSetKind::VarResetAll as i32
}
