//! Other people's tools as processes: their checks of what they read, and their migrations.

use crate::{
    corpora::Corpora,
    dev::Grant,
    packages::{self, script},
};
use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// Scripts that introspect, query by an ORM, and see changes refused.
pub const READERS: [&str; 4] = ["sqlalchemy_check.py", "django_check.py", "prisma_check.mjs", "drizzle_check.mjs"];

/// Where the tools are.
pub struct Tools {
    python: PathBuf,
    workspace: TempDir,
}

/// What a process said.
#[must_use]
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Tools {
    /// All of them, fetched where they are not there yet.
    #[must_use]
    pub fn fetched() -> Self {
        let python = packages::python("python", "requirements.txt").join("bin");
        let scripts = ["prisma", "drizzle", "prisma_check.mjs", "drizzle_check.mjs", "node_check.mjs"];
        let workspace = packages::workspace(&scripts);
        Self { python, workspace }
    }

    /// A tool's own command line, in the folder that it works in.
    fn command(&self, command: &[&str], url: &str) -> Command {
        let workspace = self.workspace.path();
        let (program, folder) = match command[0] {
            own @ ("python" | "alembic") => (self.python.join(own), script("")),
            "node" => (PathBuf::from("node"), workspace.to_owned()),
            module => (workspace.join("node_modules/.bin").join(module), workspace.to_owned()),
        };
        let mut tool = Command::new(program);
        tool.args(&command[1..])
            .current_dir(folder)
            .env("POSTERN_TEST_URL", url)
            .env("POSTERN_TEST_NODE_MODULES", workspace.join("node_modules"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("ALEMBIC_CONFIG", script("alembic/alembic.ini"))
            .env("CHECKPOINT_DISABLE", "1")
            .env("PRISMA_HIDE_UPDATE_MESSAGE", "1")
            .env_remove("PGOPTIONS")
            .env_remove("PGPASSWORD")
            .stdin(Stdio::null());
        // Programs that Prisma would fetch, though it is told not to use them: any file does.
        for engine in ["PRISMA_QUERY_ENGINE_LIBRARY", "PRISMA_SCHEMA_ENGINE_BINARY"] {
            tool.env(engine, script("package.json"));
        }
        tool
    }

    /// Runs a script that compares what a tool sees by both ways, and says whether all its checks passed.
    #[must_use]
    pub fn checks(&self, name: &str, shop: &Corpora, grant: &Grant) -> bool {
        let program = if name.ends_with(".py") { "python" } else { "node" };
        let mut command = self.command(&[program, name], &grant.url);
        let output = command.env("POSTERN_TEST_DIRECT_URL", shop.direct_url()).output().unwrap();
        eprintln!("{}", text(&output));
        output.status.success()
    }

    /// Runs a tool's command line that changes the schema.
    #[must_use]
    pub fn migrates(&self, line: &str, url: &str) -> Output {
        let command: Vec<&str> = line.split(' ').collect();
        self.command(&command, url).env("POSTERN_TEST_SCHEMA", "by_drizzle").output().unwrap()
    }
}
