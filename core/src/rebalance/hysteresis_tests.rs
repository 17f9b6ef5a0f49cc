use super::*;
use crate::shard::Rectangle;
use crate::slot::SLOTS;

const DELAYS: Delays = Delays { hot: 300.0, cold: 3600.0 };

fn measured(parts: &[f64], nodes: &[i32]) -> Vec<ShardLoad> {
    let width = SLOTS / parts.len() as u16;
    let bounds =
        (0..).map(|at| Rectangle { slots: at * width..(at + 1) * width, ..Rectangle::whole() });
    let shards = (1..).zip(bounds).zip(parts.iter().zip(nodes));
    let measure = |((id, bounds), (&part, &node))| ShardLoad {
        id,
        node,
        bounds,
        part,
        schemas: 10,
        is_at_rest: true,
    };
    shards.map(measure).collect()
}

#[test]
fn hot_shards_are_split_after_five_minutes() {
    let mut hysteresis = Hysteresis::default();
    let shards = measured(&[0.41, 0.2, 0.2, 0.19], &[1, 1, 2, 2]);
    for second in [0.0, 60.0, 299.0] {
        assert_eq!(hysteresis.observe(second, &shards, 2, 4, DELAYS), vec![]);
    }
    assert_eq!(hysteresis.observe(300.0, &shards, 2, 4, DELAYS), vec![Adjustment::Split(1)]);
    assert_eq!(hysteresis.observe(310.0, &shards, 2, 4, DELAYS), vec![], "its timer restarts");
    assert_eq!(hysteresis.observe(610.0, &shards, 2, 4, DELAYS), vec![Adjustment::Split(1)]);
}

#[test]
fn a_calm_moment_restarts_the_timer() {
    let mut hysteresis = Hysteresis::default();
    let (hot, calm) = (measured(&[0.5, 0.5], &[1, 2]), measured(&[0.3, 0.7], &[1, 2]));
    hysteresis.observe(0.0, &hot, 2, 2, DELAYS);
    hysteresis.observe(200.0, &calm, 2, 2, DELAYS);
    assert!(!hysteresis.observe(310.0, &hot, 2, 2, DELAYS).contains(&Adjustment::Split(1)));
    assert!(hysteresis.observe(610.0, &hot, 2, 2, DELAYS).contains(&Adjustment::Split(1)));
}

#[test]
fn what_cannot_be_split_is_left_alone() {
    let mut hysteresis = Hysteresis::default();
    let mut shards = measured(&[0.5, 0.5], &[1, 2]);
    shards[0].schemas = 1;
    shards[1].is_at_rest = false;
    for second in [0.0, 400.0, 800.0] {
        assert_eq!(hysteresis.observe(second, &shards, 2, 2, DELAYS), vec![]);
    }
}

#[test]
fn cold_neighbours_are_merged_after_an_hour() {
    let mut hysteresis = Hysteresis::default();
    // the mean is 0.2: cold is 0.06 together
    let shards = measured(&[0.03, 0.03, 0.0, 0.44, 0.5], &[1, 1, 1, 2, 2]);
    assert_eq!(hysteresis.observe(0.0, &shards, 9, 3, DELAYS), vec![]);
    let merges = |adjustments: Vec<Adjustment>| -> Vec<Adjustment> {
        adjustments
            .into_iter()
            .filter(|adjustment| matches!(adjustment, Adjustment::Merge(..)))
            .collect()
    };
    assert_eq!(merges(hysteresis.observe(3599.0, &shards, 1, 3, DELAYS)), vec![]);
    assert_eq!(
        merges(hysteresis.observe(3600.0, &shards, 1, 3, DELAYS)),
        vec![Adjustment::Merge(1, 2)],
        "each once"
    );
    let mut hysteresis = Hysteresis::default();
    hysteresis.observe(0.0, &shards, 1, 5, DELAYS);
    assert_eq!(hysteresis.observe(4000.0, &shards, 1, 5, DELAYS), vec![], "no fewer than wanted");
    let apart = measured(&[0.0, 0.0], &[1, 2]);
    let mut hysteresis = Hysteresis::default();
    hysteresis.observe(0.0, &apart, 1, 1, DELAYS);
    assert_eq!(hysteresis.observe(4000.0, &apart, 1, 1, DELAYS), vec![], "on two nodes");
}

/// What a split makes is never merged at once, whatever the load: the two limits lie far apart.
#[test]
fn halves_of_a_hot_shard_are_not_cold() {
    let mut hysteresis = Hysteresis::default();
    let shards = measured(&[0.2, 0.2, 0.3, 0.3], &[1, 1, 2, 2]);
    for second in 0..100 {
        let adjustments = hysteresis.observe(f64::from(second) * 100.0, &shards, 2, 1, DELAYS);
        assert_eq!(adjustments, vec![]);
    }
}
