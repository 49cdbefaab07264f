//! The client against every fault of a server.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use forage_synthesis::chat::{
    Budget, BudgetLimits, ChatClient, ChatConfig, ChatCounts, ChatError, ChatModel, ChatRequest,
    Concern, Price, Usage,
};
use serde_json::{Value, json};

use crate::scripted::{Act, COMPLETION_TOKENS, PROMPT_TOKENS, Scripted, say};

const TOKENS: u64 = PROMPT_TOKENS + COMPLETION_TOKENS;

/// Quick to lose patience.
fn config(server: &Scripted) -> ChatConfig {
    ChatConfig {
        timeout_seconds: 2.0,
        attempts: 3,
        backoff_seconds: 0.01,
        patience_seconds: 4.0,
        max_tokens: 50,
        ..ChatConfig::new(&server.url, "m")
    }
}

fn client(config: &ChatConfig) -> ChatClient {
    ChatClient::new(config, Arc::default(), Arc::default()).unwrap()
}

fn ask(client: &ChatClient, prompt: &str) -> Result<String, ChatError> {
    let request = ChatRequest { prompt, temperature: 0.5, stop: &["</search>"], seed: 1 << 40 | 7 };
    client.reply(&request, &mut Usage::default()).map(|it| it.text)
}

/// An error with its sources, in one line.
fn why(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line = format!("{line}: {error}");
        source = error.source();
    }
    line
}

#[test]
fn requests_say_what_was_configured() {
    let server = Scripted::acts(vec![say("x")]);
    let mut extra = serde_json::Map::new();
    extra.insert("reasoning_effort".into(), json!("none"));
    let config = ChatConfig {
        api_key_env: Some("PATH".into()),
        top_p: Some(0.95),
        extra,
        ..config(&server)
    };
    assert_eq!(ask(&client(&config), "a \"question\"").unwrap(), "x");
    assert_eq!(ask(&client(&ChatConfig { send_seed: false, ..config }), "b").unwrap(), "x");
    let [first, second] = &server.asked()[..] else { panic!("two were sent") };
    assert!(first.head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{}", first.head);
    let authorization = format!("authorization: Bearer {}\r\n", std::env::var("PATH").unwrap());
    assert!(first.head.contains(&authorization), "{}", first.head);
    let expected = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": "a \"question\"" }],
        "temperature": 0.5,
        "max_tokens": 50,
        "top_p": 0.95,
        "stop": ["</search>"],
        "seed": 7,
        "reasoning_effort": "none",
    });
    assert_eq!(first.body, expected);
    assert_eq!(second.body["seed"], Value::Null);
}

/// Acts of the server, the result, what a failure concerns, and the counters.
type Fault = (Vec<Act>, Result<&'static str, (&'static str, Concern)>, [u64; 4]);

fn check(cases: Vec<Fault>) {
    for (acts, expected, counts) in cases {
        let told = format!("{acts:?}");
        let server = Scripted::acts(acts);
        let client = client(&config(&server));
        match (ask(&client, "q"), expected) {
            (Ok(text), Ok(expected)) => assert_eq!(text, expected, "{told}"),
            (Err(error), Err((message, concern))) => {
                let url = format!("{}/chat/completions", server.url);
                assert_eq!(why(&error).replace(&url, "URL"), message, "{told}");
                assert_eq!(error.concern(), concern, "{told}");
            }
            (reply, _) => panic!("{told}: {reply:?}"),
        }
        let [answered, failed, retried, put_off] = counts;
        let counts = ChatCounts { answered, failed, retried, put_off };
        assert_eq!(client.counts(), counts, "{told}");
    }
}

#[test]
fn passing_faults_are_waited_for() {
    use Act::{HalfBody, Hang, Raw, Reset, Slow, Status};
    let raw = |text: &str| Raw(text.to_owned());
    let cut = r#"{"choices": [{"message": {"cont"#;
    check(vec![
        (vec![say("well")], Ok("well"), [1, 0, 0, 0]),
        (vec![Slow(Duration::from_millis(100), "late".into())], Ok("late"), [1, 0, 0, 0]),
        (vec![Hang, say("x")], Ok("x"), [1, 0, 1, 0]),
        (vec![Reset, Reset, Reset, say("x")], Ok("x"), [1, 0, 3, 0]),
        (vec![HalfBody, say("x")], Ok("x"), [1, 0, 1, 0]),
        (vec![raw(cut), say("x")], Ok("x"), [1, 0, 1, 0]),
        (vec![raw("<html>"), say("x")], Ok("x"), [1, 0, 1, 0]),
        (vec![raw("{\"choices\": []}"), say("x")], Ok("x"), [1, 0, 1, 0]),
        (vec![raw("{\"object\": \"error\"}"), say("x")], Ok("x"), [1, 0, 1, 0]),
        (vec![raw("{\"error\": {\"code\": 502}}"), say("x")], Ok("x"), [1, 0, 1, 0]),
        (vec![Status(500, None, ""), Status(503, None, ""), say("x")], Ok("x"), [1, 0, 2, 0]),
        (vec![Status(429, Some("1"), ""), say("x")], Ok("x"), [1, 0, 0, 1]),
        (vec![Status(503, Some("0.2"), ""), say("x")], Ok("x"), [1, 0, 0, 1]),
        (vec![Status(429, None, ""), Status(429, None, ""), say("x")], Ok("x"), [1, 0, 0, 2]),
    ]);
}

