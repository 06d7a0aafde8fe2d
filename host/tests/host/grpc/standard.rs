//! Health and reflection.

use serde_json::json;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::client::{Client, How, channel, reflect};
use crate::support::{Setup, guest};

fn named(service: &str) -> Request<HealthCheckRequest> {
    Request::new(HealthCheckRequest { service: service.to_owned() })
}

#[tokio::test]
async fn health_is_told_for_the_host_and_for_each_service() {
    let host = Setup::new().plugin("echo", &guest("echo")).start();
    let mut health = HealthClient::new(channel(&host.grpc).await);
    for service in ["", "test.echo.v1.Kitchen", "arcana.health.v1.HealthService", "grpc.health.v1.Health"] {
        let answer = health.check(named(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let status = health.check(named("test.echo.v1.Bathroom")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no service test.echo.v1.Bathroom"));
}

#[tokio::test]
async fn who_watches_is_told_of_the_end_and_does_not_hold_it_up() {
    let host = Setup::new().plugin("echo", &guest("echo")).dev().start();
    let mut health = HealthClient::new(channel(&host.grpc).await);
    let mut known = health.watch(named("test.echo.v1.Kitchen")).await.unwrap().into_inner();
    let mut unknown = health.watch(named("test.nowhere")).await.unwrap().into_inner();
    assert_eq!(known.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    assert_eq!(unknown.message().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    let reflection = channel(&host.grpc).await;
    let (questions, receive) = tokio::sync::mpsc::channel(1);
    let mut client = tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(reflection);
    let open = client.server_reflection_info(tokio_stream::wrappers::ReceiverStream::new(receive)).await.unwrap();

    host.terminate();
    assert_eq!(known.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(known.message().await.unwrap().is_none());
    let (status, setup) = tokio::task::spawn_blocking(move || host.wait()).await.unwrap();
    assert!(status.success());
    let log = std::fs::read_to_string(setup.path("host.log")).unwrap();
    assert!(!log.contains("in flight at the deadline"), "{log}");
    drop((questions, open));
}

#[tokio::test]
async fn the_hosts_own_health_service_says_what_the_rest_side_says() {
    let host = Setup::new().plugin("echo", &guest("echo")).dev().start();
    let client = Client::new(&host, None).await;
    let ask = |method: &str| {
        let (client, method) = (client.clone(), format!("arcana.health.v1.HealthService.{method}"));
        async move { client.call(&method, &json!({}), &How::default()).await.unwrap() }
    };
    assert_eq!(ask("Check").await, host.get("/health").await.1);
    for (method, path) in [("Live", "/health/live"), ("Ready", "/health/ready"), ("Startup", "/health/startup")] {
        assert_eq!(ask(method).await, host.get(path).await.1, "{method}");
    }
}

#[tokio::test]
async fn both_versions_of_reflection_answer_every_kind_of_question() {
    let host = Setup::new().plugin("echo", &guest("echo")).dev().start();
    let client = Client::new(&host, None).await;
    let expected = [
        "arcana.health.v1.HealthService",
        "arcana.plugin.v1.PluginService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "test.echo.v1.Kitchen",
    ];
    assert_eq!(client.services, expected);

    let found = |symbol: &str| {
        let (channel, symbol) = (client.channel.clone(), symbol.to_owned());
        async move { reflect(&channel, None, MessageRequest::FileContainingSymbol(symbol)).await.unwrap() }
    };
    for symbol in [
        "test.echo.v1.Kitchen",
        "test.echo.v1.Kitchen.EchoScalars",
        "test.echo.v1.Point",
        "test.echo.v1.Point.x",
        "test.echo.v1.Color",
        "grpc.health.v1.Health.Check",
        "google.protobuf.Empty",
    ] {
        assert!(matches!(found(symbol).await, MessageResponse::FileDescriptorResponse(_)), "{symbol}");
    }
    let MessageResponse::ErrorResponse(error) = found("test.echo.v1.Nothing").await else { panic!() };
    assert_eq!((error.error_code, &*error.error_message), (5, "there is no symbol test.echo.v1.Nothing"));
    let missing = MessageRequest::FileByFilename("no/such.proto".into());
    let MessageResponse::ErrorResponse(error) = reflect(&client.channel, None, missing).await.unwrap() else {
        panic!()
    };
    assert_eq!(error.error_code, 5);
    let numbers = MessageRequest::AllExtensionNumbersOfType("test.echo.v1.Point".into());
    let answer = reflect(&client.channel, None, numbers).await.unwrap();
    assert!(matches!(answer, MessageResponse::AllExtensionNumbersResponse(_)), "{answer:?}");

    // The older version, by its own client.
    use tonic_reflection::pb::v1alpha as alpha;
    let mut older = alpha::server_reflection_client::ServerReflectionClient::new(client.channel.clone());
    let ask = alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(alpha::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut answers = older.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let alpha::server_reflection_response::MessageResponse::ListServicesResponse(listed) = answer else { panic!() };
    assert_eq!(listed.service.len(), expected.len());
}

#[tokio::test]
async fn what_an_author_wrote_is_there_for_the_client_to_read() {
    let host = Setup::identity().dev().start();
    let client = Client::new(&host, None).await;
    let file = client.method("arcana.auth.v1.AuthService.Login").parent_file();
    let described = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
    let comments: Vec<&str> = described.location.iter().filter_map(|at| at.leading_comments.as_deref()).collect();
    for comment in ["Ends a session", "The e-mail address of the account.", "A signed-in session."] {
        assert!(comments.iter().any(|text| text.trim().starts_with(comment)), "{comment} is not in {comments:?}");
    }
}

#[tokio::test]
async fn who_may_reflect_is_a_setting() {
    let list = || MessageRequest::ListServices(String::new());
    // In production those who are signed in.
    let setup = Setup::identity();
    let host = setup.start();
    let user = host.register("ada@example.org").await;
    let channel_of = channel(&host.grpc).await;
    assert_eq!(reflect(&channel_of, None, list()).await.unwrap_err().code(), Code::Unauthenticated);
    assert!(reflect(&channel_of, Some(&user.access), list()).await.is_ok());
    for (setting, development, code) in [
        ("public", false, None),
        ("authenticated", true, Some(Code::Unauthenticated)),
        ("off", true, Some(Code::Unimplemented)),
        ("auto", true, None),
    ] {
        let setup = Setup::new().env("ARCANA_SERVER__GRPC__REFLECTION", setting);
        let host = if development { setup.dev() } else { setup }.start();
        let answer = reflect(&channel(&host.grpc).await, None, list()).await;
        assert_eq!(answer.err().map(|status| status.code()), code, "{setting}");
    }
}
