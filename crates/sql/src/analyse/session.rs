//! Settings, transactions, prepared statements and cursors.

use std::{rc::Rc, sync::Arc};

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, DiscardMode, TransactionStmtKind, VariableSetKind, a_const::Val},
};

use super::{Analyser, Handle, Step, flow::Flow, names::string, scope::Ty, unexpected, unresolved};
use crate::{
    facts::{Place, Setting, Transaction},
    guards, parse, settings,
};

impl Analyser<'_> {
    pub(super) fn set(&mut self, set: &protobuf::VariableSetStmt) -> Step {
        let kind = VariableSetKind::try_from(set.kind).map_err(|_| unexpected("SET"))?;
        let name = set.name.to_ascii_lowercase();
        match kind {
            VariableSetKind::VarSetMulti => self.set_transaction(&name, set),
            VariableSetKind::VarResetAll => {
                self.setting(Some("*".into()), None, false);
                Ok(())
            }
            VariableSetKind::VarSetValue => {
                let value = setting_value(&name, &set.args);
                self.setting(Some(name), value, set.is_local);
                Ok(())
            }
            VariableSetKind::VarSetDefault | VariableSetKind::VarReset | VariableSetKind::VarSetCurrent => {
                self.setting(Some(name), None, set.is_local);
                Ok(())
            }
            VariableSetKind::Undefined => Err(unexpected("SET")),
        }
    }

    fn setting(&mut self, name: Option<String>, value: Option<String>, local: bool) {
        if name.as_deref().is_none_or(settings::is_administrative) {
            self.admin();
        }
        if name.as_deref().is_none_or(settings::changes_meaning) {
            self.barrier();
        }
        self.facts.settings.push(Setting { name, value, local });
    }

    /// SET TRANSACTION and SET SESSION CHARACTERISTICS.
    fn set_transaction(&mut self, name: &str, set: &protobuf::VariableSetStmt) -> Step {
        let (prefix, local) = match name {
            "transaction" => ("", true),
            "session characteristics" => ("default_", false),
            "transaction snapshot" => {
                self.setting(Some("transaction_snapshot".into()), None, true);
                return Ok(());
            }
            _ => return Err(unexpected("SET")),
        };
        for node in &set.args {
            let Some(NodeEnum::DefElem(option)) = &node.node else { return Err(unexpected("SET TRANSACTION")) };
            let value = option.arg.as_deref().and_then(constant);
            self.setting(Some(format!("{prefix}{}", option.defname)), value, local);
        }
        Ok(())
    }

    pub(super) fn discard(&mut self, discard: &protobuf::DiscardStmt) -> Step<&'static str> {
        match DiscardMode::try_from(discard.target).map_err(|_| unexpected("DISCARD"))? {
            DiscardMode::DiscardAll => {
                self.setting(Some("*".into()), None, false);
                self.facts.handles.push(Handle::Deallocate(None));
                self.facts.handles.push(Handle::Close(None));
                self.effect("temporary tables are dropped".into());
                Ok("DISCARD ALL")
            }
            DiscardMode::DiscardTemp => {
                self.barrier();
                self.effect("temporary tables are dropped".into());
                Ok("DISCARD TEMP")
            }
            DiscardMode::DiscardPlans => Ok("DISCARD PLANS"),
            DiscardMode::DiscardSequences => Ok("DISCARD SEQUENCES"),
            DiscardMode::Undefined => Err(unexpected("DISCARD")),
        }
    }

    pub(super) fn transaction(&mut self, transaction: &protobuf::TransactionStmt) -> Step<&'static str> {
        let name = transaction.savepoint_name.clone();
        let kind = TransactionStmtKind::try_from(transaction.kind).map_err(|_| unexpected("a transaction command"))?;
        let (tag, what) = match kind {
            TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => {
                let begin = kind == TransactionStmtKind::TransStmtBegin;
                let tag = if begin { "BEGIN" } else { "START TRANSACTION" };
                (tag, Transaction::Begin { read_only: self.transaction_modes(&transaction.options)? })
            }
            TransactionStmtKind::TransStmtCommit => ("COMMIT", Transaction::Commit),
            TransactionStmtKind::TransStmtRollback => ("ROLLBACK", Transaction::Rollback),
            TransactionStmtKind::TransStmtSavepoint => ("SAVEPOINT", Transaction::Savepoint(name)),
            TransactionStmtKind::TransStmtRelease => ("RELEASE", Transaction::Release(name)),
            TransactionStmtKind::TransStmtRollbackTo => ("ROLLBACK", Transaction::RollbackTo(name)),
            TransactionStmtKind::TransStmtPrepare => ("PREPARE TRANSACTION", Transaction::TwoPhase),
            TransactionStmtKind::TransStmtCommitPrepared => ("COMMIT PREPARED", Transaction::TwoPhase),
            TransactionStmtKind::TransStmtRollbackPrepared => ("ROLLBACK PREPARED", Transaction::TwoPhase),
            TransactionStmtKind::Undefined => return Err(unexpected("a transaction command")),
        };
        // A prepared transaction may be another session's, with DDL in it.
        let names = matches!(what, Transaction::Rollback | Transaction::RollbackTo(_) | Transaction::TwoPhase);
        if names {
            self.barrier();
        }
        self.facts.transaction = Some(what);
        Ok(tag)
    }

    /// The modes of BEGIN: they are settings of the transaction, and whether it is read-only is told apart.
    fn transaction_modes(&mut self, options: &[Node]) -> Step<Option<bool>> {
        let mut read_only = None;
        for node in options {
            let Some(NodeEnum::DefElem(option)) = &node.node else { return Err(unexpected("BEGIN")) };
            if option.defname == "transaction_read_only" {
                read_only = option.arg.as_deref().and_then(constant).map(|value| value != "0" && value != "off");
            }
        }
        Ok(read_only)
    }

    /// PREPARE is judged as if it ran.
    pub(super) fn prepare(&mut self, prepare: &protobuf::PrepareStmt) -> Step {
        let Some(query) = prepare.query.as_ref().and_then(|node| node.node.as_ref()) else {
            return Err(unexpected("PREPARE"));
        };
        // Its facts, its result among them, are compared with those that it has when it is executed.
        self.statement(query)?;
        for node in &prepare.argtypes {
            if let Some(NodeEnum::TypeName(name)) = &node.node {
                // EXECUTE turns its arguments into these types, which runs the checks of domains.
                if let Ty::Known(oid) = self.ty_of(Some(name))? {
                    self.type_checks(oid)?;
                }
            }
        }
        // The scanner that finds the text knows only one reading of literals.
        let plain = self.context.lexing == crate::context::Lexing::default();
        let text =
            plain.then(|| prepared_text(&self.text, &prepare.name)).flatten().ok_or_else(|| unexpected("PREPARE"))?;
        self.facts.handles.push(Handle::Prepare { name: prepare.name.clone(), query: text });
        Ok(())
    }

    /// EXECUTE has the facts of what was prepared, as its names are resolved now.
    pub(super) fn execute(&mut self, execute: &protobuf::ExecuteStmt) -> Step {
        let root = self.root();
        let mut given = Vec::with_capacity(execute.params.len());
        for node in &execute.params {
            let mut flow = Flow::default();
            let ty = self.expr(node, &root, &mut flow)?;
            self.casts_of_assignment(ty);
            self.use_flow(&flow, Place::Source);
            given.push(flow);
        }
        let Some(prepared) = self.context.prepared.get(&execute.name).cloned() else {
            if !guards::stops(guards::PREPARED) {
                return Ok(());
            }
            return Err(unresolved(
                format!("the prepared statement \"{}\" was not seen prepared", execute.name),
                "Prepare it in this session, as a statement of its own.",
            ));
        };
        self.facts.handles.push(Handle::Execute(execute.name.clone()));
        self.enter()?;
        let tree = parse::parse(&prepared.text, prepared.lexing, self.context.major)?;
        // Its parameters are its own, and EXECUTE turns its arguments into their types.
        let outer = std::mem::replace(&mut self.context.parameters, prepared.types.to_vec());
        let outer_given = self.given.replace(Rc::new(given));
        let outer_text = std::mem::replace(&mut self.own_text, false);
        for &oid in prepared.types.iter().filter(|oid| **oid != 0) {
            self.type_checks(oid)?;
            self.facts.types.insert(oid);
        }
        for raw in &tree.statements {
            match raw.stmt.as_ref().and_then(|node| node.node.as_ref()) {
                Some(node) if can_be_prepared(node) => self.statement(node).map(drop)?,
                Some(_) => {
                    return Err(unresolved(
                        format!("the prepared statement \"{}\" is none that PREPARE could have made", execute.name),
                        "Execute it by the messages of the protocol.",
                    ));
                }
                None => {}
            }
        }
        self.context.parameters = outer;
        self.given = outer_given;
        self.own_text = outer_text;
        self.leave();
        Ok(())
    }

    pub(super) fn deallocate(&mut self, deallocate: &protobuf::DeallocateStmt) {
        let all = deallocate.isall || deallocate.name.is_empty();
        self.facts.handles.push(Handle::Deallocate((!all).then(|| deallocate.name.clone())));
    }

    /// DECLARE opens a cursor: it has its query's facts, and each FETCH has them again.
    pub(super) fn declare(&mut self, declare: &protobuf::DeclareCursorStmt) -> Step {
        /// PostgreSQL's CURSOR_OPT_HOLD.
        const HOLD: i32 = 0x20;
        let Some(query) = declare.query.as_ref().and_then(|node| node.node.as_ref()) else {
            return Err(unexpected("DECLARE"));
        };
        if !matches!(query, NodeEnum::SelectStmt(_)) {
            return Err(unexpected("DECLARE"));
        }
        self.statement(query)?;
        self.settle()?;
        let facts = Arc::new(self.statement_facts("FETCH", 0..0, None));
        let hold = declare.options & HOLD != 0;
        self.facts.handles.push(Handle::Declare { name: declare.portalname.clone(), facts, hold });
        Ok(())
    }

    pub(super) fn fetch(&mut self, fetch: &protobuf::FetchStmt) -> Step<&'static str> {
        let Some(facts) = self.context.cursors.get(&fetch.portalname).cloned() else {
            if !guards::stops(guards::CURSORS) {
                return Ok("FETCH");
            }
            return Err(unresolved(
                format!("the cursor \"{}\" was not seen opened", fetch.portalname),
                "Declare it in this session, as a statement of its own.",
            ));
        };
        self.facts.accesses.extend(facts.accesses.iter().cloned());
        self.facts.functions.extend(facts.functions.iter().cloned());
        self.facts.settings.extend(facts.settings.iter().cloned());
        self.facts.effects.extend(facts.effects.iter().cloned());
        if facts.barrier == crate::facts::Barrier::Names {
            self.barrier();
        }
        self.facts.fetched = Some(facts);
        self.facts.limit = u64::try_from(fetch.how_many).ok().filter(|&count| count < i64::MAX as u64);
        self.facts.handles.push(Handle::Fetch(fetch.portalname.clone()));
        Ok(if fetch.ismove { "MOVE" } else { "FETCH" })
    }

    pub(super) fn close(&mut self, close: &protobuf::ClosePortalStmt) {
        let name = (!close.portalname.is_empty()).then(|| close.portalname.clone());
        self.facts.handles.push(Handle::Close(name));
    }
}

