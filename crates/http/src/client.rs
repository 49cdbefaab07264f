//! HTTP client: one attempt of a request, with connection pool, deadline and credentials, and the
//! reading of its response.

use std::fmt;
use std::time::Duration;

use forage_records::Document;
use ureq::Agent;
use ureq::http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};

use crate::credential::Credential;
use crate::error::{HttpError, StatusError};

/// Bytes of a body that an error shows.
const BODY_EXCERPT_LEN: usize = 300;

/// Options of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpOptions {
    /// Deadline of an attempt, from connecting to the last byte. Default: 30 s.
    pub timeout: Duration,
    /// Idle connections in the pool. Default: 64.
    pub max_idle: usize,
    /// Largest body of a response, in bytes; a longer one is an error. Default: 1 GiB.
    pub max_body: u64,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), max_idle: 64, max_body: 1 << 30 }
    }
}

/// HTTP request: GET without a body, POST with one.
#[derive(Debug, Clone, Copy)]
pub struct HttpRequest<'a> {
    url: &'a str,
    /// Media type and bytes.
    body: Option<(&'a str, &'a [u8])>,
}

impl<'a> HttpRequest<'a> {
    /// GET request.
    pub fn get(url: &'a str) -> Self {
        Self { url, body: None }
    }

    /// POST request with a body of a media type.
    pub fn post(url: &'a str, media_type: &'a str, body: &'a [u8]) -> Self {
        Self { url, body: Some((media_type, body)) }
    }

    /// Address.
    pub fn url(&self) -> &'a str {
        self.url
    }

    /// Body; empty for GET.
    pub fn body(&self) -> &'a [u8] {
        self.body.map_or(&[], |(_, bytes)| bytes)
    }
}

/// HTTP response of any status, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// HTTP status code.
    pub status: u16,
    /// `Retry-After` header, where it is a number of seconds; dates are not read.
    pub retry_after: Option<Duration>,
    /// Body. That of an error which broke off is empty.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Whether the status is one of success, from 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// HTTP client: a connection pool that many threads share.
