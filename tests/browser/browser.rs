//! Chromium and its `WebDriver`, one of each per test.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::json;

use crate::webdriver::Session;

const MISSING: &str = "chromedriver can't be started: install Chromium with its driver (chromium \
                       and chromium-driver on Debian), then run this again";
const STARTS_MAX: u32 = 10;
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

/// Killed on drop.
struct Chromedriver {
    process: Child,
    /// Its log.
    stdout: BufReader<ChildStdout>,
}

impl Chromedriver {
    /// Starts one, and returns its address.
    fn start() -> (Self, String) {
        // It takes any free IPv6 port, and ends if the same IPv4 port is in use.
        for _ in 0..STARTS_MAX {
            let mut chromedriver = Self::spawn();
            if let Some(address) = chromedriver.address() {
                return (chromedriver, address);
            }
        }
        panic!("chromedriver finds no port, {STARTS_MAX} times");
    }

    fn spawn() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.stderr(Stdio::null()).spawn().expect(MISSING);
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdout }
    }

    /// Its address, if it has one.
    fn address(&mut self) -> Option<String> {
        let mut lines = self.stdout.by_ref().lines().map_while(Result::ok);
        let port = lines.find_map(|line| Some(line.split_once(STARTED)?.1.to_owned()))?;
        Some(format!("http://127.0.0.1:{}", port.trim_end_matches('.')))
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
        let (chromedriver, address) = Chromedriver::start();
        let arguments = [
            "--headless",
            // It opens only our own pages, and a container has no sandbox to offer.
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
        let session = Session::open(&address, wanted).await;
        let session = session.expect("Chromium starts; install it (chromium on Debian)");
        let browser = Self { session, chromedriver };
        browser.show_on(screen).await;
        browser
    }

    /// Changes the screen size.
    pub(crate) async fn show_on(&self, Screen { width, height }: Screen) {
        let metrics = json!({
            "width": width,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": width < 600,
        });
        self.tell("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// A Chromium command that `WebDriver` doesn't have.
    pub(crate) async fn tell(&self, command: &str, parameters: serde_json::Value) {
        self.session.tell_chromium(command, parameters).await.unwrap();
    }

    pub(crate) async fn close(self) {
        self.session.close().await.unwrap();
        drop(self.chromedriver);
    }
}
