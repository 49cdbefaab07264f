//! Invented names: words of a few fixed syllables, so that a tokenizer learns their parts and a
//! model that has read them in training can spell unseen names.

use std::collections::HashSet;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use crate::relation::EntityKind;

/// All begin and end with consonants; none is a word of the passages.
#[rustfmt::skip]
const SYLLABLES: [&str; 100] = [
    "bal", "bem", "bor", "brin", "bren", "dal", "dask", "del", "dor", "drim",
    "dun", "fal", "fen", "fir", "fost", "gal", "garn", "gel", "glon", "gor",
    "grel", "gul", "hald", "hem", "hol", "hurn", "jal", "jen", "jor", "jusk",
    "kal", "kas", "kel", "kim", "kor", "krand", "kul", "lam", "len", "lim",
    "lorn", "lusk", "mal", "med", "mir", "mol", "mun", "nad", "nel", "nim",
    "nor", "nusk", "pal", "pel", "pirn", "pol", "prem", "pul", "quel", "quin",
    "ral", "rask", "rem", "rin", "rond", "rul", "sal", "sem", "silv", "sor",
    "stam", "sul", "tal", "tarn", "tel", "tim", "tor", "trav", "tul", "vald",
    "vel", "vesk", "vim", "von", "vur", "wal", "weld", "wim", "wol", "wurn",
    "yal", "yel", "yor", "yul", "zal", "zem", "zil", "zor", "zund", "zurk",
];

#[rustfmt::skip]
const MASCULINE: [&str; 30] = [
    "Adam", "Anton", "Boris", "Bruno", "Carl", "David", "Emil", "Felix", "Frank", "Georg",
    "Hugo", "Igor", "Ivan", "Jakob", "Jonas", "Karim", "Leon", "Lukas", "Marco", "Mirko",
    "Nils", "Omar", "Oskar", "Paul", "Peter", "Ravi", "Simon", "Tomas", "Viktor", "Yusuf",
];
#[rustfmt::skip]
const FEMININE: [&str; 30] = [
    "Ada", "Alma", "Anna", "Bella", "Carla", "Clara", "Dora", "Edith", "Elena", "Emma",
    "Fatima", "Flora", "Greta", "Hanna", "Helga", "Ida", "Irma", "Jana", "Julia", "Karin",
    "Laura", "Lea", "Lina", "Maria", "Mona", "Nadia", "Olga", "Rosa", "Sofia", "Vera",
];
const ADJECTIVES: [&str; 8] =
    ["Silent", "Golden", "Hidden", "Broken", "Crimson", "Distant", "Final", "Lonely"];
const NOUNS: [&str; 8] =
    ["Garden", "River", "Bridge", "Letters", "Island", "Shadow", "Harbor", "Winter"];
/// By sector: companies that produce films, that publish books, and others. No suffix contains the
/// word for a kind, which searches begin with.
const SUFFIXES: [[&str; 3]; 3] = [
    ["Studios", "Pictures", "Cinema"],
    ["Press", "House", "Editions"],
    ["Works", "Motors", "Foods"],
];
const COUNTRY_ENDINGS: [&str; 3] = ["ia", "land", "stan"];

/// Number of sectors of companies.
pub(crate) const SECTORS: usize = SUFFIXES.len();

/// Whether the given name of a person is feminine.
pub(crate) fn is_feminine(name: &str) -> bool {
    name.split(' ').next().is_some_and(|given| FEMININE.contains(&given))
}

/// Syllables of an invented word, in order; `None` for any other word.
///
/// For training a tokenizer that spells every name by its syllables.
pub fn syllables(word: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = word;
    while !rest.is_empty() {
        let known = |part: &&str| {
            SYLLABLES.iter().chain(&COUNTRY_ENDINGS).any(|it| it.eq_ignore_ascii_case(part))
        };
        // No syllable continues another one with a vowel next, so the longest is the right one.
        let length = (2..=rest.len().min(5))
            .rev()
            .find(|&length| rest.get(..length).is_some_and(|part| known(&part)))?;
        let (part, left) = rest.split_at(length);
        parts.push(part);
        rest = left;
    }
    (parts.len() > 1).then_some(parts)
}

/// Generator of unique names. The words it invents are unique too, but for surnames that people
/// share and titles that a book shares with a film.
pub(crate) struct Names {
    rng: ChaCha8Rng,
    /// Share of invented words with a syllable more than the others.
    long: f64,
    used: HashSet<String>,
    surnames: Vec<String>,
    film_titles: Vec<String>,
}

impl Names {
    pub(crate) fn new(long: f64, rng: ChaCha8Rng) -> Self {
        let fixed = [MASCULINE.as_slice(), &FEMININE, &ADJECTIVES, &NOUNS];
        let used = fixed.concat().into_iter().map(str::to_owned).collect();
        Self { rng, long, used, surnames: Vec::new(), film_titles: Vec::new() }
    }

