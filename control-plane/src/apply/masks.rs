//! Whether the masks of connections suit the columns that they are for: connectors say so, by the databases' catalogs. What
//! cannot be asked is applied all the same, with a warning: such a column is redacted.

use crate::{
    connections as ways_in,
    hub::{Hub, bundle},
    problem::Problem,
};
use postern_api::{
    document::{ConnectionDocument, Mask, RoleMode, Source},
    policy::PolicyProblem,
};
use postern_proto::v1::{CheckMasks, UnsuitedMask, masks_checked};

/// As many columns are told at once.
const MOST_TOLD: usize = 20;

/// A connection as a document has it.
pub(super) struct Masked {
    pub(super) source: Source,
    pub(super) document: ConnectionDocument,
    /// Its connector knows the database: it serves the connection already.
    pub(super) served: bool,
}

/// What could not be checked.
///
/// # Errors
/// When a mask does not suit a column's type.
pub(super) async fn check(hub: &Hub, connections: &[Masked]) -> Result<Vec<PolicyProblem>, Problem> {
    let mut unchecked = Vec::new();
    for connection in connections {
        let Some(question) = question(&connection.document) else { continue };
        match ask(hub, connection, question).await {
            Ok(columns) => columns.first().map_or(Ok(()), |first| Err(unsuited(connection, first, &columns)))?,
            Err(why) => unchecked.push(warning(connection, &why)),
        }
    }
    Ok(unchecked)
}

/// What there is to ask; nothing where any type will do. A mask of a whole table or schema redacts the columns that it does
/// not suit.
fn question(document: &ConnectionDocument) -> Option<CheckMasks> {
    let suits_all = |mask: &Mask| matches!(mask, Mask::Redact | Mask::Null);
    let masks: Vec<_> = document.masks.iter().filter(|(_, masking)| !suits_all(masking.mask())).collect();
    let is_asked = |(place, tag): &(&String, &String)| {
        place.split('.').count() == 3 && masks.iter().any(|(masked, _)| masked == tag)
    };
    let tags: Vec<_> = document.tags.iter().filter(is_asked).map(|(place, tag)| bundle::tagged(place, tag)).collect();
    if tags.is_empty() {
        return None;
    }
    let masks = masks.into_iter().map(|(tag, masking)| bundle::masked(tag, masking)).collect();
    let able = |role: &&postern_api::document::AccessRole| (role.mode == RoleMode::Ephemeral, !role.read_only);
    let role = document.roles.values().min_by_key(able);
    Some(CheckMasks {
        id: 0,
        connection: document.name.clone(),
        role_mode: role.map_or(postern_proto::v1::RoleMode::Shared, ways_in::mode).into(),
        database_role: role.and_then(|role| role.database_role.clone()).unwrap_or_default(),
        settings: role.map(ways_in::settings).unwrap_or_default(),
        tags,
        masks,
    })
}

/// The columns whose masks do not suit them, or why it is not known.
async fn ask(hub: &Hub, connection: &Masked, question: CheckMasks) -> Result<Vec<UnsuitedMask>, String> {
    if !connection.served {
        return Err("its connector does not serve it yet".to_owned());
    }
    let connector = &connection.document.connector;
    match hub.check_masks(connector, question).await {
        Ok(masks_checked::Result::Unsuited(unsuited)) => Ok(unsuited.columns),
        Ok(masks_checked::Result::Failed(error)) => Err(error.message),
        Err(why) => Err(format!("the connector `{connector}` was asked, and {why}")),
    }
}

fn unsuited(connection: &Masked, first: &UnsuitedMask, all: &[UnsuitedMask]) -> Problem {
    let told = |it: &UnsuitedMask| {
        format!(
            "{}.{}.{} is of type {} and has the tag {}: {}",
            it.schema, it.relation, it.column, it.r#type, it.tag, it.why
        )
    };
    let field = format!("masks.{}", first.tag);
    let hint = format!("its type can have: {}", first.suited.join(", "));
    let problem = Problem::invalid(field, told(first)).hint(hint).document(&connection.source);
    if all.len() < 2 {
        return problem;
    }
    let others = all.iter().skip(1).take(MOST_TOLD).map(told).collect::<Vec<_>>().join("; ");
    problem.detail(format!("so it is with {} more: {others}", all.len() - 1))
}

fn warning(connection: &Masked, why: &str) -> PolicyProblem {
    let Source { file, line, .. } = &connection.source;
    let name = &connection.document.name;
    PolicyProblem {
        file: file.clone().unwrap_or_else(|| name.clone()),
        line: line.unwrap_or(1),
        column: 1,
        policy: None,
        what: format!("whether the masks of `{name}` suit its columns was not checked: {why}"),
        hint: "a column that its mask does not suit is redacted; `postern plan` checks again".to_owned(),
    }
}
