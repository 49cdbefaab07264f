//! Building and opening: shapes of corpora, bad lines, folders that are not what they should be.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use forage_retriever::{
    Analyzer, Bm25, BuildProgress, BuildReport, Corpus, IndexError, IndexOptions, MANIFEST_FILE,
    SearchOptions, build_index,
};
use forage_trajectory::{Hit, Passage};
use tempfile::TempDir;

const LINES: &str = r#"
{"id": 7, "contents": "\"Alien\"\nA film by Ridley Scott."}
{"id": "eight", "title": "Åland", "text": "An island: 東京 is far.", "url": "https://example.org"}

{"id": "9", "text": "A passage without a title", "title": null}
"#;

fn passage(id: &str, title: &str, text: &str) -> Passage {
    Passage { id: id.into(), title: title.into(), text: text.into() }
}

fn passages() -> Vec<Passage> {
    vec![
        passage("7", "Alien", "A film by Ridley Scott."),
        passage("eight", "Åland", "An island: 東京 is far."),
        passage("9", "", "A passage without a title"),
    ]
}

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn read(path: &Path) -> Result<Vec<Passage>, String> {
    let corpus = Corpus::files([path.to_owned()]).map_err(|error| error.to_string())?;
    corpus.map(|next| next.map(|(_, it)| it).map_err(|error| error.to_string())).collect()
}

fn build_quietly(
    corpus: Corpus,
    folder: &Path,
    options: IndexOptions,
) -> Result<BuildReport, IndexError> {
    build_index(corpus, folder, &options, &|_| {})
}

fn search(folder: &Path, query: &str) -> Vec<Hit> {
    Bm25::open(folder, &SearchOptions::default()).unwrap().search_one(query, 10).unwrap()
}

fn open_error(folder: &Path, options: &SearchOptions) -> IndexError {
    Bm25::open(folder, options).err().expect("the index must not open")
}

