use http::StatusCode;

use super::*;

#[test]
fn requests_are_counted_by_template_and_status() {
    let metrics = Metrics::new().unwrap();
    let route = metrics.route("GET", "/api/v1/users/{id}");
    // A second handle for the same route, as after a swap, counts on.
    let again = metrics.route("GET", "/api/v1/users/{id}");
    for status in [StatusCode::OK, StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::IM_A_TEAPOT] {
        route.record(status, Duration::from_millis(3));
    }
    again.record(StatusCode::OK, Duration::from_millis(3));
    metrics.record_unrouted(StatusCode::NOT_FOUND, Duration::ZERO);
    metrics.limit_rejected("rate");
    let text = metrics.render();
    for line in [
        r#"arcana_http_requests_total{method="GET",route="/api/v1/users/{id}",status="200"} 3"#,
        r#"arcana_http_requests_total{method="GET",route="/api/v1/users/{id}",status="404"} 1"#,
        r#"arcana_http_requests_total{method="GET",route="/api/v1/users/{id}",status="418"} 1"#,
        r#"arcana_http_requests_total{method="",route="(host)",status="404"} 1"#,
        r#"arcana_http_request_duration_seconds_count{method="GET",route="/api/v1/users/{id}"} 5"#,
        r#"arcana_http_request_duration_seconds_bucket{method="GET",route="/api/v1/users/{id}",le="0.0025"} 0"#,
        r#"arcana_http_request_duration_seconds_bucket{method="GET",route="/api/v1/users/{id}",le="0.005"} 5"#,
        r#"arcana_limit_rejections_total{limit="rate"} 1"#,
        "# HELP arcana_http_requests_total HTTP requests that were answered, by the route's template.",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
}

#[test]
fn guards_count_down_and_a_dropped_call_was_cancelled() {
    let metrics = Metrics::new().unwrap();
    let calls = metrics.call("acme/x", "things.get");
    let in_flight = metrics.http_in_flight();
    assert!(metrics.render().contains("arcana_http_requests_in_flight 1\n"));
    drop(in_flight);
    let ends: [fn(&mut CallRecord<'_>); 6] = [
        |record| record.ok(),
        |record| record.trap(),
        |record| record.timeout(),
        |record| record.overloaded(),
        |record| record.host_error(),
        |_| {},
    ];
    for (n, end) in ends.iter().enumerate() {
        for _ in 0..=n {
            end(&mut calls.start());
        }
    }
    let text = metrics.render();
    assert!(text.contains("arcana_http_requests_in_flight 0\n"));
    for (n, outcome) in OUTCOMES.iter().enumerate() {
        let line = format!(
            r#"arcana_plugin_calls_total{{function="things.get",outcome="{outcome}",plugin="acme/x"}} {}"#,
            n + 1
        );
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    assert!(text.contains(r#"arcana_plugin_call_duration_seconds_count{function="things.get",plugin="acme/x"} 21"#));
}

#[test]
fn watched_values_are_read_when_they_are_shown() {
    let metrics = Metrics::new().unwrap();
    metrics.watch(Watched::TokenCacheHits, || 7).unwrap();
    assert!(metrics.watch(Watched::TokenCacheHits, || 8).is_err());
    let text = metrics.render();
    assert!(text.contains("# TYPE arcana_token_cache_hits_total counter\narcana_token_cache_hits_total 7\n"));
    if cfg!(target_os = "linux") {
        for name in ["resident_memory_bytes", "virtual_memory_bytes", "open_fds", "threads", "start_time_seconds"] {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("process_{name} "))).unwrap();
            assert!(line.parse::<f64>().unwrap() > 0.0);
        }
    }
}