#[test]
fn lasting_faults_are_reported_with_what_they_concern() {
    use Act::Status;
    use Concern::{Request, Run, Server};
    let choice = |message: Value, finish: &str| {
        Act::Choice(json!({ "message": message, "finish_reason": finish }))
    };
    check(vec![
        (
            vec![Status(429, Some("3600"), "{\"error\":\n \"per day\"}")],
            Err(("put off for more than 4 s: `URL` replied 429: {\"error\": \"per day\"}", Server)),
            [0, 1, 0, 0],
        ),
        (
            vec![choice(json!({ "content": null, "refusal": "I will not." }), "stop")],
            Err(("`m` refused: I will not.", Request)),
            [0, 1, 0, 0],
        ),
        (
            vec![choice(json!({ "content": "" }), "content_filter")],
            Err(("a content filter withheld prompt or reply of `m`", Request)),
            [0, 1, 0, 0],
        ),
        (
            vec![Status(400, None, "{\"error\": {\"code\": \"content_filter\"}}")],
            Err(("a content filter withheld prompt or reply of `m`", Request)),
            [0, 1, 0, 0],
        ),
        (
            vec![choice(json!({ "content": " \n" }), "stop")],
            Err(("`m` replied with no text", Request)),
            [0, 1, 0, 0],
        ),
        (
            vec![choice(json!({ "content": null, "reasoning_content": "hm" }), "length")],
            Err(("`m` replied with no text, cut off at `max_tokens`", Request)),
            [0, 1, 0, 0],
        ),
        (
            vec![Status(400, None, "This model's maximum context length is 8 tokens.")],
            Err((
                "the prompt is too long for `m`: This model's maximum context length is 8 tokens.",
                Request,
            )),
            [0, 1, 0, 0],
        ),
        (
            vec![Status(400, None, "unknown name \"seed\"")],
            Err((
                "the server accepts no request like these: `URL` replied 400: unknown name \"seed\"",
                Run,
            )),
            [0, 1, 0, 0],
        ),
        (
            vec![Status(404, None, "no such model")],
            Err(("`URL` replied 404: no such model", Run)),
            [0, 1, 0, 0],
        ),
        (
            vec![Status(401, None, "who are you?")],
            Err(("`URL` does not serve this account, with status 401: who are you?", Run)),
            [0, 1, 0, 0],
        ),
        (
            vec![Status(429, None, "{\"code\": \"insufficient_quota\"}")],
            Err((
                "`URL` does not serve this account, with status 429: \
                 {\"code\": \"insufficient_quota\"}",
                Run,
            )),
            [0, 1, 0, 0],
        ),
    ]);
}

#[test]
fn an_outage_is_waited_for_but_not_for_ever() {
    let server = Scripted::acts(vec![Act::Status(500, None, "ill")]);
    let client = client(&config(&server));
    let error = ask(&client, "q").unwrap_err();
    let url = format!("{}/chat/completions", server.url);
    let expected = "no request succeeded in 4 s: `URL` replied 500: ill";
    assert_eq!(why(&error).replace(&url, "URL"), expected);
    assert_eq!(error.concern(), Concern::Server);
    assert!(server.asked().len() > 3, "nobody else got a reply either, so attempts do not count");
}

/// Whoever waits sees at once for which server, why, and for how long.
#[test]
fn an_outage_is_told_of_before_it_is_waited_for() {
    let server = Scripted::acts(vec![Act::Status(500, None, "ill"), say("x")]);
    let (logged, writer) = io::pipe().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.try_clone().unwrap())
        .with_ansi(false)
        .finish();
    let on = tracing_subscriber::util::SubscriberInitExt::set_default(subscriber);
    let client = client(&ChatConfig { patience_seconds: 60.0, ..config(&server) });
    assert_eq!(ask(&client, "q").unwrap(), "x");
    let url = format!("{}/chat/completions", server.url);
    let warning = format!("`{url}` replied 500: ill; it is asked again for up to 60 s");
    drop(on);
    let text = io::read_to_string(logged).unwrap();
    assert!(text.contains(&warning), "{text}");
    assert!(text.contains(&format!("`{url}` answers again, after")), "{text}");
}