/// The message without the temporary folder in it.
fn message(error: &IndexError, folder: &TempDir) -> String {
    error.to_string().replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn shapes_and_compressions() {
    let folder = TempDir::new().unwrap();
    let zstd = zstd::encode_all(LINES.as_bytes(), 3).unwrap();
    let two_members = [gzip(LINES), gzip("{\"id\": 10, \"text\": \"more\"}")].concat();
    for (name, content) in [
        ("plain.jsonl", LINES.as_bytes().to_vec()),
        ("windows.jsonl", format!("\u{feff}{}", LINES.trim_start().replace('\n', "\r\n")).into()),
        ("corpus.jsonl.gz", gzip(LINES)),
        ("corpus.jsonl.zst", zstd.clone()),
        ("named-wrongly.txt", zstd),
    ] {
        assert_eq!(read(&write(&folder, name, content)).unwrap(), passages(), "{name}");
    }
    let more = read(&write(&folder, "members.gz", two_members)).unwrap();
    assert_eq!(more.last(), Some(&passage("10", "", "more")));
    assert_eq!(read(&write(&folder, "empty.jsonl", "")).unwrap(), []);
}

#[test]
fn shapes_of_others() {
    let folder = TempDir::new().unwrap();
    let halvik = passage("1", "Halvik", "Halvik is a port.");
    for row in [
        r#"{"id": "1", "contents": "\"Halvik\"\nHalvik is a port."}"#,
        r#"{"id": 1, "title": "Halvik", "text": "Halvik is a port."}"#,
        r#"{"_id": "1", "title": "Halvik", "text": "Halvik is a port.", "metadata": {}}"#,
        r#"{"docid": "1", "title": "Halvik", "text": "Halvik is a port."}"#,
        r#"{"doc_id": "1", "pid": null, "title": "Halvik", "text": "Halvik is a port."}"#,
        r#"{"pid": 1, "id": "1", "title": "Halvik", "text": "Halvik is a port."}"#,
        r#"{"id": "1", "title": "Halvik", "content": "Halvik is a port."}"#,
        r#"{"id": "1", "title": "", "text": "", "contents": "\"Halvik\"\nHalvik is a port."}"#,
        r#"{"id": "1", "text": null, "contents": "\"Halvik\"\nHalvik is a port."}"#,
        r#"{"id": "1", "title": "Halvik", "contents": "Halvik\nHalvik is a port."}"#,
        r#"{"id": "1", "text": "Halvik is a port.", "contents": "\"Halvik\"\nHalvik is a port."}"#,
        r#"{"1": {"title": "Halvik", "text": "Halvik is a port."}, "2": {"text": "x"}}"#,
    ] {
        for content in [row.to_owned(), format!("[\n{row}\n]")] {
            if content.starts_with("[\n{\"1\"") {
                continue;
            }
            let found = read(&write(&folder, "corpus.json", content)).unwrap();
            assert_eq!(found[0], halvik, "{row}");
        }
    }
    // A first line in quotes that is not the title is text.
    let row = r#"{"id": "1", "title": "Halvik", "contents": "\"Hello\"\nshe said."}"#;
    let found = read(&write(&folder, "corpus.json", row)).unwrap();
    assert_eq!(found, [passage("1", "Halvik", "\"Hello\"\nshe said.")]);
    let large = "{\"id\": 12345678901234567890, \"text\": \"x\"}\n\
                 {\"id\": 123456789012345678901, \"text\": \"x\"}";
    let found = read(&write(&folder, "corpus.json", large)).unwrap();
    assert_eq!([&found[0].id, &found[1].id], ["12345678901234567890", "123456789012345678901"]);
}

/// What this program wrote for something else is no corpus.
#[test]
fn own_output_is_refused() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("index");
    build_quietly(Corpus::memory(passages()), &index, IndexOptions::default()).unwrap();
    let run = folder.path().join("run");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("metrics.jsonl"), "{\"step\": 1}").unwrap();
    fs::write(run.join("config.toml"), "").unwrap();
    let group = "{\"step\": 1, \"split\": \"train\", \"group\": {}, \"grades\": []}";
    for (path, what) in [
        (index.clone(), "an index of forage"),
        (index.join(MANIFEST_FILE), "the manifest of an index of forage"),
        (run, "the folder of a run of forage"),
        (write(&folder, "t.jsonl", group), "a trajectories file of forage"),
    ] {
        let error = read(&path).unwrap_err();
        assert_eq!(error, format!("`{}` is {what}, not a corpus", path.display()));
    }
}

#[test]
fn a_folder_stands_for_its_files() {
    let folder = TempDir::new().unwrap();
    let corpus = folder.path().join("corpus");
    fs::create_dir_all(corpus.join("b")).unwrap();
    let line = |id: u32| format!("{{\"id\": {id}, \"text\": \"x\"}}\n");
    for (name, content) in [
        ("c.ndjson", line(3).into_bytes()),
        ("b/b.jsonl.gz", gzip(&line(2))),
        ("a.json", line(1).into_bytes()),
        ("README.md", b"not a passage".to_vec()),
        (".hidden.jsonl", b"not a passage".to_vec()),
    ] {
        fs::write(corpus.join(name), content).unwrap();
    }
    let found = read(&corpus).unwrap();
    assert_eq!(found.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert!(read(&empty).unwrap_err().contains("has no file that ends in `.jsonl`"));
}

#[test]
fn memory_is_bounded() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("index");
    let build_in = |memory| {
        let options = IndexOptions { memory: Some(memory), ..IndexOptions::default() };
        build_quietly(Corpus::memory(passages()), &index, options)
    };
    assert_eq!(
        build_in(1_000_000).unwrap_err().to_string(),
        "1000000 bytes are too little to build an index; it wants 15000000 or more"
    );
    for memory in [15_000_000, 40_000_000] {
        assert_eq!(build_in(memory).unwrap().manifest.passages, 3);
    }
}

