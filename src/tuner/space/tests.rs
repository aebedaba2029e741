use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn space(yaml: &str) -> Result<Space, String> {
    serde_yaml::from_str(yaml).map_err(|error| error.to_string())
}

const DESIGN: &str = "
threads: { int: [1, 4] }
batch_size: { int: [1, 4096], scale: log }
linger: { duration: [0ms, 5ms] }
hash: { category: [sha2, ring] }
compress: { bool: [false, true] }
backoff: { float: [0.01, 100.0], scale: log }
";

#[test]
fn a_space_reads_in_declared_order_and_comes_back_the_same() {
    let read = space(DESIGN).unwrap();
    let names: Vec<&str> = read.names().collect();
    assert_eq!(names, ["threads", "batch_size", "linger", "hash", "compress", "backoff"]);
    assert_eq!((read.dimension(), read.lattice_points()), (6, 4 * 4096 * 101 * 2 * 2 * 1001));
    let json = serde_json::to_value(&read).unwrap();
    assert_eq!(json["batch_size"], json!({ "int": [1, 4096], "scale": "log" }));
    assert_eq!(json["linger"], json!({ "duration": ["0s", "5ms"] }));
    assert_eq!(serde_json::from_value::<Space>(json).unwrap(), read);
}

#[test]
fn the_centre_of_a_wide_range_of_whole_numbers_is_its_geometric_middle_even_when_declared_linear() {
    let read =
        space("{ wide: { int: [1, 1024] }, narrow: { int: [10, 100] }, zero: { int: [0, 100] } }");
    let centre = read.unwrap().centre();
    assert_eq!(centre.to_string(), "wide=32 narrow=55 zero=50");
}

