//! Whatever comes in, there is an answer: a report whose figures are finite, or a refusal with a reason.

use crate::{daily_rows, params};
use forecast::{Params, chart};
use proptest::prelude::*;
use std::fmt::Write;

/// Runs to the end and checks what must hold of every answer.
fn answer(input: &[u8], params: &Params) {
    match forecast::run(input, params, &mut |_, _| {}) {
        Ok((report, series)) => {
            for step in &report.forecast {
                assert!(step.lower <= step.mean && step.mean <= step.upper, "{step:?}");
                assert!(step.lower.is_finite() && step.upper.is_finite(), "{step:?}");
            }
            let svg = chart::svg(&series, &report);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        Err(refusal) => assert!(refusal.to_string().len() < 1_000, "{refusal}"),
    }
}

fn any_params() -> impl Strategy<Value = Params> {
    let method = prop_oneof!["auto", "mstl", "ets", "seasonal-naive"];
    let seasons = prop::option::of(prop::collection::vec(0usize..40, 0..4));
    (0usize..60, seasons, method, 0.4f64..1.1).prop_map(|(horizon, season_lengths, method, level)| Params {
        horizon: Some(horizon),
        season_lengths,
        level,
        ..params(&format!(r#"{{"method": "{method}"}}"#))
    })
}

/// Cells that look like those of a real table, and some that do not.
fn any_cell() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "200[0-2]-0[1-9]-[0-2][0-9]( [0-2][0-9]:[0-5][0-9])?",
        4 => "-?[0-9]{1,6}(\\.[0-9]{1,4})?",
        1 => any::<f64>().prop_map(|value| value.to_string()),
        1 => "\\PC{0,8}",
        1 => Just("\"".to_owned()),
    ]
}

/// Values of all magnitudes with runs of equal ones.
fn any_values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        3 => -1e3..1e3,
        2 => (-3i32..3).prop_map(f64::from),
        1 => any::<f64>().prop_filter("beyond the limit", |value| value.abs() <= 1e100),
    ];
    prop::collection::vec((value, 1usize..12), 2..60)
        .prop_map(|runs| runs.into_iter().flat_map(|(value, length)| vec![value; length]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400), params in any_params()) {
        answer(&bytes, &params);
    }

    #[test]
    fn arbitrary_text_that_begins_like_json_is_answered(text in "[\\[{]{1,3}[\\[\\]{}:,\" 0-9a-z]{0,200}") {
        answer(text.as_bytes(), &Params::default());
    }

    #[test]
    fn arbitrary_tables_are_answered(
        rows in prop::collection::vec(prop::collection::vec(any_cell(), 2..4), 0..40),
        delimiter in prop_oneof![",", ";", "\t"],
    ) {
        let rows: Vec<String> = rows.iter().map(|row| row.join(&delimiter)).collect();
        let table = format!("timestamp{delimiter}value\n{}", rows.join("\n"));
        answer(table.as_bytes(), &Params::default());
    }

    #[test]
    fn arbitrary_values_are_answered(values in any_values(), params in any_params()) {
        let days = u32::try_from(values.len()).unwrap();
        let rows = daily_rows(days, |day| values[day as usize]);
        answer(crate::csv(&rows).as_bytes(), &params);
    }

    #[test]
    fn arbitrary_steps_are_answered(step in 1i64..400 * 86_400_000_000, start in -300_000_000_000i64..250_000_000_000, values in any_values()) {
        let mut table = String::from("timestamp,value\n");
        for (slot, value) in (0i64..).zip(&values) {
            let Some(time) = step.checked_mul(slot).and_then(|offset| offset.checked_add(start * 1_000_000)) else { break };
            let Ok(time) = jiff::Timestamp::from_microsecond(time) else { break };
            writeln!(table, "{time},{value}").unwrap();
        }
        answer(table.as_bytes(), &Params::default());
    }
}
