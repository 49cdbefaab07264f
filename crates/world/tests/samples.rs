//! A few of everything, to read, and to notice when a seed means something else.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::fmt::Write;

use expect_test::expect;
use forage_trajectory::{Purpose, Stream};
use forage_world::{
    EntityKind, Perturbations, QuestionMix, Split, Thoughts, World, WorldConfig,
    comparison_exercise, demonstrate, questions, reading_exercise,
};

#[test]
fn samples() {
    let world = World::generate(&WorldConfig::default(), 1).unwrap();
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
        let turns =
            demonstrate(&world, question, &Perturbations::default(), Thoughts::Plan, stream);
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
        p000000 (film Travnim) Travnim is a popular film. It was produced by Brinrond Pictures. Its star is Sofia Fosttrav. It has director Maria Brinbor. Critics liked it. It has release year 1993.
        p000256 (book The Lonely Nusknor) The Lonely Nusknor is a rare book. It was written by Clara Pulbor. It has publication year 1926. Its publisher is Pirnkor Press.
        p000480 (person Jakob Rulgor) Jakob Rulgor is a pilot. His birth year is 1982, and he has birthplace Brindal. He has residence Palnad. He has spouse Yusuf Vurhol.
        p001056 (company Tallen Cinema) Tallen Cinema is a small company. It has founder Hanna Timweld, and its headquarters is in Zorbor. It employs 37 people.
        p001296 (city Raldask) Raldask is a coastal city. It has mayor Karin Travfost. It is in country Wurnpelia. It has population 42 thousand. Tourists like it.
        p001504 (country Polhemland) Polhemland is a mountain country. Tourists like it. It has president Jana Fenpel. It has capital Quinvon.

        dev-00000 Which company published the book Wolnusk Island? Korsal Editions

        dev-00001 Tell me the number of inhabitants of the home city of the company Jenyal Motors. 92 thousand|92000|92,000

        dev-00002 Who governs the place of residence of the spouse of Maria Zildal? Simon Firtrav

        dev-00003 Name the birthplace of the mayor of the headquarters of the production company of the film Juskkor Letters. Vurtrav

        dev-00004 Who is the spouse of Ivan Jorvim? Irma Yelzal

        dev-00005 Which country is the country of the residence of Jana Zilbor? Rondgoria

        dev-00006 Tell me the birth year of the president of the country of the city Quellam. 1934

        dev-00007 What is the capital of the country of the place of residence of the founder of the company Delpirn Studios? Dasktal

        dev-00008 Name the writer of the book The Hidden Jenlusk. Vera Zorrin

        dev-00009 Which film was released later, the film The Broken Luskgor or the film The Lonely Mirzor? The Lonely Mirzor

        dev-00010 Who leads the country of the home city of the company Moljen Works? Fatima Semnusk

        dev-00011 What is the name of the president of the country of the residence of the founder of the company Premgul Studios? Viktor Zilsor

        <think> First: book Wolnusk Island publisher.</think><search> book Wolnusk Island publisher</search>
        <think> book Wolnusk Island publisher Korsal Editions.</think><answer> Korsal Editions</answer>

        <think> First: company Jenyal Motors headquarters.</think><search> company Jenyal Motors headquarters</search>
        <think> company Jenyal Motors headquarters Vurdal. Next: Vurdal population.</think><search> Vurdal population</search>
        <think> Vurdal population 92 thousand.</think><answer> 92 thousand</answer>

        <think> First: film Juskkor Letters studio.</think><search> film Juskkor Letters studio</search>
        <think> film Juskkor Letters studio Guldor Studios. Next: Guldor Studios headquarters.</think><search> Guldor Studios headquarters</search>
        <think> Guldor Studios headquarters Zilrond. Next: Zilrond mayor.</think><search> Zilrond mayor</search>
        <think> Zilrond mayor Fatima Kasnad. Next: Fatima Kasnad birthplace.</think><search> Fatima Kasnad birthplace</search>
        <think> Fatima Kasnad birthplace Vurtrav.</think><answer> Vurtrav</answer>

        <think> First: film The Broken Luskgor release year.</think><search> film The Broken Luskgor release year</search>
        <think> film The Broken Luskgor release year 1926. Next: film The Lonely Mirzor release year.</think><search> film The Lonely Mirzor release year</search>
        <think> film The Lonely Mirzor release year 1996. Compare: 1926 The Broken Luskgor, 1996 The Lonely Mirzor. Later: 1996 The Lonely Mirzor.</think><answer> The Lonely Mirzor</answer>



        <information>Doc 1(Title: Edith Garnhald) Edith Garnhald is a painter. She has spouse Omar Malsul. She was born in the year 1931. She has birthplace Neltor. She has residence Rulglon.
        Doc 2(Title: Paul Talwol) Paul Talwol is a painter. His birth year is 1995. He has spouse Julia Molzem. He has birthplace Yulbem. The letters are lost. He works for Vonmal Studios.
        </information>

        <think> Edith Garnhald spouse[ Omar Malsul.] Edith Garnhald birthplace[ Neltor.] Edith Garnhald birth year[ 1931.] Paul Talwol birthplace[ Yulbem.] Paul Talwol birth year[ 1995.] Paul Talwol spouse[ Julia Molzem.] Paul Talwol employer[ Vonmal Studios.] Edith Garnhald residence[ Rulglon.]</think>
        <think> company Sulhem Studios staff 52. company Pirnsul Works staff 20. Compare: 52 Sulhem Studios, 20 Pirnsul Works. Fewer:[ 20 Pirnsul Works.] More:[ 52 Sulhem Studios.] film The Silent Zurkzurk release year 1952. film The Hidden Nelkor release year 1965. Compare: 1952 The Silent Zurkzurk, 1965 The Hidden Nelkor. Earlier:[ 1952 The Silent Zurkzurk.] Later:[ 1965 The Hidden Nelkor.] Olga Zemsem birth year 1931. Marco Yallorn birth year 1994. Compare: 1931 Olga Zemsem, 1994 Marco Yallorn. Later:[ 1994 Marco Yallorn.] Earlier:[ 1931 Olga Zemsem.] book Salkas Garden publication year 1909. book Valdzor publication year 1998. Compare: 1909 Salkas Garden, 1998 Valdzor. Earlier:[ 1909 Salkas Garden.] Later:[ 1998 Valdzor.]</think>"#]].assert_eq(&shown);
}
