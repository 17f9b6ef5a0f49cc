//! Figures of the topmost node of a plan, read from the output of EXPLAIN in any of its formats.

/// What EXPLAIN says of a plan node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Cost before the first row.
    pub startup_cost: f64,
    /// Cost of all rows.
    pub total_cost: f64,
    /// Estimated number of rows.
    pub rows: f64,
    /// Estimated bytes of a row.
    pub width: i32,
    /// Number of rows that it gave, if it ran.
    pub actual_rows: Option<f64>,
}

/// The figures of the first plan node; None if there are none, as with `COSTS OFF`.
pub fn figures(output: &str) -> Option<Figures> {
    of_text(output).or_else(|| of_properties(output))
}

/// `Seq Scan on t  (cost=0.00..1.05 rows=5 width=4) (actual time=0.01..0.02 rows=5 loops=1)`
fn of_text(output: &str) -> Option<Figures> {
    let line = output.lines().next()?;
    let (_, costs) = line.split_once("(cost=")?;
    let (costs, behind) = costs.split_once(')')?;
    let (startup, costs) = costs.split_once("..")?;
    let (total, costs) = costs.split_once(" rows=")?;
    let (rows, width) = costs.split_once(" width=")?;
    let actual = behind.split_once("(actual").and_then(|(_, actual)| actual.split_once("rows="));
    Some(Figures {
        startup_cost: startup.parse().ok()?,
        total_cost: total.parse().ok()?,
        rows: rows.parse().ok()?,
        width: width.parse().ok()?,
        actual_rows: actual.and_then(|(_, rows)| leading_number(rows)),
    })
}

/// JSON, YAML and XML: the first of each property is the topmost node's.
fn of_properties(output: &str) -> Option<Figures> {
    let number = |name: &str| {
        let xml = name.replace(' ', "-");
        let behind = |name: &str| output.split_once(name).map(|(_, behind)| behind);
        let value = behind(name).or_else(|| behind(&xml))?;
        leading_number(value.trim_start_matches(['"', ':', ' ', '>']))
    };
    Some(Figures {
        startup_cost: number("Startup Cost")?,
        total_cost: number("Total Cost")?,
        rows: number("Plan Rows")?,
        width: number("Plan Width")? as i32,
        actual_rows: number("Actual Rows"),
    })
}

fn leading_number(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_read() {
        let expected = Figures {
            startup_cost: 0.25,
            total_cost: 7.5,
            rows: 30.0,
            width: 12,
            actual_rows: Some(29.0),
        };
        for output in [
            "Limit  (cost=0.25..7.50 rows=30 width=12) (actual time=0.010..0.020 rows=29 loops=1)\n  ->  Seq Scan on t  (cost=0.00..9.00 rows=1 width=1)",
            "Limit  (cost=0.25..7.50 rows=30 width=12) (actual rows=29.00 loops=1)",
            r#"[ { "Plan": { "Startup Cost": 0.25, "Total Cost": 7.50, "Plan Rows": 30, "Plan Width": 12, "Actual Rows": 29, "Plans": [ { "Plan Rows": 1 } ] } } ]"#,
            "- Plan: \n    Startup Cost: 0.25\n    Total Cost: 7.50\n    Plan Rows: 30\n    Plan Width: 12\n    Actual Rows: 29\n",
            "<Plan><Startup-Cost>0.25</Startup-Cost><Total-Cost>7.50</Total-Cost><Plan-Rows>30</Plan-Rows><Plan-Width>12</Plan-Width><Actual-Rows>29</Actual-Rows></Plan>",
        ] {
            assert_eq!(figures(output), Some(expected), "{output}");
        }
    }

    #[test]
    fn there_may_be_no_figures() {
        for output in ["", "Seq Scan on t", "Seq Scan on t (actual rows=1 loops=1)", "[]"] {
            assert_eq!(figures(output), None, "{output}");
        }
        let planned = figures("Result  (cost=0.00..0.01 rows=1 width=4)");
        assert_eq!(planned.and_then(|figures| figures.actual_rows), None);
    }
}