#[test]
fn a_request_that_alone_fails_is_given_up() {
    let server = Scripted::start(|asked, _| match asked.prompt() {
        "poison" => Act::Status(500, None, "ill"),
        _ => say("x"),
    });
    let client = client(&ChatConfig { patience_seconds: 3600.0, ..config(&server) });
    let error = thread::scope(|scope| {
        let poisoned = scope.spawn(|| ask(&client, "poison").unwrap_err());
        while !poisoned.is_finished() {
            ask(&client, "well").unwrap();
        }
        poisoned.join().unwrap()
    });
    assert!(
        why(&error).ends_with(
            " attempts failed: `URL` replied 500: ill"
                .replace("URL", &format!("{}/chat/completions", server.url))
                .as_str()
        ),
        "{error}"
    );
    assert_eq!(error.concern(), Concern::Request);
}

#[test]
fn a_refused_request_concerns_the_run_only_where_all_are_refused() {
    let server = Scripted::start(|asked, _| match asked.prompt() {
        "odd" => Act::Status(400, None, "odd"),
        _ => Act::Slow(Duration::from_millis(100), "x".into()),
    });
    let client = client(&config(&server));
    let ask_at_once = |prompts: &[&'static str]| -> Vec<Concern> {
        thread::scope(|scope| {
            let client = &client;
            let asked: Vec<_> =
                prompts.iter().map(|it| scope.spawn(move || ask(client, it))).collect();
            asked
                .into_iter()
                .filter_map(|it| it.join().unwrap().err())
                .map(|it| it.concern())
                .collect()
        })
    };
    assert_eq!(ask_at_once(&["odd", "odd"]), [Concern::Run; 2]);
    assert_eq!(ask(&client, "well").unwrap(), "x");
    assert_eq!(ask_at_once(&["odd", "well"]), [Concern::Request]);
}

#[test]
fn many_callers_get_through_a_narrow_gate_and_nothing_is_lost() {
    // Every third request meets a limit, every fifth a fault, all are slow.
    let server = Scripted::start(|asked, n| match n {
        n if n % 3 == 1 => Act::Status(429, Some("0.01"), ""),
        n if n % 5 == 2 => Act::Status(502, None, ""),
        n if n % 7 == 3 => Act::Raw("{\"choices\": [".to_owned()),
        _ => Act::Slow(Duration::from_millis(5), asked.prompt().to_uppercase()),
    });
    let config =
        ChatConfig { concurrency: 4, attempts: 20, patience_seconds: 60.0, ..config(&server) };
    let client = client(&ChatConfig { timeout_seconds: 20.0, ..config });
    thread::scope(|scope| {
        for caller in 0..24 {
            let client = &client;
            scope.spawn(move || {
                for n in 0..3 {
                    let prompt = format!("caller {caller} asks {n}");
                    assert_eq!(ask(client, &prompt).unwrap(), prompt.to_uppercase());
                }
            });
        }
    });
    let counts = client.counts();
    assert_eq!((counts.answered, counts.failed), (72, 0));
    assert_eq!(server.asked().len() as u64, 72 + counts.retried + counts.put_off);
    assert!(server.most_at_once() <= 4, "{}", server.most_at_once());
}

#[test]
fn budgets_are_held_by_callers_side_by_side() {
    let price = Price { input: 1000.0, output: 4000.0 };
    let money = price.of(PROMPT_TOKENS, COMPLETION_TOKENS);
    assert!((money - 0.11).abs() < 1e-12);
    for limits in [
        BudgetLimits { tokens: Some(1000), money: None },
        BudgetLimits { tokens: None, money: Some(2.0) },
    ] {
        let server = Scripted::start(|_, _| Act::Slow(Duration::from_millis(3), "x".into()));
        let budget = Arc::new(Budget::new(limits));
        let spent_before = Usage { calls: 1, prompt_tokens: 100, money: 0.2, ..Usage::default() };
        budget.add(spent_before);
        let config = ChatConfig { price, concurrency: 8, ..config(&server) };
        let client = ChatClient::new(&config, Arc::clone(&budget), Arc::default()).unwrap();
        let n_answered: u64 = thread::scope(|scope| {
            let call = || {
                let answered = (0..50).map_while(|_| match ask(&client, "q") {
                    Ok(_) => Some(1),
                    Err(ChatError::Budget(_)) => None,
                    Err(error) => panic!("{}", why(&error)),
                });
                answered.sum::<u64>()
            };
            let callers: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
            callers.into_iter().map(|it| it.join().unwrap()).sum()
        });
        let used = budget.used();
        assert_eq!(server.asked().len() as u64, n_answered, "nothing is sent in vain");
        assert_eq!(used.tokens(), 100 + n_answered * TOKENS);
        assert!((used.money - 0.2 - n_answered as f64 * money).abs() < 1e-9);
        // Of a call that can take 65 and 50 tokens.
        let most = price.of(65, 50);
        assert!(limits.tokens.is_none_or(|it| used.tokens() <= it && used.tokens() + 115 > it));
        assert!(limits.money.is_none_or(|it| used.money <= it && used.money + most > it));
        let error = ask(&client, "q").unwrap_err();
        assert!(why(&error).starts_with("the budget is spent: "), "{}", why(&error));
        assert_eq!(error.concern(), Concern::Run);
        assert_eq!(server.asked().len() as u64, n_answered);
    }
}

