//! How a registry is set up: [`RegistryBuilder`], its defaults and its limits.

use crate::clock::{ClockSource, HostClock};
use crate::handle::{Meter, ToolReading};
use crate::pump::{Pump, Pumping};
use crate::registry::Registry;
use crate::roster::Roster;
use crate::shared::{Baselines, Registration, Shared};
use crate::slab::Slab;
use crate::snapshot::{MAX_EXPONENT, PRECISIONS, Snapshot};
use crate::swap::ArcSwap;
use crate::text::{Redactor, TextPolicy, escaped};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use toolmeter_core::sync::{self, Mutex, Word};
use toolmeter_core::{Clock, Layout};
use toolmeter_events::{Hub, HubError, Rings, RingsError};

/// The most tools that a registry can be allowed.
const MAX_TOOL_LIMIT: usize = 1_000_000;

/// Sets up a [`Registry`]; see [`Registry::builder`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use toolmeter::{Pump, Registry};
///
/// let registry = Registry::builder()
///     .instance("host-7")
///     .stripes(4)
///     .publish_every(Duration::from_secs(5))
///     .pump(Pump::manual())
///     .build()?;
/// assert_eq!(registry.metrics().instance, "host-7");
/// # Ok::<(), toolmeter::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct RegistryBuilder {
    instance: Option<String>,
    clock: ClockSource,
    precision: u8,
    stripes: Option<usize>,
    tool_limit: usize,
    ring_capacity: usize,
    batch_size: usize,
    queue_capacity: usize,
    publish_every: Duration,
    pump: Pump,
    text: TextPolicy,
    max_exponent: u8,
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        Self {
            instance: None,
            clock: ClockSource::default(),
            precision: 5,
            stripes: None,
            tool_limit: 10_000,
            ring_capacity: 4_096,
            batch_size: Hub::DEFAULT_BATCH_SIZE,
            queue_capacity: Hub::DEFAULT_QUEUE_CAPACITY,
            publish_every: Duration::from_secs(1),
            pump: Pump::default(),
            text: TextPolicy::Keep,
            max_exponent: MAX_EXPONENT,
        }
    }
}

impl RegistryBuilder {
    /// The name of this host in its snapshots. Default: the process id and the time of building.
    /// Kept to 256 bytes, with what cannot be seen escaped.
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Which clock times the calls. Default: [`ClockSource::Auto`].
    ///
    /// # Examples
    ///
    /// See [`ClockSource`].
    pub fn clock(mut self, clock: ClockSource) -> Self {
        self.clock = clock;
        self
    }

    /// The precision of the latency histograms: `2^precision` buckets an octave, so a quantile
    /// is at most `2^-precision` too high. 3 to 7, default 5 (3%).
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().precision(8).build().unwrap_err();
    /// assert!(matches!(error, BuildError::Precision { given: 8 }));
    /// ```
    pub fn precision(mut self, precision: u8) -> Self {
        self.precision = precision;
        self
    }

    /// How many threads can count without disturbing each other. A power of two from 1 to 256;
    /// default: the number of cores rounded up to one, from 2 to 16.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().stripes(3).build().unwrap_err();
    /// assert!(matches!(error, BuildError::Stripes { given: 3 }));
    /// ```
    pub fn stripes(mut self, stripes: usize) -> Self {
        self.stripes = Some(stripes);
        self
    }

    /// How many tools may be visible at once, retired ones included. 1 to 1,000,000, default
    /// 10,000.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().tool_limit(0).build().unwrap_err();
    /// assert!(matches!(error, BuildError::ToolLimit { given: 0 }));
    /// ```
    pub fn tool_limit(mut self, tools: usize) -> Self {
        self.tool_limit = tools;
        self
    }

    /// How many events each stripe's ring holds between two rounds of the pump. 1 to 1,048,576,
    /// default 4,096; 64 bytes each, taken when somebody first subscribes.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().ring_capacity(0).build().unwrap_err();
    /// assert!(matches!(error, BuildError::Rings(_)));
    /// ```
    pub fn ring_capacity(mut self, events: usize) -> Self {
        self.ring_capacity = events;
        self
    }

