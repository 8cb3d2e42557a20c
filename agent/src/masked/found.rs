//! Where tagged columns were found: a tag stays with its column when that is renamed, also while this connector was down.

use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

/// Of one tag's place: enough for a database that is made anew every day for half a year.
const MOST_SPOTS: usize = 200;

/// A column by its relation's object id and its number; 0: the relation as a whole.
pub type Spot = (u32, i16);

/// Where each place (`schema.relation.column`) was found, in any database that the connection ever led to.
pub type Spots = BTreeMap<String, BTreeSet<Spot>>;

/// The same of all connections, in a file.
#[derive(Debug)]
pub struct Found {
    path: PathBuf,
    all: Mutex<BTreeMap<String, Spots>>,
}

impl Found {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is there and cannot be read: what it knows must not be lost.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let all = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self { path, all: Mutex::new(all) })
    }

    /// What is known of a connection.
    #[must_use]
    pub fn of(&self, connection: &str) -> Spots {
        self.all.lock().get(connection).cloned().unwrap_or_default()
    }

    /// Keeps in mind where places are, and forgets places that are tagged no more.
    pub fn keep(&self, connection: &str, now: &Spots) {
        let mut all = self.all.lock();
        let known = all.entry(connection.to_owned()).or_default();
        let before = known.clone();
        known.retain(|place, _| now.contains_key(place));
        for (place, spots) in now {
            let kept = known.entry(place.clone()).or_default();
            kept.extend(spots);
            // The lowest object ids are the oldest, and what is there now stays.
            while kept.len() > MOST_SPOTS {
                let Some(oldest) = kept.iter().find(|spot| !spots.contains(spot)).copied() else { break };
                kept.remove(&oldest);
            }
        }
        if *known == before {
            return;
        }
        if let Err(error) = self.write(&all) {
            tracing::error!(%error, "where tagged columns are cannot be written down; a restart forgets it");
        }
    }

    fn write(&self, all: &BTreeMap<String, Spots>) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(all)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spots(entries: &[(&str, Spot)]) -> Spots {
        let mut spots = Spots::new();
        for (place, spot) in entries {
            spots.entry((*place).to_owned()).or_default().insert(*spot);
        }
        spots
    }

    #[test]
    fn it_outlives_the_process() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("tagged.json");
        let found = Found::open(path.clone()).unwrap();
        found.keep("demo", &spots(&[("public.a.x", (20_000, 1)), ("public.a.y", (20_000, 2))]));
        found.keep("demo", &spots(&[("public.a.x", (20_010, 1)), ("public.a.y", (20_000, 2))]));
        let again = Found::open(path.clone()).unwrap();
        let both = spots(&[("public.a.x", (20_000, 1)), ("public.a.x", (20_010, 1)), ("public.a.y", (20_000, 2))]);
        assert_eq!(again.of("demo"), both);
        assert_eq!(again.of("other"), Spots::new());
        again.keep("demo", &spots(&[("public.a.x", (20_010, 1))]));
        assert!(!again.of("demo").contains_key("public.a.y"), "it is tagged no more");
        fs::write(&path, "{").unwrap();
        assert!(Found::open(path).is_err());
    }

    #[test]
    fn it_is_bounded() {
        let folder = tempfile::TempDir::new().unwrap();
        let found = Found::open(folder.path().join("tagged.json")).unwrap();
        for oid in 0..1_000 {
            found.keep("demo", &spots(&[("public.a.x", (oid, 1))]));
        }
        let kept = &found.of("demo")["public.a.x"];
        assert!(kept.len() == MOST_SPOTS && kept.contains(&(999, 1)));
    }
}
