//! Chromium, driven by its own `WebDriver`: one of both for each test.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::json;

use crate::webdriver::Session;

const MISSING: &str = "chromedriver can't be started: install Chromium with its driver (chromium \
                       and chromium-driver on Debian), then run this again";
const STARTED: &str = "started successfully on port ";

/// A screen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

pub(crate) const LAPTOP: Screen = Screen { width: 1280, height: 900 };
pub(crate) const PHONE: Screen = Screen { width: 390, height: 844 };

pub(crate) struct Browser {
    pub(crate) session: Session,
    chromedriver: Chromedriver,
}

/// It is killed when it is no longer needed.
struct Chromedriver {
    process: Child,
    /// Where it still may say something.
    stdout: BufReader<ChildStdout>,
}

impl Chromedriver {
    fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.stderr(Stdio::null()).spawn().expect(MISSING);
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdout }
    }

    /// Its address, once it has said so.
    fn address(&mut self) -> String {
        let mut said = String::new();
        while self.stdout.read_line(&mut said).unwrap() > 0 {
            if let Some((_, port)) = said.split_once(STARTED) {
                return format!("http://127.0.0.1:{}", port.trim().trim_end_matches('.'));
            }
        }
        panic!("chromedriver says no port: {said}");
    }
}

impl Drop for Chromedriver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Browser {
    pub(crate) async fn open(screen: Screen) -> Self {
        let mut chromedriver = Chromedriver::start();
        let arguments = [
            "--headless",
            // What it opens is ours, and a container has no sandbox to offer.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-proxy-server",
            "--lang=en-US",
        ];
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let session = Session::open(&chromedriver.address(), wanted).await;
        let session = session.expect("Chromium starts; install it (chromium on Debian)");
        let browser = Self { session, chromedriver };
        browser.show_on(screen).await;
        browser
    }

    /// Takes the browser to another screen.
    pub(crate) async fn show_on(&self, Screen { width, height }: Screen) {
        let metrics = json!({
            "width": width,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": width < 600,
        });
        self.tell("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Tells Chromium something that `WebDriver` has no word for.
    pub(crate) async fn tell(&self, command: &str, parameters: serde_json::Value) {
        self.session.tell_chromium(command, parameters).await.unwrap();
    }

    pub(crate) async fn close(self) {
        self.session.close().await.unwrap();
        drop(self.chromedriver);
    }
}
