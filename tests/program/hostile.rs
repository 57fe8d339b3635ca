//! Hostile lines through the real program; `tests/hostile` has the readers behind it, one by one.

use crate::support::{sailor, text, with_input};

/// What no reader of JSON lines has been promised.
fn lines() -> Vec<Vec<u8>> {
    let deep = |depth: usize| format!("{{\"algorithm\":\"a\",\"params\":{{\"x\":{}", "[".repeat(depth));
    let closed = |depth: usize| format!("{}{}}}}}", deep(depth), "]".repeat(depth));
    let params = |value: &str| format!("{{\"algorithm\":\"a\",\"params\":{{\"x\":{value}}}}}");
    let texts = [
        closed(200),
        deep(100_000),
        "[".repeat(20_000_000),
        format!("[1{}]", ",1".repeat(10_000_000)),
        params(&format!("\"{}\"", "x".repeat(8_000_000))),
        params("1e999"),
        params(&format!("1{}", "0".repeat(100_000))),
        params("\"\\ud800\""),
        params("\"\0\""),
        params("\"\u{1b}[2J\""),
        "{\"algorithm\":\"a\",\"algorithm\":\"b\"}".to_owned(),
        "{\"algorithm\":\"a\",\"\\u001b[2J\\u0007\":1}".to_owned(),
        format!("{{\"algorithm\":\"a\",\"{}\":1}}", "k".repeat(1_000_000)),
        format!("{{\"algorithm\":\"{}\"}}", "A".repeat(1_000_000)),
        "{\"algorithm\":\"a\",\"seed\":18446744073709551616}".to_owned(),
        "{\"algorithm\":\"a\",\"priority\":-0.5}".to_owned(),
        "{\"algorithm\":\"a\",\"ttr\":1e308}".to_owned(),
        "{\"algorithm\":\"a\",\"clock\":\"+999999-01-01T00:00:00Z\"}".to_owned(),
        "\u{feff}{\"algorithm\":\"a\"}".to_owned(),
        "\0".to_owned(),
        "[{\"uuid\":\"bc3a925099b9012e0f06549a20077664\",\"type\":\"a\"}]".to_owned(),
    ];
    let mut lines: Vec<_> = texts.map(String::into_bytes).into();
    lines.push(b"{\"algorithm\":\"\xff\xfe\"}".to_vec());
    lines.push(b"{\"algorithm\":\"a\"}\xc3".to_vec());
    lines
}

#[test]
fn a_hostile_line_is_an_error_with_its_number_and_nothing_is_submitted() -> anyhow::Result<()> {
    let node = sailor()?;
    let good = b"{\"algorithm\": \"drunken-sailor\"}";
    for line in lines() {
        let start = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
        let jobs = [good.as_slice(), &line, good].join(b"\n".as_slice());
        let output = with_input(node.command(["submit", "--file", "-"]), &jobs)?;
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{start}: {errors}");
        assert!(output.stdout.is_empty() && errors.contains("line 2"), "{start}: {errors}");
        assert!(errors.contains("nothing was submitted") && !errors.contains("panicked"), "{start}: {errors}");
        assert!(errors.len() < 5_000 && !errors.contains(['\0', '\u{1b}', '\u{7}']), "{start}: {errors:?}");
    }
    assert_eq!(node.json(["list"])?, serde_json::json!([]));
    Ok(())
}
