use super::*;

fn node_name(node: i32) -> String {
    format!("node-{node}")
}

fn remote(node: i32, schema: &str, shard: i64, write: bool) -> Touched {
    Touched::Remote { node, schema: schema.into(), shard, write }
}

fn table(name: &str, write: bool) -> Touched {
    Touched::LocalTable { name: name.into(), write }
}

fn reference(write: bool) -> Touched {
    Touched::Reference { name: "public.r".into(), write }
}

fn of(touched: &[Touched]) -> Route {
    route(touched, &node_name)
}

fn refusal(touched: &[Touched]) -> Refusal {
    match of(touched) {
        Route::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn node(node: i32, shards: &[(i64, bool)]) -> Route {
    let shards = shards.iter().map(|&(shard, write)| ShardUse { shard, write }).collect();
    Route::Node { node, shards }
}

/// Every set of things out of one of each sort, in two orders, against the rules said again in
/// another way.
#[test]
fn every_mix_of_things() {
    let things = [
        remote(1, "a", 10, false),
        remote(1, "b", 11, true),
        remote(1, "b", 11, false),
        remote(2, "c", 12, false),
        table("public.t", false),
        table("public.u", true),
        Touched::TempTable { name: "tmp".into() },
        Touched::Catalog,
        Touched::LocalSequence { name: "public.s".into() },
        Touched::LastValue { node: Some(1) },
        Touched::LastValue { node: Some(2) },
        Touched::LastValue { node: None },
        reference(false),
        reference(true),
        Touched::Advanced { node: 2, schema: "c".into(), shard: 12 },
    ];
    const NOT_IN_PARTS: u32 = 0b00_0110_0000_0010;
    let (one, two, here) = (0b0010_0000_0111, 0b100_0100_0000_1000, 0b10_1001_0111_0000);
    for set in 0u32..1 << things.len() {
        let chosen = || things.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1);
        let forward: Vec<Touched> = chosen().map(|(_, thing)| thing.clone()).collect();
        let backward: Vec<Touched> = forward.iter().rev().cloned().collect();
        let decision = of(&forward);
        assert_eq!(decision, of(&backward), "order matters in {forward:?}");
        let (one, two, here) = (set & one != 0, set & two != 0, set & here != 0);
        let expected = match (one, two, here) {
            (false, false, _) => Route::Here,
            (true, false, false) => {
                let mut shards = Vec::new();
                if set & 1 != 0 {
                    shards.push((10, false));
                }
                if set & 6 != 0 {
                    shards.push((11, set & 2 != 0));
                }
                node(1, &shards)
            }
            (false, true, false) if set >> 14 & 1 == 1 => node(2, &[(12, true)]),
            (false, true, false) => node(2, if set & 8 != 0 { &[(12, false)] } else { &[] }),
            // Things of a node are only read, and nothing is asked that one place alone can answer.
            _ if set & NOT_IN_PARTS == 0 => Route::Parts,
            _ => {
                assert!(matches!(decision, Route::Refused(_)), "{forward:?} is {decision:?}");
                continue;
            }
        };
        assert_eq!(decision, expected, "{forward:?}");
    }
}

#[test]
fn shards_come_once_in_order_with_the_strongest_use() {
    let touched = [remote(1, "b", 9, false), remote(1, "a", 3, true), remote(1, "c", 9, true)];
    assert_eq!(of(&touched), node(1, &[(3, true), (9, true)]));
}

#[test]
fn a_refusal_of_several_nodes_names_schemas_and_nodes() {
    let touched = [remote(2, "tenant_2", 5, true), remote(1, "tenant_1", 4, false)];
    let refusal = refusal(&touched);
    assert_eq!(refusal.message, "statement touches distributed schemas on 2 nodes");
    assert_eq!(
        refusal.detail,
        "Schema \"tenant_1\" is on node \"node-1\", schema \"tenant_2\" is on node \"node-2\"."
    );
    assert!(refusal.hint.contains("SELECT helios_colocate('tenant_2', 'tenant_1');"));
}

#[test]
fn what_is_read_in_several_places_runs_in_parts() {
    assert_eq!(of(&[remote(1, "a", 4, false), remote(2, "b", 5, false)]), Route::Parts);
    assert_eq!(of(&[remote(1, "a", 4, false), table("public.t", true)]), Route::Parts);
    assert_eq!(
        of(&[remote(1, "a", 4, false), Touched::TempTable { name: "t".into() }]),
        Route::Parts
    );
}

#[test]
fn a_refusal_of_a_mix_names_what_is_here() {
    let touched = [
        remote(1, "a", 4, false),
        remote(1, "a", 4, true),
        table("public.t", false),
        Touched::TempTable { name: "tmp".into() },
        Touched::LocalSequence { name: "public.s".into() },
        Touched::LastValue { node: None },
        Touched::Catalog,
    ];
    let refusal = refusal(&touched);
    assert_eq!(
        refusal.detail,
        "Schema \"a\" is on node \"node-1\", table \"public.t\" is on the coordinator, \
         temporary table \"tmp\" is on the coordinator, \
         sequence \"public.s\" is on the coordinator, \
         the sequence last used by nextval() is on the coordinator."
    );
    assert!(refusal.hint.contains("separate statements"));
}

#[test]
fn a_node_known_from_lastval_alone_is_named() {
    let refusal = refusal(&[remote(1, "a", 4, true), Touched::LastValue { node: Some(2) }]);
    assert!(refusal.detail.contains("the sequence last used by nextval() is on node \"node-2\""));
    let refusal =
        super::tests::refusal(&[Touched::LastValue { node: Some(2) }, table("public.t", true)]);
    assert!(
        refusal
            .detail
            .starts_with("The sequence last used by nextval() is on node \"node-2\", table")
    );
}

#[test]
fn a_long_refusal_is_cut() {
    let touched: Vec<Touched> =
        (1..=30).map(|i| remote(i, &format!("s{i:02}"), i64::from(i), true)).collect();
    let refusal = refusal(&touched);
    assert_eq!(refusal.detail.matches("schema ").count() + 1, 8, "{}", refusal.detail);
    assert!(refusal.detail.ends_with("schema \"s08\" is on node \"node-8\", and 22 more."));
}

#[test]
fn the_name_of_a_node_is_asked_only_for_a_refusal() {
    let never = |_: i32| -> String { panic!("asked") };
    assert_eq!(route(&[], &never), Route::Here);
    assert_eq!(route(&[remote(1, "a", 4, false)], &never), node(1, &[(4, false)]));
}

#[test]
fn reference_table_is_named_where_it_would_be_changed() {
    assert_eq!(of(&[remote(1, "a", 10, true), reference(false)]), node(1, &[(10, true)]));
    assert_eq!(of(&[reference(true), table("public.t", true)]), Route::Here);
    assert_eq!(of(&[remote(1, "a", 10, false), reference(true)]), Route::Parts);
    let texts = refusal(&[remote(1, "a", 10, true), reference(true)]);
    assert!(texts.message.contains("locks a reference table"), "{texts:?}");
    assert!(texts.detail.contains("reference table \"public.r\""), "{texts:?}");
}
