//! Plugins from file to active: manifest, verification, installation, loading.

pub mod attempts;
pub mod files;
mod limited;
pub mod live;
pub mod load;
pub mod manifest;
pub mod pack;
pub mod prepass;
mod publish;
pub mod refusal;
pub mod registry;
mod settings;
pub mod surface;
pub mod verify;
