//! The host through its public surface: the real binary, real signed components, a real database.

mod smoke;
mod support;
