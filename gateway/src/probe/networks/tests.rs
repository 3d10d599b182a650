use super::*;

fn networks(allow: &[&str]) -> Networks {
    Networks::new(allow.iter().map(|net| net.parse().expect("a network")).collect())
}

fn everything() -> Networks {
    networks(&["0.0.0.0/0", "::/0"])
}

fn vet(networks: &Networks, address: &str) -> Result<String, String> {
    networks.vet(address.parse().expect("an address")).map(|vetted| vetted.address().to_string())
}

#[test]
fn by_default_loopback_and_private_ranges_are_probed_and_nothing_else() {
    let networks = Networks::new(Networks::default_allow());
    for inside in [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "192.168.255.255",
        "::1",
        "fc00::1",
        "fdff::1",
    ] {
        assert_eq!(vet(&networks, inside), Ok(inside.to_owned()));
    }
    for outside in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "100.64.0.1",
        "198.18.0.1",
        "126.255.255.255",
        "128.0.0.0",
        "2001:db8::1",
        "fe00::1",
        "fbff::1",
        "::2",
    ] {
        assert!(vet(&networks, outside).is_err(), "{outside}");
    }
    let why = vet(&networks, "8.8.8.8").expect_err("it is outside");
    assert_eq!(why, "8.8.8.8 is outside the networks that may be probed (--check-allow)");
}

#[test]
fn special_addresses_are_never_probed_even_when_everything_is_allowed() {
    let cases = [
        ("an unspecified address", vec!["0.0.0.0", "0.1.2.3", "::"]),
        ("a link-local address", vec!["169.254.0.0", "169.254.169.254", "169.254.255.255", "fe80::1", "febf::1"]),
        ("a multicast address", vec!["224.0.0.1", "239.255.255.255", "ff02::1", "ffff::1"]),
        ("the broadcast address", vec!["255.255.255.255"]),
        ("a reserved address", vec!["240.0.0.1", "255.255.255.254"]),
        (
            "a metadata service",
            vec![
                "100.100.100.200",
                "168.63.129.16",
                "192.0.0.192",
                "fd00:ec2::254",
                "fd00:ec2::23",
                "fd00:c1::a9fe:a9fe",
                "fd00:42::42",
                "fd20:ce::254",
            ],
        ),
        ("a translated address", vec!["64:ff9b:1::a9fe:a9fe", "2001:0:1::1"]),
    ];
    for (what, addresses) in cases {
        for address in addresses {
            let expected = format!("{address} is never probed: {what}");
            assert_eq!(vet(&everything(), address), Err(expected));
        }
    }
}

#[test]
fn what_is_beside_a_special_address_is_probed_when_it_is_allowed() {
    for address in [
        "1.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "223.255.255.255",
        "100.100.100.201",
        "fec0::1",
        "fd00:ec2::255",
        "2001:1::1",
        "2001:db8::1",
    ] {
        assert_eq!(vet(&everything(), address), Ok(address.to_owned()));
    }
}

#[test]
fn an_address_in_another_form_is_the_same_address() {
    let networks = Networks::new(Networks::default_allow());
    assert_eq!(vet(&networks, "::ffff:127.0.0.1"), Ok("127.0.0.1".to_owned()));
    assert_eq!(vet(&networks, "::ffff:10.1.2.3"), Ok("10.1.2.3".to_owned()));
    for (address, inner) in [
        ("::ffff:169.254.169.254", "169.254.169.254 is never probed: a link-local address"),
        ("::ffff:0.0.0.0", "0.0.0.0 is never probed: an unspecified address"),
        ("::ffff:100.100.100.200", "100.100.100.200 is never probed: a metadata service"),
    ] {
        assert_eq!(vet(&everything(), address), Err(inner.to_owned()));
    }
}

#[test]
fn an_address_that_a_router_turns_into_a_special_one_is_never_probed() {
    for address in [
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "64:ff9b::100.100.100.200",
        "2002:e000:1::",
    ] {
        let why = vet(&everything(), address).expect_err(address);
        assert!(why.contains("is never probed"), "{why}");
    }
    assert_eq!(vet(&everything(), "64:ff9b::8.8.8.8"), Ok("64:ff9b::808:808".to_owned()));
    assert_eq!(vet(&everything(), "::1"), Ok("::1".to_owned()));
}

#[test]
fn networks_in_another_form_are_the_same_networks() {
    let networks = networks(&["::ffff:10.0.0.0/104", "10.9.8.7/32", "2001:db8::7/32"]);
    assert_eq!(vet(&networks, "10.200.0.1"), Ok("10.200.0.1".to_owned()));
    assert_eq!(vet(&networks, "2001:db8:1::1"), Ok("2001:db8:1::1".to_owned()));
    assert!(vet(&networks, "11.0.0.1").is_err());
}

#[test]
fn without_networks_nothing_is_probed() {
    assert!(vet(&networks(&[]), "127.0.0.1").is_err());
}
