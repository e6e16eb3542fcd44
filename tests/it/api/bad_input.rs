//! Broken, wrong, absurd and huge requests: the spec's code and body, and nothing changed.

use axum::body::{Body, Bytes};
use axum::http::Request;
use serde_json::{Value, json};

use super::bench::Bench;
use platformd::api::BODY_BYTES_MAX;

/// Sends a body to every way in for definitions; each must answer with this code, and
/// nothing may have changed.
async fn refused_everywhere(body: &str, status: u16) -> Vec<Value> {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    let before = bench.state();
    let mut answers = Vec::new();
    for (method, uri) in
        [("POST", "/v2/apps"), ("PUT", "/v2/apps/a"), ("PUT", "/v2/apps/new"), ("PATCH", "/v2/apps/a")]
    {
        let json = [("content-type", "application/json")];
        let answer = bench.send_text(method, uri, &json, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {uri}: {}", answer.text);
        answers.push(answer.json());
    }
    assert_eq!(bench.state(), before);
    answers
}

#[tokio::test]
async fn broken_json_is_400_with_the_parsers_words() {
    for body in ["{", "{\"id\": }", "nonsense", "{\"id\":\"/a\"} x", "{\"a\":1e999}", "\u{0}"] {
        for answer in refused_everywhere(body, 400).await {
            assert_eq!(answer["message"], "Invalid JSON", "{body}");
            assert!(answer["details"].is_string());
        }
    }
    for body in ["", "  \n", "null", "7", "\"text\"", "true"] {
        for answer in refused_everywhere(body, 400).await {
            assert_eq!(answer["message"], "Please specify data in JSON format", "{body}");
        }
    }
}

#[tokio::test]
async fn deep_nesting_is_400_and_no_stack_overflows() {
    for deep in [10_000, 1_000_000] {
        refused_everywhere(&"[".repeat(deep), 400).await;
        refused_everywhere(&"{\"a\":".repeat(deep), 400).await;
    }
}

#[tokio::test]
async fn wrong_types_and_bounds_name_path_and_code() {
    let cases = [
        (json!({"id": "/b", "cmd": "x", "instances": "1"}), "/instances", "error.expected.jsnumber"),
        (json!({"id": "/b", "cmd": "x", "instances": 1.5}), "/instances", "error.expected.int"),
        (json!({"id": "/b", "cmd": "x", "instances": -1}), "/instances", "error.min"),
        (json!({"id": "/b", "cmd": "x", "cpus": "1"}), "/cpus", "error.expected.jsnumber"),
        (json!({"id": "/b", "cmd": "x", "cpus": 0}), "/cpus", "error.min"),
        (json!({"id": "/b", "cmd": "x", "mem": -5}), "/mem", "error.min"),
        (json!({"id": "/b", "cmd": "x", "mem": 1e300}), "/mem", "error.max"),
        (json!({"id": "/b", "cmd": 1}), "/cmd", "error.expected.jsstring"),
        (json!({"id": "/b", "cmd": "x", "labels": []}), "/labels", "error.expected.jsobject"),
        (json!({"id": "/b", "cmd": "x", "constraints": {}}), "/constraints", "error.expected.jsarray"),
        (json!({"id": "/b", "cmd": "x", "requirePorts": "yes"}), "/requirePorts", "error.expected.jsboolean"),
        (
            json!({"id": "/b", "cmd": "x", "killSelection": "RANDOM"}),
            "/killSelection",
            "error.unknown.enum.literal",
        ),
        (
            json!({"id": "/b", "cmd": "x", "portDefinitions": [{"port": 70000}]}),
            "/portDefinitions(0)/port",
            "error.max",
        ),
    ];
    for (body, path, code) in cases {
        for answer in refused_everywhere(&body.to_string(), 422).await {
            let wanted = json!({"message": "Invalid JSON", "details": [{"path": path, "errors": [code]}]});
            assert_eq!(answer, wanted, "{body}");
        }
    }
    for answer in refused_everywhere("[]", 422).await {
        assert_eq!(answer["message"], "Invalid JSON");
    }
}

#[tokio::test]
async fn senseless_definitions_are_422_with_paths() {
    let cases = [
        (json!({"id": "/b", "cmd": "x", "args": ["x"]}), "/"),
        (json!({"id": "/b", "cmd": "x", "constraints": [["hostname", "ABOVE", "1"]]}), "/constraints(0)"),
        (json!({"id": "/b", "cmd": "x", "version": "soon"}), "/version"),
    ];
    for (body, path) in cases {
        for answer in refused_everywhere(&body.to_string(), 422).await {
            assert_eq!(answer["message"], "Object is not valid", "{body}");
            let paths: Vec<_> = answer["details"].as_array().unwrap().iter().map(|it| &it["path"]).collect();
            assert!(paths.iter().any(|found| found.as_str().unwrap().starts_with(path)), "{answer}");
        }
    }
}

#[tokio::test]
async fn absurd_ids_are_422_or_404() {
    let bench = Bench::default();
    let long = "a".repeat(5_000);
    for id in ["", "/", "A", "a_b", "-a", "a/tasks", "a b", "ä", "a/../..", "\u{0}", &long] {
        let answer = bench.post("/v2/apps", json!({"id": id, "cmd": "x"})).await.expect_status(422).json();
        assert_eq!(answer["details"][0]["path"], "/id", "{id}");
    }
    bench.post("/v2/apps", json!({"cmd": "x"})).await.expect(
        422,
        json!({"message": "Invalid JSON", "details": [{"path": "/id", "errors": ["error.path.missing"]}]}),
    );
    for path in ["A", "a_b", "%00", "%ff", "%2e%2e", "..", &long] {
        let uri = format!("/v2/apps/{path}");
        bench.get(&uri).await.expect_status(404);
        bench.delete(&uri).await.expect_status(404);
        let answer = bench.put(&uri, json!({"cmd": "x"})).await.expect_status(422).json();
        assert_eq!(answer["details"][0]["path"], "/id", "{path}");
    }
    assert!(bench.state().apps.is_empty());
}

#[tokio::test]
async fn version_beside_other_fields_is_422() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    let body = json!({"version": "2020-09-13T12:26:40.000Z", "instances": 2});
    let answer = bench.put("/v2/apps/a", body).await.expect_status(422);
    assert!(
        answer.text.contains("The 'version' field may only be combined with the 'id' field."),
        "{}",
        answer.text
    );
    bench.put("/v2/apps/a", json!({"version": "2019-01-01T00:00:00Z"})).await.expect_status(404);
    // In a full definition a good one has no effect.
    let body = json!({"id": "/b", "cmd": "x", "version": "2019-01-01T00:00:00Z"});
    let created = bench.post("/v2/apps", body).await.expect_status(201).json();
    assert!(created["version"].as_str().unwrap().starts_with("2020-09-13"), "{created}");
}