#[test]
fn usage_is_entered_also_of_replies_that_cannot_be_used() {
    let refusal =
        json!({ "message": { "content": null, "refusal": "no" }, "finish_reason": "stop" });
    let unmetered = json!({ "choices": [{ "message": { "content": "four" } }] }).to_string();
    for (act, expected) in [
        (say("x"), (1, PROMPT_TOKENS, COMPLETION_TOKENS)),
        (Act::Choice(refusal), (1, PROMPT_TOKENS, COMPLETION_TOKENS)),
        (Act::Raw(unmetered), (1, 6, 4)),
        (Act::Status(400, None, ""), (0, 0, 0)),
    ] {
        let server = Scripted::acts(vec![act]);
        let budget = Arc::<Budget>::default();
        let client =
            ChatClient::new(&config(&server), Arc::clone(&budget), Arc::default()).unwrap();
        let mut usage = Usage::default();
        let request = ChatRequest { prompt: "prompt", temperature: 1.0, stop: &[], seed: 0 };
        let _ = client.reply(&request, &mut usage);
        assert_eq!((usage.calls, usage.prompt_tokens, usage.completion_tokens), expected);
        assert_eq!(budget.used(), usage);
        assert!(!budget.has_reservations());
    }
}

#[test]
fn a_run_that_stops_does_not_wait() {
    let server = Scripted::acts(vec![Act::Status(429, Some("600"), "")]);
    let stop = Arc::<AtomicBool>::default();
    let config = ChatConfig { patience_seconds: 3600.0, ..config(&server) };
    let client = ChatClient::new(&config, Arc::default(), Arc::clone(&stop)).unwrap();
    let error = thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&client, "q").unwrap_err());
        while client.counts().put_off == 0 {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        waiting.join().unwrap()
    });
    assert!(matches!(error, ChatError::Stopping), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn the_key_is_never_shown() {
    let key = std::env::var("PATH").unwrap();
    let key: &'static str = key.leak();
    for act in [
        Act::Status(401, None, format!("wrong key `{key}`").leak()),
        Act::Choice(json!({ "message": { "content": null, "refusal": format!("I saw {key}") } })),
        Act::Raw(format!("{{\"error\": {{\"code\": 400, \"message\": \"{key}\"}}}}")),
    ] {
        let server = Scripted::acts(vec![act]);
        let config = ChatConfig { api_key_env: Some("PATH".into()), ..config(&server) };
        let client = client(&config);
        let error = ask(&client, "q").unwrap_err();
        assert!(!format!("{error:?} {}", why(&error)).contains(key), "{error:?}");
        assert!(why(&error).contains('…'), "{}", why(&error));
        assert!(!format!("{client:?}").contains(key));
    }
}

#[test]
fn options_are_checked() {
    type Edit = fn(&mut ChatConfig);
    let cases: [(Edit, &str); 12] = [
        (|it| it.url = "localhost:8000".into(), "`url` is `localhost:8000`; it must be an address"),
        (|it| it.url += "/chat/completions", "`url` is `http://h/v1/chat/completions`; "),
        (|it| it.model.clear(), "`model` is ``; "),
        (|it| it.api_key_env = Some("NO_SUCH".into()), "`api_key_env` is `NO_SUCH`; "),
        (|it| it.max_tokens = 0, "`max_tokens` is 0; "),
        (|it| it.concurrency = 0, "`concurrency` is 0; "),
        (|it| it.attempts = 0, "`attempts` is 0; "),
        (|it| it.top_p = Some(1.5), "`top_p` is 1.5; "),
        (|it| it.price.output = f64::NAN, "`price.output` is NaN; "),
        (|it| it.timeout_seconds = 0.0, "`timeout_seconds` is 0; "),
        (|it| it.backoff_seconds = -1.0, "`backoff_seconds` is -1; "),
        (|it| drop(it.extra.insert("stream".into(), json!(true))), "`extra` is with `stream`; "),
    ];
    ChatConfig::new("http://h/v1/", "m").check().unwrap();
    for (edit, expected) in cases {
        let mut config = ChatConfig::new("http://h/v1", "m");
        edit(&mut config);
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
