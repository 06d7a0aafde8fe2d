//! A gRPC client that knows nothing but what the host reflects: tonic's channel, prost-reflect's messages.

use std::time::Duration;

use bytes::{Buf, BufMut};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use prost_types::FileDescriptorProto;
use serde_json::Value;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::forms::{to_json, to_message};
use crate::support::Host;

/// Bytes as they are.
#[derive(Clone, Copy)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; message.remaining()];
        message.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

/// How a call is made.
#[derive(Debug, Clone, Default)]
pub struct How<'a> {
    /// The bearer token.
    pub token: Option<&'a str>,
    /// The request's message is compressed so, and answers may be.
    pub compression: Option<CompressionEncoding>,
    /// Sent as `x-request-id`.
    pub request_id: Option<&'a str>,
    /// The time that a call with streams is given.
    pub timeout: Option<Duration>,
}

impl<'a> How<'a> {
    /// As this caller.
    pub fn caller(token: Option<&'a str>) -> Self {
        Self { token, ..Self::default() }
    }
}

/// A connection with the contract of the host.
#[derive(Clone)]
pub struct Client {
    pub channel: Channel,
    pub pool: DescriptorPool,
    /// The services that the host lists.
    pub services: Vec<String>,
}

/// A connection to this address.
pub async fn channel(address: &str) -> Channel {
    Endpoint::from_shared(address.to_owned()).unwrap().connect().await.unwrap()
}

/// One question to server reflection.
pub async fn reflect(channel: &Channel, token: Option<&str>, ask: MessageRequest) -> Result<MessageResponse, Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut request = Request::new(tokio_stream::iter([request]));
    authorize(request.metadata_mut(), token);
    let mut client = ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(request).await?.into_inner();
    let answer = answers.message().await?.expect("an answer to each question");
    Ok(answer.message_response.unwrap())
}

fn authorize(metadata: &mut MetadataMap, token: Option<&str>) {
    if let Some(token) = token {
        metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
}

impl Client {
    /// Connects to the gRPC port and reads the contract by reflection.
    pub async fn new(host: &Host, token: Option<&str>) -> Self {
        Self::at(&host.grpc, token).await
    }

    /// Connects to this address and reads the contract by reflection.
    pub async fn at(address: &str, token: Option<&str>) -> Self {
        let channel = channel(address).await;
        let listed = reflect(&channel, token, MessageRequest::ListServices(String::new())).await.unwrap();
        let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
        let services: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
        let mut files: Vec<FileDescriptorProto> = Vec::new();
        let mut wanted: Vec<MessageRequest> =
            services.iter().map(|service| MessageRequest::FileContainingSymbol(service.clone())).collect();
        while let Some(ask) = wanted.pop() {
            let answer = reflect(&channel, token, ask).await.unwrap();
            let MessageResponse::FileDescriptorResponse(answer) = answer else { panic!("{answer:?}") };
            for file in answer.file_descriptor_proto {
                let file = FileDescriptorProto::decode(&*file).unwrap();
                if files.iter().all(|known| known.name != file.name) {
                    wanted.extend(file.dependency.iter().cloned().map(MessageRequest::FileByFilename));
                    files.push(file);
                }
            }
        }
        let mut pool = DescriptorPool::new();
        // The pool refuses what does not fit together: a missing import, a type that is not there, a number twice.
        pool.add_file_descriptor_protos(files).unwrap();
        Self { channel, pool, services }
    }

    /// Every method of the catalog, without the standard services.
    pub fn methods(&self) -> Vec<MethodDescriptor> {
        let services = self.pool.services().filter(|service| !service.full_name().starts_with("grpc."));
        services.flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
    }

    /// A method by its full name, such as `arcana.auth.v1.AuthService.Login`.
    pub fn method(&self, name: &str) -> MethodDescriptor {
        let found = self.methods().into_iter().find(|method| method.full_name() == name);
        found.unwrap_or_else(|| panic!("{name} is not in the catalog"))
    }

    /// Calls a method with bytes.
    pub async fn raw(&self, path: &str, message: Vec<u8>, how: &How<'_>) -> Result<tonic::Response<Vec<u8>>, Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        if let Some(encoding) = how.compression {
            client = client.send_compressed(encoding).accept_compressed(encoding);
        }
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(message);
        authorize(request.metadata_mut(), how.token);
        if let Some(id) = how.request_id {
            request.metadata_mut().insert("x-request-id", id.parse().unwrap());
        }
        client.unary(request, path.parse().unwrap(), Raw).await
    }

    /// Calls a method with these messages, of which each is bytes; the answers are read one after the other.
    pub async fn stream<S>(&self, path: &str, messages: S, how: &How<'_>) -> Result<Streaming<Vec<u8>>, Status>
    where
        S: tokio_stream::Stream<Item = Vec<u8>> + Send + 'static,
    {
        let mut client = tonic::client::Grpc::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(messages);
        authorize(request.metadata_mut(), how.token);
        if let Some(timeout) = how.timeout {
            request.set_timeout(timeout);
        }
        Ok(client.streaming(request, path.parse().unwrap(), Raw).await?.into_inner())
    }

    /// Calls a method with the message of this JSON and answers the JSON of its message.
    pub async fn call(&self, name: &str, json: &Value, how: &How<'_>) -> Result<Value, Status> {
        let method = self.method(name);
        let message = to_message(&method.input(), json).encode_to_vec();
        let answer = self.raw(&path(&method), message, how).await?.into_inner();
        Ok(to_json(&DynamicMessage::decode(method.output(), &*answer).unwrap()))
    }
}

/// `/arcana.auth.v1.AuthService/Login`
pub fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}
