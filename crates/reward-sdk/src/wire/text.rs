//! Text type of the wire.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Text, borrowed or owned, which dereferences to `&str`.
///
/// ```
/// use forage_reward_sdk::wire::{Question, Text};
///
/// let question = Question { id: "q1".into(), text: format!("who?").into(), ..Question::default() };
/// assert_eq!(question.id, "q1");
/// assert!(question.text.starts_with("who"));
/// ```
///
/// It is not a [`Cow`], because serde reads a `Cow` in a list or an `Option` as an owned text. A
/// text that is read borrows from the bytes, except for JSON with escapes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    /// Text as a `&str`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Owned text, which borrows from nothing.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Equal, ordered and hashed like its `&str`, so that a map of texts can be looked up with one.
impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl From<Text<'_>> for String {
    fn from(text: Text<'_>) -> Self {
        text.0.into_owned()
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Text<'_> {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Borrowing)
    }
}

/// Visitor that borrows the text if it can.
struct Borrowing;

impl<'de> Visitor<'de> for Borrowing {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(text.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(text.to_owned().into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Text<'de>, E> {
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_borrowed(text: &Text<'_>) -> bool {
        matches!(text.0, Cow::Borrowed(_))
    }

    #[test]
    fn what_is_read_is_borrowed_also_in_lists_and_options() {
        type Nested<'a> = (Text<'a>, Vec<Text<'a>>, Option<Text<'a>>);
        let nested: Nested<'_> = ("é".into(), vec!["".into(), "y".into()], Some("z".into()));
        let bytes = rmp_serde::to_vec(&nested).unwrap();
        assert_eq!(bytes, rmp_serde::to_vec(&("é", ["", "y"], "z")).unwrap());
        let (first, list, option): Nested<'_> = rmp_serde::from_slice(&bytes).unwrap();
        for text in list.iter().chain(&option).chain([&first]) {
            assert!(is_borrowed(text), "{text}");
        }
        assert_eq!((first, list, option), nested);

        let json = r#"["plain", "a \"b\""]"#;
        let texts: Vec<Text<'_>> = serde_json::from_str(json).unwrap();
        assert_eq!(texts, ["plain", "a \"b\""]);
        assert_eq!(texts.iter().map(is_borrowed).collect::<Vec<_>>(), [true, false]);
        assert_eq!(serde_json::to_string(&texts).unwrap(), r#"["plain","a \"b\""]"#);
        assert!(serde_json::from_str::<Text<'_>>("3").is_err());
    }

    #[test]
    fn a_text_is_its_text() {
        let (borrowed, owned) = (Text::from("x y"), Text::from("x y".to_owned()));
        assert_eq!(borrowed, owned);
        assert_eq!((borrowed.to_string(), format!("{owned:?}")), ("x y".into(), "\"x y\"".into()));
        assert_eq!([borrowed.clone(), owned.clone()].join("|"), "x y|x y");
        let set = std::collections::HashSet::from([owned]);
        assert!(set.contains("x y") && set.contains(&borrowed));
        assert!(!is_borrowed(&borrowed.into_owned()));
        assert_eq!(Text::default(), "");
    }
}