#[test]
fn bad_lines_are_named() {
    let good = "{\"id\": 1, \"text\": \"a\"}\n";
    for (bad, expected) in [
        (
            "{\"id\": 2, \"text\": ",
            "c.jsonl:3: not JSON: it ends in the middle, at byte 17 of the line",
        ),
        ("[1, 2]", "c.jsonl:3: a record is an object of JSON, and this is a list of 2 numbers"),
        (
            "{\"id\": true, \"text\": \"a\"}",
            "c.jsonl:3: `id` is true where a text or a whole number is wanted",
        ),
        (
            "{\"id\": {\"n\": 1}, \"text\": \"a\"}",
            "c.jsonl:3: `id` is an object with the key `n` where a text or a whole number is wanted",
        ),
        (
            "{\"id\": 2.0, \"text\": \"a\"}",
            "c.jsonl:3: `id` is the number 2.0 where a text or a whole number is wanted",
        ),
        (
            "{\"text\": \"a\"}",
            "c.jsonl:3: the passage has no `id` (or `_id`, `docid`, `doc_id`, `pid`); it has the key `text`",
        ),
        ("{\"id\": \"\", \"text\": \"a\"}", "c.jsonl:3: the id of the passage is an empty text"),
        (
            "{\"id\": 2}",
            "c.jsonl:3: the passage has no `text`, `contents` or `content`; it has the key `id`",
        ),
        ("{\"id\": \"1\", \"text\": \"b\"}", "c.jsonl:3: the id `1` is already that of c.jsonl:1"),
        (
            "{\"id\": 2, \"_id\": 3, \"text\": \"b\"}",
            "c.jsonl:3: `id` and `_id` name one thing, and differ",
        ),
        (
            "{\"id\": 2, \"text\": \"b\", \"contents\": \"c\"}",
            "c.jsonl:3: `text` and `contents` name one thing, and differ",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        let last = "{\"id\": 3, \"text\": \"c\"}";
        let corpus = write(&folder, "c.jsonl", format!("{good}\n{bad}\n{last}\n"));
        let index = folder.path().join("index");
        let files = || Corpus::files([corpus.clone()]).unwrap();

        let error = build_quietly(files(), &index, IndexOptions::default()).unwrap_err();
        assert_eq!(message(&error, &folder), expected, "{bad}");
        assert!(!index.exists());

        let options = IndexOptions { skip_bad: true, ..IndexOptions::default() };
        let report = build_quietly(files(), &index, options).unwrap();
        assert_eq!((report.manifest.passages, report.skipped), (2, 1), "{bad}");
        let first = report.first_skipped.unwrap().into();
        assert_eq!(message(&first, &folder), expected);
    }
}

#[test]
fn files_that_end_early_or_are_not_there() {
    let folder = TempDir::new().unwrap();
    let mut cut = gzip(&LINES.repeat(50));
    cut.truncate(cut.len() / 2);
    let cut = write(&folder, "cut.gz", cut);
    let options = IndexOptions { skip_bad: true, ..IndexOptions::default() };
    let corpus = Corpus::files([cut]).unwrap();
    let error = build_quietly(corpus, &folder.path().join("index"), options).unwrap_err();
    assert!(message(&error, &folder).ends_with(": cannot read on"), "{error}");
    let missing = folder.path().join("missing.jsonl");
    assert!(read(&missing).unwrap_err().starts_with("cannot open `"));
    let error = build_quietly(Corpus::memory(vec![]), &folder.path().join("index"), options);
    assert!(matches!(error, Err(IndexError::Empty { skipped: 0 })));
}

#[test]
fn built_and_opened() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("new/folder/index");
    let files = [
        write(&folder, "a.jsonl", LINES),
        write(&folder, "b.jsonl.gz", gzip("{\"id\": 10, \"text\": \"Scott\"}")),
    ];
    let corpus = Corpus::files(files).unwrap();
    let total = corpus.total_bytes();
    let reports = std::cell::RefCell::new(Vec::new());
    let progress = |it| reports.borrow_mut().push(it);
    let report = build_index(corpus, &index, &IndexOptions::default(), &progress).unwrap();
    assert_eq!(Some(report.bytes_read), total);
    let bytes = report.bytes_read;
    let expected =
        [BuildProgress::Reading { passages: 4, bytes }, BuildProgress::Merging { passages: 4 }];
    assert_eq!(*reports.borrow(), expected);
    let manifest = Bm25::open(&index, &SearchOptions::default()).unwrap().manifest().clone();
    assert_eq!(manifest, report.manifest);

    let hits = search(&index, "SCOTT'S");
    assert_eq!(hits.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["10", "7"]);
    let found = passage(&hits[1].id, &hits[1].title, &hits[1].text);
    assert_eq!(found, passages()[0]);
    assert_eq!(search(&index, "åland 京")[0].id, "eight");

    // How the corpus was written does not matter, what it says does.
    let fingerprint = |passages| {
        let index = folder.path().join("other");
        let report = build_quietly(Corpus::memory(passages), &index, IndexOptions::default());
        report.unwrap().manifest.fingerprint
    };
    let mut same = passages();
    same.push(passage("10", "", "Scott"));
    assert_eq!(fingerprint(same), manifest.fingerprint);
    assert_ne!(fingerprint(passages()), manifest.fingerprint);
}

