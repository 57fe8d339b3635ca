use super::*;
use proptest::prelude::*;

fn rules(allow: &[&str], deny: &[&str]) -> Rules {
    let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Rules { allow: rules(allow), deny: rules(deny) }
}

fn policy(allow: &[&str], deny: &[&str]) -> UrlPolicy {
    UrlPolicy::new(Purpose::Input, rules(allow, deny))
}

fn closed() -> UrlPolicy {
    policy(&[], &[])
}

fn url(policy: &UrlPolicy, text: &str) -> Result<(), Refusal> {
    policy.check_url(&text.parse().unwrap())
}

fn dial(policy: &UrlPolicy, host: &str, address: &str) -> Result<(), Refusal> {
    policy.check_resolved(host, address.parse().unwrap(), 443)
}

#[test]
fn public_http_and_data_are_allowed_and_other_schemes_are_not() {
    let policy = closed();
    for text in ["https://example.org/a", "http://93.184.216.34:8099/", "data:,x", "http://[2606:4700::1]/"] {
        url(&policy, text).unwrap();
    }
    for text in ["file:///etc/passwd", "ftp://example.org/", "gopher://127.0.0.1:70/", "mailto:a@example.org"] {
        assert!(url(&policy, text).unwrap_err().to_string().contains("http, https or data"), "{text}");
    }
}

#[test]
fn every_spelling_of_a_private_address_is_refused() {
    for text in [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.0.0.1./",
        "http://①②⑦.0.0.1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::10.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[fd00:ec2::254]/latest/meta-data",
        "http://169.254.169.254/latest/meta-data",
        "http://0/",
        "http://[64:ff9b:1::1]/",
        "http://[2001:0:a00:1::f5ff:fffd]/",
        "http://[2606:4700::5efe:10.0.0.1]/",
        "http://[::ffff:0:10.0.0.1]/",
        "http://255.255.255.255/",
        "http://100.100.100.200/",
    ] {
        assert!(url(&closed(), text).is_err(), "{text}");
    }
}

