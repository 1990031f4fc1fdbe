//! The variables in a host's configuration, as `${...}`.

use std::env;
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};

/// The variables of one configuration.
pub(crate) struct Variables {
    /// The folder of the project that the configuration belongs to.
    project: PathBuf,
}

impl Variables {
    /// Returns the variables of the configuration in a file.
    pub(crate) fn of(file: &Path) -> Self {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.into());
        let folder = file.parent().unwrap_or(Path::new(""));
        // An editor's own folder is in the project's.
        let is_editors = folder.ends_with(".cursor") || folder.ends_with(".vscode");
        let project = match folder.parent() {
            Some(project) if is_editors => project,
            _ => folder,
        };
        Self {
            project: project.into(),
        }
    }

    /// Replaces the variables of a text. What they stand for is not searched for further ones. What
    /// is no variable of any host, as an expression of a shell, is left as it is.
    ///
    /// # Errors
    ///
    /// The variable that is not known or not set.
    pub(crate) fn replace(&self, text: &str) -> Result<String, String> {
        let mut replaced = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((variable, after)) = after.split_once('}') else {
                break;
            };
            let value = self.value(variable);
            let value = value.map_err(|error| format!("${{{variable}}}: {error}"))?;
            replaced.push_str(before);
            match value {
                Some(value) => replaced.push_str(&value),
                None => replaced.push_str(&format!("${{{variable}}}")),
            }
            rest = after;
        }
        replaced.push_str(rest);
        Ok(replaced)
    }

    /// Returns the value of a variable. `None` if no host has such a one.
    fn value(&self, variable: &str) -> Result<Option<String>, String> {
        let of_path = |path: &Path| match path.to_str() {
            Some(path) => Ok(Some(path.to_owned())),
            None => Err("it is not Unicode".to_owned()),
        };
        match variable {
            "userHome" => of_path(&env::home_dir().ok_or("there is none")?),
            "workspaceFolder" => of_path(&self.project),
            "workspaceFolderBasename" => {
                of_path(self.project.file_name().unwrap_or_default().as_ref())
            }
            "pathSeparator" | "/" => Ok(Some(MAIN_SEPARATOR_STR.to_owned())),
            _ => environment(variable),
        }
    }
}

/// Returns the value of `NAME`, `NAME:-default` or `env:NAME`. `None` if it has another form.
fn environment(variable: &str) -> Result<Option<String>, String> {
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable.strip_prefix("env:").unwrap_or(variable), None),
    };
    if !is_name(name) {
        // Such as `${input:key}` of VS Code.
        return match name.split_once(':') {
            Some((kind, rest)) if is_name(kind) && rest.starts_with(char::is_alphanumeric) => {
                Err("this host has no such variable".to_owned())
            }
            _ => Ok(None),
        };
    }
    match (env::var_os(name), default) {
        (None, Some(default)) => Ok(Some(default.to_owned())),
        (None, None) => Err("it is not set".to_owned()),
        (Some(value), _) => match value.into_string() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err("it is not Unicode".to_owned()),
        },
    }
}

fn is_name(text: &str) -> bool {
    let is_part = |c: char| c == '_' || c.is_alphanumeric();
    text.chars().all(is_part) && !text.is_empty()
}
