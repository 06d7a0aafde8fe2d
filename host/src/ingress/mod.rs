//! The listeners and the REST front end.

pub mod access;
pub mod answer;
pub mod host_routes;
pub mod layers;
pub mod listener;
pub mod rest;
