//! Words of texts with and without spaces: tokens of F1, and the limits on the length of answers.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::fold::fold;
use super::squad::is_word;

/// Characters of a long word that count as a word each time there are so many.
const LONG_WORD: usize = 32;

/// Letters of a script without spaces that count as a word. The words of Thai have four to five.
const LETTERS_OF_A_WORD: usize = 4;

/// Tokens of F1: the words of a normalized text, and each character of Chinese and Japanese.
pub(super) fn tokens(normalized: &str) -> impl Iterator<Item = &str> {
    normalized.split(' ').flat_map(|word| {
        let mut rest = word;
        std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            let end = if is_cjk(first) {
                first.len_utf8()
            } else {
                rest.find(is_cjk).unwrap_or(rest.len())
            };
            let (token, tail) = rest.split_at(end);
            rest = tail;
            Some(token)
        })
    })
}

/// Number of words of a text, for limits on its length. Articles do not count.
///
/// Words end at white space and at punctuation, so that `Paris,Lyon,Nice` has three; an apostrophe,
/// and a point or comma within a number, do not end one. Texts without spaces are counted by their
/// letters: each character of Chinese and Japanese is a word, and so are four letters of Thai, Lao,
/// Khmer or Burmese. A word of any other script counts once more for each 32 characters beyond the
/// first 32.
///
/// ```
/// use forage_reward_sdk::text::n_words;
///
/// assert_eq!(n_words("The Tower of London"), 3);
/// assert_eq!(n_words("東京タワー"), 5);
/// ```
pub fn n_words(text: &str) -> usize {
    let folded = fold(text);
    let characters: Vec<char> = folded.chars().collect();
    let is_inside = |at: usize| {
        let character = characters[at];
        let between = |is: fn(&char) -> bool| {
            at > 0 && is(&characters[at - 1]) && characters.get(at + 1).is_some_and(is)
        };
        match character {
            '\'' => between(|c| c.is_alphanumeric()),
            '.' | ',' => between(char::is_ascii_digit),
            _ => is_word(character) || is_mark(character),
        }
    };
    let mut n = 0;
    let mut at = 0;
    while at < characters.len() {
        let end = (at..characters.len()).find(|at| !is_inside(*at)).unwrap_or(characters.len());
        n += n_in_run(&characters[at..end]);
        at = end.max(at + 1);
    }
    n
}

/// Number of words of a run of letters, digits and marks.
fn n_in_run(run: &[char]) -> usize {
    let is_article = |word: &str| run.iter().map(char::to_ascii_lowercase).eq(word.chars());
    if ["a", "an", "the"].into_iter().any(is_article) {
        return 0;
    }
    let count = |is: fn(char) -> bool| run.iter().filter(|character| is(**character)).count();
    let n_cjk = count(is_cjk);
    let n_unspaced = count(|c| is_unspaced(c) && !is_mark(c));
    let n_other = count(|c| !is_cjk(c) && !is_unspaced(c));
    n_cjk + n_unspaced.div_ceil(LETTERS_OF_A_WORD) + n_other.div_ceil(LONG_WORD)
}

/// Chinese characters and the syllables of Japanese.
fn is_cjk(character: char) -> bool {
    matches!(
        character,
        '\u{3005}'..='\u{3007}'
            | '\u{3040}'..='\u{30ff}'
            | '\u{31f0}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

/// Letters of alphabets that are written without spaces: Thai, Lao, Burmese and Khmer.
fn is_unspaced(character: char) -> bool {
    matches!(
        character,
        '\u{e00}'..='\u{e4f}' | '\u{e80}'..='\u{ecf}' | '\u{1000}'..='\u{103f}' | '\u{1780}'..='\u{17d3}'
    )
}

/// Marks that belong to a letter, such as vowel signs.
fn is_mark(character: char) -> bool {
    character.general_category_group() == GeneralCategoryGroup::Mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_chinese_and_japanese_are_tokens() {
        for (text, expected) in [
            ("", [].as_slice()),
            ("paris france", &["paris", "france"]),
            ("東京", &["東", "京"]),
            ("bmw 3系 カー", &["bmw", "3", "系", "カ", "ー"]),
            ("ไทย", &["ไทย"]),
            ("한국 사람", &["한국", "사람"]),
        ] {
            assert_eq!(tokens(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn a_list_cannot_hide_in_a_word() {
        let glued = "ParisLyon".repeat(40);
        for (text, expected) in [
            ("", 0),
            ("?!", 0),
            ("The Tower of London, a", 3),
            ("Paris,Lyon;Nice/Lille-Metz_Brest", 6),
            ("O'Dunn", 1),
            ("1,000.5", 1),
            ("naïve cafe\u{301}", 2),
            ("東京、京都", 4),
            // Nine letters; vowel signs above and below are marks.
            ("กรุงเทพมหานคร", 3),
            ("हिन्दी", 1),
            (glued.as_str(), 12),
        ] {
            assert_eq!(n_words(text), expected, "{text}");
        }
    }
}
