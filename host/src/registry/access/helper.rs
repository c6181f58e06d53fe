//! Asks a credential helper.

use std::{process::Stdio, time::Duration};

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use super::secret::{Credentials, Secret};

/// How long a helper may take.
const LIMIT: Duration = Duration::from_secs(20);
/// No credentials are longer.
const LARGEST: u64 = 64 << 10;
/// How every helper says that it knows nothing of a registry.
const UNKNOWN: &str = "credentials not found";

/// Why a helper gave nothing. Nothing that it wrote is repeated: it may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// It cannot be run.
    #[error("the credential helper `docker-credential-{0}` cannot be run; it must be on the path")]
    Start(String, #[source] std::io::Error),
    /// It did not end.
    #[error("the credential helper `docker-credential-{0}` did not answer within {LIMIT:?}")]
    Slow(String),
    /// It said that it failed.
    #[error("the credential helper `docker-credential-{0}` failed; run it by hand to see why")]
    Failed(String),
    /// It answered something else.
    #[error("the credential helper `docker-credential-{0}` gave no credentials that can be read")]
    Malformed(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

/// The credentials that a helper has for a server; none if it knows none.
pub(super) async fn ask(name: &str, server: &str) -> Result<Option<Credentials>, HelperError> {
    match tokio::time::timeout(LIMIT, run(name, server)).await {
        Ok(Ok((succeeded, output))) => read(name, succeeded, &output),
        Ok(Err(error)) => Err(HelperError::Start(name.to_owned(), error)),
        Err(_) => Err(HelperError::Slow(name.to_owned())),
    }
}

async fn run(name: &str, server: &str) -> std::io::Result<(bool, Vec<u8>)> {
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read what it is asked for is no failure by itself.
        drop(input.write_all(server.as_bytes()).await);
    }
    let mut output = Vec::new();
    if let Some(from) = child.stdout.take() {
        from.take(LARGEST).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?.success(), output))
}

fn read(name: &str, succeeded: bool, output: &[u8]) -> Result<Option<Credentials>, HelperError> {
    if !succeeded {
        return if String::from_utf8_lossy(output).contains(UNKNOWN) {
            Ok(None)
        } else {
            Err(HelperError::Failed(name.to_owned()))
        };
    }
    let answer: Answer = serde_json::from_slice(output).map_err(|_| HelperError::Malformed(name.to_owned()))?;
    Ok(Some(if answer.username == "<token>" {
        Credentials::Identity(answer.secret)
    } else {
        Credentials::Basic {
            user: Secret::new(answer.username),
            password: answer.secret,
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_credentials_a_token_or_nothing() {
        let told = |succeeded, output: &str| read("x", succeeded, output.as_bytes());
        assert_eq!(
            told(true, r#"{"ServerURL": "a.io", "Username": "u", "Secret": "p"}"#).unwrap(),
            Some(Credentials::Basic {
                user: Secret::new("u"),
                password: Secret::new("p")
            })
        );
        assert_eq!(
            told(true, r#"{"Username": "<token>", "Secret": "t"}"#).unwrap(),
            Some(Credentials::Identity(Secret::new("t")))
        );
        assert_eq!(told(false, "credentials not found in native keychain").unwrap(), None);
    }

    #[test]
    fn what_a_helper_wrote_is_never_repeated() {
        for error in [
            read("x", false, b"hunter2").unwrap_err(),
            read("x", true, b"hunter2").unwrap_err(),
            read("x", true, br#"{"Username": "u", "Secret": ["hunter2"]}"#).unwrap_err(),
        ] {
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_named() {
        let error = ask("berth-test-there-is-none", "a.io").await.unwrap_err();
        assert!(error.to_string().contains("docker-credential-berth-test-there-is-none"));
    }
}
