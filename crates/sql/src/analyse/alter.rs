//! ALTER, DROP, COMMENT and GRANT; and what is done to the server as a whole.

use std::sync::Arc;

use pg_query::{
    Node, NodeEnum,
    protobuf::{self, AlterTableType, ObjectType, RangeVar},
};

use super::{
    Analyser, Step,
    names::{parts, qualified, string},
    unexpected,
};
use crate::facts::{Action, Object};

impl<'a> Analyser<'a> {
    pub(super) fn alteration(&mut self, node: &NodeEnum) -> Step<Option<&'static str>> {
        let tag = match node {
            NodeEnum::AlterTableStmt(alter) => self.alter_table(alter)?,
            NodeEnum::DropStmt(drop) => self.drop(drop)?,
            NodeEnum::RenameStmt(rename) => {
                self.object(rename.rename_type, rename.relation.as_ref(), rename.object.as_deref())?;
                alter_tag(rename.rename_type)
            }
            NodeEnum::AlterObjectSchemaStmt(alter) => {
                self.object(alter.object_type, alter.relation.as_ref(), alter.object.as_deref())?;
                self.access(Action::Ddl, Object::Schema(alter.newschema.as_str().into()));
                alter_tag(alter.object_type)
            }
            NodeEnum::AlterOwnerStmt(alter) => {
                self.object(alter.object_type, alter.relation.as_ref(), alter.object.as_deref())?;
                self.admin();
                alter_tag(alter.object_type)
            }
            NodeEnum::AlterObjectDependsStmt(alter) => {
                self.object(alter.object_type, alter.relation.as_ref(), alter.object.as_deref())?;
                alter_tag(alter.object_type)
            }
            NodeEnum::CommentStmt(comment) => {
                self.object(comment.objtype, None, comment.object.as_deref())?;
                "COMMENT"
            }
            NodeEnum::AlterSeqStmt(alter) => {
                let Some(range) = &alter.sequence else { return Err(unexpected("ALTER SEQUENCE")) };
                self.changed(range, alter.missing_ok)?;
                "ALTER SEQUENCE"
            }
            NodeEnum::AlterFunctionStmt(alter) => {
                let Some(function) = &alter.func else { return Err(unexpected("ALTER FUNCTION")) };
                self.function_named(&function.objname)?;
                alter_tag(alter.objtype)
            }
            NodeEnum::AlterPolicyStmt(policy) => {
                let quals = [policy.qual.as_deref(), policy.with_check.as_deref()];
                self.on_table(policy.table.as_ref(), &quals)?;
                "ALTER POLICY"
            }
            NodeEnum::AlterDomainStmt(alter) => {
                if let Some(definition) = alter.def.as_deref() {
                    self.domain_constraints(std::slice::from_ref(definition))?;
                }
                self.named(&alter.type_name, "ALTER DOMAIN")?
            }
            NodeEnum::AlterEnumStmt(alter) => self.named(&alter.type_name, "ALTER TYPE")?,
            NodeEnum::AlterTypeStmt(alter) => self.named(&alter.type_name, "ALTER TYPE")?,
            NodeEnum::AlterCollationStmt(alter) => self.named(&alter.collname, "ALTER COLLATION")?,
            NodeEnum::AlterStatsStmt(alter) => self.named(&alter.defnames, "ALTER STATISTICS")?,
            NodeEnum::AlterTsdictionaryStmt(alter) => self.named(&alter.dictname, "ALTER TEXT SEARCH DICTIONARY")?,
            NodeEnum::AlterTsconfigurationStmt(alter) => {
                self.named(&alter.cfgname, "ALTER TEXT SEARCH CONFIGURATION")?
            }
            NodeEnum::AlterOpFamilyStmt(alter) => self.named(&alter.opfamilyname, "ALTER OPERATOR FAMILY")?,
            NodeEnum::AlterOperatorStmt(alter) => {
                let Some(operator) = &alter.opername else { return Err(unexpected("ALTER OPERATOR")) };
                self.named(&operator.objname, "ALTER OPERATOR")?
            }
            NodeEnum::GrantStmt(grant) => {
                self.grant(grant)?;
                if grant.is_grant { "GRANT" } else { "REVOKE" }
            }
            _ => return Ok(None),
        };
        Ok(Some(tag))
    }

    fn alter_table(&mut self, alter: &protobuf::AlterTableStmt) -> Step<&'static str> {
        let Some(range) = &alter.relation else { return Err(unexpected("ALTER TABLE")) };
        let relation = self.changed(range, alter.missing_ok)?;
        let scope = self.scope_of(relation, range)?;
        for node in &alter.cmds {
            let Some(NodeEnum::AlterTableCmd(command)) = &node.node else { return Err(unexpected("ALTER TABLE")) };
            let kind = AlterTableType::try_from(command.subtype).map_err(|_| unexpected("ALTER TABLE"))?;
            if kind == AlterTableType::AtChangeOwner {
                self.admin();
            }
            match command.def.as_ref().and_then(|node| node.node.as_ref()) {
                // A partition or parent is changed as well.
                Some(NodeEnum::PartitionCmd(partition)) => {
                    if let Some(range) = &partition.name {
                        self.changed(range, false)?;
                    }
                }
                Some(NodeEnum::RangeVar(range)) => {
                    self.changed(range, false)?;
                }
                Some(NodeEnum::ColumnDef(_) | NodeEnum::Constraint(_)) => {
                    if let Some(definition) = command.def.as_deref() {
                        self.element(definition, &scope)?;
                    }
                }
                // The options of an identity column, of the table, of a foreign table.
                Some(NodeEnum::List(_) | NodeEnum::ReplicaIdentityStmt(_) | NodeEnum::TypeName(_)) | None => {}
                Some(_) if is_expression(kind) => self.defined(command.def.as_deref(), &scope)?,
                Some(_) => {}
            }
        }
        if let Some(relation) = relation {
            // A rewrite computes what a write computes.
            let name = self.facts_name(relation);
            self.computed_by_writing(relation, &name)?;
        }
        Ok(alter_tag(alter.objtype))
    }

    fn drop(&mut self, drop: &protobuf::DropStmt) -> Step<&'static str> {
        for node in &drop.objects {
            self.dropped(drop.remove_type, node, drop.missing_ok)?;
        }
        if drop.behavior == protobuf::DropBehavior::DropCascade as i32 {
            self.effect("what depends on it is dropped".into());
        }
        Ok(drop_tag(drop.remove_type))
    }

    fn dropped(&mut self, kind: i32, node: &Node, missing_ok: bool) -> Step {
        let Some(NodeEnum::List(list)) = &node.node else { return self.object(kind, None, Some(node)) };
        let object = ObjectType::try_from(kind).map_err(|_| unexpected("DROP"))?;
        let is_relation = matches!(
            object,
            ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectSequence
                | ObjectType::ObjectIndex
                | ObjectType::ObjectForeignTable
        );
        if !is_relation {
            return self.object(kind, None, Some(node));
        }
        let range = range_of(&list.items)?;
        let relation = self.changed(&range, missing_ok)?;
        // What refers to it loses its foreign keys by CASCADE; a partition is its parent's.
        for parent in relation.iter().flat_map(|relation| &relation.parents) {
            if let Some(parent) = self.catalog.relation_by_oid(*parent) {
                let name = self.facts_name(parent);
                self.access(Action::Ddl, Object::Relation(name));
            }
        }
        Ok(())
    }

    /// Some object that DDL names: what it is decides where its name stands.
    fn object(&mut self, kind: i32, range: Option<&RangeVar>, node: Option<&Node>) -> Step {
        use ObjectType as Kind;
        if let Some(range) = range {
            return self.changed(range, true).map(drop);
        }
        let kind = Kind::try_from(kind).map_err(|_| unexpected("an object"))?;
        let items: &[Node] = match node.map(|node| &node.node) {
            Some(Some(NodeEnum::List(list))) => &list.items,
            Some(Some(NodeEnum::ObjectWithArgs(object))) => &object.objname,
            Some(Some(NodeEnum::TypeName(name))) => &name.names,
            Some(Some(NodeEnum::String(_))) => node.map(std::slice::from_ref).unwrap_or_default(),
            _ => &[],
        };
        match kind {
            Kind::ObjectTable
            | Kind::ObjectView
            | Kind::ObjectMatview
            | Kind::ObjectSequence
            | Kind::ObjectIndex
            | Kind::ObjectForeignTable => self.changed(&range_of(items)?, true).map(drop),
            // The last part is the column, constraint, trigger, rule or policy of a table.
            Kind::ObjectColumn
            | Kind::ObjectTabconstraint
            | Kind::ObjectTrigger
            | Kind::ObjectRule
            | Kind::ObjectPolicy => {
                let (_, table) = items.split_last().ok_or_else(|| unexpected("an object"))?;
                self.changed(&range_of(table)?, true).map(drop)
            }
            Kind::ObjectAggregate | Kind::ObjectFunction | Kind::ObjectProcedure | Kind::ObjectRoutine => {
                self.function_named(items)
            }
            Kind::ObjectType
            | Kind::ObjectDomain
            | Kind::ObjectAttribute
            | Kind::ObjectOperator
            | Kind::ObjectCollation
            | Kind::ObjectConversion
            | Kind::ObjectStatisticExt
            | Kind::ObjectTsconfiguration
            | Kind::ObjectTsdictionary
            | Kind::ObjectTsparser
            | Kind::ObjectTstemplate => self.named(items, "").map(drop),
            Kind::ObjectSchema => {
                let name = items.first().and_then(string).ok_or_else(|| unexpected("a schema"))?;
                self.access(Action::Ddl, Object::Schema(name.into()));
                Ok(())
            }
            Kind::ObjectCast
            | Kind::ObjectOpclass
            | Kind::ObjectOpfamily
            | Kind::ObjectTransform
            | Kind::ObjectDomconstraint
            | Kind::ObjectLargeobject => {
                self.access(Action::Ddl, Object::Database);
                Ok(())
            }
            // Databases, roles, extensions, languages, servers, publications, event triggers and what else is the
            // server's or reaches out of it.
            _ => {
                self.access(Action::Ddl, Object::Database);
                self.admin();
                Ok(())
            }
        }
    }

    fn grant(&mut self, grant: &protobuf::GrantStmt) -> Step {
        let kind = ObjectType::try_from(grant.objtype).map_err(|_| unexpected("GRANT"))?;
        let whole_schema = grant.targtype == protobuf::GrantTargetType::AclTargetAllInSchema as i32;
        for node in &grant.objects {
            let object = match (&node.node, kind) {
                (Some(NodeEnum::RangeVar(range)), _) => Object::Relation(self.name_or_new(range)),
                (Some(NodeEnum::ObjectWithArgs(function)), _) => {
                    let (schema, name) = qualified(&function.objname)?;
                    let schema = schema.map_or_else(|| self.creation_schema(), Arc::from);
                    Object::Function(crate::facts::Name { schema, name: name.into() })
                }
                (Some(NodeEnum::String(name)), ObjectType::ObjectSchema) => Object::Schema(name.sval.as_str().into()),
                (Some(NodeEnum::String(name)), _) if whole_schema => Object::Schema(name.sval.as_str().into()),
                _ => Object::Database,
            };
            self.access(Action::Admin, object);
        }
        if grant.objects.is_empty() {
            self.admin();
        }
        Ok(())
    }

    /// What is done to the server, its roles, its files or to other servers.
    pub(super) fn of_server(&mut self, node: &NodeEnum) -> Option<&'static str> {
        if let NodeEnum::CreateForeignTableStmt(create) = node
            && let Some(range) = create.base_stmt.as_ref().and_then(|base| base.relation.as_ref())
        {
            let name = self.new_name(range);
            self.access(Action::Ddl, Object::Relation(name));
        }
        Some(match node {
            NodeEnum::GrantRoleStmt(grant) => {
                if grant.is_grant {
                    "GRANT ROLE"
                } else {
                    "REVOKE ROLE"
                }
            }
            NodeEnum::AlterDefaultPrivilegesStmt(_) => "ALTER DEFAULT PRIVILEGES",
            NodeEnum::CreateRoleStmt(_) => "CREATE ROLE",
            NodeEnum::AlterRoleStmt(_) | NodeEnum::AlterRoleSetStmt(_) => "ALTER ROLE",
            NodeEnum::DropRoleStmt(_) => "DROP ROLE",
            NodeEnum::DropOwnedStmt(_) => "DROP OWNED",
            NodeEnum::ReassignOwnedStmt(_) => "REASSIGN OWNED",
            NodeEnum::CreatedbStmt(_) => "CREATE DATABASE",
            NodeEnum::AlterDatabaseStmt(_)
            | NodeEnum::AlterDatabaseSetStmt(_)
            | NodeEnum::AlterDatabaseRefreshCollStmt(_) => "ALTER DATABASE",
            NodeEnum::DropdbStmt(_) => "DROP DATABASE",
            NodeEnum::CreateTableSpaceStmt(_) => "CREATE TABLESPACE",
            NodeEnum::AlterTableSpaceOptionsStmt(_) => "ALTER TABLESPACE",
            NodeEnum::AlterTableMoveAllStmt(_) => "ALTER TABLE",
            NodeEnum::DropTableSpaceStmt(_) => "DROP TABLESPACE",
            NodeEnum::CreateExtensionStmt(_) => "CREATE EXTENSION",
            NodeEnum::AlterExtensionStmt(_) | NodeEnum::AlterExtensionContentsStmt(_) => "ALTER EXTENSION",
            NodeEnum::CreateFdwStmt(_) => "CREATE FOREIGN DATA WRAPPER",
            NodeEnum::AlterFdwStmt(_) => "ALTER FOREIGN DATA WRAPPER",
            NodeEnum::CreateForeignServerStmt(_) => "CREATE SERVER",
            NodeEnum::AlterForeignServerStmt(_) => "ALTER SERVER",
            NodeEnum::CreateForeignTableStmt(_) => "CREATE FOREIGN TABLE",
            NodeEnum::ImportForeignSchemaStmt(_) => "IMPORT FOREIGN SCHEMA",
            NodeEnum::CreateUserMappingStmt(_) => "CREATE USER MAPPING",
            NodeEnum::AlterUserMappingStmt(_) => "ALTER USER MAPPING",
            NodeEnum::DropUserMappingStmt(_) => "DROP USER MAPPING",
            NodeEnum::CreateAmStmt(_) => "CREATE ACCESS METHOD",
            NodeEnum::CreatePlangStmt(_) => "CREATE LANGUAGE",
            NodeEnum::CreateEventTrigStmt(_) => "CREATE EVENT TRIGGER",
            NodeEnum::AlterEventTrigStmt(_) => "ALTER EVENT TRIGGER",
            NodeEnum::CreatePublicationStmt(_) => "CREATE PUBLICATION",
            NodeEnum::AlterPublicationStmt(_) => "ALTER PUBLICATION",
            NodeEnum::CreateSubscriptionStmt(_) => "CREATE SUBSCRIPTION",
            NodeEnum::AlterSubscriptionStmt(_) => "ALTER SUBSCRIPTION",
            NodeEnum::DropSubscriptionStmt(_) => "DROP SUBSCRIPTION",
            NodeEnum::SecLabelStmt(_) => "SECURITY LABEL",
            _ => return None,
        })
    }
}