/// Whether PREPARE takes a statement. A Parse message takes all, those among them that change what names mean.
fn can_be_prepared(node: &NodeEnum) -> bool {
    matches!(
        node,
        NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_)
    )
}

/// A setting's value as text. The items of a search path are quoted where they need it, so that each stays one item.
fn setting_value(name: &str, args: &[Node]) -> Option<String> {
    let items: Option<Vec<String>> = args.iter().map(constant).collect();
    let items = items?;
    let quoted = items.iter().map(|item| if name == "search_path" { quote(item) } else { item.clone() });
    Some(quoted.collect::<Vec<_>>().join(", "))
}

fn quote(item: &str) -> String {
    let plain = item.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && item.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { item.to_owned() } else { format!("\"{}\"", item.replace('"', "\"\"")) }
}

/// A constant as text.
pub(super) fn constant(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => Some(match constant.val.as_ref()? {
            Val::Ival(number) => number.ival.to_string(),
            Val::Fval(number) => number.fval.clone(),
            Val::Boolval(flag) => if flag.boolval { "on" } else { "off" }.to_owned(),
            Val::Sval(text) => text.sval.clone(),
            Val::Bsval(bits) => bits.bsval.clone(),
        }),
        Some(NodeEnum::Integer(number)) => Some(number.ival.to_string()),
        Some(NodeEnum::Float(number)) => Some(number.fval.clone()),
        Some(NodeEnum::String(_)) => string(node).map(str::to_owned),
        Some(NodeEnum::TypeCast(cast)) => constant(cast.arg.as_deref()?),
        _ => None,
    }
}

