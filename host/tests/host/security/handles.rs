//! Filling the host's memory with handles.

use serde_json::json;

use crate::small::{bare_manifest, signed};
use crate::support::Setup;

/// A component that makes handles of a resource of its own and never drops one: no code of the host runs for it.
const HOARDER: &str = r#"(component
  (type $thing (resource (rep i32)))
  (core func $new (canon resource.new $thing))
  (core module $hoard
    (import "" "new" (func $new (param i32) (result i32)))
    (func (export "open") (param $count i32) (result i32)
      (local $at i32)
      (block $done
        (loop $more
          (br_if $done (i32.ge_u (local.get $at) (local.get $count)))
          (drop (call $new (local.get $at)))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $more)))
      (local.get $at)))
  (core instance $made (instantiate $hoard (with "" (instance (export "new" (func $new))))))
  (func $open (param "count" u32) (result u32) (canon lift (core func $made "open")))
  (instance $api (export "open" (func $open)))
  (export "test:hoard/api@1.0.0" (instance $api)))"#;

#[tokio::test]
async fn an_instance_that_hoards_handles_is_ended_and_its_memory_is_counted() {
    let method = "[[methods]]\ncall = \"api.open\"\nhttp = \"POST /test/hoard/open\"\nallow = \"public\"\n";
    let manifest = bare_manifest("test/hoard", 1) + method;
    let component = wat::parse_str(HOARDER).unwrap();
    let host = Setup::new().plugin("hoard", &signed(&component, &manifest)).start();
    let open = async |count: u32| host.post("/test/hoard/open", json!({ "count": count })).await;

    // The most that its handles may cost is counted from the beginning: 1,000 handles of 160 bytes.
    assert_eq!(host.metric("arcana_instances_memory_bytes").await, 160_000.0);
    assert_eq!(open(900).await, (200, json!(900)));
    // Idle it keeps them, and the limit is for all of them together.
    let (status, answer) = open(900).await;
    assert_eq!((status, answer["code"].as_str()), (500, Some("PLUGIN_EXECUTION_ERROR")), "{answer}");
    assert!(host.log().contains("handle"), "{}", host.log());
    assert_eq!(host.metric("arcana_instances_memory_bytes").await, 0.0, "the instance is gone, its handles with it");
    assert_eq!(open(100_000).await.0, 500);
    assert_eq!(open(900).await, (200, json!(900)));
}
