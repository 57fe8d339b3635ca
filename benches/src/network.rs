//! Power networks of any size.

use serde_json::json;

/// A square grid of so many buses a side as a case document: lines to the right and down, a generator at every fifth
/// bus that feeds what the buses around it take.
pub fn grid(side: usize) -> String {
    let buses: Vec<_> = (0..side * side)
        .map(|id| {
            let kind = match id {
                0 => "slack",
                id if id % 5 == 0 => "pv",
                _ => "pq",
            };
            // No two buses are alike, as they are not in a real network.
            json!({"id": id, "type": kind, "pd_mw": 8.0 + (id % 7) as f64, "qd_mvar": 2.0 + (id % 3) as f64})
        })
        .collect();
    let generators: Vec<_> =
        (0..side * side).step_by(5).map(|bus| json!({"bus": bus, "pg_mw": 55.0, "vm_pu": 1.02})).collect();
    let line = |from: usize, to: usize| json!({"from": from, "to": to, "r_pu": 0.01, "x_pu": 0.05, "b_pu": 0.02});
    let right = (0..side * side).filter(|bus| bus % side + 1 < side).map(|bus| line(bus, bus + 1));
    let down = (0..side * (side - 1)).map(|bus| line(bus, bus + side));
    let branches: Vec<_> = right.chain(down).collect();
    json!({"base_mva": 100.0, "bus": buses, "gen": generators, "branch": branches}).to_string()
}