/// The names that a text may execute, found without understanding it: some may be missing, and some be none.
#[must_use]
pub fn executed(text: &str) -> Vec<String> {
    use protobuf::Token;
    const EXECUTE: &[u8] = b"execute";
    // Not many texts have so much as the word, and those that do are short.
    // Its rarest letter is looked for, which is the second.
    let is_word = |x: usize| {
        let around = x.checked_sub(1).and_then(|from| text.as_bytes().get(from..from + EXECUTE.len()));
        around.is_some_and(|around| around.eq_ignore_ascii_case(EXECUTE))
    };
    let has_word = || text.bytes().enumerate().any(|(at, byte)| byte | 0x20 == b'x' && is_word(at));
    if text.len() > parse::MAX_TEXT_BYTES || !has_word() {
        return Vec::new();
    }
    let Ok(scanned) = pg_query::scan(text) else { return Vec::new() };
    let comment = |token: &&protobuf::ScanToken| matches!(token.token(), Token::SqlComment | Token::CComment);
    let tokens: Vec<_> = scanned.tokens.iter().filter(|token| !comment(token)).collect();
    let after = tokens.windows(2).filter_map(|pair| match pair {
        [word, name] if word.token() == Token::Execute => identifier(token_text(text, name)?).into(),
        _ => None,
    });
    after.collect()
}