/// What is found in equal measure comes in the order of the corpus: passages of all parts do.
#[test]
fn parts_keep_the_order_of_the_corpus() {
    let folder = TempDir::new().unwrap();
    let filler = "and nothing of note ".repeat(25);
    let text = |at: usize| format!("Alien {filler}number{at}");
    let passages: Vec<Passage> =
        (0..9000).map(|at| passage(&at.to_string(), "", &text(at))).collect();
    assert!(passages.iter().map(|it| it.text.len()).sum::<usize>() > 4_000_000, "one part");
    for memory in [15_000_000, 60_000_000] {
        let index = folder.path().join(memory.to_string());
        let options = IndexOptions { memory: Some(memory), ..IndexOptions::default() };
        build_quietly(Corpus::memory(passages.clone()), &index, options).unwrap();
        let bm25 = Bm25::open(&index, &SearchOptions::default()).unwrap();
        let hits = bm25.search_one("alien", passages.len()).unwrap();
        assert!(hits.iter().map(|it| &it.id).eq(passages.iter().map(|it| &it.id)));
        let hit = &bm25.search_one("number8999", 1).unwrap()[0];
        assert_eq!((hit.id.as_str(), &hit.text), ("8999", &passages[8999].text));
        // Only the index is left.
        assert!(!folder.path().join(format!(".{memory}.building")).exists());
    }
}

/// A folder that is mounted read-only, or that belongs to somebody else.
#[test]
fn opening_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("index");
    build_quietly(Corpus::memory(passages()), &index, IndexOptions::default()).unwrap();
    let names = || {
        let entries = fs::read_dir(&index).unwrap();
        let mut names: Vec<_> = entries.map(|it| it.unwrap().path()).collect();
        names.sort();
        names
    };
    for lock in names().iter().filter(|it| it.extension().is_some_and(|it| it == "lock")) {
        fs::remove_file(lock).unwrap();
    }
    let before = names();
    assert_eq!(search(&index, "film").len(), 1);
    assert_eq!(names(), before);
    let permissions = |path: &PathBuf| fs::metadata(path).unwrap().permissions();
    assert!(before.iter().all(|it| permissions(it) == permissions(&before[0])));
}

