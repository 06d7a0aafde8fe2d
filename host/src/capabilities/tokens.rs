//! `token-issuer`, `token-verifier` and `token-revoker`: the access tokens of this host.

use jiff::Timestamp;
use wasmtime::component::Resource;

use super::bindings::arcana::host::{database, token_issuer, token_revoker, token_verifier};
use super::database::OpenTransaction;
use super::{HostFault, View};
use crate::principal::revocation::{MAX_VALUE_BYTES, RevocationKind};
use crate::principal::tokens::{IssueError, TokenError, TokenRequest};

impl token_issuer::Host for View<'_> {
    fn issue(
        &mut self,
        request: token_issuer::TokenRequest,
    ) -> wasmtime::Result<Result<token_issuer::IssuedToken, token_issuer::Error>> {
        let issued = self.state.grants.services.tokens.issue(&TokenRequest {
            subject: &request.subject,
            session_id: &request.session_id,
            roles: &request.roles,
            life_seconds: request.life_seconds,
        });
        match issued {
            Ok(issued) => Ok(Ok(token_issuer::IssuedToken { token: issued.token, expires_in: issued.expires_in })),
            Err(IssueError::Invalid(what)) => Ok(Err(token_issuer::Error::Invalid(what.into()))),
            Err(IssueError::Host(cause)) => Err(HostFault(format!("no token could be signed: {cause}")).into()),
        }
    }
}

impl token_verifier::Host for View<'_> {
    fn verify(
        &mut self,
        token: String,
    ) -> wasmtime::Result<Result<token_verifier::TokenClaims, token_verifier::InvalidToken>> {
        let seconds = |s: i64| u64::try_from(s).unwrap_or(0);
        Ok(match self.state.grants.services.tokens.verify(&token) {
            Ok(principal) => Ok(token_verifier::TokenClaims {
                subject: principal.subject.to_string(),
                session_id: principal.session_id.to_string(),
                roles: principal.roles.clone(),
                issued_at: seconds(principal.issued_at_ms / 1_000),
                expires_at: seconds(principal.expires_at),
            }),
            Err(TokenError::Invalid) => Err(token_verifier::InvalidToken::Invalid),
            Err(TokenError::Expired) => Err(token_verifier::InvalidToken::Expired),
            Err(TokenError::Revoked) => Err(token_verifier::InvalidToken::Revoked),
        })
    }
}

impl View<'_> {
    /// Writes a revocation in the guest's own transaction; it is in force from the commit on.
    async fn revoke(
        &mut self,
        within: &Resource<OpenTransaction>,
        kind: RevocationKind,
        value: &str,
    ) -> wasmtime::Result<Result<(), database::Error>> {
        if value.is_empty() || value.len() > MAX_VALUE_BYTES {
            let message = format!("a session or a subject has 1 to {MAX_VALUE_BYTES} bytes");
            return Ok(Err(database::Error::InvalidParameter(message)));
        }
        let revocations = self.state.grants.services.tokens.revocations().clone();
        let open = self.table.get_mut(within)?;
        let pending = revocations.begin(kind, value, Timestamp::now().as_millisecond());
        if let Err(error) = open.transaction.revoke(pending.revocation()).await {
            return Ok(Err(error.into()));
        }
        open.revocations.push(pending);
        Ok(Ok(()))
    }
}

impl token_revoker::Host for View<'_> {
    async fn revoke_session(
        &mut self,
        within: Resource<OpenTransaction>,
        session_id: String,
    ) -> wasmtime::Result<Result<(), database::Error>> {
        self.revoke(&within, RevocationKind::Session, &session_id).await
    }

    async fn revoke_subject(
        &mut self,
        within: Resource<OpenTransaction>,
        subject: String,
    ) -> wasmtime::Result<Result<(), database::Error>> {
        self.revoke(&within, RevocationKind::Subject, &subject).await
    }
}
