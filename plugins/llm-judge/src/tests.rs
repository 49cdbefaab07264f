//! A judge of a few lines, and what is made of what it says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::*;

/// A server that replies with the first of these whose key stands in the student's answer. Also
/// counts what it was asked.
fn judge(replies: &'static [(&'static str, u16, &'static str)]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/", listener.local_addr().unwrap());
    let n_asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&n_asked);
    // Ends with the process: a test does not know how often it will be asked.
    thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::Relaxed);
            let mut reader = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap();
            let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            let asked: Value = serde_json::from_slice(&body).unwrap();
            let prompt = asked["messages"][0]["content"].as_str().unwrap();
            let answer = prompt.split("answer: ").nth(1).unwrap().lines().next().unwrap();
            let (_, status, content) = replies.iter().find(|it| answer.contains(it.0)).unwrap();
            let reply = json!({ "choices": [{ "message": { "content": content } }] }).to_string();
            let n = reply.len();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {n}\r\nConnection: close");
            write!(reader.get_mut(), "{head}\r\n\r\n{reply}").unwrap();
        }
    });
    (url, n_asked)
}

fn plugin(url: &str, cache: Option<&Path>) -> LlmJudge {
    let config = json!({
        "url": url, "model": "m", "retries": 0, "concurrency": 2, "cache": cache,
    });
    LlmJudge::new(serde_json::from_value(config).unwrap()).unwrap()
}

fn group(answers: &[&str]) -> Group<'static> {
    let played = |(member, answer): (usize, &&str)| Trajectory {
        member,
        ..Trajectory::default().answer(answer)
    };
    Group {
        question: Question::new("capital of France?", ["Paris"]),
        trajectories: answers.iter().enumerate().map(played).collect(),
        step: None,
    }
}

#[test]
fn verdicts_are_grades_and_anything_else_is_a_failure() {
    let (url, n_asked) = judge(&[
        ("City of Light", 200, "That is Paris.\n\nVerdict: right"),
        ("Lyon", 200, "No.\nverdict: wrong"),
        ("odd", 200, "verdict: right\nor perhaps not"),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("verdicts.jsonl");
    let list = "Entity ".repeat(3000) + "Paris";
    let answers =
        ["City of Light", "Lyon", "odd", "", "<think> x </think> Paris", list.as_str(), "Lyon"];
    let before = plugin(&url, Some(&cache)).score_group(&group(&answers)).unwrap();
    let rewards: Vec<_> = before.iter().map(Grade::reward).collect();
    let expected = [Some(1.0), Some(0.0), None, Some(0.0), Some(0.0), Some(0.0), Some(0.0)];
    assert_eq!(rewards, expected);
    let reason = "the judge gave no verdict: `or perhaps not`".to_owned();
    assert_eq!(before[2], Grade::Failed(reason));
    assert_eq!(n_asked.load(Ordering::Relaxed), 3, "equal answers are asked for once");

    // Another run: what was judged is known, what failed is asked again.
    let grades = plugin(&url, Some(&cache)).score_group(&group(&answers[..3])).unwrap();
    assert_eq!(grades[..2], before[..2]);
    assert_eq!(n_asked.load(Ordering::Relaxed), 4);
}

#[test]
fn a_prompt_that_the_judge_refuses_fails_alone() {
    let (url, _) = judge(&[("Lyon", 400, "too long"), ("City of Light", 200, "verdict: right")]);
    let grades = plugin(&url, None).score_group(&group(&["Lyon", "City of Light"])).unwrap();
    let Grade::Failed(reason) = &grades[0] else { panic!("{grades:?}") };
    assert!(reason.contains("answered with status 400"), "{reason}");
    assert_eq!(grades[1].reward(), Some(1.0));
}

#[test]
fn a_judge_that_is_away_breaks_the_reward() {
    let (url, _) = judge(&[("", 500, "")]);
    let err = plugin(&url, None).score_group(&group(&["Paris"])).unwrap_err();
    assert!(err.is_broken() && err.to_string().contains("answered with status 500"), "{err}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let judge = plugin(&format!("http://{nobody}/v1"), None);
    let err = judge.score_group(&group(&["Paris"])).unwrap_err();
    assert!(err.is_broken() && err.to_string().contains("could not be asked"), "{err}");
    let unjudged = Group { question: Question::default(), ..group(&["Paris"]) };
    assert_eq!(judge.score_group(&unjudged).unwrap(), [Grade::NotApplicable]);
}
