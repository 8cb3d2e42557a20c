//! What a connector decides by: policies, and of each of its connections whether it is frozen, what is tagged and how that is masked.

use super::ConnectorKey;
use crate::{
    policies,
    store::{StoreError, Tx, connections::ConnectionRow, freezes, policies as rows},
};
use aws_lc_rs::digest::{SHA256, digest};
use postern_api::document;
use postern_proto::v1::{
    Compare, ConnectionFacts, Mask, PolicyBundle, PolicyFile, QualifiedName, ReviewTerms, Tag, TagMask,
};
use prost::Message as _;
use std::time::Duration;

/// What a connector was told last.
#[derive(Debug)]
pub struct Told {
    revision: i64,
    content: Vec<u8>,
}

impl Told {
    /// What a bundle says.
    #[must_use]
    pub fn of(bundle: &PolicyBundle) -> Self {
        Self { revision: i64::try_from(bundle.counter).unwrap_or(i64::MAX), content: content(bundle) }
    }

    /// The revision that was looked at last.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Takes a newer one's place; tells whether it says anything else, so that the connector has to be told.
    pub fn replace(&mut self, bundle: &PolicyBundle) -> bool {
        let new = Self::of(bundle);
        // One that was read before this, and comes late.
        if new.revision <= self.revision {
            return false;
        }
        let differs = new.content != self.content;
        *self = new;
        differs
    }
}

/// A bundle's content, which is another's too if both say the same.
fn content(bundle: &PolicyBundle) -> Vec<u8> {
    let bundle = PolicyBundle { counter: 0, ..bundle.clone() };
    digest(&SHA256, &bundle.encode_to_vec()).as_ref().to_vec()
}

/// The bundle for a process of a connector that serves these connections; none where it would be of the revision
/// `known`.
///
/// # Errors
/// When the store fails.
pub async fn bundle(
    tx: &mut Tx,
    key: &ConnectorKey,
    connections: &[ConnectionRow],
    known: Option<i64>,
) -> Result<Option<PolicyBundle>, StoreError> {
    let state = rows::state(tx).await?;
    if known == Some(state.revision) {
        return Ok(None);
    }
    let number = |n: i64| u64::try_from(n).map_err(|_| StoreError::corrupt("policy state", "it is negative"));
    let frozen = freezes::all(tx).await?;
    let facts = |row: &ConnectionRow| ConnectionFacts {
        name: row.name().to_owned(),
        frozen: frozen.contains_key(row.name()),
        tags: row.document.tags.iter().map(|(place, tag)| tagged(place, tag)).collect(),
        masks: row.document.masks.iter().map(|(tag, masking)| masked(tag, masking)).collect(),
        safe_functions: row.document.safe_functions.iter().map(|name| qualified(name)).collect(),
        safe_relations: row.document.safe_relations.iter().map(|name| qualified(name)).collect(),
        safe_channels: row.document.safe_channels.clone(),
        reviews: Some(terms(&row.document.reviews.clone().unwrap_or_default())),
        undoable_functions: row.document.undoable_functions.iter().map(|name| qualified(name)).collect(),
        detectors: row.document.detectors.iter().map(|kind| kind.as_str().to_owned()).collect(),
    };
    let file = |(name, text)| PolicyFile { name, text };
    Ok(Some(PolicyBundle {
        connector_id: key.id.clone(),
        connector_incarnation: key.incarnation.clone(),
        counter: number(state.revision)?,
        policy_version: number(state.version)?,
        files: policies::in_force(tx, &state).await?.into_iter().map(file).collect(),
        connections: connections.iter().map(facts).collect(),
    }))
}

/// `schema`, `schema.table` or `schema.table.column`, as apply has checked it.
pub fn tagged(place: &str, tag: &str) -> Tag {
    let mut parts = place.splitn(3, '.').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    Tag { schema: next(), relation: next(), column: next(), tag: tag.to_owned() }
}

/// `schema.name`, likewise.
fn qualified(name: &str) -> QualifiedName {
    let (schema, name) = name.split_once('.').unwrap_or((name, ""));
    QualifiedName { schema: schema.to_owned(), name: name.to_owned() }
}

fn terms(terms: &document::ReviewTerms) -> ReviewTerms {
    let ms = |length: Duration| u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
    ReviewTerms { hold_ms: ms(terms.hold()), hold_locks_ms: ms(terms.hold_locks()) }
}

/// How values with a tag are masked, as the protocol writes it.
pub fn masked(tag: &str, masking: &document::Masking) -> TagMask {
    let (mask, keep) = match masking.mask() {
        document::Mask::Redact => (Mask::Redact, 0),
        document::Mask::Null => (Mask::Null, 0),
        document::Mask::Partial(keep) => (Mask::Partial, *keep),
        document::Mask::Email => (Mask::Email, 0),
        document::Mask::Hash => (Mask::Hash, 0),
        document::Mask::DateYear => (Mask::DateYear, 0),
        document::Mask::Noise => (Mask::Noise, 0),
    };
    let compare = match masking.compare() {
        None => Compare::Unspecified,
        Some(document::Compare::None) => Compare::None,
        Some(document::Compare::Equality) => Compare::Equality,
        Some(document::Compare::Any) => Compare::Any,
    };
    TagMask { tag: tag.to_owned(), mask: mask.into(), keep, compare: compare.into() }
}
