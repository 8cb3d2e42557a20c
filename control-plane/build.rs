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
    let copies = Path::new(&std::env::var("OUT_DIR")?).join("console");
    fs::create_dir_all(&copies)?;
    for (number, file) in files.iter().enumerate() {
        let path = file.strip_prefix(&root)?.to_str().ok_or("a file of the console has an odd name")?;
        let content_type = content_type(file).ok_or_else(|| format!("what is {path} of the console?"))?;
        let copy = copies.join(number.to_string());
        let [plain, gzip, brotli] = ["", ".gz", ".br"].map(|suffix| bytes(file, suffix, &copy));
        let (plain, gzip, brotli) = (plain?, gzip?, brotli?);
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

/// The file or its compressed twin, as an expression. It is copied: the console may be built anew while this compiles.
fn bytes(file: &Path, suffix: &str, copy: &Path) -> Result<String, Box<dyn Error>> {
    let [from, to] = [file, copy].map(|path| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    if !from.is_file() {
        return Ok("&[]".to_owned());
    }
    fs::copy(from, &to)?;
    Ok(format!("include_bytes!({to:?})"))
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