    /// How many events a batch holds at most. 1 to 65,536, default 1,024.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().batch_size(0).build().unwrap_err();
    /// assert!(matches!(error, BuildError::Hub(_)));
    /// ```
    pub fn batch_size(mut self, events: usize) -> Self {
        self.batch_size = events;
        self
    }

    /// How many batches wait for a slow subscriber before events are lost to it. 1 to 65,536,
    /// default 1,024.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{BuildError, Registry};
    ///
    /// let error = Registry::builder().queue_capacity(0).build().unwrap_err();
    /// assert!(matches!(error, BuildError::Hub(_)));
    /// ```
    pub fn queue_capacity(mut self, batches: usize) -> Self {
        self.queue_capacity = batches;
        self
    }

    /// How often the pump publishes a snapshot, by the registry's clock. Default: each second.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use toolmeter::{ClockSource, ManualClock, Pump, Registry, ToolSpec};
    ///
    /// let clock = Arc::new(ManualClock::new());
    /// let registry = Registry::builder()
    ///     .clock(ClockSource::Manual(Arc::clone(&clock)))
    ///     .publish_every(Duration::from_secs(5))
    ///     .pump(Pump::manual())
    ///     .build()?;
    /// registry.pump();
    /// registry.register(ToolSpec::new("shell"))?;
    /// registry.pump();
    /// assert!(registry.published().tools.is_empty());
    /// clock.advance(Duration::from_secs(5));
    /// registry.pump();
    /// assert_eq!(registry.published().tools.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_every(mut self, interval: Duration) -> Self {
        self.publish_every = interval;
        self
    }

    /// Who drains events and publishes snapshots. Default: [`Pump::background`].
    ///
    /// # Examples
    ///
    /// See [`Pump`].
    pub fn pump(mut self, pump: Pump) -> Self {
        self.pump = pump;
        self
    }

    /// Passes every error message through `redactor` before it is cut and kept.
    ///
    /// It sees the first 4 KiB of the text. If it panics, the text is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Registry, ToolSpec};
    ///
    /// let registry = Registry::builder()
    ///     .redact_errors(|text| text.replace("hunter2", "[password]").into())
    ///     .build()?;
    /// let login = registry.register(ToolSpec::new("login"))?;
    /// login.start().fail(ErrorKind::Other, "hunter2 was refused");
    /// let metrics = registry.metrics();
    /// let error = metrics.tools["login"].last_error.as_ref().unwrap();
    /// assert_eq!(error.message.as_deref(), Some("[password] was refused"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redact_errors(
        mut self,
        redactor: impl Fn(&str) -> Cow<'_, str> + Send + Sync + 'static,
    ) -> Self {
        let redactor: Redactor = Arc::new(redactor);
        self.text = TextPolicy::Redact(redactor);
        self
    }

    /// Keeps no error messages at all, only kinds; a failure then allocates nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::{ErrorKind, Pump, Registry, ToolSpec};
    ///
    /// let registry = Registry::builder().without_error_text().pump(Pump::manual()).build()?;
    /// let login = registry.register(ToolSpec::new("login"))?;
    /// login.start().fail(ErrorKind::Other, "hunter2 was refused");
    /// let metrics = registry.metrics();
    /// let error = metrics.tools["login"].last_error.as_ref().unwrap();
    /// assert_eq!((error.kind, error.message.as_deref()), (ErrorKind::Other, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn without_error_text(mut self) -> Self {
        self.text = TextPolicy::Off;
        self
    }

    /// A shorter range of latencies, for models that cannot hold thousands of words.
    #[doc(hidden)]
    pub fn max_exponent(mut self, max_exponent: u8) -> Self {
        self.max_exponent = max_exponent;
        self
    }

    /// Builds the registry, and starts its pump.
    ///
    /// # Errors
    ///
    /// [`BuildError`], naming the setting and its range, or if the operating system gives no
    /// thread.
    ///
    /// # Examples
    ///
    /// ```
    /// use toolmeter::Registry;
    ///
    /// let error = Registry::builder().stripes(3).build().unwrap_err();
    /// assert!(error.to_string().contains("power of two"));
    /// assert!(Registry::builder().stripes(4).build().is_ok());
    /// ```
    pub fn build(self) -> Result<Registry, BuildError> {
        if !PRECISIONS.contains(&self.precision) && !cfg!(toolmeter_loom) {
            return Err(BuildError::Precision {
                given: self.precision,
            });
        }
        if !(1..=MAX_TOOL_LIMIT).contains(&self.tool_limit) {
            return Err(BuildError::ToolLimit {
                given: self.tool_limit,
            });
        }
        let stripes = self.stripes.unwrap_or_else(default_stripes);
        let layout = Layout::new(self.precision, self.max_exponent, stripes)
            .map_err(|_| BuildError::Stripes { given: stripes })?;
        let rings = Rings::new(stripes, self.ring_capacity)?;
        let hub = Hub::new(self.queue_capacity, self.batch_size)?;
        let clock = HostClock::new(self.clock);
        let built_ns = clock.now_ns();
        let instance = self.instance.map_or_else(default_instance, |instance| {
            escaped(&instance, crate::text::MAX_MESSAGE_BYTES)
        });
        let empty = Snapshot::new(
            instance.clone(),
            SystemTime::now(),
            Duration::ZERO,
            0,
            BTreeMap::new(),
        );
        let shared = Arc::new(Shared {
            meter: Arc::new(Meter {
                clock,
                rings: sync::Arc::new(rings),
                text: self.text,
            }),
            instance,
            precision: self.precision,
            built_ns,
            tool_limit: self.tool_limit,
            roster: ArcSwap::from_pointee(Roster::default()),
            registration: Mutex::new(Registration {
                slab: Slab::new(layout),
                next_id: 0,
                nothing: Arc::new(ToolReading::default()),
                graveyard: Vec::new(),
            }),
            unknown_tool_calls: Word::new(0),
            baselines: ArcSwap::from_pointee(Baselines::default()),
            resetting: Mutex::new(()),
            published: ArcSwap::from_pointee(empty),
            hub,
            cursors: Mutex::new(Vec::new()),
            epoch: Word::new(0),
        });
        let pumping = Arc::new(Pumping::new(Arc::clone(&shared), self.publish_every));
        Registry::start(shared, pumping, self.pump).map_err(BuildError::PumpThread)
    }
}