#[test]
fn folders_that_do_not_open() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("index");
    let default = SearchOptions::default();
    let check = |options: &SearchOptions, expected: &str| {
        assert_eq!(message(&open_error(&index, options), &folder), expected);
    };
    check(&default, "there is no folder `index`");

    fs::create_dir(&index).unwrap();
    fs::write(index.join("meta.json"), "{}").unwrap();
    check(&default, "`index` is not a complete index: it has no `forage-index.json`");
    let corpus = Corpus::memory(passages());
    let error = build_quietly(corpus, &index, IndexOptions::default()).unwrap_err();
    assert_eq!(message(&error, &folder), "`index` exists and is not an index; it was left alone");
    assert!(index.join("meta.json").exists());

    fs::remove_dir_all(&index).unwrap();
    build_quietly(Corpus::memory(passages()), &index, IndexOptions::default()).unwrap();
    let plain = SearchOptions { analyzer: Some(Analyzer::Plain), ..default };
    check(&plain, "`index` was made with the analyzer `english`, not with `plain`");
    let english = SearchOptions { analyzer: Some(Analyzer::English), ..default };
    assert!(Bm25::open(&index, &english).is_ok());
    check(&SearchOptions { k1: -1.0, ..default }, "`k1` is -1; it must be 0 or more");
    check(&SearchOptions { b: f32::NAN, ..default }, "`b` is NaN; it must be from 0 to 1");

    let manifest = index.join(MANIFEST_FILE);
    let good = fs::read_to_string(&manifest).unwrap();
    for (from, to, expected) in [
        ("\"format\": 1", "\"format\": 2", "`index` has format 2, this version reads format 1"),
        ("\"english\"", "\"german\"", "`index` cannot be searched"),
        (
            "\"analyzer_version\": 2",
            "\"analyzer_version\": 9",
            "`index` was made with version 9 of the analyzer `english`, this is version 2",
        ),
        ("\"passages\": 3", "\"passages\": 4", "`index` is damaged: it has 3 of 4 passages"),
        ("}", "", "the manifest `index/forage-index.json` cannot be read"),
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(&manifest, good.replace(from, to)).unwrap();
        check(&default, expected);
    }
    fs::write(&manifest, good.replace("index_format v", "index_format v9")).unwrap();
    let error = message(&open_error(&index, &default), &folder);
    assert!(error.starts_with("`index` was written as `tantivy v"), "{error}");
    assert!(error.contains("index_format v9") && error.contains("this version reads `"), "{error}");
}

/// An index of version 1 is searched with the terms that it has.
#[test]
fn an_index_of_an_older_analyzer_opens() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("index");
    let corpus =
        || Corpus::memory(vec![passage("1", "Maeve O’Dunn", "She painted a Cafe\u{301}.")]);
    build_quietly(corpus(), &index, IndexOptions::default()).unwrap();
    for query in ["O'Dunn", "O’Dunn", "O\u{2bc}Dunn", "café", "cafe\u{301}"] {
        assert_eq!(search(&index, query).len(), 1, "{query}");
    }
    // The terms of version 1 are not those of this index; so what is searched for tells which.
    let manifest = index.join(MANIFEST_FILE);
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"analyzer_version\": 2", "\"analyzer_version\": 1"))
        .unwrap();
    let bm25 = Bm25::open(&index, &SearchOptions::default()).unwrap();
    assert_eq!(bm25.terms("O’Dunn cafe\u{301} painting"), ["o’dunn", "cafe\u{301}", "paint"]);
    assert_eq!(search(&index, "O'Dunn").len(), 1);
    assert_eq!(search(&index, "O’Dunn").len(), 0);
}