fn token_text<'a>(text: &'a str, token: &protobuf::ScanToken) -> Option<&'a str> {
    text.get(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)
}

/// A name as it stands in a text.
fn identifier(text: &str) -> String {
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => text.to_lowercase(),
    }
}

/// The text after AS of the PREPARE with this name.
fn prepared_text(text: &str, name: &str) -> Option<Arc<str>> {
    use protobuf::Token;
    let scanned = pg_query::scan(text).ok()?;
    let mut tokens = scanned.tokens.iter();
    while let Some(token) = tokens.next() {
        if token.token() != Token::Prepare {
            continue;
        }
        let named = tokens.by_ref().find(|token| !matches!(token.token(), Token::SqlComment | Token::CComment))?;
        if identifier(token_text(text, named)?) != name {
            continue;
        }
        let mut depth = 0_u32;
        let mut start = None;
        for token in tokens.by_ref() {
            match token.token() {
                Token::Ascii40 => depth += 1,
                Token::Ascii41 => depth = depth.saturating_sub(1),
                Token::As if depth == 0 && start.is_none() => start = usize::try_from(token.end).ok(),
                Token::Ascii59 if depth == 0 => {
                    let end = usize::try_from(token.start).ok()?;
                    return text.get(start?..end).map(|text| Arc::from(text.trim()));
                }
                _ => {}
            }
        }
        return text.get(start?..).map(|text| Arc::from(text.trim()));
    }
    None
}
