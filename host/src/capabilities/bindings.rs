//! The host side of `arcana:host`, generated from the WIT: types, one `Host` trait an interface and its `add_to_linker`.
#![expect(missing_docs, reason = "generated; the WIT holds the documentation")]

wasmtime::component::bindgen!({
    path: ["../wit/host"],
    inline: "
        package arcana:host-side;
        world host {
            import arcana:host/database@0.1.0;
            import arcana:host/cache@0.1.0;
            import arcana:host/passwords@0.1.0;
            import arcana:host/keys@0.1.0;
            import arcana:host/token-issuer@0.1.0;
            import arcana:host/token-verifier@0.1.0;
            import arcana:host/token-revoker@0.1.0;
            import arcana:host/context@0.1.0;
            import arcana:host/log@0.1.0;
            import arcana:host/config@0.1.0;
        }
    ",
    imports: {
        "arcana:host/database": async | trappable,
        "arcana:host/cache": async | trappable,
        "arcana:host/passwords": async | trappable,
        "arcana:host/token-revoker": async | trappable,
        default: trappable,
    },
    with: {
        "arcana:host/database.transaction": super::database::OpenTransaction,
        "arcana:host/cache.lock": super::cache::HeldLock,
    },
});
