//! The macro that binds a plugin to its WIT.

/// Makes the module `bindings` from the plugin's WIT: the traits to implement, the types, and `export!`.
///
/// Takes the options of [`wit_bindgen::generate!`](https://docs.rs/wit-bindgen); `path` is a list of WIT folders
/// relative to the crate, each after those that it uses. Interfaces that another crate has bound already are named under
/// `with`, as `arcana:types` is here.
///
/// ```ignore
/// arcana_sdk::bindings!({
///     path: ["wit/deps/types", "wit"],
///     world: "bookmarks",
///     with: { "arcana:types/types@1.0.0": arcana_sdk::types },
/// });
/// struct Plugin;
/// impl bindings::exports::acme::bookmarks::bookmarks::Guest for Plugin { /* … */ }
/// bindings::export!(Plugin with_types_in bindings);
/// ```
#[macro_export]
macro_rules! bindings {
    ({ $($options:tt)* }) => {
        #[allow(
            unsafe_code, missing_docs, unreachable_pub, dead_code, unused_imports, clippy::all,
            reason = "generated from WIT"
        )]
        mod bindings {
            $crate::wit_bindgen::generate!({
                runtime_path: "::arcana_sdk::wit_bindgen::rt",
                generate_all,
                $($options)*
            });
        }
    };
}
