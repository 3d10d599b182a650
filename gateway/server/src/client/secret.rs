//! A token comes from a file, the environment or a command, never from the command line, which others can see.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Failure;

const TOKEN: &str = "THUBAN_CLIENT_TOKEN";
const TOKEN_COMMAND: &str = "THUBAN_CLIENT_TOKEN_COMMAND";

/// The token to show, if there is one: the file is asked first, then the variable, then the command.
pub(super) fn token(file: Option<&Path>) -> Result<Option<String>, Failure> {
    if let Some(path) = file {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|error| Failure::Usage(format!("--token-file {}: {error}", path.display())))?;
        return one_word(&text, &format!("--token-file {}", path.display())).map(Some);
    }
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(token) = variable(TOKEN) {
        return one_word(&token, TOKEN).map(Some);
    }
    variable(TOKEN_COMMAND).map(|command| printed_by(&command)).transpose()
}

fn printed_by(command: &str) -> Result<String, Failure> {
    let failed = |why: String| Failure::Usage(format!("{TOKEN_COMMAND}: {why}"));
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = shell.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("ended with {}", output.status)));
    }
    one_word(&String::from_utf8_lossy(&output.stdout), TOKEN_COMMAND)
}

/// What was read is never repeated in a message.
fn one_word(text: &str, source: &str) -> Result<String, Failure> {
    let word = text.trim();
    let is_token = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    if is_token {
        Ok(word.to_owned())
    } else {
        Err(Failure::Usage(format!("{source}: no token in it, or more than one")))
    }
}