#[test]
fn every_mistake_of_a_space_names_its_parameter_and_the_remedy() {
    let error = space(
        "
a: { int: [4, 1] }
b: { int: [0, 10], scale: log }
c: { category: [] }
d: { integer: [1, 2] }
e: { int: [1, 2], bool: [true] }
f: { duration: [5ms, 0ms] }
g: { category: [x, x] }
h: { duration: [0ms, 1ms], scale: log }
i: { category: [on, off] }
j: { duration: [1, 2] }
k: {}
l: { int: [1, 9007199254740993] }
",
    )
    .unwrap_err();
    for part in [
        "`a`: goes from 4 down to 1: write `[1, 4]`",
        "`b`: has a log scale from 0: start it at 1",
        "`c`: has no values",
        "`d`: unknown field `integer`",
        "`e`: must be exactly one of",
        "`f`: goes from 5ms down to 0s",
        "`g`: lists \"x\" twice",
        "`h`: has a `scale`, which only",
        "`i`: the category true is not a text; put it into quotes",
        "`j`: ",
        "`k`: must be exactly one of",
        "`l`: goes beyond",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert!(space("{}").unwrap_err().contains("at least one"));
}

#[test]
fn durations_lie_on_hundredths_of_their_range_or_on_ten_microseconds() {
    let wide = space("{ d: { duration: [0ms, 5ms] } }").unwrap();
    assert_eq!(wide.point(&wide.cell_at(&[0.013])).to_string(), "d=50us");
    let narrow = space("{ d: { duration: [0us, 35us] } }").unwrap();
    assert_eq!(narrow.lattice_points(), 5);
    let values: Vec<String> = [0.0, 0.3, 0.6, 0.85, 1.0]
        .map(|at| narrow.point(&narrow.cell_at(&[at])).to_string())
        .into();
    assert_eq!(values, ["d=0s", "d=10us", "d=20us", "d=30us", "d=35us"]);
}

#[test]
fn a_parameter_with_one_value_is_no_dimension_of_the_cube() {
    let read =
        space("{ fixed: { int: [8, 8] }, free: { int: [1, 3] }, only: { bool: [true] } }").unwrap();
    assert_eq!(read.dimension(), 1);
    assert_eq!(read.point(&read.cell_at(&[1.0])).to_string(), "fixed=8 free=3 only=true");
}

#[test]
fn a_point_read_back_from_json_gets_its_types_again() {
    let read = space(DESIGN).unwrap();
    let point = read.point(&read.cell_at(&[0.9, 0.2, 0.31, 0.9, 0.1, 0.5]));
    let json = serde_json::to_value(&point).unwrap();
    let expected = json!({
        "threads": 4, "batch_size": 5, "linger": "1ms 550us", "hash": "ring", "compress": false,
        "backoff": 1.0,
    });
    assert_eq!(json, expected);
    let plain: Point = serde_json::from_value(json).unwrap();
    assert_ne!(plain, point);
    let (cell, adopted) = read.adopt(&plain).unwrap();
    assert_eq!(adopted, point);
    assert_eq!(read.point(&cell), point);
}

#[test]
fn a_point_that_does_not_fit_is_told_every_reason() {
    let read =
        space("{ a: { int: [1, 4] }, b: { category: [x, z2] }, c: { duration: [0ms, 1ms] } }")
            .unwrap();
    let point: Point = serde_json::from_value(json!({ "a": 9, "b": "z", "d": 1 })).unwrap();
    let error = read.adopt(&point).unwrap_err().to_string();
    for part in [
        "`a`: is 9, outside 1 to 4",
        "`b`: has no category `z`",
        "`c`: has no value",
        "`d`: is not in the space",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}

#[test]
fn an_incumbent_between_two_steps_keeps_its_value_and_gets_the_nearest_cell() {
    let read = space("{ d: { duration: [0ms, 10ms] } }").unwrap();
    let odd: Point = [("d".to_owned(), ParameterValue::Duration(Duration::from_micros(1234)))]
        .into_iter()
        .collect();
    let (cell, adopted) = read.adopt(&odd).unwrap();
    assert_eq!(adopted, odd);
    assert_eq!(read.point(&cell).to_string(), "d=1ms 200us");
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let schema = serde_json::to_value(schemars::schema_for!(Space)).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let good: serde_json::Value = serde_json::to_value(space(DESIGN).unwrap()).unwrap();
    assert!(validator.is_valid(&good), "{good}");
    assert!(validator.is_valid(&json!({ "threads": { "int": [1, "{{ host.cpus * 2 }}"] } })));
    for bad in
        [json!({}), json!({ "a": { "integer": [1, 2] } }), json!({ "a": { "category": [] } })]
    {
        assert!(!validator.is_valid(&bad), "{bad}");
    }
}

fn any_axis() -> impl Strategy<Value = Declaration> {
    let int = (-1000_i64..1000, 0_i64..5000)
        .prop_map(|(low, more)| Declaration { int: Some([low, low + more]), ..Default::default() });
    let log = (1_i64..1000, 0_i64..100_000).prop_map(|(low, more)| Declaration {
        int: Some([low, low + more]),
        scale: Some(Scale::Log),
        ..Default::default()
    });
    let float =
        (1e-3_f64..10.0, 0.0_f64..1e4, any::<bool>()).prop_map(|(low, more, log)| Declaration {
            float: Some([low, low + more]),
            scale: log.then_some(Scale::Log),
            ..Default::default()
        });
    let duration = (0_u64..1_000_000, 0_u64..100_000_000).prop_map(|(low, more)| Declaration {
        duration: Some([low, low + more].map(|nanos| Duration::from_nanos(nanos).into())),
        ..Default::default()
    });
    let category = prop::collection::hash_set("[a-z]{1,4}", 1..6).prop_map(|names| Declaration {
        category: Some(names.into_iter().collect()),
        ..Default::default()
    });
    prop_oneof![int, log, float, duration, category]
}

proptest! {
    #[test]
    fn a_cell_keeps_its_place_through_the_cube_and_through_its_values(
        declarations in prop::collection::vec(any_axis(), 1..5),
        unit in prop::collection::vec(-0.2_f64..1.2, 5),
    ) {
        let named = declarations.into_iter().enumerate().map(|(i, one)| (format!("p{i}"), one));
        let space = Space::new(named).unwrap();
        let cell = space.cell_at(&unit);
        let place = space.unit(&cell);
        prop_assert_eq!(place.len(), space.dimension());
        prop_assert!(place.iter().all(|at| (0.0..=1.0).contains(at)));
        prop_assert_eq!(&space.cell_at(&place), &cell);
        let (adopted_cell, adopted) = space.adopt(&space.point(&cell)).unwrap();
        prop_assert_eq!(&adopted_cell, &cell);
        prop_assert_eq!(adopted, space.point(&cell));
    }
}