///
/// A call is one attempt; [`RetryPolicy`](crate::RetryPolicy) says how long to wait before the
/// next.
pub struct HttpClient {
    agent: Agent,
    credential: Option<Credential>,
    max_body: u64,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("credential", &self.credential).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Client that sends a credential with every request. Nothing is sent yet.
    pub fn new(options: &HttpOptions, credential: Option<Credential>) -> Self {
        let agent = Agent::config_builder()
            .timeout_global(Some(options.timeout))
            .http_status_as_error(false)
            .max_idle_connections_per_host(options.max_idle)
            .max_idle_connections(options.max_idle)
            .user_agent(concat!("forage/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        Self { agent, credential, max_body: options.max_body }
    }

    /// Sends a request and reads the response, whatever its status.
    ///
    /// # Errors
    ///
    /// [`HttpError::NoAnswer`] where there is no connection, the deadline passes, or a response of
    /// success breaks off.
    pub fn send(&self, request: &HttpRequest<'_>) -> Result<HttpResponse, HttpError> {
        let no_answer =
            |source| HttpError::NoAnswer { url: request.url.to_owned(), source: Box::new(source) };
        let credential = self.credential.as_ref().map(Credential::header).into_iter();
        let sent = if let Some((media_type, body)) = request.body {
            let post = self.agent.post(request.url).header(CONTENT_TYPE, media_type);
            credential.fold(post, |post, (name, value)| post.header(name, value)).send(body)
        } else {
            let get = self.agent.get(request.url);
            credential.fold(get, |get, (name, value)| get.header(name, value)).call()
        };
        let mut response = sent.map_err(no_answer)?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let body = response.body_mut().with_config().limit(self.max_body).read_to_vec();
        let body = match body {
            Err(source) if status.is_success() => return Err(no_answer(source)),
            body => body.unwrap_or_default(),
        };
        Ok(HttpResponse { status: status.as_u16(), retry_after, body })
    }

    /// Sends a request and reads the JSON of the response.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), [`HttpError::Status`] for a status other than success, and
    /// [`HttpError::NotJson`].
    pub fn json(&self, request: &HttpRequest<'_>) -> Result<Document, HttpError> {
        let response = self.send(request)?;
        if !response.is_success() {
            return Err(self.status_error(request.url, &response).into());
        }
        self.document(request.url, &response.body)
    }

    /// Parses the JSON of a response.
    ///
    /// # Errors
    ///
    /// [`HttpError::NotJson`].
    pub fn document(&self, url: &str, body: &[u8]) -> Result<Document, HttpError> {
        Document::parse(body).map_err(|what| {
            let what = self.redact(&what);
            HttpError::NotJson { url: url.to_owned(), what }
        })
    }

    /// Error for a response with a status other than success.
    pub fn status_error(&self, url: &str, response: &HttpResponse) -> StatusError {
        StatusError {
            url: url.to_owned(),
            status: response.status,
            body: self.excerpt(&String::from_utf8_lossy(&response.body)),
            retry_after: response.retry_after,
        }
    }

    /// Redacts the credential in a text of a server.
    pub fn redact(&self, text: &str) -> String {
        self.credential.as_ref().map_or_else(|| text.to_owned(), |it| it.redact(text))
    }

    /// Excerpt of a text of a server: its beginning, in one line and without the credential.
    pub fn excerpt(&self, text: &str) -> String {
        let text = self.redact(text).split_whitespace().collect::<Vec<_>>().join(" ");
        text[..text.floor_char_boundary(BODY_EXCERPT_LEN)].to_owned()
    }
}

/// Seconds of a `Retry-After`; servers of language models also send fractions.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use ureq::http::header::AUTHORIZATION;

    use super::*;

    /// Answers one request with these bytes; gives its address and what was sent to it.
    fn answer(response: &'static str) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/x", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head = lines.by_ref().map(Result::unwrap).take_while(|it| !it.is_empty());
            let head = head.collect::<Vec<_>>().join("\n");
            stream.write_all(response.as_bytes()).unwrap();
            head
        });
        (url, server)
    }

    fn client() -> HttpClient {
        let credential = Credential::new(AUTHORIZATION, "k3y", "***");
        HttpClient::new(&HttpOptions::default(), credential)
    }

    #[test]
    fn a_status_is_an_error_without_the_key() {
        let (url, server) = answer(
            "HTTP/1.1 429 Slow\r\nRetry-After: 0.5\r\nContent-Length: 17\r\n\r\nbad key\n  `k3y` !",
        );
        let error = client().json(&HttpRequest::get(&url)).unwrap_err();
        assert_eq!(error.to_string(), format!("`{url}` answered 429: bad key `***` !"));
        assert_eq!(error.retry_after(), Some(Duration::from_millis(500)));
        assert_eq!(error.status(), Some(429));
        assert!(server.join().unwrap().contains("authorization: Bearer k3y"));
    }

    #[test]
    fn only_whole_json_is_a_response() {
        let (url, _server) = answer("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{\"a\": 1}");
        let request = HttpRequest::get(&url);
        assert_eq!(client().json(&request).unwrap().value, serde_json::json!({ "a": 1 }));
        let (url, _server) = answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{\"a\"");
        let error = client().json(&HttpRequest::get(&url)).unwrap_err();
        let expected = "is not JSON: it ends in the middle, at byte 4";
        assert!(error.to_string().ends_with(expected), "{error}");
        let (url, _server) = answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\"");
        let error = client().json(&HttpRequest::get(&url)).unwrap_err();
        assert!(matches!(error, HttpError::NoAnswer { .. }), "{error:?}");
    }

    #[test]
    fn excerpts_are_cut_between_characters() {
        let excerpt = client().excerpt(&"é".repeat(200));
        assert_eq!(excerpt, "é".repeat(150));
    }
}
