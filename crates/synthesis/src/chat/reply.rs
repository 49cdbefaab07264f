//! Parsing of chat completions and of error responses.

use forage_http::{HttpClient, HttpError, HttpResponse, ShapeFault, StatusError, list, member};
use serde::Deserialize;
use serde_json::Value;

use super::ChatReply;
use super::error::ChatError;

/// Phrases of servers for a prompt that is too long: `OpenAI`, vLLM and `SGLang`, llama.cpp.
const TOO_LONG: [&str; 3] = ["context_length_exceeded", "context length", "context size"];

/// Parser of chat completions: server and model name its errors.
#[derive(Clone, Copy)]
pub(super) struct ReplyParser<'a> {
    pub(super) url: &'a str,
    pub(super) model: &'a str,
    /// Client that got the reply; it redacts the key.
    pub(super) client: &'a HttpClient,
}

/// Token usage that a reply states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Metered {
    #[serde(default)]
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
}

impl ReplyParser<'_> {
    /// Parses a response of success. Its usage is returned also where it cannot be used.
    pub(super) fn read(self, body: &[u8]) -> (Option<Metered>, Result<ChatReply, ChatError>) {
        let reply = match self.client.document(self.url, body) {
            Ok(reply) => reply,
            Err(error) => return (None, Err(error.into())),
        };
        let usage = reply.value.get("usage");
        let metered = usage.and_then(|usage| Metered::deserialize(usage).ok());
        let error = reply.value.get("error").filter(|error| !error.is_null());
        let read = match error {
            Some(error) => Err(self.error_in_reply(error)),
            None => match choice(&reply.value) {
                Ok(choice) => self.text(choice),
                Err(fault) => Err(self.shape(&reply.explained(fault.to_string()))),
            },
        };
        (metered, read)
    }

    /// Error that stands in a reply of status 200: some servers put those of servers behind them
    /// there.
    fn error_in_reply(self, error: &Value) -> ChatError {
        let status = error.get("code").and_then(Value::as_u64).unwrap_or(500) as u16;
        let body = error.to_string().into_bytes();
        self.error_of(&HttpResponse { status, retry_after: None, body })
    }

    /// Text of a choice; none where there is no choice.
    fn text(self, choice: Option<Choice<'_>>) -> Result<ChatReply, ChatError> {
        let (url, model) = (self.url.to_owned(), self.model.to_owned());
        let Some(Choice { finish_reason, refusal, content }) = choice else {
            return Err(ChatError::NoChoice { url });
        };
        if finish_reason == "content_filter" {
            return Err(ChatError::Filtered { model });
        }
        if !refusal.trim().is_empty() {
            return Err(ChatError::Refused { model, said: self.client.excerpt(refusal) });
        }
        let cut_off = finish_reason == "length";
        if content.trim().is_empty() {
            return Err(ChatError::Empty { model, cut_off });
        }
        Ok(ChatReply { text: content, cut_off })
    }

    /// Error of a response with a status other than success.
    pub(super) fn error_of(self, response: &HttpResponse) -> ChatError {
        let error = self.client.status_error(self.url, response);
        let StatusError { url, status, body: said, .. } = error.clone();
        let model = self.model.to_owned();
        let text = String::from_utf8_lossy(&response.body).to_lowercase();
        let says = |words: &[&str]| words.iter().any(|it| text.contains(it));
        match status {
            401..=403 => ChatError::Account { url, status, said },
            429 if says(&["insufficient_quota"]) => ChatError::Account { url, status, said },
            400 if says(&["content_filter"]) => ChatError::Filtered { model },
            400 | 413 | 422 if says(&TOO_LONG) => ChatError::TooLong { model, said },
            _ => ChatError::Status(error),
        }
    }

    /// Error of JSON that is no chat completion.
    fn shape(self, what: &str) -> ChatError {
        HttpError::Shape { url: self.url.to_owned(), what: self.client.redact(what) }.into()
    }
}

/// Choice of a completion. What is not there is empty.
struct Choice<'a> {
    finish_reason: &'a str,
    refusal: &'a str,
    content: String,
}

/// The first choice of a completion, if it has one.
fn choice(reply: &Value) -> Result<Option<Choice<'_>>, ShapeFault> {
    let choices = member(reply, "choices")?;
    let Some(first) = list(choices).map_err(|fault| fault.under("choices"))?.first() else {
        return Ok(None);
    };
    let read = || {
        let message = member(first, "message")?;
        let content = message.get("content").unwrap_or(&Value::Null);
        let content = match content {
            _ if !message.is_object() => Err(ShapeFault::wanted(message, "an object")),
            content => content_text(content).map_err(|fault| fault.under("content")),
        };
        Ok(Choice {
            finish_reason: text_of(first, "finish_reason"),
            refusal: text_of(message, "refusal"),
            content: content.map_err(|fault| fault.under("message"))?,
        })
    };
    read().map(Some).map_err(|fault: ShapeFault| fault.at(0).under("choices"))
}

/// Text of a member; empty where it has none.
fn text_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Text of a message, which may be in parts; none is an empty one.
fn content_text(content: &Value) -> Result<String, ShapeFault> {
    match content {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => Ok(parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        other => Err(ShapeFault::wanted(other, "a text")),
    }
}