    /// Begins a split: no name is shared across splits.
    pub(crate) fn begin_split(&mut self) {
        self.surnames.clear();
        self.film_titles.clear();
    }

    /// Name of a kind; `index` counts the entities of the kind in the split.
    pub(crate) fn name(&mut self, kind: EntityKind, index: usize) -> String {
        match kind {
            EntityKind::Person => self.person(),
            EntityKind::Film => {
                let title = self.title();
                self.film_titles.push(title.clone());
                title
            }
            EntityKind::Book => {
                if !self.film_titles.is_empty() && self.rng.random_bool(0.15) {
                    let shared = self.rng.random_range(0..self.film_titles.len());
                    return self.film_titles.swap_remove(shared);
                }
                self.title()
            }
            EntityKind::Company => {
                let suffix = self.pick(&SUFFIXES[index % SECTORS]);
                format!("{} {suffix}", self.word(""))
            }
            EntityKind::City => self.word(""),
            EntityKind::Country => {
                let ending = self.pick(&COUNTRY_ENDINGS);
                self.word(ending)
            }
        }
    }

    fn person(&mut self) -> String {
        loop {
            let surname = if !self.surnames.is_empty() && self.rng.random_bool(0.25) {
                self.surnames[self.rng.random_range(0..self.surnames.len())].clone()
            } else {
                let surname = self.word("");
                self.surnames.push(surname.clone());
                surname
            };
            let feminine = self.rng.random_bool(0.5);
            let given = self.pick(if feminine { &FEMININE } else { &MASCULINE });
            let name = format!("{given} {surname}");
            if self.used.insert(name.clone()) {
                return name;
            }
        }
    }

    fn title(&mut self) -> String {
        let word = self.word("");
        match self.rng.random_range(0..10) {
            0 | 1 => format!("The {} {word}", self.pick(&ADJECTIVES)),
            2 | 3 => format!("{word} {}", self.pick(&NOUNS)),
            _ => word,
        }
    }

    /// A word that was not used before. Two syllables, or three where it is a long one, and more
    /// only where those are taken.
    fn word(&mut self, ending: &str) -> String {
        // Nothing is drawn where no word is long.
        let is_long = self.long > 0.0 && self.rng.random_bool(self.long);
        let mut attempts = 0;
        loop {
            let n_syllables = 2 + usize::from(is_long) + attempts / 32;
            let mut word: String = (0..n_syllables).map(|_| self.pick(&SYLLABLES)).collect();
            word[..1].make_ascii_uppercase();
            word.push_str(ending);
            if self.used.insert(word.clone()) {
                return word;
            }
            attempts += 1;
        }
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        words.choose(&mut self.rng).expect("the word lists are not empty")
    }
}

#[cfg(test)]
mod tests {
    use forage_trajectory::{Purpose, Stream};

    use super::*;

    #[test]
    fn syllables_are_distinct_and_framed_by_consonants() {
        assert_eq!(SYLLABLES.iter().collect::<HashSet<_>>().len(), SYLLABLES.len());
        let vowel = |c: Option<char>| c.is_some_and(|c| "aeiou".contains(c));
        for syllable in SYLLABLES {
            assert!((3..=5).contains(&syllable.len()), "{syllable}");
            assert!(!vowel(syllable.chars().next()), "{syllable}");
            assert!(!vowel(syllable.chars().last()), "{syllable}");
        }
    }

    #[test]
    fn invented_words_are_told_by_their_syllables() {
        assert_eq!(syllables("Veltor"), Some(vec!["Vel", "tor"]));
        assert_eq!(syllables("Hurnmunland"), Some(vec!["Hurn", "mun", "land"]));
        for word in ["Studios", "Vel", "film", "Émile", ""] {
            assert_eq!(syllables(word), None, "{word}");
        }
    }

    #[test]
    fn names_stay_unique_when_short_words_run_out() {
        let mut names = Names::new(0.0, Stream::new(3, Purpose::World).rng());
        let cities: HashSet<_> = (0..30_000).map(|i| names.name(EntityKind::City, i)).collect();
        assert_eq!(cities.len(), 30_000);
    }

    #[test]
    fn long_names_have_their_share() {
        for share in [0.0, 0.25, 1.0] {
            let mut names = Names::new(share, Stream::new(3, Purpose::World).rng());
            let n_long = (0..2000)
                .map(|index| names.name(EntityKind::City, index))
                .filter(|it| syllables(it).is_some_and(|parts| parts.len() > 2))
                .count();
            assert!((n_long as f64 / 2000.0 - share).abs() < 0.04, "{share}: {n_long}");
        }
    }
}
