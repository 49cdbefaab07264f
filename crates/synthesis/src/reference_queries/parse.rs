//! Queries in the reply of a chat model: one on each line.

/// Queries of a reply: at most `n`, each once, without list marks and quotes around them.
///
/// A query that contains `answer`, by words and without regard to case, is left out. So is a line
/// that ends with a colon, such as `Here are the queries:`, and what stands in `<think>`.
pub(super) fn queries(reply: &str, answer: &str, n: usize) -> Vec<String> {
    let reply = reply.rsplit_once("</think>").map_or(reply, |(_, rest)| rest);
    let answer = words(answer);
    let mut queries: Vec<String> = Vec::new();
    for line in lines(reply) {
        let query = without_marks(&line);
        let known = queries.iter().any(|known| words(known) == words(query));
        let is_query = !query.is_empty() && !query.ends_with(':') && !is_talk(query);
        if is_query && !known && !tells(query, &answer) {
            queries.push(query.to_owned());
        }
    }
    queries.truncate(n);
    queries
}

/// Lines of a reply: those of its code block, where it has one, and the items of a list in JSON.
fn lines(reply: &str) -> Vec<String> {
    let block = reply.split("```").nth(1).filter(|_| reply.matches("```").count() >= 2);
    let text = block.map_or(reply, |block| block.strip_prefix("json").unwrap_or(block)).trim();
    serde_json::from_str(text).unwrap_or_else(|_| text.lines().map(str::to_owned).collect())
}

/// Whether a line is what a model says to a person, and no query.
fn is_talk(line: &str) -> bool {
    const BEGINNINGS: [&str; 10] = [
        "i'm sorry",
        "i’m sorry",
        "i am sorry",
        "i cannot",
        "i can't",
        "i can’t",
        "as an ai",
        "sure,",
        "hope this",
        "here are",
    ];
    let lower = line.to_lowercase();
    BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
}

/// A line without its number or bullet, and without quotes around the rest.
fn without_marks(line: &str) -> &str {
    let line = without_bold(line.trim());
    let unmarked = line.trim_start_matches(['-', '*', '•', '–']).trim_start();
    let digits = unmarked.len() - unmarked.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let rest = &unmarked[digits..];
    let numbered = digits > 0 && digits <= 2 && rest.starts_with(['.', ')', ':']);
    let text = if numbered { rest[1..].trim_start() } else { unmarked };
    let text = without_bold(text);
    let quotes: [(char, char); 4] = [('"', '"'), ('“', '”'), ('\'', '\''), ('`', '`')];
    let inner = quotes.iter().find_map(|&(open, close)| {
        text.strip_prefix(open)?.strip_suffix(close).filter(|inner| !inner.contains(open))
    });
    inner.unwrap_or(text).trim()
}

/// A text without the marks of bold type around it.
fn without_bold(text: &str) -> &str {
    text.strip_prefix("**").and_then(|text| text.strip_suffix("**")).unwrap_or(text)
}

/// Whether the words of a query have those of the answer in a row.
fn tells(query: &str, answer: &[String]) -> bool {
    !answer.is_empty() && words(query).windows(answer.len()).any(|window| window == answer)
}

/// Words in lower case, without punctuation.
fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_from_replies_as_models_write_them() {
        let table: [(&str, &[&str]); 13] = [
            ("a b\nc d\n", &["a b", "c d"]),
            ("1. a b\n2) c d\n 3: e", &["a b", "c d", "e"]),
            ("- \"a b\"\n* “c d”\n• `e`", &["a b", "c d", "e"]),
            ("Here are the queries:\n\n1. a b", &["a b"]),
            ("<think>\nmaybe x\n</think>\n\na b", &["a b"]),
            ("a b\nA  B!\nc", &["a b", "c"]),
            ("born in New York\nborn in newer york", &["born in newer york"]),
            ("1984 film director", &["1984 film director"]),
            ("a\nb\nc\nd\ne", &["a", "b", "c"]),
            ("[\"a b\", \"c\"]", &["a b", "c"]),
            ("Sure!\n```json\n[\"a b\", \"c\"]\n```\nHope this helps!", &["a b", "c"]),
            ("I'm sorry, I can't help with that.", &[]),
            ("**a b**\nHope this helps!", &["a b"]),
        ];
        for (reply, expected) in table {
            assert_eq!(queries(reply, "New York", 3), expected, "{reply}");
        }
        assert_eq!(queries("anything", "", 3), ["anything"]);
    }
}
