//! The upload over REST: what is refused before it is read, what while it arrives, and what is answered at the end.

use std::time::Duration;

use arcana_signing::SecretKey;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Events, admin, read, rejected, token, upload, uploading};
use crate::small::{answer, answering, answering_after, bare_manifest, manifest, plugin, signed, signed_by};
use crate::support::{Host, Setup, until};

async fn get(host: &Host, path: &str) -> (u16, Value) {
    host.call(Method::GET, &format!("/api/v1/{path}"), Some(&admin(host)), None).await
}

/// A connection without a client's help, on which the head of an upload was sent.
async fn head(host: &Host, token: &str, headers: &str) -> TcpStream {
    head_of(host, token, "application/octet-stream", headers).await
}

async fn head_of(host: &Host, token: &str, media_type: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(host.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "POST /api/v1/plugins HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: {media_type}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// What comes, until this is in it.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    while !text.contains(end) {
        let count = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(count > 0, "the connection ended after {text:?}");
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    text
}

#[tokio::test]
async fn what_comes_of_it_has_its_status() {
    let host = Setup::new().start();
    let token = admin(&host);
    // A dry run says what would be, and changes nothing.
    let (status, dry) = upload(&host, &token, "?dry_run=true", plugin("small", 1, 1)).await;
    assert_eq!(
        (status, &dry["changed"], &dry["comparison"]["to_version"]),
        (200, &json!(false), &json!("1.0.1")),
        "{dry}"
    );
    assert_eq!(get(&host, "plugins/test/small").await.0, 404);

    let response = uploading(&host, &token, "", plugin("small", 1, 1)).send().await.unwrap();
    assert_eq!(response.headers()["location"], "/api/v1/plugins/test/small");
    assert_eq!(read(response).await.0, 201);
    let (status, again) = upload(&host, &token, "", plugin("small", 1, 1)).await;
    assert_eq!((status, &again["changed"]), (200, &json!(false)), "{again}");
    let (status, kept) = upload(&host, &token, "?activate=false", plugin("small", 2, 2)).await;
    assert_eq!((status, &kept["state"]), (201, &json!("verified")), "{kept}");
    assert_eq!(answer(&host, "/small").await, (200, json!(1)));

    // A lower number needs an explicit act.
    assert_eq!(upload(&host, &token, "", plugin("small", 5, 5)).await.0, 201);
    let older = || signed(&answering("small", 4), &(manifest("small", 2).replace("seq = 2", "seq = 4")));
    let (status, error) = upload(&host, &token, "", older()).await;
    assert_eq!(status, 409, "{error}");
    assert_eq!(answer(&host, "/small").await, (200, json!(5)));
    assert_eq!(upload(&host, &token, "?allow_downgrade=true", older()).await.0, 201);
    assert_eq!(answer(&host, "/small").await, (200, json!(4)));

    // So does one that clients would notice.
    let breaking = |seq| {
        let text = manifest("small", seq).replace("GET /small", "GET /tiny");
        signed(&answering("small", 5), &text)
    };
    let (status, error) = upload(&host, &token, "", breaking(9)).await;
    assert!((400..500).contains(&status), "{error}");
    let (_, told) = upload(&host, &token, "?dry_run=true&allow_breaking=true", breaking(9)).await;
    assert_eq!(told["comparison"]["compatibility"], "breaking", "{told}");
    assert_eq!(upload(&host, &token, "?allow_breaking=true", breaking(9)).await.0, 201);
    assert_eq!(answer(&host, "/tiny").await, (200, json!(5)));
}

#[tokio::test]
async fn what_waits_for_an_approval_is_accepted() {
    let setup = Setup::new();
    let narrow = SecretKey::generate().unwrap();
    let own = "packages = [\"*\"]\nroutes = [\"/\"]\nnamespaces = [\"*\"]\nowned_stores = [\"*\"]\n";
    let policy = format!(
        "serial = 1\n[[keys]]\nkey = \"{}\"\nprincipal = \"acme\"\nrole = \"publisher\"\nmay_request = [\"cache\"]\n{own}\
         [[rules]]\nplugins = [\"*\"]\n",
        narrow.public_key()
    );
    std::fs::write(setup.path("config/trust.toml"), policy).unwrap();
    let host = setup.start();
    let token = admin(&host);
    let file =
        signed_by(&[&narrow], &answering("small", 1), &(manifest("small", 1) + "[capabilities]\ncache = true\n"));
    let (status, waiting) = upload(&host, &token, "", file).await;
    assert_eq!((status, &waiting["state"], &waiting["pending"]), (202, &json!("pending_approval"), &json!(["cache"])));
    assert_eq!(answer(&host, "/small").await.0, 404);
    let approve = |list: Value| {
        let (host, token) = (&host, token.clone());
        async move {
            let body = json!({ "capabilities": list });
            host.call(Method::PUT, "/api/v1/plugins/test/small", Some(&token), Some(body)).await
        }
    };
    // Exactly what it asks for, nothing else.
    let (status, error) = approve(json!(["cache", "crypto"])).await;
    assert!((400..500).contains(&status), "{error}");
    let (status, details) = approve(json!(["cache"])).await;
    assert_eq!((status, &details["granted"]), (200, &json!(["cache"])), "{details}");
    assert_eq!(answer(&host, "/small").await, (200, json!(1)));
}

#[tokio::test]
async fn broken_files_are_refused_with_their_codes_and_what_runs_goes_on() {
    let host = Setup::new().start();
    let token = admin(&host);
    assert_eq!(upload(&host, &token, "", plugin("small", 1, 1)).await.0, 201);
    let good = plugin("small", 2, 2);
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let packed = arcana::plugins::pack::pack(&answering("small", 2), &manifest("small", 2), &[], ".".as_ref()).unwrap();
    let stranger = SecretKey::generate().unwrap();
    let traps = r#"(func $f unreachable) (start $f)"#;
    let asking = bare_manifest("test/small", 2) + "[capabilities]\ncache = true\nstores = [\"nobodys\"]\n";
    for (what, file, status, code) in [
        ("nothing", Vec::new(), 422, "NOT_COMPONENT"),
        ("a text", b"(component)".to_vec(), 422, "NOT_COMPONENT"),
        ("no signature", packed, 422, "UNSIGNED"),
        ("a flipped bit", flipped, 422, "DIGEST_MISMATCH"),
        ("cut off", good[..good.len() / 2].to_vec(), 422, ""),
        ("a foreign key", signed_by(&[&stranger], &answering("small", 2), &manifest("small", 2)), 403, "UNKNOWN_KEY"),
        (
            "a trap at the start",
            signed(&answering_after("small", 2, traps), &manifest("small", 2)),
            422,
            "START_FAILED",
        ),
        ("a number that is taken", signed(&answering("small", 9), &manifest("small", 1)), 409, "SEQ_CONFLICT"),
        ("stores of others", signed(&answering("small", 2), &asking), 0, ""),
    ] {
        let (got, error) = upload(&host, &token, "", file.clone()).await;
        assert!((400..500).contains(&got), "{what}: {got} {error}");
        let told = error["code"].as_str().unwrap();
        assert!(code.is_empty() || code == told, "{what}: {error}");
        assert!(status == 0 || code.is_empty() || status == got, "{what}: {got} {error}");
        assert!(error["details"].is_array() && !error["message"].as_str().unwrap().is_empty(), "{what}: {error}");
        assert_eq!(answer(&host, "/small").await, (200, json!(1)), "{what}");
        // The same is told at the end of events.
        let request = uploading(&host, &token, "", file).header("accept", "text/event-stream");
        let events = Events::of(request.send().await.unwrap()).all().await;
        let (name, last) = events.last().unwrap();
        assert_eq!((name.as_str(), &last["code"], &last["status"]), ("refused", &error["code"], &json!(got)), "{what}");
    }
}

#[tokio::test]
async fn who_wants_events_is_told_of_every_stage() {
    let host = Setup::new().start();
    let token = admin(&host);
    let request = uploading(&host, &token, "", plugin("small", 1, 1)).header("accept", "text/event-stream");
    let mut events = Events::of(request.send().await.unwrap()).all().await;
    let (name, installed) = events.pop().unwrap();
    assert_eq!(
        (name.as_str(), &installed["id"], &installed["state"]),
        ("installed", &json!("test/small"), &json!("active"))
    );
    let stages: Vec<&str> = events.iter().map(|(_, data)| data["stage"].as_str().unwrap()).collect();
    assert!(events.iter().all(|(name, _)| name == "stage"), "{events:?}");
    assert_eq!((stages[0], stages[stages.len() - 1]), ("verifying", "activating"), "{stages:?}");
    let order = ["verifying", "compiling", "waiting", "starting", "activating"];
    let places: Vec<_> = stages.iter().map(|stage| order.iter().position(|known| known == stage).unwrap()).collect();
    assert!(places.is_sorted(), "{stages:?}");
    assert_eq!(answer(&host, "/small").await, (200, json!(1)));
}

#[tokio::test]
async fn the_head_alone_decides_what_it_can() {
    let host = Setup::new().settings("[plugins]\nmax_file_bytes = \"1MiB\"\n").start();
    let (root, user) = (admin(&host), token(&host, "ada", "user"));
    // A client that waits to be asked for the body is not asked.
    for (caller, media_type, length, status) in [
        ("nobody", "application/wasm", 100, "401"),
        (&*user, "application/wasm", 100, "403"),
        (&*root, "text/plain", 100, "415"),
        (&*root, "application/wasm", (1 << 20) + 1, "413"),
        (&*root, "application/wasm", 99_999_999_999_u64, "413"),
    ] {
        let headers = format!("expect: 100-continue\r\ncontent-length: {length}\r\n");
        let mut stream = head_of(&host, caller, media_type, &headers).await;
        let told = read_until(&mut stream, "\r\n\r\n").await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {told}");
    }
    assert_eq!(rejected(&host, "upload").await, 2.0);
    // Who may and fits is asked, and heard.
    let file = plugin("small", 1, 1);
    let headers = format!("expect: 100-continue\r\ncontent-length: {}\r\n", file.len());
    let mut stream = head(&host, &root, &headers).await;
    let told = read_until(&mut stream, "\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 100 Continue"), "{told}");
    stream.write_all(&file).await.unwrap();
    assert!(read_until(&mut stream, "\"changed\"").await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test]
async fn what_grows_too_large_is_cut_off_and_told_so() {
    let host = Setup::new().settings("[plugins]\nmax_file_bytes = \"256KiB\"\n").start();
    let token = admin(&host);
    let (status, error) = upload(&host, &token, "", vec![0; (256 << 10) + 1]).await;
    assert_eq!((status, &error["code"]), (413, &json!("TOO_LARGE")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("plugins.max_file_bytes"), "{error}");
    // Of a body whose length nobody has said, so much is read and no more is kept.
    let pieces = futures_util::stream::iter((0..64).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 64 << 10])));
    let request = uploading(&host, &token, "", Vec::new()).body(reqwest::Body::wrap_stream(pieces));
    let (status, error) = read(request.send().await.unwrap()).await;
    assert_eq!((status, &error["code"]), (413, &json!("TOO_LARGE")), "{error}");
    assert_eq!(rejected(&host, "upload").await, 2.0);
    // The largest that may be is looked at.
    let (status, error) = upload(&host, &token, "", vec![0; 256 << 10]).await;
    assert_eq!((status, &error["code"]), (422, &json!("NOT_COMPONENT")), "{error}");
}

