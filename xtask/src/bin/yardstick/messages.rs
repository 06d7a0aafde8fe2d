//! The messages of the measured call, as the host derives them from the guest's `hello: func(name: string) -> string`.

/// The path of the call.
pub(crate) const HELLO: &str = "/test.echo.v1.Kitchen/Hello";

/// The parameters.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HelloRequest {
    /// Who is greeted.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// The result.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HelloResponse {
    /// The greeting.
    #[prost(string, tag = "1")]
    pub(crate) value: String,
}
