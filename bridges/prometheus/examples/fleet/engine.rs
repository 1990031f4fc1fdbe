//! An engine that scrapes: Prometheus, or what takes its configuration and answers its queries.
//!
//! It listens on loopback, keeps its data in a temporary directory, and is killed when it is dropped.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The interval between scrapes, and the time that a target may take to answer.
const INTERVAL: Duration = Duration::from_secs(1);

/// The limit of every wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running engine.
#[derive(Debug)]
pub(crate) struct Engine {
    process: Child,
    url: String,
    targets: usize,
    /// Holds its configuration, data and log.
    directory: TempDir,
}

/// One series of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// With `__name__`.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// The command of an engine.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) arguments: fn(&Path, &Path, SocketAddr) -> Vec<String>,
    pub(crate) ready: &'static str,
}

pub(crate) const PROMETHEUS: Program = Program {
    name: "prometheus",
    arguments: |configuration, data, address| {
        vec![
            format!("--config.file={}", configuration.display()),
            format!("--storage.tsdb.path={}", data.display()),
            format!("--web.listen-address={address}"),
            "--enable-feature=native-histograms".to_owned(),
            "--log.level=warn".to_owned(),
        ]
    },
    ready: "/-/ready",
};

impl Engine {
    /// Starts an engine that scrapes `/metrics` of these targets, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If it is not installed, or does not come up.
    pub(crate) fn start(program: &Program, targets: &[SocketAddr]) -> Result<Self, Error> {
        let directory = TempDir::new()?;
        let configuration = directory.path().join("scrape.yml");
        let interval = INTERVAL.as_millis();
        let mut text = format!(
            "global:\n  scrape_interval: {interval}ms\n  scrape_timeout: {interval}ms\n\
             scrape_configs:\n- job_name: toolmeter\n  static_configs:\n  - targets:\n"
        );
        for target in targets {
            writeln!(text, "    - '{target}'")?;
        }
        fs::write(&configuration, text)?;
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let output = File::create(directory.path().join("log"))?;
        let data = directory.path().join("data");
        let process = Command::new(program.name)
            .args((program.arguments)(&configuration, &data, address))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("{}: {error}", program.name))?;
        let mut engine = Self {
            process,
            url: format!("http://{address}"),
            targets: targets.len(),
            directory,
        };
        let ready = format!("{}{}", engine.url, program.ready);
        let began = Instant::now();
        while ureq::get(&ready).call().is_err() {
            let is_over = engine.process.try_wait()?.is_some();
            if is_over || began.elapsed() > PATIENCE {
                let log = engine.log()?;
                return Err(format!("{} does not come up: {log}", program.name).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(engine)
    }

    /// Asks for the value of an expression now.
    ///
    /// # Errors
    ///
    /// An error if the engine cannot be reached, or refuses the query.
    pub(crate) fn query(&self, expression: &str) -> Result<Vec<Sample>, Error> {
        let mut answer = ureq::get(format!("{}/api/v1/query", self.url))
            .query("query", expression)
            .config()
            .http_status_as_error(false)
            .build()
            .call()?;
        let body = answer.body_mut().with_config().limit(1 << 30);
        let answer: Value = serde_json::from_str(&body.read_to_string()?)?;
        let Some(result) = answer["data"]["result"].as_array() else {
            return Err(format!("{expression}: {answer}").into());
        };
        result.iter().map(sample).collect()
    }

    /// Asks for the one number that an expression is.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query), or if it is not one number.
    pub(crate) fn number(&self, expression: &str) -> Result<f64, Error> {
        match &self.query(expression)?[..] {
            [sample] => Ok(sample.value),
            samples => Err(format!("{expression}: {samples:?}").into()),
        }
    }

    /// Waits until a scrape of every target that began after this call can be queried.
    ///
    /// # Errors
    ///
    /// If that takes longer than a minute.
    pub(crate) fn wait_for_scrapes(&self) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let scraped = format!("count((up == 1) and (timestamp(up) > {now:.3}))");
        let began = Instant::now();
        while !matches!(self.number(&scraped), Ok(count) if count as usize == self.targets) {
            if began.elapsed() > PATIENCE {
                let (up, log) = (self.query("timestamp(up)")?, self.log()?);
                return Err(format!("not scraped since {now}: {up:?}; {log}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.directory.path().join("log"))
    }
}

fn sample(result: &Value) -> Result<Sample, Error> {
    let labels = serde_json::from_value(result["metric"].clone())?;
    let value = result["value"][1]
        .as_str()
        .ok_or("a sample without a value")?;
    Ok(Sample {
        labels,
        value: value.parse()?,
    })
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