/// Whether the definition of such a command is an expression over the table's columns.
const fn is_expression(kind: AlterTableType) -> bool {
    matches!(
        kind,
        AlterTableType::AtColumnDefault | AlterTableType::AtSetExpression | AlterTableType::AtAlterColumnType
    )
}

/// A relation from the parts of its name.
fn range_of(items: &[Node]) -> Step<RangeVar> {
    let names = parts(items)?;
    let (schema, name) = match names.as_slice() {
        [name] => ("", *name),
        [schema, name] | [_, schema, name] => (*schema, *name),
        _ => return Err(unexpected("a name")),
    };
    Ok(RangeVar { schemaname: schema.into(), relname: name.into(), ..RangeVar::default() })
}

fn alter_tag(kind: i32) -> &'static str {
    use ObjectType as Kind;
    match Kind::try_from(kind) {
        Ok(Kind::ObjectView) => "ALTER VIEW",
        Ok(Kind::ObjectMatview) => "ALTER MATERIALIZED VIEW",
        Ok(Kind::ObjectIndex) => "ALTER INDEX",
        Ok(Kind::ObjectSequence) => "ALTER SEQUENCE",
        Ok(Kind::ObjectForeignTable) => "ALTER FOREIGN TABLE",
        Ok(Kind::ObjectType | Kind::ObjectAttribute) => "ALTER TYPE",
        Ok(Kind::ObjectDomain | Kind::ObjectDomconstraint) => "ALTER DOMAIN",
        Ok(Kind::ObjectFunction) => "ALTER FUNCTION",
        Ok(Kind::ObjectProcedure) => "ALTER PROCEDURE",
        Ok(Kind::ObjectRoutine) => "ALTER ROUTINE",
        Ok(Kind::ObjectAggregate) => "ALTER AGGREGATE",
        Ok(Kind::ObjectSchema) => "ALTER SCHEMA",
        Ok(Kind::ObjectDatabase) => "ALTER DATABASE",
        Ok(Kind::ObjectRole) => "ALTER ROLE",
        Ok(Kind::ObjectTrigger) => "ALTER TRIGGER",
        Ok(Kind::ObjectPolicy) => "ALTER POLICY",
        Ok(Kind::ObjectRule) => "ALTER RULE",
        Ok(Kind::ObjectTable | Kind::ObjectColumn | Kind::ObjectTabconstraint) => "ALTER TABLE",
        _ => "ALTER",
    }
}

