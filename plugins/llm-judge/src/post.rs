//! A POST that is tried again where that may help.

use std::thread;
use std::time::Duration;

/// Sends text and returns the text of a reply with a status of success. Statuses 429 and of 500 and
/// above, and failures to connect, are tried again, after half a second, one second, two, ….
///
/// The error completes the sentence "the server …".
pub(crate) fn post(
    agent: &ureq::Agent,
    url: &str,
    headers: &[(String, String)],
    body: &str,
    n_retries: u32,
) -> Result<String, String> {
    let mut wait = Duration::from_millis(500);
    let mut n_left = n_retries;
    loop {
        let (problem, may_help) = match once(agent, url, headers, body) {
            Ok((status, text)) if (200..300).contains(&status) => return Ok(text),
            Ok((status, text)) => {
                let start: String = text.chars().take(200).collect();
                let problem = format!("answered with status {status}: `{}`", start.trim());
                (problem, status == 429 || status >= 500)
            }
            Err(err) => (format!("could not be asked: {err}"), true),
        };
        if n_left == 0 || !may_help {
            return Err(problem);
        }
        forage_reward_sdk::warn(&format!("`{url}` {problem}; it is asked again"));
        n_left -= 1;
        thread::sleep(wait);
        wait *= 2;
    }
}

fn once(
    agent: &ureq::Agent,
    url: &str,
    headers: &[(String, String)],
    body: &str,
) -> Result<(u16, String), ureq::Error> {
    let request = agent.post(url).header("Content-Type", "application/json");
    let request = headers.iter().fold(request, |it, (name, value)| it.header(name, value));
    let mut response = request.send(body)?;
    let text = response.body_mut().read_to_string()?;
    Ok((response.status().as_u16(), text))
}

/// An agent that gives up after `timeout`, and leaves statuses to [`post`].
pub(crate) fn agent(timeout: Duration) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .build()
        .into()
}
