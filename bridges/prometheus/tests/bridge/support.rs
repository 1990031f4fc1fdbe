//! Pages as series, and the server that they are scraped from.

pub(crate) use crate::series::{EXPONENTS, Series, differences, expected, key, le};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use axum::{Router, extract::State, response::IntoResponse, routing::get};
use openmetrics_parser::{PrometheusValue, prometheus::parse_prometheus};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use toolmeter::Snapshot;
use toolmeter_prometheus::prometheus_client::{encoding::prometheus_text, registry};

/// The page that is served for these metrics.
pub(crate) fn page(metrics: &registry::Registry) -> String {
    let mut page = String::new();
    prometheus_text::encode(&mut page, metrics).unwrap();
    page
}

/// Returns the series that another implementation reads in a page. It refuses series that are there twice, counts that
/// do not ascend with `le`, and escapes that the format does not have.
pub(crate) fn parsed(page: &str) -> Series {
    let mut series = Series::new();
    for (name, family) in parse_prometheus(page).unwrap().families {
        for sample in family.iter_samples() {
            let labels = sample.get_labelset().unwrap();
            let labels: Vec<(&str, &str)> = labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let mut put = |name: &str, bound: Option<f64>, number: f64| {
                let bound = bound.map(le);
                let mut labels = labels.clone();
                labels.extend(bound.iter().map(|bound| ("le", bound.as_str())));
                let before = series.insert(key(name, labels), number);
                assert_eq!(before, None, "{name} twice");
            };
            match &sample.value {
                PrometheusValue::Counter(counter) => put(&name, None, counter.value.as_f64()),
                PrometheusValue::Gauge(gauge) => put(&name, None, gauge.as_f64()),
                PrometheusValue::Histogram(histogram) => {
                    for bucket in &histogram.buckets {
                        let count = bucket.count.as_f64();
                        put(&format!("{name}_bucket"), Some(bucket.upper_bound), count);
                    }
                    let sum = histogram.sum.unwrap().as_f64();
                    put(&format!("{name}_sum"), None, sum);
                    let count = histogram.count.unwrap();
                    put(&format!("{name}_count"), None, count as f64);
                }
                other => panic!("{name} is {other:?}"),
            }
        }
    }
    series
}

/// Fails unless everything in a snapshot is there, and everything else of its tools is zero.
pub(crate) fn assert_same(found: &Series, snapshot: &Snapshot) {
    assert_eq!(differences(found, &expected(snapshot)), [""; 0]);
}

/// An endpoint for these metrics; it ends when it is dropped.
pub(crate) struct Endpoint {
    _runtime: Runtime,
    pub(crate) address: SocketAddr,
}

impl Endpoint {
    pub(crate) fn new(metrics: registry::Registry) -> Self {
        let runtime = Runtime::new().unwrap();
        let app = Router::new()
            .route("/metrics", get(answer))
            .with_state(Arc::new(metrics));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(axum::serve(listener, app).into_future());
        Self {
            _runtime: runtime,
            address,
        }
    }
}

/// The page in the format that is asked for.
async fn answer(
    State(metrics): State<Arc<registry::Registry>>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    if let Some(page) = protobuf(accepted.unwrap_or_default(), &metrics) {
        return page;
    }
    let page = page(&metrics).into_bytes();
    ([(CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], page)
}

type Answer = ([(axum::http::HeaderName, &'static str); 1], Vec<u8>);

#[cfg(feature = "native")]
fn protobuf(accepted: &str, metrics: &registry::Registry) -> Option<Answer> {
    use toolmeter_prometheus::prometheus_client::encoding::prometheus_protobuf::encode_to_vec;
    const PROTOBUF: &str = "application/vnd.google.protobuf; \
         proto=io.prometheus.client.MetricFamily; encoding=delimited";
    accepted
        .contains("application/vnd.google.protobuf")
        .then(|| ([(CONTENT_TYPE, PROTOBUF)], encode_to_vec(metrics).unwrap()))
}

#[cfg(not(feature = "native"))]
fn protobuf(_: &str, _: &registry::Registry) -> Option<Answer> {
    None
}
