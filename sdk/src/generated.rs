//! What `wit/types` and `wit/host` say, as Rust. Only functions that are called become imports of the plugin.

wit_bindgen::generate!({
    path: ["../wit/types", "../wit/host"],
    inline: "
        package arcana:sdk;

        world sdk {
            import arcana:types/types@1.0.0;
            import arcana:host/database@0.1.0;
            import arcana:host/cache@0.1.0;
            import arcana:host/crypto@0.1.0;
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
    generate_all,
    generate_unused_types: true,
    additional_derives: [PartialEq],
    additional_derives_ignore: ["lookup"],
});
