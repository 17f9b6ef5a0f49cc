//! Figures of the topmost node of a plan, read from the output of EXPLAIN in any of its formats.

/// What EXPLAIN estimates for a plan node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Cost before the first row.
    pub startup_cost: f64,
    /// Cost of all rows.
    pub total_cost: f64,
    /// Number of rows.
    pub rows: f64,
    /// Bytes of a row.
    pub width: i32,
}

/// What EXPLAIN says of a plan node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// None with `COSTS OFF`.
    pub estimate: Option<Estimate>,
    /// Number of rows that it gave, if it ran.
    pub actual_rows: Option<f64>,
}

/// The figures of the first plan node; None if there are none.
pub fn figures(output: &str) -> Option<Figures> {
    let line = output.lines().next().unwrap_or_default();
    let is_text = line.contains("(cost=") || line.contains("(actual ");
    let figures = if is_text {
        Figures { estimate: estimate_of_text(line), actual_rows: actual_rows_of_text(line) }
    } else {
        let number = |name: &str| property(output, name);
        Figures { estimate: estimate_of_properties(&number), actual_rows: number("Actual Rows") }
    };
    (figures.estimate.is_some() || figures.actual_rows.is_some()).then_some(figures)
}

/// `Seq Scan on t  (cost=0.00..1.05 rows=5 width=4) (actual time=0.01..0.02 rows=5 loops=1)`
fn estimate_of_text(line: &str) -> Option<Estimate> {
    let (_, costs) = line.split_once("(cost=")?;
    let (costs, _) = costs.split_once(')')?;
    let (startup, costs) = costs.split_once("..")?;
    let (total, costs) = costs.split_once(" rows=")?;
    let (rows, width) = costs.split_once(" width=")?;
    Some(Estimate {
        startup_cost: startup.parse().ok()?,
        total_cost: total.parse().ok()?,
        rows: rows.parse().ok()?,
        width: width.parse().ok()?,
    })
}

fn actual_rows_of_text(line: &str) -> Option<f64> {
    let (_, actual) = line.rsplit_once("(actual ")?;
    leading_number(actual.split_once("rows=")?.1)
}

/// JSON, YAML and XML: the first of each property is the topmost node's.
fn property(output: &str, name: &str) -> Option<f64> {
    let xml = name.replace(' ', "-");
    let behind = |name: &str| output.split_once(name).map(|(_, behind)| behind);
    let value = behind(name).or_else(|| behind(&xml))?;
    leading_number(value.trim_start_matches(['"', ':', ' ', '>']))
}

fn estimate_of_properties(number: &dyn Fn(&str) -> Option<f64>) -> Option<Estimate> {
    Some(Estimate {
        startup_cost: number("Startup Cost")?,
        total_cost: number("Total Cost")?,
        rows: number("Plan Rows")?,
        width: number("Plan Width")? as i32,
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
        let estimate = Estimate { startup_cost: 0.25, total_cost: 7.5, rows: 30.0, width: 12 };
        let expected = Figures { estimate: Some(estimate), actual_rows: Some(29.0) };
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
        for output in ["", "Seq Scan on t", "[]"] {
            assert_eq!(figures(output), None, "{output}");
        }
        for output in [
            "Seq Scan on \"(actual t\" (actual rows=7 loops=1)",
            "Seq Scan on t (actual time=0.010..0.012 rows=7.00 loops=1)",
            r#"[ { "Plan": { "Node Type": "Seq Scan", "Actual Rows": 7 } } ]"#,
        ] {
            let expected = Figures { estimate: None, actual_rows: Some(7.0) };
            assert_eq!(figures(output), Some(expected), "{output}");
        }
        let planned = figures("Result  (cost=0.00..0.01 rows=1 width=4)");
        assert_eq!(planned.and_then(|figures| figures.actual_rows), None);
    }
}
