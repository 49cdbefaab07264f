//! A few of everything, to read, and to notice when a seed means something else.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::fmt::Write;

use expect_test::expect;
use forage_synthesis::{
    EntityKind, Habits, QuestionMix, Split, World, WorldConfig, comparison_exercise, demonstrate,
    questions, reading_exercise,
};
use forage_trajectory::{Purpose, Stream};

#[test]
fn samples() {
    let world = World::generate(&WorldConfig::default()).unwrap();
    let mut shown = String::new();
    for kind in EntityKind::ALL {
        let id = world.entities(Split::Train, Some(kind)).next().unwrap();
        let passage = world.passage(id);
        writeln!(shown, "{} ({kind} {}) {}", passage.id, passage.title, passage.text).unwrap();
    }
    let stream = Stream::new(1, Purpose::Demonstrations);
    let asked = questions(&world, Split::Dev, 12, 1, &QuestionMix::default()).unwrap();
    for question in &asked {
        let answers = question.golden_answers.join("|");
        writeln!(shown, "\n{} {} {answers}", question.id, question.text).unwrap();
    }
    for question in [0, 1, 3, 9].map(|index| &asked[index]) {
        let turns = demonstrate(&world, question, &Habits::default(), stream);
        writeln!(shown, "\n{}", turns.join("\n")).unwrap();
    }
    for exercise in [reading_exercise, comparison_exercise] {
        writeln!(shown).unwrap();
        for (text, in_loss) in exercise(&world, Split::Train, stream) {
            let shown_as = if in_loss { format!("[{text}]") } else { text };
            shown.push_str(&shown_as);
        }
    }
    expect![[r#"
        p000000 (film Zemkul) Zemkul is a popular film. Its star is Fatima Delwim. Its studio is Tarnquel Studios, and it was directed by Tomas Falkim. Its release year is 1993.
        p000256 (book Norlentrav) Norlentrav is a rare book. It was written by David Brenmir, and it was published by Glonvesk Editions. It first appeared in 1926.
        p000480 (person Leon Raskbem) Leon Raskbem is a pilot. He moved to Vurwim, and his spouse is Lina Yornel. His birthplace is Zundweld. The letters are lost. His birth year is 1982.
        p001056 (company Premgelzor Pictures) Premgelzor Pictures is a small company. It has a staff of 37. Its headquarters is in Fostkalfal. Its founder is Karim Weldtarn.
        p001296 (city Krandlorn) Krandlorn is a coastal city. It is run by mayor Sofia Zorzor. It is located in Korlenia, and it is home to 42 thousand people.
        p001504 (country Zorkalstan) Zorkalstan is a mountain country. It is ruled from Kassul. It is headed by president Flora Fostsul.

        dev-00000 Which company published the book Sorwal? Balvur Press

        dev-00001 Tell me the number of inhabitants of the home city of the company Borjusk Works. 92 thousand|92000|92,000

        dev-00002 Who governs the place of residence of the spouse of Mona Tarnvur? Emil Limdun

        dev-00003 Name the birthplace of the mayor of the headquarters of the production company of the film Luskvur. Vongul

        dev-00004 Who is the spouse of Sofia Yalgarn? Tomas Galmol

        dev-00005 Which country is the country of the residence of Flora Bemhem? Gorpolland

        dev-00006 Tell me the birth year of the president of the country of the city Kimmolstam. 1934

        dev-00007 What is the capital of the country of the place of residence of the founder of the company Pirnbem Cinema? Palwim

        dev-00008 Name the writer of the book The Broken Quinfen. Bruno Yalfirnim

        dev-00009 Which film was released later, the film The Lonely Balvesk or the film Vimweld? Vimweld

        dev-00010 Who leads the country of the home city of the company Zalglon Foods? Tomas Hurnvel

        dev-00011 What is the name of the president of the country of the residence of the founder of the company Brensal Cinema? Felix Hemgrel

        <think> First: book Sorwal publisher.</think><search> book Sorwal publisher</search>
        <think> book Sorwal publisher: Balvur Press.</think><answer> Balvur Press</answer>

        <think> First: company Borjusk Works headquarters.</think><search> company Borjusk Works headquarters</search>
        <think> company Borjusk Works headquarters: Yelvel. Next: Yelvel population.</think><search> Yelvel population</search>
        <think> Yelvel population: 92 thousand.</think><answer> 92 thousand</answer>

        <think> First: film Luskvur studio.</think><search> film Luskvur studio</search>
        <think> film Luskvur studio: Zurkdalvel Studios. Next: Zurkdalvel Studios headquarters.</think><search> Zurkdalvel Studios headquarters</search>
        <think> Zurkdalvel Studios headquarters: Gorrem. Next: Gorrem mayor.</think><search> Gorrem mayor</search>
        <think> Gorrem mayor: Alma Quinmol. Next: Alma Quinmol birthplace.</think><search> Alma Quinmol birthplace</search>
        <think> Alma Quinmol birthplace: Vongul.</think><answer> Vongul</answer>

        <think> First: film The Lonely Balvesk release year.</think><search> film The Lonely Balvesk release year</search>
        <think> film The Lonely Balvesk release year: 1926. Next: film Vimweld release year.</think><search> film Vimweld release year</search>
        <think> film Vimweld release year: 1996. Compare: 1926 The Lonely Balvesk, 1996 Vimweld. Later: 1996 Vimweld.</think><answer> Vimweld</answer>



        <information>Doc 1(Title: Nadia Teldel) Nadia Teldel is a painter. Her year of birth is 1995. She is married to Omar Korlusk. She works for Hurntrav Pictures, and she was born in Juskyal.
        Doc 2(Title: Omar Korlusk) Omar Korlusk is a poet. He works for Yortel Works. His year of birth is 1959. Little else is known. His birthplace is Kulgel, and he is married to Nadia Teldel.
        </information>

        <think> Omar Korlusk spouse:[ Nadia Teldel.] Nadia Teldel birth year:[ 1995.] Omar Korlusk birth year:[ 1959.] Nadia Teldel employer:[ Hurntrav Pictures.] Nadia Teldel birthplace:[ Juskyal.] Omar Korlusk employer:[ Yortel Works.] Omar Korlusk birthplace:[ Kulgel.] Nadia Teldel spouse:[ Omar Korlusk.]</think>
        <think> company Jenlorn Cinema employees: 52. company Mirpal Works employees: 20. Compare: 52 Jenlorn Cinema, 20 Mirpal Works. Fewer:[ 20 Mirpal Works.] More:[ 52 Jenlorn Cinema.] film Krandfal release year: 1952. film Sorzil Harbor release year: 1965. Compare: 1952 Krandfal, 1965 Sorzil Harbor. Earlier:[ 1952 Krandfal.] Later:[ 1965 Sorzil Harbor.] Lea Holbor birth year: 1931. Fatima Vesksal birth year: 1994. Compare: 1931 Lea Holbor, 1994 Fatima Vesksal. Later:[ 1994 Fatima Vesksal.] Earlier:[ 1931 Lea Holbor.] book Firkel publication year: 1909. book The Final Quelzurk publication year: 1998. Compare: 1909 Firkel, 1998 The Final Quelzurk. Earlier:[ 1909 Firkel.] Later:[ 1998 The Final Quelzurk.]</think>"#]].assert_eq(&shown);
}
