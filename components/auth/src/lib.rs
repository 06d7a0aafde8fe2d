//! The plugin `arcana/auth`: registration, sign-in, sessions and tokens, on the accounts of the store `identity`.

mod addresses;
mod login;
mod refresh;
mod register;
mod sessions;
mod settings;

arcana_sdk::bindings!({
    path: ["../../wit/types", "../../wit/user", "../../wit/auth", "../../wit/plugin", "wit"],
    world: "arcana:auth-plugin/auth",
    with: {
        "arcana:types/types@1.0.0": arcana_sdk::types,
        "arcana:user/types@1.0.0": arcana_identity::types,
    },
});

use arcana_identity::{User, account};
use arcana_sdk::{Problem, Result, context, tokens};
use bindings::exports::arcana::auth::auth_service as service;
use bindings::exports::arcana::plugin::lifecycle;
use settings::Settings;

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn on_enable() -> Result<(), String> {
        // A setting that cannot be used refuses the plugin here instead of the first sign-in.
        Settings::load().map(|_| ()).map_err(|error| error.to_string())
    }

    fn on_disable() -> Result<(), String> {
        Ok(())
    }
}

impl service::Guest for Plugin {
    fn register(request: service::RegisterRequest) -> Result<service::AuthResponse> {
        register::register(&request)
    }

    fn login(request: service::LoginRequest) -> Result<service::AuthResponse> {
        login::login(&request)
    }

    fn refresh(request: service::RefreshRequest) -> Result<service::AuthResponse> {
        refresh::refresh(&request.refresh_token)
    }

    fn logout(request: service::LogoutRequest) -> Result<()> {
        refresh::logout(&request.refresh_token)
    }

    fn validate_token(request: service::ValidateTokenRequest) -> Result<service::TokenInfo> {
        Ok(match tokens::verify(&request.token) {
            Ok(claims) => service::TokenInfo {
                valid: true,
                subject: Some(claims.subject),
                session_id: Some(claims.session_id),
                roles: claims.roles,
                expires_at: Some(claims.expires_at),
            },
            Err(_) => service::TokenInfo {
                valid: false,
                subject: None,
                session_id: None,
                roles: Vec::new(),
                expires_at: None,
            },
        })
    }

    fn get_current_user() -> Result<User> {
        let principal = context::require_principal()?;
        let gone = || Problem::unauthenticated("there is no such account any more");
        let id = principal.subject.parse().map_err(|_| gone())?;
        Ok(account::by_id(id)?.ok_or_else(gone)?.into())
    }
}

bindings::export!(Plugin with_types_in bindings);