#[tokio::test]
async fn flags_and_types_are_what_they_should_be() {
    let host = Setup::new().start();
    let token = admin(&host);
    for (query, field, code) in [
        ("?dry_run=maybe", "dry_run", "WRONG_TYPE"),
        ("?dry_run=", "dry_run", "WRONG_TYPE"),
        ("?allow_breaking=1", "allow_breaking", "WRONG_TYPE"),
        ("?allow_downgrade=True", "allow_downgrade", "WRONG_TYPE"),
        ("?activate=true&activate=false", "activate", "DUPLICATE_FIELD"),
    ] {
        let (status, error) = upload(&host, &token, query, plugin("small", 1, 1)).await;
        assert_eq!((status, &error["code"]), (422, &json!("VALIDATION_FAILED")), "{query}: {error}");
        assert_eq!(
            (&error["details"][0]["field"], &error["details"][0]["code"]),
            (&json!(field), &json!(code)),
            "{query}"
        );
    }
    for media_type in ["application/json", "text/plain", "application/wasmer"] {
        let request = uploading(&host, &token, "", plugin("small", 1, 1));
        let mut request = request.build().unwrap();
        request.headers_mut().insert("content-type", media_type.parse().unwrap());
        let (status, error) = read(host.client.execute(request).await.unwrap()).await;
        assert_eq!((status, &error["code"]), (415, &json!("UNSUPPORTED_MEDIA_TYPE")), "{media_type}");
        assert!(error["message"].as_str().unwrap().contains("application/wasm"), "{error}");
    }
    assert_eq!(get(&host, "plugins/test/small").await.0, 404);
}

