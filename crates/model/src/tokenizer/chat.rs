//! Chat templates: Jinja, as transformers renders it.
//!
//! [`ChatTemplate`] makes one text of a [`Conversation`]. Blocks are trimmed and JSON is spelled
//! as in `apply_chat_template`; methods of Python's strings and dictionaries work;
//! `raise_exception` is an error; `strftime_now` reads the clock that the caller gives, so that the
//! same conversation is the same text on every day.

use forage_trajectory::BoxError;
use forage_trajectory::protocol::PromptThought;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, Error, ErrorKind, Value, syntax::SyntaxConfig};
use regex::{Captures, Regex};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use serde_json::{Map, Value as Json, json};

/// Conversation, and the other variables that a chat template is rendered with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// Messages: objects with `role` and `content`.
    pub messages: Vec<Json>,
    /// Tools: descriptions of functions. Templates see `none` where there are none.
    pub tools: Vec<Json>,
    /// Whether the text ends with the beginning of a turn of the assistant. Default: false.
    pub add_generation_prompt: bool,
    /// Time that `strftime_now` shows, in seconds since 1970, UTC. Default: 0.
    pub now: i64,
    /// More variables of the template, such as `enable_thinking`.
    pub variables: Map<String, Json>,
}

/// Chat template, compiled.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
}

/// Conversation that could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The folder has no template.
    #[error("the tokenizer has no chat template")]
    NoTemplate,
    /// The folder has several templates, and none for a conversation without tools or documents.
    #[error(
        "`chat_template` names {} and none `default`: put the right one into `chat_template.jinja`",
        if .0.is_empty() { "no template" } else { .0 }
    )]
    NoDefault(String),
    /// The template is no Jinja, or refuses the conversation.
    #[error("the chat template failed")]
    Template(#[from] Error),
    /// The conversation holds every noncharacter of Unicode, of which one is needed as a mark.
    #[error("the conversation holds all characters that Unicode reserves for no use")]
    NoMark,
    /// The text could not be turned into tokens.
    #[error("the text could not be encoded")]
    Encode(#[source] BoxError),
}

impl ChatTemplate {
    /// Compiles a template.
    pub fn new(source: &str) -> Result<Self, ChatError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
        environment.set_syntax(syntax);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", |message: String| {
            Err::<String, _>(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned("chat_template", without_generation(source))?;
        Ok(Self { environment })
    }

    /// Thought of a generation prompt, for one short question: whether the template opens a thought
    /// itself, so that a completion begins within it.
    ///
    /// # Errors
    ///
    /// Those of [`ChatTemplate::render`].
    pub fn thought(&self, special_tokens: Map<String, Json>) -> Result<PromptThought, ChatError> {
        let question = Conversation {
            messages: vec![json!({"role": "user", "content": "?"})],
            add_generation_prompt: true,
            ..Conversation::default()
        };
        Ok(PromptThought::of(&self.render(&question, special_tokens)?))
    }

    /// Whether a generation prompt ends with `<think>`: see [`ChatTemplate::thought`].
    ///
    /// # Errors
    ///
    /// Those of [`ChatTemplate::render`].
    pub fn opens_thought(&self, special_tokens: Map<String, Json>) -> Result<bool, ChatError> {
        Ok(self.thought(special_tokens)? == PromptThought::Open)
    }

    /// Renders a conversation. `special_tokens` are variables such as `bos_token`.
    pub fn render(
        &self,
        conversation: &Conversation,
        special_tokens: Map<String, Json>,
    ) -> Result<String, ChatError> {
        let mut environment = self.environment.clone();
        let now = conversation.now;
        environment.add_function("strftime_now", move |format: String| {
            strftime(now, &format).map_err(|err| {
                Error::new(ErrorKind::InvalidOperation, "`strftime_now` failed").with_source(err)
            })
        });
        let mut names = special_tokens;
        names.extend(conversation.variables.clone());
        let tools = &conversation.tools;
        let tools = if tools.is_empty() { Json::Null } else { Json::from(tools.clone()) };
        names.insert("messages".to_owned(), conversation.messages.clone().into());
        names.insert("tools".to_owned(), tools);
        names.insert("documents".to_owned(), Json::Null);
        let add = conversation.add_generation_prompt;
        names.insert("add_generation_prompt".to_owned(), add.into());
        let template = environment.get_template("chat_template")?;
        Ok(template.render(Value::from(Serde(names)))?)
    }
}

/// Template without the tags `generation` and `endgeneration`, by which transformers knows what the
/// assistant wrote. They show nothing, and trim white space as any other tag.
fn without_generation(source: &str) -> String {
    let tag = Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("it is valid");
    let instead = |found: &Captures<'_>| {
        let word = if found.get(2).is_some() { "endif" } else { "if true" };
        format!("{{%{} {word} {}%}}", &found[1], &found[3])
    };
    tag.replace_all(source, instead).into_owned()
}

