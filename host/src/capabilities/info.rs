//! `context` and `config`: what a plugin may know of the call and of its own settings.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::bindings::arcana::host::{config, context};
use super::{Setting, View};

impl context::Host for View<'_> {
    fn get_principal(&mut self) -> wasmtime::Result<Option<context::Principal>> {
        Ok(self.state.call.principal.as_ref().map(|principal| context::Principal {
            subject: principal.subject.to_string(),
            session_id: principal.session_id.to_string(),
            roles: principal.roles.clone(),
        }))
    }

    fn request_id(&mut self) -> wasmtime::Result<String> {
        Ok(self.state.call.request_id.to_string())
    }

    fn get_trace_context(&mut self) -> wasmtime::Result<Option<context::TraceContext>> {
        Ok(self
            .state
            .call
            .trace
            .as_ref()
            .map(|trace| context::TraceContext { traceparent: trace.0.clone(), tracestate: trace.1.clone() }))
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u64> {
        let left = self.state.call.deadline.saturating_duration_since(Instant::now());
        Ok(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    fn client_address(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.state.call.client.map(|address| address.to_string()))
    }

    fn called_by_host(&mut self) -> wasmtime::Result<bool> {
        Ok(self.state.call.is_by_host())
    }

    fn now(&mut self) -> wasmtime::Result<i64> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

impl config::Host for View<'_> {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<config::Setting>> {
        Ok(self.state.grants.settings.get(&key).map(|setting| match setting {
            Setting::Boolean(value) => config::Setting::Boolean(*value),
            Setting::Integer(value) => config::Setting::Integer(*value),
            Setting::Decimal(value) => config::Setting::Decimal(*value),
            Setting::Text(value) => config::Setting::Text(value.clone()),
            Setting::Texts(value) => config::Setting::Texts(value.clone()),
        }))
    }
}
