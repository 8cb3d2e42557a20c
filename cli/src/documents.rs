//! The files that `plan`, `apply` and `dev --config` take: YAML, any number of documents each, and policies.

use crate::failure::Failure;
use postern_api::{
    document::{Apply, Source, SourcedDocument},
    policy::PolicyFile,
};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What the name of a file of policies ends with.
const POLICIES: &str = ".cedar";

/// Reads the documents and policies of these files, in order. `-` is standard input, with documents.
pub fn read(paths: &[PathBuf], merge: bool) -> Result<Apply, Failure> {
    let (mut documents, mut policies) = (Vec::new(), Vec::new());
    for path in paths {
        let name = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        let text = read_text(path).map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))?;
        match policy_name(path) {
            Some(name) => policies.push(PolicyFile { name, text }),
            None => documents.extend(parse(&name, &text)?),
        }
    }
    if documents.is_empty() && policies.is_empty() {
        return Err(Failure::usage("there is no document in these files"));
    }
    Ok(Apply { documents, policies, merge })
}

/// A file of policies is known by its name alone, wherever it lies.
fn policy_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    name.ends_with(POLICIES).then(|| name.into_owned())
}

fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, Read};
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    }
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::other(format!("it is larger than {} MiB", MAX_FILE_BYTES / 1024 / 1024)));
    }
    Ok(text)
}

/// Reads the documents of one file.
fn parse(name: &str, text: &str) -> Result<Vec<SourcedDocument>, Failure> {
    // Read once as a whole: an error then has its line in the file.
    serde_saphyr::from_multiple::<serde::de::IgnoredAny>(text).map_err(|error| yaml_failure(name, 0, &error))?;
    let mut documents = Vec::new();
    for (first_line, part) in split(text) {
        let map: Option<Map<String, Value>> =
            serde_saphyr::from_str(&part).map_err(|error| yaml_failure(name, first_line - 1, &error))?;
        // A document of comments only says nothing.
        let Some(map) = map else { continue };
        let index = u32::try_from(documents.len() + 1).ok();
        let line = u32::try_from(first_content_line(first_line, &part)).ok();
        let source = Source { file: Some(name.to_owned()), line, index };
        documents.push(SourcedDocument { source, document: Value::Object(map) });
    }
    Ok(documents)
}

/// The text between lines `---`, each part with the number of its first line.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut parts = vec![(1, String::new())];
    for (index, line) in text.lines().enumerate() {
        let marker = line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if marker {
            // What follows the marker on its line belongs to the document.
            let rest = line.get(3..).unwrap_or_default().trim_start();
            parts.push((index + 1, format!("{rest}\n")));
        } else if let Some((_, part)) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts.retain(|(_, part)| part.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')));
    parts
}

fn first_content_line(first_line: usize, part: &str) -> usize {
    let before = part.lines().take_while(|line| line.trim().is_empty() || line.trim_start().starts_with('#')).count();
    first_line + before
}

fn yaml_failure(name: &str, lines_before: usize, error: &serde_saphyr::Error) -> Failure {
    let place = error.location().map_or_else(
        || name.to_owned(),
        |location| {
            format!("{name}:{}:{}", usize::try_from(location.line()).unwrap_or(0) + lines_before, location.column())
        },
    );
    let message = error.without_snippet().to_string();
    Failure::failed(format!("{place}: {}", message.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_know_their_lines() {
        let text = "# people\nkind: User\nname: alice\n---\n\n# nothing here\n---\nkind: Group\nname: dba\nmembers: [user:alice]\n";
        let documents = parse("a.yaml", text).unwrap();
        let lines: Vec<_> = documents.iter().map(|d| (d.source.index.unwrap(), d.source.line.unwrap())).collect();
        assert_eq!(lines, [(1, 2), (2, 8)]);
        assert_eq!(documents[1].document["members"][0], "user:alice");
    }

    #[test]
    fn policies_go_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let (yaml, cedar) = (folder.path().join("a.yaml"), folder.path().join("b.cedar"));
        std::fs::write(&yaml, "kind: User\nname: alice\n").unwrap();
        std::fs::write(&cedar, "not: yaml: [").unwrap();
        let read = read(&[yaml, cedar.clone()], false).unwrap();
        let file = PolicyFile { name: "b.cedar".to_owned(), text: "not: yaml: [".to_owned() };
        assert_eq!((read.documents.len(), read.policies), (1, vec![file]));
        assert!(super::read(&[cedar], false).unwrap().documents.is_empty());
    }

    #[test]
    fn errors_name_file_and_line() {
        for (text, place) in [
            ("kind: User\nname: [a\n", "b.yaml:"),
            ("kind: User\n---\n- a\n- b\n", "b.yaml:3:"),
            ("kind: User\nname: a\nname: b\n", "b.yaml:3:"),
        ] {
            let failure = parse("b.yaml", text).unwrap_err().to_string();
            assert!(failure.contains(place), "{failure}");
        }
    }

    #[test]
    fn a_marker_inside_text_is_no_marker() {
        assert_eq!(parse("c", "kind: User\nname: '---x'\n").unwrap().len(), 1);
    }

    mod fuzz {
        use super::*;
        use postern_fuzz::{mangled, proptest, target, text};
        use proptest::prelude::*;

        fn file() -> impl Strategy<Value = Vec<u8>> {
            let document = text("kind: User\nname: a\n- [{}]#'\"&*|>", 40);
            let known = "kind: Group\nname: dba\nmembers: [user:alice]\n";
            let part = prop_oneof![Just(known.to_owned()), document];
            prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("\n---\n").into_bytes())
        }

        target!(fuzz_files, mangled(file()), |text| {
            let text = String::from_utf8_lossy(&text).into_owned();
            match parse("f.yaml", &text) {
                Ok(documents) => {
                    let lines = u32::try_from(text.lines().count()).unwrap();
                    for (index, document) in (1u32..).zip(&documents) {
                        prop_assert!(document.document.is_object());
                        prop_assert_eq!(document.source.index, Some(index));
                        prop_assert!(document.source.line.is_some_and(|line| (1..=lines).contains(&line)));
                    }
                }
                Err(failure) => prop_assert!(failure.to_string().contains("f.yaml")),
            }
            Ok(())
        });
    }
}
