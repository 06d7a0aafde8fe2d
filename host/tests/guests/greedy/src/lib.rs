//! A guest that imports `arcana:host/cache`, which its manifest does not ask for. The host must refuse to load it.

arcana_sdk::bindings!({ path: ["wit"], world: "test:greedy/guest" });

struct Plugin;

impl bindings::exports::test::greedy::wants::Guest for Plugin {
    fn peek(key: String) -> bool {
        matches!(arcana_sdk::cache::get(&key), Ok(Some(_)))
    }
}

bindings::export!(Plugin with_types_in bindings);
