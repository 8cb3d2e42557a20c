//! What a statement that is not tried for show locks, and what it costs: of schema changes and their kind, by the grammar.
//!
//! <https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-TABLES> and each command's own page.

use pg_query::{NodeEnum, protobuf};

use crate::{
    context::Lexing,
    parse::{self, text_of},
    version,
};
use protobuf::{AlterTableType as Alter, ConstrType, ObjectType};

/// The lock that a statement takes on the relations that it is for. The weaker one is the lesser.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Lock {
    /// None on relations that are there.
    None,
    /// SHARE UPDATE EXCLUSIVE.
    ShareUpdateExclusive,
    /// SHARE.
    Share,
    /// SHARE ROW EXCLUSIVE.
    ShareRowExclusive,
    /// EXCLUSIVE.
    Exclusive,
    /// ACCESS EXCLUSIVE.
    AccessExclusive,
}

impl Lock {
    /// As it is told, with what it keeps others from; nothing where there is none.
    #[must_use]
    pub const fn told(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE, which lets others read and write",
            Self::Share => "SHARE, which lets others read but not write",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE, which lets others read but not write",
            Self::Exclusive => "EXCLUSIVE, which lets others only read",
            Self::AccessExclusive => "ACCESS EXCLUSIVE, which lets nobody else even read",
        })
    }
}

/// What a statement does to the relations that it is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Heavy {
    /// Which lock it takes.
    pub lock: Lock,
    /// Whether it writes each relation anew.
    pub rewrites: Work,
    /// Whether it reads all of each.
    pub scans: bool,
    /// It cannot run in a transaction block.
    pub outside: bool,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Work {
    /// No.
    No,
    /// That depends on what the grammar does not tell.
    Maybe,
    /// Yes.
    Yes,
}

const PLAIN: Heavy = Heavy { lock: Lock::AccessExclusive, rewrites: Work::No, scans: false, outside: false };

/// What the one statement of a string does; nothing where that is not known.
#[must_use]
pub fn heavy(text: &[u8], lexing: Lexing) -> Option<Heavy> {
    let mut tree = parse::parse(text_of(text).ok()?, lexing, version::NEWEST).ok()?;
    let raw = tree.statements.pop().filter(|_| tree.statements.is_empty())?;
    let own = |lock| Heavy { lock, ..PLAIN };
    Some(match raw.stmt?.node? {
        NodeEnum::AlterTableStmt(alter) => of_alter(&alter),
        NodeEnum::IndexStmt(index) => {
            let lock = if index.concurrent { Lock::ShareUpdateExclusive } else { Lock::Share };
            Heavy { lock, scans: true, outside: index.concurrent, ..PLAIN }
        }
        NodeEnum::DropStmt(drop) => {
            let lock = if drop.concurrent { Lock::ShareUpdateExclusive } else { Lock::AccessExclusive };
            Heavy { outside: drop.concurrent, ..own(lock) }
        }
        NodeEnum::VacuumStmt(vacuum) => {
            let full = vacuum.options.iter().any(|option| is_on(option, "full"));
            let rewrites = if full { Work::Yes } else { Work::No };
            let lock = if full { Lock::AccessExclusive } else { Lock::ShareUpdateExclusive };
            Heavy { lock, rewrites, scans: true, outside: vacuum.is_vacuumcmd }
        }
        NodeEnum::ClusterStmt(cluster) => {
            Heavy { rewrites: Work::Yes, scans: true, outside: cluster.relation.is_none(), ..PLAIN }
        }
        NodeEnum::ReindexStmt(reindex) => {
            let concurrently = reindex.params.iter().any(|option| is_on(option, "concurrently"));
            let lock = if concurrently { Lock::ShareUpdateExclusive } else { Lock::Share };
            Heavy { lock, scans: true, outside: concurrently || reindex.relation.is_none(), ..PLAIN }
        }
        NodeEnum::RefreshMatViewStmt(refresh) => {
            let lock = if refresh.concurrent { Lock::Exclusive } else { Lock::AccessExclusive };
            let rewrites = if refresh.concurrent { Work::No } else { Work::Yes };
            Heavy { lock, rewrites, scans: true, outside: false }
        }
        NodeEnum::RenameStmt(rename) if rename.rename_type() == ObjectType::ObjectIndex => {
            own(Lock::ShareUpdateExclusive)
        }
        NodeEnum::CreateTrigStmt(_) => own(Lock::ShareRowExclusive),
        NodeEnum::CreateStatsStmt(_) => own(Lock::ShareUpdateExclusive),
        NodeEnum::CommentStmt(_) => own(Lock::ShareUpdateExclusive),
        NodeEnum::CreateTableAsStmt(_) | NodeEnum::ViewStmt(_) | NodeEnum::CreateSeqStmt(_) => own(Lock::None),
        NodeEnum::CreateStmt(create) if create.inh_relations.is_empty() => own(Lock::None),
        NodeEnum::CreatedbStmt(_) | NodeEnum::DropdbStmt(_) | NodeEnum::AlterSystemStmt(_) => {
            Heavy { outside: true, ..own(Lock::None) }
        }
        NodeEnum::CreateTableSpaceStmt(_) | NodeEnum::DropTableSpaceStmt(_) => {
            Heavy { outside: true, ..own(Lock::None) }
        }
        NodeEnum::TruncateStmt(_)
        | NodeEnum::RenameStmt(_)
        | NodeEnum::RuleStmt(_)
        | NodeEnum::CreatePolicyStmt(_)
        | NodeEnum::AlterPolicyStmt(_)
        | NodeEnum::AlterObjectSchemaStmt(_)
        | NodeEnum::AlterOwnerStmt(_)
        | NodeEnum::CreateStmt(_) => PLAIN,
        _ => return None,
    })
}