/// Passages of other languages, and words of theirs.
#[test]
fn words_of_other_languages_are_found() {
    let passages = [
        ("zh1", "海港市", "海港市是北方省的省会，人口四百万。"),
        ("zh2", "北海镇", "北海镇位于港口以南，方言丰富，省道经过市区。"),
        ("th1", "เมืองหลวง", "กรุงเทพเป็นเมืองหลวงของประเทศไทยและมีประชากรมาก"),
        ("th2", "รุ้ง", "รุ้งเป็นแถบสีในเทพนิยาย"),
        ("th3", "ภาคใต้", "ภูเก็ตเป็นเกาะทางภาคใต้ มีชายหาดสวยงาม"),
        ("th4", "ภาคเหนือ", "เชียงใหม่เป็นจังหวัดทางภาคเหนือ มีภูเขาและอากาศเย็น"),
        ("ar1", "العاصمة", "القَاهِرَةُ عاصمة البلاد وفيها جامعة أحمد."),
        ("ar2", "المدينة", "المدينة تقع في الشمال."),
        ("ru1", "Ёлкино", "Ёлкино — посёлок на реке."),
        ("ko1", "하빅", "하빅은 항구 도시이다."),
        ("ko2", "도시", "벨모라는 큰 도시이다."),
        ("ja1", "ハルビク", "ハルビクは港町である。"),
        ("ja2", "ベルモラ", "ベルモラは山の町である。"),
        ("lo1", "ວຽງຈັນ", "ວຽງຈັນເປັນເມືອງຫຼວງຂອງປະເທດລາວ"),
        ("km1", "ភ្នំពេញ", "ភ្នំពេញជារាជធានីនៃប្រទេសកម្ពុជា"),
        ("my1", "ရန်ကုန်", "ရန်ကုန်သည်မြန်မာနိုင်ငံ၏မြို့ဖြစ်သည်"),
        ("vi1", "Đà Lạt", "Đà Lạt là một thành phố."),
        ("he1", "שָׁלוֹם", "שָׁלוֹם עוֹלָם"),
        ("hi1", "दिल्ली", "दिल्ली भारत की राजधानी है।"),
        ("en1", "Ｈａｌｖｉｋ", "Ｈａｌｖｉｋ １９１１"),
    ];
    let passages = passages.map(|(id, title, text)| passage(id, title, text)).to_vec();
    let options = SearchOptions::default();
    let bm25 = Bm25::in_memory(passages, Analyzer::Unicode, &options).unwrap();
    for (query, expected) in [
        ("北方省的省会", "zh1"),
        ("人口", "zh1"),
        ("省道", "zh2"),
        ("กรุงเทพ", "th1"),
        ("เมืองหลวง", "th1"),
        ("ภูเก็ต", "th3"),
        ("เชียงใหม่", "th4"),
        ("القاهرة", "ar1"),
        ("القاهره", "ar1"),
        ("احمد", "ar1"),
        ("الشمال", "ar2"),
        ("Елкино", "ru1"),
        ("поселок", "ru1"),
        ("하빅", "ko1"),
        ("항구", "ko1"),
        ("벨모라", "ko2"),
        ("ハルビク", "ja1"),
        ("ﾊﾙﾋﾞｸ", "ja1"),
        ("港町", "ja1"),
        ("山", "ja2"),
        ("ເມືອງຫຼວງ", "lo1"),
        ("រាជធានី", "km1"),
        ("မြန်မာ", "my1"),
        ("Da Lat", "vi1"),
        ("שלום", "he1"),
        ("राजधानी", "hi1"),
        ("Halvik 1911", "en1"),
    ] {
        let hits = bm25.search_one(query, 3).unwrap();
        assert_eq!(hits.first().map(|it| it.id.as_str()), Some(expected), "{query}");
    }
}

#[test]
fn a_corpus_that_its_analyzer_is_not_made_for() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("index");
    let corpus = || {
        Corpus::memory(vec![passage("1", "Halvik", "A port"), passage("2", "", "กรุงเทพเป็นเมือง")])
    };
    for (analyzer, expected) in [
        (
            Analyzer::English,
            Some("58 % of the letters are Thai, and `english` does not find the words in Thai"),
        ),
        (Analyzer::Unicode, None),
    ] {
        let options = IndexOptions { analyzer, ..IndexOptions::default() };
        let report = build_quietly(corpus(), &index, options).unwrap();
        assert_eq!(report.unsuited.map(|it| it.to_string()).as_deref(), expected);
    }
}

