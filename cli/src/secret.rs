//! Secrets that a command is given: asked for at the terminal, or read from a file or standard input. Never an
//! argument, which other users of the machine can read.

use crate::failure::Failure;
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use secrecy::SecretString;
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

/// The longest secret that is read: as long as the longest identity token that is looked at.
const MAX_BYTES: u64 = 16 * 1024;

/// Asks at the terminal, without showing what is typed.
pub fn ask(prompt: &str) -> Result<SecretString, Failure> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin).map_err(|error| unreadable(&error))?;
    let mut quiet = before.clone();
    quiet.local_flags.remove(LocalFlags::ECHO);
    let _ = write!(io::stderr(), "{prompt}: ");
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &quiet).map_err(|error| unreadable(&error))?;
    let mut text = String::new();
    let read = stdin.read_line(&mut text);
    let restored = tcsetattr(&stdin, SetArg::TCSAFLUSH, &before);
    crate::output::remark("");
    read.map_err(|error| unreadable(&error))?;
    restored.map_err(|error| unreadable(&error))?;
    Ok(without_end(text))
}

/// Reads standard input to its end.
pub fn from_stdin() -> Result<SecretString, Failure> {
    read(io::stdin().lock(), "standard input")
}

/// Reads a file; `-` is standard input.
pub fn from_file(path: &Path) -> Result<SecretString, Failure> {
    if path == Path::new("-") {
        return from_stdin();
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))?;
    read(file, &name)
}

fn read(source: impl Read, name: &str) -> Result<SecretString, Failure> {
    let mut text = String::new();
    source
        .take(MAX_BYTES + 2)
        .read_to_string(&mut text)
        .map_err(|error| Failure::failed(format!("cannot read {name}: {error}")))?;
    if text.trim_end_matches(['\r', '\n']).len() as u64 > MAX_BYTES {
        return Err(Failure::usage(format!("{name} holds more than {MAX_BYTES} bytes")));
    }
    Ok(without_end(text))
}

/// Without the line's end, which an editor or `echo` adds.
fn without_end(text: String) -> SecretString {
    SecretString::from(text.trim_end_matches(['\r', '\n']))
}

fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("cannot read from the terminal: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn the_lines_end_is_not_part_of_it() {
        for (text, secret) in [("a b \r\n", "a b "), ("x", "x"), ("", ""), ("\n", "")] {
            assert_eq!(read(text.as_bytes(), "test").unwrap().expose_secret(), secret);
        }
        let longest = "x".repeat(16 * 1024);
        assert!(read(format!("{longest}\r\n").as_bytes(), "test").is_ok());
        assert!(read(format!("{longest}x").as_bytes(), "test").is_err());
    }
}