#[tokio::test]
async fn only_so_many_upload_at_once_and_who_breaks_off_makes_room() {
    let host = Setup::new().settings("[plugins]\nmax_uploads = 1\n").start();
    let root = admin(&host);
    let file = plugin("small", 1, 1);
    let headers = format!("expect: 100-continue\r\ncontent-length: {}\r\n", file.len());
    let mut slow = head(&host, &root, &headers).await;
    assert!(read_until(&mut slow, "\r\n\r\n").await.starts_with("HTTP/1.1 100 "));
    slow.write_all(&file[..file.len() - 1]).await.unwrap();

    let response = uploading(&host, &root, "", file.clone()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    let (_, error) = read(response).await;
    assert_eq!(error["code"], "TOO_MANY_UPLOADS");
    assert_eq!(rejected(&host, "uploads").await, 1.0);

    // One byte was missing: nothing has happened.
    drop(slow);
    until("there is room again", async || upload(&host, &root, "?dry_run=true", file.clone()).await.0 == 200).await;
    assert_eq!(get(&host, "plugins").await.1["plugins"], json!([]));
    assert_eq!(get(&host, "plugin-changes").await.1, json!([]));
}

#[tokio::test]
async fn who_is_too_slow_is_told_so() {
    let host = Setup::new().settings("[plugins]\nupload_timeout = \"200ms\"\n").start();
    let root = admin(&host);
    let mut slow = head(&host, &root, "content-length: 1000\r\n").await;
    let told = read_until(&mut slow, "\r\n\r\n").await;
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    assert_eq!(rejected(&host, "body_time").await, 1.0);
}

#[tokio::test]
async fn who_leaves_does_not_stop_what_has_begun() {
    let host = Setup::new().start();
    let token = admin(&host);
    let request = uploading(&host, &token, "", plugin("small", 1, 1)).header("accept", "text/event-stream");
    let mut events = Events::of(request.send().await.unwrap());
    assert_eq!(events.next().await.unwrap().0, "stage");
    drop(events);
    until("the plugin is active", async || answer(&host, "/small").await == (200, json!(1))).await;
    assert_eq!(get(&host, "plugins/test/small").await.1["plugin"]["state"], "active");
}
