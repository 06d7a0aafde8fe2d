//! `arcana config check | show`, and the option that chooses the folder of settings.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::config::{Config, ConfigError, ConfigErrors, Source};

/// Where the settings are read from; for every command that needs them (`#[command(flatten)]`).
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigDir {
    /// The folder with the files of settings; where it is not given and there is no `config`, the defaults are used.
    #[arg(long = "config", value_name = "DIR", env = "ARCANA_CONFIG_DIR", global = true)]
    dir: Option<PathBuf>,
}

impl ConfigDir {
    /// Reads the settings from the folder and the environment.
    ///
    /// # Errors
    /// Every mistake in them, or that a folder which was asked for is not there.
    pub(super) fn load(&self, home: &Path) -> Result<Config, ConfigErrors> {
        if let Some(path) = self.dir.as_ref().filter(|dir| !dir.is_dir()) {
            let source = Source::File { path: path.clone(), line: None };
            let problem = "there is no such folder".to_owned();
            return Err(ConfigErrors(vec![ConfigError { key: String::new(), problem, source }]));
        }
        let dir = self.dir.clone().unwrap_or_else(|| home.join("config"));
        Config::load(&dir, std::env::vars_os())
    }
}

/// Looks at the settings without starting anything.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    dir: ConfigDir,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists every mistake in the settings, each with its key and the place where it was made.
    Check,
    /// Prints every setting in effect with the place it comes from; secrets are hidden.
    Show,
}

/// Carries it out; fails where the settings have mistakes, which go to the standard error output.
#[must_use]
pub(super) fn run(args: &ConfigArgs) -> ExitCode {
    let text = match (args.dir.load(Path::new(".")), &args.verb) {
        (Ok(_), Verb::Check) => "the configuration is good\n".to_owned(),
        (Ok(config), Verb::Show) => config.show(),
        (Err(errors), _) => {
            eprintln!("{errors}");
            return ExitCode::FAILURE;
        }
    };
    // A reader that has seen enough (`| head`) is no fault, which `print!` would make a panic of.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
