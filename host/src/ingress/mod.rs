//! The listeners, the REST and the gRPC front end, and the host's own services.

pub mod access;
pub mod admin;
pub mod answer;
pub mod connections;
pub mod docs;
pub mod grpc;
pub mod health;
pub mod host_api;
pub mod host_routes;
pub mod layers;
pub mod listener;
pub mod rest;
