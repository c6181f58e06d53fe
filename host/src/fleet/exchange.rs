//! One request and its answer: attempts, credentials, waits and the time that is left.

use std::{sync::Arc, time::Duration};

use berth_engine::effect::FleetFault;

use super::{
    address::Base,
    answer::Exchanged,
    clock::Clock,
    retry::{self, Repeat},
    stamp::Stamps,
    token::TokenFile,
    transport::{Request, Response, Transport, TransportError},
};

/// The way to the API.
pub(super) struct Line {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) base: Base,
    pub(super) token: Option<TokenFile>,
    pub(super) timeout: Duration,
    pub(super) attempt_timeout: Duration,
}

/// What does not change between the attempts of a request.
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) repeat: Repeat,
}

/// Makes the body of the next attempt.
pub(super) type Body<'a> = dyn FnMut() -> Option<Vec<u8>> + Send + 'a;

/// The last answer to a request.
pub(super) struct Answer {
    pub(super) response: Response,
    /// What it was asked with.
    token: Option<String>,
    retry_after: Option<Duration>,
}

impl Answer {
    pub(super) fn success(&self) -> bool {
        (200..300).contains(&self.response.status)
    }
}

impl Line {
    /// When a call that begins now must have ended.
    pub(super) fn deadline(&self) -> Duration {
        self.clock.elapsed().saturating_add(self.timeout)
    }

    /// Sends until there is an answer that is worth no further attempt, or no time is left.
    /// Teaches `stamps` the API's clock.
    pub(super) async fn exchange(
        &self,
        stamps: &Stamps,
        call: &Call<'_>,
        body: &mut Body<'_>,
        deadline: Duration,
    ) -> Result<Answer, FleetFault> {
        let Call { method, target, .. } = *call;
        let mut rotated = false;
        let mut attempt = 0;
        loop {
            let token = self.read_token().await?;
            let left = deadline.saturating_sub(self.clock.elapsed());
            if left.is_zero() {
                return Err(self.unreachable(call, &format!("no time was left of {:?}", self.timeout)));
            }
            let request = Request {
                method: method.to_owned(),
                target: target.to_owned(),
                headers: call.headers.to_vec(),
                token: token.clone(),
                body: body(),
                timeout: left.min(self.attempt_timeout),
            };
            let result = self.transport.exchange(request).await;
            let now = self.clock.now();
            let (wait, outcome) = match result {
                Ok(response) => {
                    if let Some(date) = response.header("date") {
                        stamps.learn(now, date);
                    }
                    if response.status == 401 && !rotated && self.read_token().await? != token {
                        rotated = true;
                        continue;
                    }
                    let again = call.repeat.after_status(response.status);
                    let retry_after = retry::retry_after(&response, now);
                    let answer = Answer {
                        response,
                        token,
                        retry_after,
                    };
                    if !again {
                        return Ok(answer);
                    }
                    (retry_after.unwrap_or_default(), Ok(answer))
                }
                Err(error) => {
                    let fault = match &error {
                        TransportError::Connect(_) | TransportError::Broken(_) | TransportError::Timeout(_) => {
                            self.unreachable(call, &error.to_string())
                        }
                        TransportError::TooLarge(_) => FleetFault::Misconfigured {
                            message: format!("{method} {target} at {}: {error}; check `url`", self.base.text()),
                        },
                        TransportError::Invalid(_) => FleetFault::Rejected {
                            status: 400,
                            message: format!("not sent: {method} {target}: {error}"),
                        },
                    };
                    if !call.repeat.after_error(&error) {
                        return Err(fault);
                    }
                    (Duration::ZERO, Err(fault))
                }
            };
            let wait = wait.max(retry::backoff(attempt, self.clock.jitter()));
            // An attempt with almost no time would only hide why the earlier ones failed.
            let least = self.attempt_timeout / 10;
            if wait.saturating_add(least) >= deadline.saturating_sub(self.clock.elapsed()) {
                return outcome;
            }
            tracing::debug!(method, target, attempt, ?wait, "the HyperFleet API is called again");
            self.clock.sleep(wait).await;
            attempt += 1;
        }
    }

    async fn read_token(&self) -> Result<Option<String>, FleetFault> {
        match &self.token {
            Some(file) => file.read().await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn unreachable(&self, call: &Call<'_>, cause: &str) -> FleetFault {
        let message = format!("{} {} at {}: {cause}", call.method, call.target, self.base.text());
        FleetFault::Unreachable {
            message,
            retry_after: None,
        }
    }

    pub(super) fn exchanged<'a>(&'a self, call: &'a Call<'_>, answer: &'a Answer) -> Exchanged<'a> {
        Exchanged {
            method: call.method,
            target: call.target,
            base: self.base.text(),
            token: answer.token.as_deref(),
            response: &answer.response,
            retry_after: answer.retry_after,
        }
    }
}