#[tokio::test]
async fn bodies_beyond_the_limit_are_413() {
    let bench = Bench::default();
    let large = Bytes::from(vec![b' '; 10 * 1024 * 1024]);
    let wanted = json!({
        "message": format!("Request body is larger than {BODY_BYTES_MAX} bytes. Send a smaller document."),
    });
    let request = || Request::post("/v2/apps").header("content-type", "application/json");
    let declared = request().header("content-length", large.len()).body(Body::from(large.clone())).unwrap();
    bench.send(declared).await.expect(413, wanted.clone());
    let chunks = large.chunks(64 * 1024).map(|chunk| Ok::<_, std::io::Error>(Bytes::copy_from_slice(chunk)));
    let streamed = Body::from_stream(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
    bench.send(request().body(streamed).unwrap()).await.expect(413, wanted);
    let mut fits = br#"{"id":"/a","cmd":"x"}"#.to_vec();
    fits.resize(BODY_BYTES_MAX, b' ');
    bench.send(request().body(Body::from(fits)).unwrap()).await.expect_status(201);
}

#[tokio::test]
async fn odd_queries_and_headers_are_taken_calmly() {
    let bench = Bench::default();
    bench.app("/a", 1).await;
    for query in ["?", "?&&", "?=x", "?embed", "?embed=%", "?id=%ff", "?stale=maybe", "?label="] {
        let answer = bench.get(&format!("/v2/apps{query}")).await;
        assert!(matches!(answer.status.as_u16(), 200 | 422), "{query}: {}", answer.text);
    }
    let odd = bench.get("/v2/apps?embed=zz&embed=apps.tasks&embed=counts&stale=1").await;
    let named: Vec<_> = odd.headers.get_all("warning").iter().map(|it| it.to_str().unwrap()).collect();
    assert_eq!(
        named,
        [
            "299 platformd \"unknown value 'embed=zz'\"",
            "299 platformd \"'stale=1' counts as false; say true or false\""
        ]
    );
    assert!(odd.json()["apps"][0]["tasks"].is_array());
    for path in ["/v2/apps/a", "/v2/apps/*", "/v2/queue"] {
        let answer = bench.get(&format!("{path}?embed=zz")).await.expect_status(200);
        assert_eq!(answer.header("warning"), "299 platformd \"unknown value 'embed=zz'\"", "{path}");
    }
    for accept in ["", ";;;", "text/*;q=x", ",,,", "*/*;q=-1"] {
        bench.ask("GET", "/v2/tasks", &[("accept", accept)]).await.expect_status(200);
    }
}

#[tokio::test]
async fn one_request_brings_a_bounded_number_of_patterns() {
    let bench = Bench::default();
    let app = |app: usize| {
        let rules: Vec<Value> = (0..64).map(|at| json!(["rack", "LIKE", format!("r{app}-{at}")])).collect();
        json!({"id": format!("/app{app}"), "cmd": "x", "constraints": rules})
    };
    let apps = |count: usize| Value::Array((0..count).map(app).collect());
    let answer = bench.put("/v2/apps", apps(5)).await.expect_status(422);
    assert!(answer.text.contains("at most 256 different regular expressions"), "{}", answer.text);
    assert!(bench.state().apps.is_empty());
    bench.put("/v2/apps", apps(4)).await.expect_status(200);
}

#[tokio::test]
async fn texts_of_constraints_are_bounded() {
    for rule in [json!(["a".repeat(500_000), "UNIQUE"]), json!(["rack", "IS", "a".repeat(2_000)])] {
        let body = json!({"id": "/b", "cmd": "x", "constraints": [rule]});
        for answer in refused_everywhere(&body.to_string(), 422).await {
            assert_eq!(answer["details"][0]["path"], "/constraints(0)");
            assert!(answer.to_string().len() < 1_000, "{answer}");
        }
    }
}
