//! The serialized form of events (feature `serde`).
//!
//! Invariant: every field is always present. Without a value it is null.
//!
//! # Orderings
//!
//! None.

use crate::{
    context::CallContext,
    event::Event,
    id::{CallId, EventNumber, ToolId},
};
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap, SerializeStruct},
};
use toolmeter_core::ErrorKind;

/// Serializes the id as its number.
impl Serialize for ToolId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.get())
    }
}

/// Serializes the id as text, since JSON readers may round integers above 2^53.
impl Serialize for CallId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Serializes the number as text, since JSON readers may round integers above 2^53.
impl Serialize for EventNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Serializes session, turn, call and parent, and the labels as a map.
impl Serialize for CallContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("CallContext", 5)?;
        fields.serialize_field("session", &*self.session)?;
        fields.serialize_field("turn", &self.turn)?;
        fields.serialize_field("call", &*self.call)?;
        fields.serialize_field("parent", &self.parent)?;
        fields.serialize_field("labels", &Labels(self))?;
        fields.end()
    }
}

struct Labels<'a>(&'a CallContext);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut labels = serializer.serialize_map(Some(self.0.labels().count()))?;
        for (name, value) in self.0.labels() {
            labels.serialize_entry(name, value)?;
        }
        labels.end()
    }
}

/// Serializes every property of the event. Times are in nanoseconds of the registry's clock.
impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Event", 12)?;
        fields.serialize_field("event", &self.kind())?;
        fields.serialize_field("tool", &self.tool())?;
        fields.serialize_field("call", &self.call())?;
        fields.serialize_field("number", &self.number())?;
        fields.serialize_field("attempt", &self.attempt())?;
        fields.serialize_field("retry", &self.is_retry())?;
        fields.serialize_field("time_ns", &self.time_ns())?;
        fields.serialize_field("started_ns", &self.started_ns())?;
        fields.serialize_field("latency_ns", &self.latency_ns())?;
        fields.serialize_field("error_kind", &self.error_kind().map(ErrorKind::as_str))?;
        fields.serialize_field("message", &self.message())?;
        fields.serialize_field("context", &self.context().map(|context| &**context))?;
        fields.end()
    }
}