fn is_on(option: &protobuf::Node, name: &str) -> bool {
    matches!(option.node.as_ref(), Some(NodeEnum::DefElem(option)) if option.defname == name)
}

fn of_alter(alter: &protobuf::AlterTableStmt) -> Heavy {
    let of_index = alter.objtype() == ObjectType::ObjectIndex;
    let mut all = Heavy { lock: Lock::None, ..PLAIN };
    for command in &alter.cmds {
        let Some(NodeEnum::AlterTableCmd(command)) = &command.node else { return PLAIN };
        let one = of_command(command);
        all.lock = all.lock.max(one.lock);
        all.rewrites = all.rewrites.max(one.rewrites);
        all.scans |= one.scans || (of_index && one.rewrites == Work::Yes);
        all.outside |= one.outside;
    }
    all
}

fn of_command(command: &protobuf::AlterTableCmd) -> Heavy {
    let lock = |lock| Heavy { lock, ..PLAIN };
    let rewrites = |rewrites| Heavy { rewrites, ..PLAIN };
    match command.subtype() {
        Alter::AtSetStatistics
        | Alter::AtSetOptions
        | Alter::AtResetOptions
        | Alter::AtClusterOn
        | Alter::AtDropCluster
        | Alter::AtSetRelOptions
        | Alter::AtResetRelOptions => lock(Lock::ShareUpdateExclusive),
        Alter::AtValidateConstraint | Alter::AtAttachPartition => {
            Heavy { scans: true, ..lock(Lock::ShareUpdateExclusive) }
        }
        Alter::AtDetachPartition => match command.def.as_deref().and_then(|def| def.node.as_ref()) {
            Some(NodeEnum::PartitionCmd(partition)) if partition.concurrent => {
                Heavy { outside: true, ..lock(Lock::ShareUpdateExclusive) }
            }
            _ => PLAIN,
        },
        Alter::AtEnableTrig
        | Alter::AtEnableAlwaysTrig
        | Alter::AtEnableReplicaTrig
        | Alter::AtDisableTrig
        | Alter::AtEnableTrigAll
        | Alter::AtDisableTrigAll
        | Alter::AtEnableTrigUser
        | Alter::AtDisableTrigUser => lock(Lock::ShareRowExclusive),
        // A column that stands in no index and whose type only grows is not written anew.
        Alter::AtAlterColumnType => Heavy { scans: true, ..rewrites(Work::Maybe) },
        Alter::AtSetLogged | Alter::AtSetUnLogged | Alter::AtSetAccessMethod | Alter::AtSetTableSpace => {
            rewrites(Work::Yes)
        }
        Alter::AtSetExpression => rewrites(Work::Yes),
        Alter::AtAddColumn => of_column(command),
        Alter::AtAddConstraint => of_constraint(command),
        Alter::AtSetNotNull => Heavy { scans: true, ..PLAIN },
        _ => PLAIN,
    }
}

