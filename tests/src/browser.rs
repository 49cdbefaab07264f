//! A headless Chromium, driven over its debugging protocol.
//!
//! The protocol goes through a pipe: no port to choose, nothing to connect to, and the browser
//! ends with the test. Clicks and keys are real input events, so what they meet is what a person
//! would meet. Only what the tests need is here, and nothing but JSON is needed for it.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a page may take to do what a test waits for.
const PATIENCE: Duration = Duration::from_mins(1);

/// A browser with one tab.
pub struct Browser {
    process: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Option<String>,
    n_sent: u64,
    /// What the page has complained about so far: exceptions, errors of the console, and
    /// violations of its security policy.
    pub complaints: Vec<String>,
    /// Addresses the page has asked for so far.
    pub requests: Vec<String>,
    _profile: TempDir,
}

/// The browser to test with: `CHROME`, or the first of the usual names in `PATH`.
pub fn find() -> Option<PathBuf> {
    // The pipe is passed by way of a shell.
    if cfg!(not(unix)) {
        return None;
    }
    if let Some(path) = env::var_os("CHROME").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let folders: Vec<_> = env::split_paths(&env::var_os("PATH")?).collect();
    let mut paths = names.iter().flat_map(|name| folders.iter().map(move |it| it.join(name)));
    paths.find(|path| path.is_file())
}

impl Browser {
    /// Starts a browser with a new profile.
    pub fn start(path: &Path) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        // Chromium reads the protocol from descriptor 3 and writes it to 4.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", "sh"])
            .arg(path)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--disable-extensions", "--disable-quic"])
            .args(["--remote-debugging-pipe", "--window-size=1280,900"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{}` cannot be started", path.display()))?;
        let to = process.stdin.take().context("the browser has no input")?;
        let from = BufReader::new(process.stdout.take().context("the browser has no output")?);
        let mut browser = Self {
            process,
            to,
            from,
            session: None,
            n_sent: 0,
            complaints: Vec::new(),
            requests: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}))?;
        }
        Ok(browser)
    }

    /// Opens an address and waits until it has loaded.
    pub fn open(&mut self, url: &str) -> Result<()> {
        let answer = self.call("Page.navigate", &json!({ "url": url }))?;
        ensure!(answer.get("errorText").is_none(), "`{url}` cannot be opened: {answer}");
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")
    }

    /// The value of a JavaScript expression.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let wish = json!({ "expression": expression, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &wish)?;
        if let Some(details) = answer.get("exceptionDetails") {
            bail!("`{expression}` threw {details}");
        }
        Ok(answer["result"]["value"].clone())
    }

    /// The text of the first element that a selector finds, as it is shown.
    pub fn text(&mut self, selector: &str) -> Result<String> {
        self.wait_for(&format!("document.querySelector({selector:?})"))?;
        let text = self.evaluate(&format!("document.querySelector({selector:?}).innerText"))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, expression: &str) -> Result<()> {
        let start = Instant::now();
        while self.evaluate(&format!("Boolean({expression})"))? != Value::Bool(true) {
            ensure!(start.elapsed() < PATIENCE, "`{expression}` did not become true");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Clicks with the mouse on the first element that a selector finds.
    ///
    /// Fails if something else lies on top of it.
    pub fn click(&mut self, selector: &str) -> Result<()> {
        self.wait_for(&format!("document.querySelector({selector:?})"))?;
        let place = self.evaluate(&format!(
            "(() => {{
                const element = document.querySelector({selector:?});
                element.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = element.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                const met = document.elementFromPoint(x, y);
                return [x, y, element.contains(met) || met?.contains(element)];
            }})()"
        ))?;
        ensure!(place[2] == true, "`{selector}` cannot be clicked: it is covered or not shown");
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", &event)?;
        }
        Ok(())
    }

    /// Presses a key by its name: `ArrowRight`, `Enter`.
    pub fn press(&mut self, key: &str) -> Result<()> {
        let code = match key {
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            "Enter" => 13,
            _ => bail!("`{key}` has no code here"),
        };
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code,
            });
            self.call("Input.dispatchKeyEvent", &event)?;
        }
        Ok(())
    }

    /// Types a text into what has the focus.
    pub fn type_text(&mut self, text: &str) -> Result<()> {
        self.call("Input.insertText", &json!({ "text": text }))?;
        Ok(())
    }

    /// Makes the page as large as this, in CSS pixels.
    pub fn resize(&mut self, width: u32, height: u32) -> Result<()> {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.call("Emulation.setDeviceMetricsOverride", &size)?;
        Ok(())
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.n_sent += 1;
        let id = self.n_sent;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.to.write_all(&bytes).with_context(|| format!("`{method}` cannot be sent"))?;
        self.to.flush()?;
        loop {
            let message = self.receive()?;
            if message["id"] != id {
                self.note(&message);
                continue;
            }
            if let Some(error) = message.get("error") {
                bail!("`{method}` failed: {error}");
            }
            return Ok(message["result"].clone());
        }
    }

    fn receive(&mut self) -> Result<Value> {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes)?;
        ensure!(bytes.pop() == Some(0), "the browser has ended");
        Ok(serde_json::from_slice(&bytes)?)
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(params.to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                self.complaints.push(params["args"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"].to_string());
            }
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                self.requests.push(url.to_owned());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
