use http::Method;

use crate::http_world::World;

#[tokio::test]
async fn pages_are_served_whole_and_to_nobody_else() {
    let world = World::new().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/ui", "text/html; charset=utf-8"),
        ("/ui/services/orders", "text/html; charset=utf-8"),
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/reference.js", "text/javascript; charset=utf-8"),
        ("/docs/style.css", "text/css; charset=utf-8"),
        ("/openapi.json", "application/json"),
    ] {
        let reply = world.get(path).await.expect(200);
        assert_eq!(reply.header("content-type"), kind, "{path}");
        let policy = reply.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        let again = world.ask(Method::GET, path).header("if-none-match", reply.etag()).send().await.expect(304);
        assert!(again.body.is_empty());
    }
}

/// Nothing is fetched from elsewhere: no page names a scheme and host, but for namespaces of standards.
#[tokio::test]
async fn pages_need_nobody_else() {
    let world = World::new().await;
    for path in ["/", "/docs", "/docs/reference.js", "/docs/style.css"] {
        let text = world.get(path).await.expect(200).text();
        assert!(!text.contains("//") || path.ends_with(".js"), "{path}");
        assert!(!text.contains("http:") && !text.contains("https:"), "{path}");
        assert!(!text.contains("innerHTML") && !text.contains("eval("), "{path}");
        assert!(!text.contains(" style=") && !text.contains(" onclick="), "{path}: the policy forbids it");
    }
    let page = world.get("/docs").await.text();
    for asset in ["/docs/reference.js", "/docs/style.css"] {
        assert!(page.contains(asset), "{asset}");
    }
}

/// The routes that the contract promises, one for each line of its table.
const PROMISED: &[(&str, &str)] = &[
    ("get", "/v1/namespaces"),
    ("get", "/v1/namespaces/{ns}"),
    ("put", "/v1/namespaces/{ns}"),
    ("delete", "/v1/namespaces/{ns}"),
    ("get", "/v1/namespaces/{ns}/services"),
    ("get", "/v1/namespaces/{ns}/services/{service}"),
    ("put", "/v1/namespaces/{ns}/services/{service}"),
    ("patch", "/v1/namespaces/{ns}/services/{service}"),
    ("delete", "/v1/namespaces/{ns}/services/{service}"),
    ("get", "/v1/namespaces/{ns}/services/{service}/instances"),
    ("get", "/v1/namespaces/{ns}/services/{service}/instances/{id}"),
    ("put", "/v1/namespaces/{ns}/services/{service}/instances/{id}"),
    ("delete", "/v1/namespaces/{ns}/services/{service}/instances/{id}"),
    ("post", "/v1/namespaces/{ns}/services/{service}/instances/{id}/renew"),
    ("patch", "/v1/namespaces/{ns}/services/{service}/instances/{id}/operator"),
    ("get", "/v1/namespaces/{ns}/services/{service}/overrides"),
    ("get", "/v1/namespaces/{ns}/services/{service}/overrides/{id}"),
    ("put", "/v1/namespaces/{ns}/services/{service}/overrides/{id}"),
    ("delete", "/v1/namespaces/{ns}/services/{service}/overrides/{id}"),
    ("get", "/v1/namespaces/{ns}/services/{service}/watch"),
    ("get", "/v1/namespaces/{ns}/services/{service}/subscribers"),
    ("get", "/v1/namespaces/{ns}/watch"),
    ("post", "/v1/batch/register"),
    ("post", "/v1/batch/renew"),
    ("post", "/v1/batch/deregister"),
    ("get", "/v1/discover"),
    ("get", "/v1/watch"),
    ("get", "/v1/sd/prometheus"),
    ("get", "/v1/nodes"),
    ("get", "/v1/status"),
    ("post", "/v1/nodes/{node}/drain"),
    ("post", "/v1/nodes/{node}/freeze/release"),
    ("get", "/livez"),
    ("get", "/readyz"),
    ("get", "/metrics"),
];

#[tokio::test]
async fn the_reference_has_every_promised_route_and_describes_it() {
    let world = World::new().await;
    let reference = world.reference();
    let operations = reference.operations();
    assert_eq!(operations.len(), PROMISED.len());
    for (method, path) in PROMISED {
        let operation = &reference.document()["paths"][path][method];
        assert!(operation["operationId"].is_string(), "{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        assert!(operation["tags"][0].is_string(), "{method} {path}");
        let named = path.matches('{').count();
        let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(parameters.iter().filter(|parameter| parameter["in"] == "path").count(), named, "{method} {path}");
        if let Some(body) = operation.get("requestBody") {
            let shape = &body["content"]["application/json"]["schema"];
            assert!(shape["$ref"].is_string(), "a body may be left out, and is never null: {method} {path}: {body}");
        }
        for parameter in parameters {
            assert!(parameter["schema"].is_object() && parameter["description"].is_string(), "{method} {path}");
        }
        let is_open =
            operation["security"].as_array().is_some_and(|all| all.iter().all(|one| one == &serde_json::json!({})));
        assert_eq!(is_open, matches!(*path, "/livez" | "/readyz"), "{method} {path}: {operation}");
    }
    let filter = &reference.document()["paths"]["/v1/discover"]["get"]["parameters"];
    let filter = filter.as_array().unwrap().iter().find(|parameter| parameter["name"] == "metadata").unwrap();
    assert_eq!((&filter["explode"], &filter["style"]), (&true.into(), &"form".into()));
    assert!(filter["schema"]["propertyNames"]["pattern"].is_string(), "{filter}");
    let answers = &reference.document()["paths"]["/v1/discover"]["get"]["responses"];
    assert!(answers["200"]["headers"]["ETag"].is_object(), "{answers}");
    assert!(answers["503"]["headers"]["Retry-After"].is_object(), "{answers}");
}