fn drop_tag(kind: i32) -> &'static str {
    use ObjectType as Kind;
    match Kind::try_from(kind) {
        Ok(Kind::ObjectTable) => "DROP TABLE",
        Ok(Kind::ObjectView) => "DROP VIEW",
        Ok(Kind::ObjectMatview) => "DROP MATERIALIZED VIEW",
        Ok(Kind::ObjectIndex) => "DROP INDEX",
        Ok(Kind::ObjectSequence) => "DROP SEQUENCE",
        Ok(Kind::ObjectForeignTable) => "DROP FOREIGN TABLE",
        Ok(Kind::ObjectType) => "DROP TYPE",
        Ok(Kind::ObjectDomain) => "DROP DOMAIN",
        Ok(Kind::ObjectFunction) => "DROP FUNCTION",
        Ok(Kind::ObjectProcedure) => "DROP PROCEDURE",
        Ok(Kind::ObjectRoutine) => "DROP ROUTINE",
        Ok(Kind::ObjectAggregate) => "DROP AGGREGATE",
        Ok(Kind::ObjectSchema) => "DROP SCHEMA",
        Ok(Kind::ObjectTrigger) => "DROP TRIGGER",
        Ok(Kind::ObjectPolicy) => "DROP POLICY",
        Ok(Kind::ObjectRule) => "DROP RULE",
        Ok(Kind::ObjectExtension) => "DROP EXTENSION",
        Ok(Kind::ObjectOperator) => "DROP OPERATOR",
        Ok(Kind::ObjectCast) => "DROP CAST",
        _ => "DROP",
    }
}
