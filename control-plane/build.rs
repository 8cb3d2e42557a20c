//! Puts the console's files, if they were built, into the binary.

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../web/dist");
    // Cargo looks for changes in what is there. Were the folder missing, each build would begin anew.
    let _ = fs::create_dir_all(&root);
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    if root.join("index.html").is_file() {
        find(&root, &mut files)?;
    }
    files.sort();
    let mut code = "static FILES: &[File] = &[\n".to_owned();
    for file in &files {
        let path = file.strip_prefix(&root)?.to_str().ok_or("a file of the console has an odd name")?;
        let content_type = content_type(file).ok_or_else(|| format!("what is {path} of the console?"))?;
        let (plain, gzip, brotli) = (bytes(file, "")?, bytes(file, ".gz")?, bytes(file, ".br")?);
        writeln!(
            code,
            "File {{ path: {:?}, content_type: {content_type:?}, plain: {plain}, gzip: {gzip}, brotli: {brotli} }},",
            format!("/{path}")
        )?;
    }
    code.push_str("];\n");
    fs::write(Path::new(&std::env::var("OUT_DIR")?).join("console.rs"), code)?;
    Ok(())
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if !is_compressed(&path) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz" || extension == "br")
}

/// The file or its compressed twin, as an expression.
fn bytes(file: &Path, suffix: &str) -> Result<String, Box<dyn Error>> {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    let path = PathBuf::from(name);
    if !path.is_file() {
        return Ok("&[]".to_owned());
    }
    Ok(format!("include_bytes!({:?})", path.canonicalize()?))
}

fn content_type(path: &Path) -> Option<&'static str> {
    Some(match path.extension()?.to_str()? {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        "png" => "image/png",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}