impl Conversation {
    /// The same conversation with every text of messages, tools and variables replaced.
    pub(super) fn map_texts(&self, f: &impl Fn(&str) -> String) -> Self {
        let all = |values: &[Json]| values.iter().map(|value| map_texts(value, f)).collect();
        let variables = &self.variables;
        Self {
            messages: all(&self.messages),
            tools: all(&self.tools),
            variables: variables.iter().map(|(k, v)| (k.clone(), map_texts(v, f))).collect(),
            ..self.clone()
        }
    }

    /// Noncharacter of Unicode that occurs in none of its texts.
    pub(super) fn unused_mark(&self) -> Option<char> {
        let found = std::cell::RefCell::new(String::new());
        self.map_texts(&|text| {
            found.borrow_mut().extend(text.chars().filter(|it| MARKS.contains(it)));
            String::new()
        });
        let found = found.into_inner();
        MARKS.into_iter().find(|it| !found.contains(*it))
    }
}

/// Noncharacters: no text that is meant to be exchanged holds them.
const MARKS: std::ops::RangeInclusive<char> = '\u{FDD0}'..='\u{FDEF}';

/// A JSON value with every string replaced.
fn map_texts(value: &Json, f: &impl Fn(&str) -> String) -> Json {
    match value {
        Json::String(text) => Json::String(f(text)),
        Json::Array(values) => values.iter().map(|it| map_texts(it, f)).collect(),
        Json::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), map_texts(value, f))).collect()
        }
        other => other.clone(),
    }
}

/// Filter `tojson`, as Python's `json.dumps`: a space after commas and colons, and no escapes for
/// HTML.
#[expect(clippy::needless_pass_by_value, reason = "the signature of a filter")]
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // transformers' own default; no template of a published model asks for the other.
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)),
        Some(width) => {
            let indent = " ".repeat(width);
            let formatter = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))
        }
    };
    let fail = |err: BoxError| {
        Error::new(ErrorKind::BadSerialization, "`tojson` failed").with_source(BoxedError(err))
    };
    written.map_err(|err| fail(err.into()))?;
    String::from_utf8(bytes).map_err(|err| fail(err.into()))
}

/// `Error::with_source` wants a sized type.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct BoxedError(BoxError);

