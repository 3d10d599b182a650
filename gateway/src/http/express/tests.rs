use super::*;

fn of(method: &str, path: &str) -> Option<Wanted> {
    read(&method.parse().expect("a method"), path)
}

#[test]
fn the_plain_forms_are_read() {
    let service = || ServiceKey::new("default", "orders");
    let instance = || InstanceKey::new("default", "orders", "i-1");
    let at = "/v1/namespaces/default/services/orders/instances";
    assert_eq!(of("GET", at), Some(Wanted::Discover(service())));
    assert_eq!(of("PUT", &format!("{at}/i-1")), Some(Wanted::Register(instance())));
    assert_eq!(of("POST", &format!("{at}/i-1/renew")), Some(Wanted::Renew(instance())));
}

#[test]
fn names_of_the_words_between_them_are_names() {
    let at = "/v1/namespaces/services/services/instances/instances";
    assert_eq!(of("GET", at), Some(Wanted::Discover(ServiceKey::new("services", "instances"))));
    let at = "/v1/namespaces/a/services/b/instances/renew";
    assert_eq!(of("PUT", at), Some(Wanted::Register(InstanceKey::new("a", "b", "renew"))));
    let at = "/v1/namespaces/a/services/b/instances/renew/renew";
    assert_eq!(of("POST", at), Some(Wanted::Renew(InstanceKey::new("a", "b", "renew"))));
}

#[test]
fn a_name_that_is_none_is_refused_by_its_field() {
    let Some(Wanted::Register(Err(invalid))) = of("PUT", "/v1/namespaces/a b/services/b/instances/i") else {
        panic!("it is of the plain form");
    };
    assert_eq!(invalid.field, "namespace");
}

#[test]
fn everything_else_is_the_routers() {
    for (method, path) in [
        ("HEAD", "/v1/namespaces/a/services/b/instances"),
        ("GET", "/v1/namespaces/a/services/b/instances/"),
        ("GET", "/v1/namespaces/a/services/b/instances/i"),
        ("GET", "/v1/namespaces/a/services/b%20c/instances"),
        ("GET", "/v1/namespaces//services/b/instances"),
        ("GET", "/v1/namespaces/a/services//instances"),
        ("GET", "/v1/namespaces/a/services/b/c/instances"),
        ("GET", "/v1/namespaces/a/b/services/c/instances"),
        ("GET", "/v1/namespaces/a/services/b/instances2"),
        ("GET", "/v2/namespaces/a/services/b/instances"),
        ("PUT", "/v1/namespaces/a/services/b/instances"),
        ("PUT", "/v1/namespaces/a/services/b/instances/"),
        ("PUT", "/v1/namespaces/a/services/b/instancesi"),
        ("PUT", "/v1/namespaces/a/services/b/instances/i/operator"),
        ("POST", "/v1/namespaces/a/services/b/instances/renew"),
        ("POST", "/v1/namespaces/a/services/b/instances//renew"),
        ("DELETE", "/v1/namespaces/a/services/b/instances/i"),
        ("PATCH", "/v1/namespaces/a/services/b/instances/i"),
    ] {
        assert_eq!(of(method, path), None, "{method} {path}");
    }
}
