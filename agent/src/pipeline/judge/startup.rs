//! What a client asks for at start-up, judged as the SETs that it is.

use super::{Judge, report::not_understood};
use crate::pipeline::basis::Ruled;
use postern_wire::error::Report;

impl Judge {
    /// Judges a parameter of start-up; `options` as each of its own.
    ///
    /// # Errors
    /// Why it may not be asked for.
    pub fn admit_parameter(&mut self, name: &str, value: &str) -> Result<(), Report> {
        if name == "options" {
            let refused = || {
                let hint = "Give each setting as `-c name=value`, or set it by SET.";
                Report::new("42501", "these command-line options are not understood, so they are refused", hint)
            };
            for (name, value) in command_line(value).ok_or_else(refused)? {
                self.admit_parameter(&name, &value)?;
            }
            return Ok(());
        }
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '$');
        if !name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_') || !name.chars().all(plain) {
            let hint = "Names of settings are letters, digits and underscores.";
            return Err(Report::new("42501", format!("the parameter {name:?} is not understood"), hint));
        }
        let value = value.replace('\'', "''");
        // A session that is told its encoding at start-up has it: that is judged with each statement. Its name is given
        // its prefix where it is connected.
        if matches!(name, "client_encoding" | "application_name") {
            return Ok(());
        }
        let verdict = self.analysed(format!("SET {name} TO '{value}'").as_bytes(), &[]);
        match &verdict.analysis {
            Ok(analysis) => {
                let mut ruled = Ruled::at(self.policy.moment());
                self.admit(&analysis.script, false, &mut ruled)?;
                match ruled.consent {
                    None => Ok(()),
                    Some(consent) => {
                        let message = format!("the parameter {name:?} needs the consent of {consent}");
                        let hint = format!("Connect without it, and send `SET {name}`: that waits for them.");
                        Err(Report::new("42501", message, hint))
                    }
                }
            }
            Err(refusal) => Err(not_understood(refusal)),
        }
    }
}

/// The settings in `options`, as PostgreSQL reads its command line: words, in which a backslash quotes a letter.
pub fn command_line(options: &str) -> Option<Vec<(String, String)>> {
    let mut words: Vec<String> = Vec::new();
    let (mut word, mut quoted) = (None::<String>, false);
    for letter in options.chars() {
        match letter {
            '\\' if !quoted => quoted = true,
            letter if letter.is_ascii_whitespace() && !quoted => words.extend(word.take()),
            letter => {
                word.get_or_insert_default().push(letter);
                quoted = false;
            }
        }
    }
    words.extend(word);
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--").or_else(|| word.strip_prefix("-c")) {
            Some("") => words.next()?,
            Some(setting) => setting.to_owned(),
            None => return None,
        };
        let (name, value) = setting.split_once('=')?;
        // As PostgreSQL does it.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Some(settings)
}
