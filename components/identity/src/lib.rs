//! What the plugins `arcana/users` and `arcana/auth` share: the accounts of the store `identity`, and the rules that the
//! fields of an account keep. A library, no plugin.

pub mod account;
pub mod attempts;
pub mod profile;
pub mod sessions;

arcana_sdk::bindings!({
    path: ["../../wit/types", "../../wit/user"],
    inline: "
        package arcana:identity;
        world identity { import arcana:user/types@1.0.0; }
    ",
    generate_unused_types: true,
    additional_derives: [PartialEq],
});

pub use account::{Account, Credentials, role_name};
pub use bindings::arcana::user::types;
pub use profile::Profile;
pub use types::{Role, Status, User};

use arcana_sdk::database::Store;

/// The store that holds the accounts. `arcana/users` owns and migrates it.
pub const STORE: Store = Store::named("identity");
