//! Running components: the engine, compiled code, instances, calls, and the catalog of what is active.

pub mod catalog;
pub mod code_cache;
pub mod compile;
pub mod engine;
pub mod live;
pub mod method;
pub mod places;
pub mod plugin;
pub mod pool;
pub mod rate;
pub mod state;
