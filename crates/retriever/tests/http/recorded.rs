//! Recorded searches: found again, shared, replayed, and whole after a kill.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use forage_retriever::{RecordError, Recorded};
use forage_trajectory::{BoxError, Hit, Retriever, SearchError};
use tempfile::TempDir;

/// Numbers its searches, so that no two of them find the same.
#[derive(Default)]
struct Fickle(Arc<AtomicUsize>);

impl Retriever for Fickle {
    fn search(&self, queries: &[&str], _: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let find = |&query: &&str| {
            let n = self.0.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(20));
            if query == "fails" {
                let source = BoxError::from("no route to host");
                return Err(SearchError { query: query.to_owned(), source });
            }
            let (id, title, text) = (n.to_string(), "\"T\"".to_owned(), "x\ny\u{2028}".to_owned());
            Ok(vec![Hit { id, title, text, score: 0.1 }])
        };
        queries.iter().map(find).collect()
    }
}

fn id(retriever: &dyn Retriever, query: &str, k: usize) -> String {
    retriever.search(&[query], k).remove(0).unwrap().remove(0).id
}

#[test]
fn what_was_found_is_found_again() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("searches.jsonl");
    let counter = Arc::<AtomicUsize>::default();
    let engine = || Box::new(Fickle(Arc::clone(&counter)));
    let recorded = Recorded::record(engine(), "one", &file).unwrap();
    let found = recorded.search(&["a", "b", "a", "fails"], 3);
    assert_eq!(found[0].as_ref().unwrap(), found[2].as_ref().unwrap());
    let failure = found[3].as_ref().unwrap_err();
    assert_eq!(failure.to_string(), "search for `fails` failed");
    assert_eq!(failure.source.to_string(), "no route to host");
    assert_eq!((id(&recorded, "a", 3), id(&recorded, "b", 3)), ("0".into(), "1".into()));
    // Another number of hits is another search; a failure is tried again.
    assert_eq!(id(&recorded, "a", 4), "3");
    assert!(recorded.search(&["fails"], 3)[0].is_err());
    assert_eq!((recorded.len(), counter.load(Ordering::Relaxed)), (3, 5));

    // One process at a time.
    assert!(matches!(
        Recorded::record(engine(), "one", &file).err(),
        Some(RecordError::Busy { .. })
    ));
    drop(recorded);

    // What a killed run left.
    fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .unwrap()
        .write_all(b"{\"source\": \"o")
        .unwrap();
    let replay = Recorded::replay("one", &file).unwrap();
    assert_eq!((replay.len(), id(&replay, "b", 3).as_str()), (3, "1"));
    let missing = replay.search(&["c"], 3).remove(0).unwrap_err();
    assert!(missing.source.to_string().starts_with("it is not among the recorded searches in `"));
    drop(replay);
    let recorded = Recorded::record(engine(), "one", &file).unwrap();
    assert_eq!(id(&recorded, "c", 3), "5");
    drop(recorded);
    let renamed = Recorded::replay("new", &file).unwrap();
    assert!(renamed.search(&["a"], 3)[0].is_err());
    drop(renamed);
    let renamed = Recorded::replay("new", &file).unwrap().with_older_source("one");
    assert!(renamed.search(&["a"], 3)[0].is_ok());
    drop(renamed);
    let recorded = Recorded::record(engine(), "another", &file).unwrap();
    assert_eq!((recorded.len(), id(&recorded, "a", 3).as_str()), (4, "6"));
    drop(recorded);

    let whole = fs::read_to_string(&file).unwrap();
    assert_eq!(whole.lines().count(), 5);
    fs::write(&file, whole.replacen('\n', "\nnonsense\n", 1)).unwrap();
    let error = Recorded::replay("one", &file).err().unwrap().to_string();
    assert!(error.ends_with("searches.jsonl:2: not a recorded search"), "{error}");
    let nowhere = Recorded::replay("one", &folder.path().join("nowhere")).err().unwrap();
    assert!(nowhere.to_string().starts_with("cannot open the recorded searches"));
}

#[test]
fn callers_at_the_same_moment_share_a_search() {
    let folder = TempDir::new().unwrap();
    let counter = Arc::<AtomicUsize>::default();
    let engine = Box::new(Fickle(Arc::clone(&counter)));
    let file = folder.path().join("searches.jsonl");
    let recorded = Recorded::record(engine, "one", &file).unwrap();
    thread::scope(|scope| {
        for caller in 0..16 {
            let recorded = &recorded;
            scope.spawn(move || {
                // In different orders: no caller may wait for one that waits for it.
                let mut queries = ["a", "b", "c", "d"];
                queries.rotate_left(caller % 4);
                for found in recorded.search(&queries, 3) {
                    assert_eq!(found.unwrap().len(), 1);
                }
            });
        }
    });
    assert_eq!(counter.load(Ordering::Relaxed), 4);
}
