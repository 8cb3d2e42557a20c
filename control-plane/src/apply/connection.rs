//! Connections and their access roles.

use super::{Difference, Run, check, masks::Masked, typed};
use crate::{
    effects::Effect,
    grants,
    problem::Problem,
    requests::end_in,
    store::{access, connections, requests},
};
use postern_api::document::{ConnectionDocument, Source};
use serde_json::{Map, Value};

impl Run<'_> {
    pub(super) async fn connection(
        &mut self,
        name: &str,
        fields: Map<String, Value>,
        delete: bool,
        source: &Source,
    ) -> Result<Difference, Problem> {
        let stored = connections::by_name(&mut self.tx, name).await?.map(|row| row.document);
        let from = stored.as_ref().map(serde_json::to_value).transpose().map_err(Problem::fault)?;
        let difference = |from, to| Difference { kind: "Connection", name: name.to_owned(), from, to };
        if delete {
            if stored.is_some() {
                connections::delete(&mut self.tx, name).await?;
                self.end_grants(name, |_| true, "the connection was deleted").await?;
                self.effects.push(Effect::ConnectionsChanged);
            }
            return Ok(difference(from, None));
        }
        let document: ConnectionDocument = typed(from.clone().filter(|_| self.merge), fields)?;
        check::connection(&document)?;
        let served = stored.as_ref().is_some_and(|stored| is_of_same_database(stored, &document));
        self.connections.push(Masked { source: source.clone(), document: document.clone(), served });
        let to = serde_json::to_value(&document).map_err(Problem::fault)?;
        if from.as_ref() != Some(&to) {
            connections::put(&mut self.tx, &document, self.now).await?;
            // A role that is gone, or leads elsewhere now, is not what was approved.
            let changed = |role: &str| stored.as_ref().is_some_and(|stored| leads_elsewhere(stored, &document, role));
            self.end_grants(name, changed, "the access role was changed").await?;
            self.effects.push(Effect::ConnectionsChanged);
        }
        Ok(difference(from, Some(to)))
    }

    /// Ends the grants and the standing approvals for these roles.
    async fn end_grants(&mut self, connection: &str, ends: impl Fn(&str) -> bool, reason: &str) -> Result<(), Problem> {
        for grant in access::unended_grants_on(&mut self.tx, connection).await? {
            if ends(&grant.role)
                && let Some(effect) =
                    grants::revoke_in(&mut self.tx, &grant, self.actor, Some(reason), self.now).await?
            {
                self.effects.push(effect);
            }
        }
        for standing in requests::standing(&mut self.tx, connection, None, None).await? {
            if ends(&standing.role) {
                end_in(&mut self.tx, &standing, self.actor, Some(reason), self.now).await?;
            }
        }
        Ok(())
    }
}

fn is_of_same_database(before: &ConnectionDocument, after: &ConnectionDocument) -> bool {
    before.database == after.database && before.connector == after.connector
}

/// Whether sessions of a role would now be something else than what they were approved as.
fn leads_elsewhere(before: &ConnectionDocument, after: &ConnectionDocument, role: &str) -> bool {
    if !is_of_same_database(before, after) {
        return true;
    }
    let login = |document: &ConnectionDocument| {
        document.roles.get(role).map(|role| {
            (role.mode, role.database_role.clone(), role.enforce_masks, role.read_only, role.settings.clone())
        })
    };
    login(before) != login(after)
}