fn of_column(command: &protobuf::AlterTableCmd) -> Heavy {
    let Some(NodeEnum::ColumnDef(column)) = command.def.as_deref().and_then(|def| def.node.as_ref()) else {
        return PLAIN;
    };
    let is_serial = column.type_name.as_ref().and_then(|name| name.names.last()).is_some_and(
        |name| matches!(&name.node, Some(NodeEnum::String(name)) if name.sval.to_ascii_lowercase().contains("serial")),
    );
    let kinds = column.constraints.iter().filter_map(|constraint| match &constraint.node {
        Some(NodeEnum::Constraint(constraint)) => Some(constraint),
        _ => None,
    });
    let work = kinds.map(|constraint| match constraint.contype() {
        ConstrType::ConstrIdentity => Work::Yes,
        ConstrType::ConstrGenerated if constraint.generated_kind != "v" => Work::Yes,
        // One that is the same for all rows is kept once.
        ConstrType::ConstrDefault => match constraint.raw_expr.as_deref().and_then(|expr| expr.node.as_ref()) {
            Some(NodeEnum::AConst(_)) => Work::No,
            _ => Work::Maybe,
        },
        _ => Work::No,
    });
    let rewrites = if is_serial { Work::Yes } else { work.max().unwrap_or(Work::No) };
    Heavy { rewrites, ..PLAIN }
}

fn of_constraint(command: &protobuf::AlterTableCmd) -> Heavy {
    let Some(NodeEnum::Constraint(constraint)) = command.def.as_deref().and_then(|def| def.node.as_ref()) else {
        return PLAIN;
    };
    let lock = match constraint.contype() {
        ConstrType::ConstrForeign => Lock::ShareRowExclusive,
        _ => Lock::AccessExclusive,
    };
    let by_index = !constraint.indexname.is_empty();
    Heavy { lock, scans: !constraint.skip_validation && !by_index, ..PLAIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_and_work() {
        use Lock::{AccessExclusive, None, Share, ShareRowExclusive, ShareUpdateExclusive};
        use Work::{Maybe, No, Yes};
        for (text, lock, rewrites, scans, outside) in [
            ("alter table t add column a int", AccessExclusive, No, false, false),
            ("alter table t add column a int default 1", AccessExclusive, No, false, false),
            ("alter table t add column a uuid default gen_random_uuid()", AccessExclusive, Maybe, false, false),
            ("alter table t add column a bigserial", AccessExclusive, Yes, false, false),
            ("alter table t alter a type bigint", AccessExclusive, Maybe, true, false),
            ("alter table t alter a set not null", AccessExclusive, No, true, false),
            ("alter table t alter a set statistics 10", ShareUpdateExclusive, No, false, false),
            ("alter table t add foreign key (a) references u", ShareRowExclusive, No, true, false),
            ("alter table t add check (a > 0) not valid", AccessExclusive, No, false, false),
            ("alter table t validate constraint c", ShareUpdateExclusive, No, true, false),
            ("alter table t set unlogged, alter a set statistics 10", AccessExclusive, Yes, false, false),
            ("alter table t detach partition p concurrently", ShareUpdateExclusive, No, false, true),
            ("create index on t (a)", Share, No, true, false),
            ("create index concurrently on t (a)", ShareUpdateExclusive, No, true, true),
            ("vacuum t", ShareUpdateExclusive, No, true, true),
            ("vacuum (full) t", AccessExclusive, Yes, true, true),
            ("analyze t", ShareUpdateExclusive, No, true, false),
            ("truncate t", AccessExclusive, No, false, false),
            ("drop table t", AccessExclusive, No, false, false),
            ("create table t (a int)", None, No, false, false),
            ("alter system set work_mem = '1GB'", None, No, false, true),
        ] {
            let expected = Heavy { lock, rewrites, scans, outside };
            assert_eq!(heavy(text.as_bytes(), Lexing::default()), Some(expected), "{text}");
        }
        assert_eq!(heavy(b"select 1", Lexing::default()), Option::None);
    }
}
