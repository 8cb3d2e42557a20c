//! Which columns are masked: what the control plane says of tags, found in the databases' own catalogs.
//!
//! In reading order: [`wanted`] (what is to be masked, by names), [`resolve`] (which columns these are), [`found`] (which they
//! were before they were renamed), [`keys`] (the secrets of masks).

pub mod found;
pub mod keys;
pub mod resolve;
#[cfg(test)]
mod tests;
pub mod wanted;

use crate::{probes::Probes, rules::Rules};
use found::{Found, Spot};
use keys::Keys;
use parking_lot::Mutex;
use postern_mask::{
    Mask,
    rules::{self, Column},
};
use postern_policy::objects::Objects;
use postern_sql::Catalog;
use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::Path,
    sync::Arc,
};
use wanted::Wanted;

/// What was found for one connection: by the shared catalog, and by those of a few sessions that have changed it.
const MOST_KEPT: usize = 8;

/// What is masked in a database, by one catalog and one set of rules.
#[derive(Debug)]
pub struct Masked {
    /// For statements.
    pub rules: rules::Rules,
    /// For policies: what is tagged, with what was renamed, partitions and children.
    pub objects: Objects,
    /// The masked columns, by their tables' object ids and their numbers: what the server says of results is compared with.
    pub places: Arc<BTreeSet<Spot>>,
    /// Columns whose type their mask does not suit: they are redacted.
    pub unsuited: Vec<Unsuited>,
}

/// A column that cannot be masked as its tag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsuited {
    /// Which.
    pub column: Column,
    /// The tag.
    pub tag: Arc<str>,
    /// Its type, as the catalog names it.
    pub ty: Arc<str>,
    /// Why not, as a sentence.
    pub why: String,
    /// The masks that suit it.
    pub suited: Vec<Mask>,
}

/// What one was found by: the rules' counter and the catalog's hash.
type By = (u64, u64);

/// Of one connection, by what it was found.
type Kept = Vec<(By, Arc<Masked>)>;

/// What is masked, on all connections.
#[derive(Debug)]
pub struct Known {
    found: Found,
    /// The secrets of masks.
    pub keys: Keys,
    /// What grants have asked about masked columns.
    pub probes: Probes,
    kept: Mutex<HashMap<String, Kept>>,
}

impl Known {
    /// With what is kept in the connector's data folder.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let found = Found::open(folder.join("tagged.json"))?;
        Ok(Self { found, keys: Keys::open(folder.join("masks"))?, probes: Probes::default(), kept: Mutex::default() })
    }

    /// With a folder of its own.
    #[cfg(test)]
    pub fn for_tests() -> Arc<Self> {
        let folder = tempfile::TempDir::new().and_then(|folder| Self::open(&folder.keep()));
        Arc::new(folder.unwrap_or_else(|error| panic!("{error}")))
    }

    /// What is masked on a connection, by a catalog; nothing where no rule masks anything. A session's `own` catalog, which
    /// may never be committed, is not kept in mind.
    #[must_use]
    pub fn masked(&self, connection: &str, rules: &Rules, catalog: &Catalog, own: bool) -> Option<Arc<Masked>> {
        let facts = rules.connections.get(connection)?;
        let wanted = facts.masks.as_ref()?;
        let by = (rules.counter, catalog.hash());
        let mut all = self.kept.lock();
        let kept = all.entry(connection.to_owned()).or_default();
        if let Some((_, masked)) = kept.iter().find(|(known, _)| *known == by) {
            return Some(Arc::clone(masked));
        }
        let (masked, spots) = resolve::resolve(wanted, &facts.objects, catalog, &self.found.of(connection));
        if !own {
            self.found.keep(connection, &spots);
            for Unsuited { column, tag, why, .. } in &masked.unsuited {
                tracing::warn!(connection, %column, %tag, why, "a column is redacted, since its mask does not suit its type");
            }
        }
        let masked = Arc::new(masked);
        if kept.len() >= MOST_KEPT {
            kept.remove(0);
        }
        kept.push((by, Arc::clone(&masked)));
        Some(masked)
    }

    /// The columns whose type would not suit their mask, if this were wanted. Nothing of it is kept in mind.
    #[must_use]
    pub fn unsuited(&self, connection: &str, wanted: &Wanted, catalog: &Catalog) -> Vec<Unsuited> {
        resolve::resolve(wanted, &Objects::default(), catalog, &self.found.of(connection)).0.unsuited
    }
}