/// One text without a space, of marks, or of one letter must not stall a build or a search. What
/// takes time with the square of its length would take minutes here.
#[test]
fn one_long_text() {
    let n = 100_000;
    for (letter, analyzers) in [
        ("x", &Analyzer::ALL[..]),
        ("\u{301}", &Analyzer::ALL),
        ("一", &Analyzer::ALL),
        ("ก", &Analyzer::ALL),
        ("a\u{301}", &[Analyzer::Plain, Analyzer::Unicode]),
        ("하", &[Analyzer::Plain, Analyzer::Unicode]),
        ("א'", &[Analyzer::Plain, Analyzer::Unicode]),
        ("1.", &[Analyzer::Plain, Analyzer::Unicode]),
        ("\u{1f1e9}", &[Analyzer::LuceneEnglish, Analyzer::Unicode]),
        ("\u{fdfa}", &[Analyzer::Unicode]),
    ] {
        let text = letter.repeat(n / letter.len());
        for &analyzer in analyzers {
            let passages = vec![passage("1", "", &text), passage("2", "", "Halvik")];
            let bm25 = Bm25::in_memory(passages, analyzer, &SearchOptions::default()).unwrap();
            bm25.search_one(&text, 3).unwrap();
            bm25.snippet(&text, &text, 100);
            assert_eq!(bm25.search_one("Halvik", 3).unwrap()[0].id, "2");
        }
    }
}

/// Any number of hits: as many as there are.
#[test]
fn any_number_of_hits() {
    let bm25 = Bm25::in_memory(passages(), Analyzer::English, &SearchOptions::default()).unwrap();
    for (k, expected) in [(0, 0), (1, 1), (2, 2), (50, 2), (usize::MAX, 2)] {
        assert_eq!(bm25.search_one("film title", k).unwrap().len(), expected, "{k}");
    }
    for query in ["", " ", "the of and", &"x".repeat(100_000)] {
        assert!(bm25.terms(query).is_empty());
        assert_eq!(bm25.search_one(query, usize::MAX).unwrap(), []);
    }
}

#[test]
fn passages_are_found_by_their_ids() {
    let bm25 = Bm25::in_memory(passages(), Analyzer::English, &SearchOptions::default()).unwrap();
    let found = bm25.passages_by_id(["eight", "8", "7", "Eight", "8"]).unwrap();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), ["7", "eight"]);
    assert!(found.iter().all(|(id, passage)| passage.id == *id));
    assert!(bm25.passages_by_id([]).unwrap().is_empty());
}

#[test]
fn a_killed_build_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let index = folder.path().join("index");
    let site = folder.path().join(".index.building");
    let options = IndexOptions::default();
    build_quietly(Corpus::memory(passages()), &index, options).unwrap();
    assert!(!site.exists());

    // A build that fails on the way.
    let bad = write(&folder, "bad.jsonl", format!("{LINES}nonsense\n"));
    let corpus = Corpus::files([bad]).unwrap();
    assert!(build_quietly(corpus, &index, options).is_err());
    assert_eq!(search(&index, "film").len(), 1);
    assert!(!site.exists());

    // A build that was killed while it wrote.
    fs::create_dir_all(site.join("new")).unwrap();
    fs::write(site.join("new/half.idx"), "half").unwrap();
    fs::write(site.join("lock"), "").unwrap();
    assert_eq!(search(&index, "film").len(), 1);

    // A build that runs.
    let lock = fs::File::open(site.join("lock")).unwrap();
    lock.lock().unwrap();
    let error = build_quietly(Corpus::memory(passages()), &index, options).unwrap_err();
    assert!(matches!(error, IndexError::Busy { .. }), "{error}");
    assert!(site.join("new/half.idx").exists());
    drop(lock);

    let opened = Bm25::open(&index, &SearchOptions::default()).unwrap();
    let other = vec![passage("new", "", "Another film.")];
    build_quietly(Corpus::memory(other.clone()), &index, options).unwrap();
    assert!(!site.exists());
    assert_eq!(search(&index, "film")[0].id, "new");
    assert_eq!(opened.search_one("film", 1).unwrap()[0].id, "7", "open indexes stay as they were");

    // A build that was killed between the two renames: the old index comes back first.
    fs::create_dir(&site).unwrap();
    fs::rename(&index, site.join("old")).unwrap();
    let corpus = Corpus::files([folder.path().join("bad.jsonl")]).unwrap();
    assert!(build_quietly(corpus, &index, options).is_err());
    assert_eq!(search(&index, "film")[0].id, "new");
}