fn default_stripes() -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    cores.next_power_of_two().clamp(2, 16)
}

fn default_instance() -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since_epoch.map_or(0, |time| time.as_secs());
    format!("{}-{seconds}", std::process::id())
}

/// Why [`RegistryBuilder::build`] built nothing.
///
/// # Examples
///
/// ```
/// use toolmeter::{BuildError, Registry};
///
/// let error = Registry::builder().precision(2).build().unwrap_err();
/// assert!(matches!(error, BuildError::Precision { given: 2 }));
/// assert_eq!(error.to_string(), "precision 2 is out of range: use 3 to 7");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The precision is out of range.
    #[error("precision {given} is out of range: use 3 to 7")]
    Precision {
        /// The precision that was asked for.
        given: u8,
    },
    /// The number of stripes is out of range.
    #[error("{given} stripes are out of range: use a power of two from 1 to 256")]
    Stripes {
        /// The number that was asked for.
        given: usize,
    },
    /// The limit of tools is out of range.
    #[error("a limit of {given} tools is out of range: use 1 to 1,000,000")]
    ToolLimit {
        /// The limit that was asked for.
        given: usize,
    },
    /// The ring capacity is out of range.
    #[error(transparent)]
    Rings(#[from] RingsError),
    /// The batch size or the queue capacity is out of range.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The operating system gave no thread for the pump.
    #[error("no thread for the pump: use Pump::manual(), or allow the process more threads")]
    PumpThread(#[source] io::Error),
}
