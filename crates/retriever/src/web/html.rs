//! Text extraction from HTML.
//!
//! Pages are untrusted: they are read token by token by html5ever, without a tree, so that neither
//! memory nor stack grows with their nesting.

use std::cell::RefCell;

use html5ever::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::{Rawtext, Rcdata, ScriptData};
use html5ever::tokenizer::{
    BufferQueue, CharacterTokens, Tag, TagKind, TagToken, Token, TokenSink, TokenSinkResult,
    Tokenizer, TokenizerOpts,
};

/// Title and text of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: String,
    pub(super) text: String,
}

/// Elements that are left out: they are not for reading, or not about the page.
const LEFT_OUT: [&str; 13] = [
    "aside", "button", "footer", "iframe", "nav", "noembed", "noframes", "noscript", "script",
    "select", "style", "svg", "template",
];
/// Inline elements, which do not end a line.
const INLINE: [&str; 26] = [
    "a", "abbr", "b", "bdi", "bdo", "big", "cite", "code", "data", "dfn", "em", "font", "i", "kbd",
    "mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "u", "var",
];

/// Title and text of a page, with a line for each block.
pub(super) fn read(html: &str) -> Page {
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from(html));
    let tokenizer = Tokenizer::new(Reader::default(), TokenizerOpts::default());
    while !matches!(tokenizer.feed(&queue), TokenizerResult::Done) {}
    tokenizer.end();
    let State { title, text, .. } = tokenizer.sink.0.into_inner();
    Page { title: one_line(&title), text: lines(&text) }
}

/// Plain text of a line with entities and markup, such as a snippet.
pub(super) fn plain(html: &str) -> String {
    one_line(&read(html).text)
}

#[derive(Default)]
struct Reader(RefCell<State>);

#[derive(Default)]
struct State {
    title: String,
    text: String,
    in_title: bool,
    /// Outermost open element that is left out, and the depth of elements of its name.
    left_out: Option<(String, u32)>,
}

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut state = self.0.borrow_mut();
        match token {
            CharacterTokens(text) => state.add(&text),
            TagToken(tag) => return state.tag(&tag),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl State {
    fn add(&mut self, text: &str) {
        if self.in_title {
            self.title.push_str(text);
        } else if self.left_out.is_none() {
            // Lines of the source are no lines of the page.
            self.text.extend(
                text.chars().map(|character| if character == '\n' { ' ' } else { character }),
            );
        }
    }

    fn tag(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let name: &str = &tag.name;
        let opens = tag.kind == TagKind::StartTag;
        // The slash at the end means something outside of HTML only.
        let closes_itself = tag.self_closing && name == "svg";
        if let Some((outermost, depth)) = &mut self.left_out {
            if name == outermost && !closes_itself {
                *depth = if opens { *depth + 1 } else { *depth - 1 };
                if *depth == 0 {
                    self.left_out = None;
                }
            }
        } else if LEFT_OUT.contains(&name) && opens && !closes_itself {
            // It stood between two words.
            self.text.push(' ');
            self.left_out = Some((name.to_owned(), 1));
        } else if name == "title" && self.title.is_empty() {
            self.in_title = opens;
        } else if !INLINE.contains(&name) {
            self.text.push('\n');
        }
        if name == "title" && !opens {
            self.in_title = false;
        }
        // What a browser does not take for markup.
        match name {
            _ if !opens => TokenSinkResult::Continue,
            "script" => TokenSinkResult::RawData(ScriptData),
            "title" | "textarea" => TokenSinkResult::RawData(Rcdata),
            "style" | "xmp" | "iframe" | "noembed" | "noframes" => {
                TokenSinkResult::RawData(Rawtext)
            }
            _ => TokenSinkResult::Continue,
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines without the space around and between words, and no empty ones.
fn lines(text: &str) -> String {
    let lines = text.lines().map(one_line).filter(|it| !it.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(html: &str, title: &str, text: &str) {
        let page = Page { title: title.to_owned(), text: text.to_owned() };
        assert_eq!(read(html), page, "{html}");
    }

    #[test]
    fn pages() {
        check(
            "<!doctype html><html><head><title>A &amp; B </title><style>p { x }</style>\
             <script>if (a < b) { '</p>' }</script></head><body><nav><ul><li>Home</ul></nav>\
             <h1>Alien</h1><p>A <b>film</b>\n of&nbsp;1979,<br>by R.&nbsp;Scott.</p>\
             <table><tr><td>x</td><td>y</td></tr></table><footer>(c)</footer>",
            "A & B",
            "Alien\nA film of 1979,\nby R. Scott.\nx\ny",
        );
        check("just words", "", "just words");
        check("", "", "");
        check("<p>a<p>b<div>c", "", "a\nb\nc");
        check("<textarea><b>x</textarea>y", "", "<b>x\ny");
        check("<svg><svg>a</svg>b</svg>c", "", "c");
        check("<title>x", "x", "");
        check("a<script>b", "", "a");
        check("a<script/>b</script>c<svg/>d<nav/>e</nav>f", "", "a c\nd f");
        check("&lt;answer&gt; &#x1F600; &unknown;", "", "<answer> \u{1f600} &unknown;");
        assert_eq!(plain("a <strong>b</strong>\n&quot;c&quot;"), "a b \"c\"");
    }

    #[test]
    fn nesting_is_no_burden() {
        let page = format!("{}x{}", "<div><b>".repeat(200_000), "</b></div>".repeat(200_000));
        check(&page, "", "x");
        check(&format!("{}x", "<nav>".repeat(100_000)), "", "");
        check(&"<".repeat(100_000), "", &"<".repeat(100_000));
    }
}
