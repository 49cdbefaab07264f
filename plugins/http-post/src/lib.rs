//! HTTP reward: a server scores groups, each by one POST request.
//!
//! The body is a group and the reply a list of grades, in the JSON protocol of
//! [`forage_reward_sdk::json`], which the plugin `process` uses too.
//!
//! # Options
//!
//! `url`, `headers`, `timeout_s`, `retries`: see [`Config`].
//!
//! # Failures
//!
//! A server that cannot be reached after all retries, or that sends an invalid reply, is a
//! [`RewardError::broken`]: the run ends, unless the run file tolerates it. A server that cannot
//! score a single trajectory replies `{"failed": "reason"}` for it, and only that trajectory is
//! left out.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use forage_reward_sdk::{http::Server, json, prelude::*};

/// Configuration of [`HttpPost`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URL of the server.
    pub url: String,
    /// Headers of every request. A value `$NAME` is replaced by the environment variable of that
    /// name, so that run files contain no keys. Default: none.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Timeout of a request, in seconds. Default: 30.
    #[serde(default = "half_a_minute")]
    pub timeout_s: f64,
    /// Number of retries of a request. Default: 2.
    #[serde(default = "two")]
    pub retries: u32,
}

fn half_a_minute() -> f64 {
    30.0
}

fn two() -> u32 {
    2
}

/// HTTP reward.
#[derive(Debug)]
pub struct HttpPost {
    url: String,
    server: Server,
}

impl Reward for HttpPost {
    type Config = Config;

    fn new(config: Config) -> Result<Self, RewardError> {
        let mut server = Server::new(&config.url, config.timeout_s, config.retries)?;
        for (name, value) in &config.headers {
            let value = match value.strip_prefix('$') {
                Some(variable) => std::env::var(variable).map_err(|err| {
                    RewardError::new(format!("header `{name}`: `{variable}`, {err}"))
                })?,
                None => value.clone(),
            };
            server = server.with_header(name, &value);
        }
        Ok(Self { url: config.url, server })
    }

    fn score(&self, question: &Question, it: &Trajectory) -> Result<Grade, RewardError> {
        let alone =
            Group { question: question.clone(), trajectories: vec![it.clone()], step: None };
        let mut grades = self.score_group(&alone)?;
        grades.pop().ok_or_else(|| RewardError::broken("no grade for a group of one"))
    }

    fn score_group(&self, group: &Group) -> Result<Vec<Grade>, RewardError> {
        let reply = self.server.post("", &json::request(group))?;
        json::reply_to(group, &reply)
            .map_err(|err| RewardError::broken(format!("the server `{}`: {err}", self.url)))
    }
}

export_reward!(HttpPost);

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// Serves these (status, body) in turn, and returns what was asked.
    fn serve(replies: Vec<(u16, &'static str)>) -> (String, thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/score", listener.local_addr().unwrap());
        let serving = thread::spawn(move || {
            let answer = |(status, reply): (u16, &str)| {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    reader.read_line(&mut head).unwrap();
                }
                let head = head.to_lowercase();
                let length = head.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let n = reply.len();
                write!(
                    reader.get_mut(),
                    "HTTP/1.1 {status} X\r\nContent-Length: {n}\r\nConnection: close\r\n\r\n{reply}"
                )
                .unwrap();
                head + &String::from_utf8(body).unwrap()
            };
            replies.into_iter().map(answer).collect()
        });
        (url, serving)
    }

    fn http(url: &str, retries: u32) -> HttpPost {
        let headers = BTreeMap::from([("X-Key".to_owned(), "$PATH".to_owned())]);
        HttpPost::new(Config { url: url.to_owned(), headers, timeout_s: 10.0, retries }).unwrap()
    }

    fn group() -> Group<'static> {
        let question = Question::new("capital of France?", ["Paris"]);
        let trajectories = vec![Trajectory::default().answer("Paris"), Trajectory::default()];
        Group { question, trajectories, step: None }
    }

    #[test]
    fn groups_go_and_grades_come() {
        let (url, serving) =
            serve(vec![(503, "busy"), (200, r#"[1, {"failed": "x"}]"#), (200, "[1]")]);
        let http = http(&url, 1);
        let grades = http.score_group(&group()).unwrap();
        assert_eq!(grades, [Score::new(1.0).into(), Grade::Failed("x".to_owned())]);
        let alone = http.score(&group().question, &group().trajectories[0]).unwrap();
        assert_eq!(alone.reward(), Some(1.0));
        let asked = serving.join().unwrap();
        assert!(asked[0].starts_with("post /score"), "{}", asked[0]);
        assert!(asked[0].contains(&std::env::var("PATH").unwrap().to_lowercase()));
        assert!(asked[1].ends_with(&json::request(&group())), "the same again");
    }

    #[test]
    fn servers_that_fail_say_why() {
        for (status, reply, message) in [
            (404, "no such page", "answered with status 404: `no such page`"),
            (500, "oops", "answered with status 500: `oops`"),
            (200, "hello", "the reply is no list in JSON"),
            (200, "[1]", "the reply is a list of 1 for 2 trajectories: `[1]`"),
            (200, "[NaN, 1]", "the reply has `NaN`, which is no finite number"),
            (200, "[null, true]", "element 1 of the reply is neither a number nor `null`"),
        ] {
            let (url, serving) = serve(vec![(status, reply)]);
            let err = http(&url, 0).score_group(&group()).unwrap_err();
            assert!(err.to_string().contains(message), "{err}");
            assert_eq!(err, RewardError::broken(err.to_string()));
            serving.join().unwrap();
        }
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let err = http(&format!("http://{nobody}/"), 0).score_group(&group()).unwrap_err();
        assert!(err.to_string().contains("could not be asked"), "{err}");
    }

    #[test]
    fn configurations_are_checked() {
        let plain = || Config {
            url: "http://x/".to_owned(),
            headers: BTreeMap::new(),
            timeout_s: 1.0,
            retries: 0,
        };
        let headers = BTreeMap::from([("k".to_owned(), "$FORAGE_NO_SUCH".to_owned())]);
        for (config, message) in [
            (Config { url: "x".to_owned(), ..plain() }, "`url` is `x`"),
            (Config { timeout_s: 0.0, ..plain() }, "`timeout_s` must be"),
            (Config { headers, ..plain() }, "header `k`: `FORAGE_NO_SUCH`, "),
        ] {
            let err = HttpPost::new(config).unwrap_err();
            assert!(err.to_string().starts_with(message), "{err}");
        }
    }
}
