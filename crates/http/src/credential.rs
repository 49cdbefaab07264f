//! Credentials, which are redacted in every text.

use std::fmt;

use ureq::http::header::{AUTHORIZATION, HeaderName, HeaderValue};

/// API key or bearer token, with the header that carries it.
///
/// Its value is in no `Debug` output, and [`HttpClient`](crate::HttpClient) replaces it in every
/// text of a server: some repeat a key that they do not accept.
#[derive(Clone)]
pub struct Credential {
    header: HeaderName,
    value: HeaderValue,
    secret: String,
    mask: &'static str,
}

impl Credential {
    /// Credential out of a token. In `Authorization` it is sent as `Bearer …`, unless it has a
    /// blank in it, such as `ApiKey …`: then it is sent as it is, as in other headers. `mask`
    /// stands in its place in texts. None for a blank token, and for one that no header can carry.
    pub fn new(header: HeaderName, token: &str, mask: &'static str) -> Option<Self> {
        let token = token.trim();
        let secret = token.rsplit_once(' ').map_or(token, |(_, secret)| secret).to_owned();
        let is_bearer = header == AUTHORIZATION && !token.contains(' ');
        let value = if is_bearer { format!("Bearer {token}") } else { token.to_owned() };
        let mut value = HeaderValue::try_from(value).ok().filter(|_| !token.is_empty())?;
        value.set_sensitive(true);
        Some(Self { header, value, secret, mask })
    }

    /// Replaces the key in a text with the mask.
    pub fn redact(&self, text: &str) -> String {
        text.replace(&self.secret, self.mask)
    }

    pub(crate) fn header(&self) -> (HeaderName, HeaderValue) {
        (self.header.clone(), self.value.clone())
    }
}

impl fmt::Debug for Credential {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("header", &self.header).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_become_headers_and_are_redacted() {
        let api_key = HeaderName::from_static("x-api-key");
        for (header, token, value) in [
            (AUTHORIZATION, " k3y\n", "Bearer k3y"),
            (AUTHORIZATION, "ApiKey k3y", "ApiKey k3y"),
            (api_key.clone(), "k3y", "k3y"),
        ] {
            let credential = Credential::new(header, token, "***").unwrap();
            assert_eq!(credential.header().1.to_str().unwrap(), value);
            assert_eq!(credential.redact("bad key k3y"), "bad key ***");
            assert!(!format!("{credential:?}").contains("k3y"));
        }
        for token in ["", " ", "a\nb"] {
            assert!(Credential::new(api_key.clone(), token, "***").is_none(), "{token:?}");
        }
    }
}