#[test]
fn a_name_is_judged_by_the_address_that_it_resolves_to() {
    let policy = closed();
    url(&policy, "http://localhost/").unwrap();
    let refusal = dial(&policy, "localhost", "127.0.0.1").unwrap_err().to_string();
    assert!(refusal.starts_with("localhost, port 443, is refused: it resolves to a loopback address"), "{refusal}");
    assert!(refusal.contains(r#"[input] allow = ["localhost:443"]"#), "{refusal}");
    dial(&policy, "example.org", "93.184.216.34").unwrap();
}

#[test]
fn what_a_refusal_suggests_lets_the_url_through() {
    for address in ["127.0.0.1", "::1", "::ffff:10.1.2.3", "fd00::7"] {
        for host in ["intern.example", "INTERN.example.", "xn--bcher-kva.example"] {
            let refusal = dial(&closed(), host, address).unwrap_err();
            let rule = refusal.to_string().split('"').nth(1).unwrap().to_owned();
            dial(&policy(&[&rule], &[]), host, address).unwrap();
            assert!(dial(&policy(&[&rule], &[]), "other.example", address).is_err());
        }
        let literal = if address.contains(':') { format!("http://[{address}]/") } else { format!("http://{address}/") };
        let refusal = url(&closed(), &literal).unwrap_err().to_string();
        url(&policy(&[refusal.split('"').nth(1).unwrap()], &[]), &literal).unwrap();
    }
    let odd = dial(&closed(), "a!b.example", "127.0.0.1").unwrap_err().to_string();
    assert!(odd.contains("the worker's log"), "no rule can have this name: {odd}");
}

#[test]
fn a_refusal_keeps_to_itself_what_the_job_did_not_write() {
    let denied = policy(&[], &["9.9.9.9", "10.9.0.0/16"]);
    for (policy, address) in [(closed(), "10.9.8.7"), (denied.clone(), "10.9.8.7"), (denied, "64:ff9b::10.9.8.7")] {
        let resolved = dial(&policy, "intern.example", address).unwrap_err();
        let shown = if address.contains(':') { format!("http://[{address}]/") } else { format!("http://{address}/") };
        let redirected = policy.check_redirect(&shown.parse().unwrap()).unwrap_err();
        for refusal in [&resolved, &redirected] {
            let text = refusal.to_string();
            assert!(!text.contains("10.9") && !text.contains("a09:807"), "{text}");
            assert_eq!(refusal.address(), address.parse().ok(), "the operator can know");
        }
        assert!(resolved.to_string().contains("intern.example"), "{resolved}");
    }
    let by_place = dial(&policy(&[], &["a.example", "10.0.0.0/8"]), "b.example", "10.0.0.1").unwrap_err().to_string();
    assert!(by_place.contains("rule 2, which is about addresses") && by_place.contains("[input] deny"), "{by_place}");
}

#[test]
fn places_for_results_have_rules_of_their_own_and_say_so() {
    let policy = UrlPolicy::new(Purpose::Result, rules(&["10.0.0.0/8"], &["*.evil.example"]));
    for text in ["https://example.org/hook", "http://10.1.2.3/hook"] {
        url(&policy, text).unwrap();
    }
    for text in ["http://127.0.0.1/", "http://x.evil.example/", "data:,x", "ftp://example.org/"] {
        let refusal = url(&policy, text).unwrap_err().to_string();
        assert!(!refusal.contains("input"), "{refusal}");
        assert!(refusal.contains("[result_url]") || refusal.contains("results are sent by http or https"), "{refusal}");
    }
}

#[test]
fn deny_beats_allow_and_names_its_rule() {
    let policy = policy(&["10.0.0.0/8", "data.example.org"], &["10.66.0.0/16", "*.evil.example", "8.8.8.8"]);
    dial(&policy, "a.example", "10.1.1.1").unwrap();
    dial(&policy, "data.example.org", "192.168.1.1").unwrap();
    for (host, address) in
        [("a.example", "10.66.1.1"), ("data.example.org", "10.66.1.1"), ("x.evil.example", "93.184.216.34")]
    {
        assert!(dial(&policy, host, address).unwrap_err().to_string().contains("[input] deny"), "{host} {address}");
    }
    assert!(url(&policy, "http://x.EVIL.example./").is_err());
    assert!(url(&policy, "http://8.8.8.8/").unwrap_err().to_string().contains("\"8.8.8.8\""));
    assert!(dial(&policy, "nat64.example", "64:ff9b::8.8.8.8").is_err(), "what is wrapped is judged too");
}

#[test]
fn an_allowed_port_allows_no_other() {
    let policy = policy(&["127.0.0.1:8099"], &[]);
    url(&policy, "http://127.0.0.1:8099/").unwrap();
    assert!(url(&policy, "http://127.0.0.1:8098/").is_err());
    assert!(url(&policy, "http://127.0.0.1/").is_err());
}

#[test]
fn an_outer_address_that_is_allowed_does_not_let_an_inner_one_through() {
    let policy = policy(&["2002::/16"], &[]);
    dial(&policy, "a.example", "2002:808:808::").unwrap();
    assert!(dial(&policy, "a.example", "2002:a00:1::").is_err());
}

#[test]
fn a_policy_is_read_from_its_configuration_and_unknown_keys_are_refused() {
    let read: Rules = serde_json::from_str(r#"{"allow": ["10.0.0.0/8:443"], "deny": ["*.example.org"]}"#).unwrap();
    assert_eq!(read, rules(&["10.0.0.0/8:443"], &["*.example.org"]));
    assert!(serde_json::from_str::<Rules>(r#"{"alow": []}"#).is_err());
    let wrong = serde_json::from_str::<Rules>(r#"{"allow": ["10.0.0.0/99"]}"#).unwrap_err().to_string();
    assert!(wrong.contains("10.0.0.0/99"), "{wrong}");
}

proptest! {
    #[test]
    fn no_private_ipv4_address_gets_through_in_any_wrapping(low in any::<u32>(), net in 0usize..3) {
        let (base, length) = [(0x7f00_0000_u32, 8), (0x0a00_0000, 8), (0xc0a8_0000, 16)][net];
        let v4 = u128::from(base | (low & (u32::MAX >> length)));
        for wrapped in [v4, 0xffff_u128 << 32 | v4, 0x64_ff9b_u128 << 96 | v4, 0x2002_u128 << 112 | v4 << 80] {
            let address = IpAddr::V6(wrapped.into());
            prop_assert!(closed().check_resolved("a.example", address, 80).is_err(), "{address}");
        }
    }
}