/// JSON formatter with the spaces of Python: `[1, 2]` and `{"a": 1}`.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// Formats a time, UTC.
fn strftime(seconds: i64, format: &str) -> Result<String, jiff::Error> {
    let now = jiff::Timestamp::from_second(seconds)?.to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::strtime::format(format, &now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Jinja2 makes of a template in the environment of transformers.
    fn check(source: &str, expected: &str) {
        let conversation = Conversation {
            messages: vec![
                json!({"role": "user", "content": " hi "}),
                json!({"role": "assistant", "content": "a</think>b"}),
            ],
            tools: vec![json!({"type": "f", "a": ["<é>", 1, true, null], "none": {}})],
            add_generation_prompt: true,
            now: 1_753_920_000,
            variables: Map::new(),
        };
        let special = [("bos_token".to_owned(), json!("<s>"))].into_iter().collect();
        let found = ChatTemplate::new(source).unwrap().render(&conversation, special).unwrap();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn templates_render_as_in_transformers() {
        check("{{ bos_token }}{{ messages[0]['content'].strip() }}", "<s>hi");
        check("{{ messages[1].content.split('</think>')[-1] }}", "b");
        check(
            "{{ tools[0] | tojson }}",
            r#"{"type": "f", "a": ["<é>", 1, true, null], "none": {}}"#,
        );
        check("{{ [1, {}] | tojson(indent=2) }}", "[\n  1,\n  {}\n]");
        check("{{ strftime_now('%d %b %Y') }}", "31 Jul 2025");
        // A block takes its line with it.
        check("a\n  {% if add_generation_prompt %}\nb\n  {% endif %}\nc\n", "a\nb\nc");
        check("{#- why -#}\n{{- 'a' + '\\n' }}\n    {{- \"b\" }}\n", "a\nb");
        check("{{ true }}{{ none }}{{ 1.0 }}", "TrueNone1.0");
    }

    #[test]
    fn python_in_templates_works() {
        check(
            "{%- for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}\
             {{ loop.index }}{% endfor %}",
            "2",
        );
        check(
            "{% set ns = namespace(n=0) %}{% for m in messages[::-1] %}\
             {% set ns.n = ns.n + loop.index0 %}{% endfor %}{{ ns.n }}",
            "1",
        );
        check(
            "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}",
            "role=user;content= hi ;",
        );
        check(
            "{%- if messages[0]['role'] == 'user' %}\n  \
             {%- set first = messages[0]['content']|trim %}\n  \
             {%- set messages = messages[1:] %}\n{%- endif %}\n\n\
             {{- first ~ messages|length }}",
            "hi1",
        );
        check(
            "{% for m in messages %}{{ 'end' if loop.last or \
             (messages[loop.index0 + 1].role != 'assistant') else m.role }} {% endfor %}",
            "user end ",
        );
        check(
            "{% for m in messages %}{% if m.content is string and \
             not(m.content.startswith('a') and m.content.endswith('b')) %}\
             {{ m.content.split('</think>')[0].rstrip('\\n').lstrip(' ') }}|\
             {% endif %}{% endfor %}",
            "hi |",
        );
        check(
            "{% if messages[0].tool_calls %}x{% endif %}\
             {{ messages[0].reasoning is defined and messages[0].reasoning is not none }}",
            "False",
        );
        check(
            "{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}\
             {{ twice('ab') }}{{ messages[0].get('name', 'd') }}",
            "ababd",
        );
        check(
            "{{ 'y' if strftime_now is defined and tools is not none and not date is defined }}",
            "y",
        );
        check("{{ 'x' if documents is none and nothing is not defined }}", "x");
    }

    #[test]
    fn tags_of_generation_show_nothing() {
        check("{% generation %}a{% endgeneration %}b", "ab");
        check("x  {%- generation -%}  a  {%- endgeneration -%}  b", "xab");
        check(
            "{% for m in messages %}{%-generation%}{{ m.role }}{% endgeneration-%} {% endfor %}",
            "userassistant",
        );
        check("a\n  {% generation %}\nb\n  {% endgeneration %}\nc", "a\nb\nc");
    }

    #[test]
    fn a_template_that_opens_the_thought_is_known() {
        let turns = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}";
        for (end, thought) in [
            ("<|assistant|>", PromptThought::None),
            ("<|assistant|>\n<think>\n", PromptThought::Open),
            ("<｜Assistant｜><think>", PromptThought::Open),
            ("<|assistant|><think>\n\n</think>\n\n", PromptThought::Empty),
            ("<|assistant|><think></think>", PromptThought::Empty),
            (
                "{% if enable_thinking is defined and enable_thinking is false %}\
                 <think>\n\n</think>\n\n{% endif %}",
                PromptThought::None,
            ),
            ("reason in <think> and </think>", PromptThought::None),
        ] {
            let source = format!("{turns}{{% if add_generation_prompt %}}{end}{{% endif %}}");
            let template = ChatTemplate::new(&source).unwrap();
            assert_eq!(template.thought(Map::new()).unwrap(), thought, "{end}");
            assert_eq!(
                template.opens_thought(Map::new()).unwrap(),
                thought == PromptThought::Open,
                "{end}"
            );
        }
    }

    #[test]
    fn what_a_template_asks_for_in_vain_is_named() {
        for (source, named) in [
            ("{{ messages | frobnicate }}", "frobnicate"),
            ("{{ now_is('x') }}", "now_is"),
            ("{% frobnicate %}", "frobnicate"),
            ("{% if messages is frobnicated %}a{% endif %}", "frobnicated"),
            ("{{ messages[0].content.frobnicate() }}", "frobnicate"),
        ] {
            let render = |template: ChatTemplate| {
                let messages = vec![json!({"role": "user", "content": "a"})];
                template.render(&Conversation { messages, ..Conversation::default() }, Map::new())
            };
            let error = ChatTemplate::new(source).and_then(render).unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains(named), "{source}: {cause}");
        }
    }

    #[test]
    fn a_template_may_refuse() {
        let template = ChatTemplate::new("{{ raise_exception('roles must alternate') }}").unwrap();
        let error = template.render(&Conversation::default(), Map::new()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("roles must alternate"), "{cause}");
        assert!(ChatTemplate::new("{% if %}").is_err());
    }
}
