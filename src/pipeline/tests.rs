//! What expressions give, and that no text whatever brings the reader down.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::diagnostic::{Source, Style, render as draw};

fn scope() -> Scope {
    let object = |value: Value| value.as_object().cloned().unwrap_or_else(Map::new);
    let env = object(json!({ "HOME": "/root", "LATIN": null }));
    let mut scope = Scope::new(&env, json!({ "cpus": 4 }));
    for (name, value) in object(json!({ "list": [1, 2], "name": "x", "off": false })) {
        scope.set(&name, value, None);
    }
    let size = Choice { axis: "size".to_owned(), value: json!(5), text: "5".to_owned() };
    scope.seeing(object(json!({ "pool": { "size": 7 } })), &[size])
}

/// The value of a text in a `with`.
fn value(text: &str) -> Result<Value, String> {
    let source = Source::new(Path::new("p.yaml"), json!(text).to_string());
    let node = parse_yaml(&source, "of a test").map_err(|error| error.to_string())?;
    let rendered = render(&node, &scope().frame(), &Sources::from(source), &mut Room::of_a_phase());
    rendered.map(|made| made.value).map_err(|wrong| wrong[0].to_string())
}

#[test]
fn a_text_that_is_one_expression_keeps_the_type_of_its_value() {
    for (text, wanted) in [
        ("{{ vars.list }}", json!([1, 2])),
        ("{{ host.cpus * 2 }}", json!(8)),
        ("{{ vars.off }}", json!(false)),
        ("{{ phases.pool }}", json!({ "size": 7 })),
        ("{{ host.cpus / 8 }}", json!(0.5)),
        ("{{ env.MISSING | default('none') }}", json!("none")),
        ("{{ vars.name }} ", json!("x")),
        ("{{ matrix.size }}", json!(5)),
        ("{{ vars.name }}-{{ host.cpus }}", json!("x-4")),
        ("no {expression} at all", json!("no {expression} at all")),
    ] {
        assert_eq!(value(text), Ok(wanted), "{text}");
    }
}

#[test]
fn a_name_that_is_not_defined_is_an_error_wherever_it_stands() {
    for text in
        ["{{ vars.nothing }}", "a {{ vars.nothing }} b", "{{ nobody }}", "{{ host.cpus.x.y }}"]
    {
        assert!(value(text).is_err(), "{text} has the value {:?}", value(text));
    }
    let frame = scope().frame();
    assert!(evaluate_condition("vars.nothing", &frame).is_err());
    assert_eq!(evaluate_condition("host.cpus > 3 and not vars.off", &frame).ok(), Some(true));
}

#[test]
fn a_default_and_a_test_count_for_all_of_a_name_of_which_a_part_is_missing() {
    for (text, wanted) in [
        ("{{ phases.none.code | default(9) }}", json!(9)),
        ("{{ phases['none']['code'].more | d(9) + 1 }}", json!(10)),
        ("{{ phases.none.code is defined }}", json!(false)),
        (
            "a {{ vars.none.a.b|default(vars.name) }} {{ phases.pool.size | default(1) }}",
            json!("a x 7"),
        ),
    ] {
        assert_eq!(value(text), Ok(wanted), "{text}");
    }
    for text in ["{{ phases.none.code }}", "{{ phases.none.code + phases.none.code | default(9) }}"]
    {
        let told = value(text).unwrap_err();
        assert!(told.contains("`phases.none` is not defined"), "{text}: {told}");
    }
}

#[test]
fn a_variable_of_the_environment_that_is_no_text_is_told_as_that_and_not_as_undefined() {
    for text in ["{{ env.LATIN }}", "a{{ env.LATIN | default('b') }}"] {
        let told = value(text).unwrap_err();
        assert!(told.contains("`LATIN` is not UTF-8"), "{text}: {told}");
    }
}

#[test]
fn an_expression_makes_no_more_than_there_is_room_for() {
    for (text, limit) in [
        ("{{ [[0] * 90000, 1] * 90 }}", "more than 1000000 values"),
        (&format!("{{{{ {}1{} }}}}", "[".repeat(66), "]".repeat(66)), "more than 64 levels deep"),
    ] {
        let told = value(text).unwrap_err();
        assert!(told.contains(limit), "{text}: {told}");
    }
    let all = |text: &str| value(text).map(|value| value.as_array().map_or(0, Vec::len));
    assert_eq!(all("{{ [0] * 90000 }}"), Ok(90000));
}

#[test]
fn a_name_that_is_missing_is_told_with_its_place_and_what_may_have_been_meant() {
    for (text, name, at, help) in [
        ("env.HOEM == 'x'", "`env.HOEM`", "HOEM", "did you mean `HOME`?"),
        ("vars.list.first > 1", "`vars.list.first`", "first", "`default(..)` gives"),
        ("phases.pool.siez == 7", "`phases.pool.siez`", "siez", "did you mean `size`?"),
        ("env.NOT | default(1) == 1 and vars['nmae']", "`vars['nmae']`", "nmae", "`name`?"),
        ("env.NOTHING_LIKE_IT", "`env.NOTHING_LIKE_IT`", "NOTHING_LIKE_IT", "`default(..)` gives"),
    ] {
        let trouble = evaluate_condition(text, &scope().frame()).unwrap_err();
        assert!(trouble.message.starts_with(name), "{text}: {trouble}");
        assert_eq!(&text[trouble.part.clone()], at, "{text}");
        assert!(trouble.help.contains(help), "{text}: {trouble}");
    }
}

#[test]
fn values_of_two_kinds_have_no_order_where_they_are_really_compared() {
    for (text, at, help) in [
        ("env.HOME > 5", "env.HOME > 5", "`env.HOME | int > 5`"),
        ("1.5 <= env.HOME", "1.5 <= env.HOME", "`1.5 <= env.HOME | float`"),
        ("host.cpus < '5'", "host.cpus < '5'", "`host.cpus < 5`"),
        ("not vars.off and (vars.name ~ 'y') > host.cpus", "(vars.name ~ 'y') > host.cpus", "int"),
        ("vars.list > 1 or true", "vars.list > 1", "compare a number with a number"),
        ("2 < host.cpus < 'x'", "host.cpus < 'x'", "`host.cpus < 'x' | int`"),
    ] {
        let trouble = evaluate_condition(text, &scope().frame()).unwrap_err();
        assert!(trouble.message.contains("which have no order"), "{text}: {trouble}");
        assert_eq!(&text[trouble.part.clone()], at, "{text}");
        assert!(trouble.help.contains(help), "{text}: {trouble}");
    }
    for (text, truth) in [
        ("vars.name is number and vars.name > 5", false),
        ("'b' > 'a' and 2 > 1.5 and true > 0", true),
        ("vars.off or 1 < host.cpus <= 4", true),
        ("'5' | int > 4", true),
        ("'x > 5' == 'x > 5'", true),
        ("vars.name > 5 if vars.off else 1 < 2", true),
    ] {
        assert_eq!(evaluate_condition(text, &scope().frame()).ok(), Some(truth), "{text}");
    }
    assert!(value("{{ vars.name > 5 }}").unwrap_err().contains("a text with a number"));
    assert!(value("a {% if vars.name > 5 %}b{% endif %}").unwrap_err().contains("a text"));
    assert_eq!(value("a {% for x in [1] if x > 0 %}b{% endfor %}"), Ok(json!("a b")));
    // The other side is known to be a text, whatever it will be.
    let doubt = |text: &str| doubt_condition(text, &scope().frame()).map(|found| found.message);
    assert!(doubt("phases.later.code == 0 and env.ANY > 5").unwrap().contains("`env.ANY > 5`"));
    assert_eq!(doubt("phases.later.code > 5"), None);
    assert!(doubt("phases.later.code == 0 and 1 / 0 > 1").unwrap().contains("1 / 0"));
    assert!(doubt("not ('a' | int == 3) or phases.later.code").unwrap().contains("no value"));
    for fine in
        ["phases.later.x is not odd and 1 < 2", "phases.later.x not in [1, 2] or 'a' == 'b'"]
    {
        assert_eq!(doubt(fine), None, "{fine}");
    }
    assert_eq!(doubt("env.ANY | int > phases.later.code"), None);
}

/// What the text of a variable refers to, each with what is written there.
fn references(text: &str) -> Vec<(Reference, String)> {
    let file = format!("version: 1\nvars: {{ x: {} }}\nphases: {{}}\n", json!(text));
    let pipeline = draft_text(Path::new("p.yaml"), file).pipeline.unwrap();
    let mentions = pipeline.vars[0].mentions.iter();
    mentions
        .map(|one| (one.reference.clone(), pipeline.sources.written(one.span).to_owned()))
        .collect()
}

#[test]
fn references_are_found_in_every_kind_of_expression_where_they_stand() {
    let phase = |name: &str, next: &str| Reference::Phase {
        name: name.to_owned(),
        next: Some(next.to_owned()),
    };
    let var = |name: &str| (Reference::Var { name: name.to_owned() }, name.to_owned());
    assert_eq!(
        references("{{ phases.pool.size }} {{ phases['tune'].x }}"),
        [(phase("pool", "size"), "pool".to_owned()), (phase("tune", "x"), "tune".to_owned()),]
    );
    assert_eq!(references("{% if vars.a %}{{ vars.b }}{% endif %}"), [var("a"), var("b")]);
    assert_eq!(references("{{ range(3) }}"), []);
    assert_eq!(references("{% for x in [1] %}{{ x }}{% endfor %}"), []);
    assert_eq!(references("plain"), []);
    assert_eq!(references("{{ 1 + }}")[0].0, Reference::Broken);
    assert_eq!(
        references("{{ 1 | no_such_filter }}")[0],
        (Reference::Broken, "no_such_filter".to_owned())
    );
    assert_eq!(
        references("{{ 1 is no_such_test }}")[0],
        (Reference::Broken, "no_such_test".to_owned())
    );
}

#[test]
fn the_filters_and_tests_that_are_proposed_are_there() {
    for name in expression::FILTERS {
        assert!(expression::unknown_filter(name).is_none(), "{name}");
    }
    for name in expression::TESTS {
        assert!(expression::unknown_test(name).is_none(), "{name}");
    }
}

/// Reads a text as a pipeline and draws whatever is wrong with it; nothing of it may panic.
fn read_and_draw(text: String) {
    if let Err(found) = read_text(Path::new("p.yaml"), text) {
        assert!(!found.0.is_empty(), "an error that says nothing");
        let drawn = draw(&found.0, Style { color: false, unicode: true, width: 80 });
        assert!(!drawn.is_empty());
    }
}

const PIECES: [&str; 40] = [
    "version: 1\n",
    "phases:\n",
    "  a: ",
    "  b:\n",
    "    uses: command\n",
    "{ ",
    " }",
    "[",
    "]",
    "- ",
    "needs: ",
    "a, ",
    "when: ",
    "\"{{ vars.x }}\"",
    "'{{ phases.a.code }}'",
    "with: ",
    "vars:\n",
    "{{ ",
    " }}",
    "{% if %}",
    "&x ",
    "*x",
    "|\n",
    ">\n",
    "# note\n",
    "\n",
    "  ",
    "\t",
    "ü",
    "日本",
    "\u{feff}",
    "\r\n",
    "timeout: 1s",
    "retry: ",
    "null",
    "!!tag ",
    "? ",
    "---\n",
    "<<: *x\n",
    "\"\\u00e9\"",
];

const WORDS: [&str; 36] = [
    "env.HOME",
    "env.NOT",
    "env['ü",
    "vars.list",
    "vars.name",
    "vars['näme']",
    "host.cpus",
    "phases.pool.size",
    "matrix.size",
    " < ",
    " <= ",
    " > ",
    ">=",
    " == ",
    " and ",
    " or ",
    " not ",
    " in ",
    " is ",
    "defined",
    "number",
    " if ",
    " else ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ", ",
    " | ",
    "int",
    "'ü > 5'",
    "5",
    " -",
    ".",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_made_of_pieces_of_pipelines_brings_the_reader_down(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..30),
    ) {
        read_and_draw(pieces.concat());
    }

    #[test]
    fn no_expression_brings_the_engine_down_or_has_its_trouble_outside_of_it(
        words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..16),
    ) {
        let text = words.concat();
        let frame = scope().frame();
        let doubt = doubt_condition(&text, &frame);
        for trouble in evaluate_condition(&text, &frame).err().into_iter().chain(doubt) {
            prop_assert!(text.get(trouble.part.clone()).is_some(), "{text:?}: {trouble:?}");
        }
        if let Err(told) = value(&format!("x {{{{ {text} }}}} {{% if {text} %}}y{{% endif %}}")) {
            prop_assert!(!told.is_empty() && !told.contains("__both_sides"), "{text:?}: {told}");
        }
    }

    #[test]
    fn no_damage_to_a_good_pipeline_brings_the_reader_down(
        at in 0..400_usize,
        length in 0..20_usize,
        piece in prop::sample::select(&PIECES[..]),
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        let at = at.min(text.len());
        let end = (at + length).min(text.len());
        text.splice(at..end, piece.chars());
        read_and_draw(text.into_iter().collect());
    }
}

const GOOD: &str = r#"# Größe
version: 1
name: "日本 pipeline"
vars: { wanted: "{{ host.cpus }}", text: 'é' }
phases:
  first: { uses: command, with: { argv: [/bin/echo, "é {{ vars.wanted }}"] } }
  second:
    uses: command
    needs: [first]
    when: "{{ phases.first.code == 0 }}"   # ünïcode
    with:
      argv: &list
        - /bin/echo
        - "ß{{ phases.first.stdout }}"
      env:
        A: >
          folded {{ vars.text }}
"#;

#[test]
fn the_pipeline_that_is_damaged_is_good() {
    let read = read_text(Path::new("p.yaml"), GOOD.to_owned());
    let spans =
        read.unwrap().phases.into_iter().map(|phase| GOOD[phase.name.span.bytes()].to_owned());
    assert_eq!(spans.collect::<Vec<_>>(), ["first", "second"]);
}

#[test]
fn what_a_phase_says_of_itself_comes_before_the_defaults_and_these_before_what_nobody_says() {
    let text = r"
version: 1
defaults: { timeout: 5m, retry: { attempts: 3, jitter: 0% }, cache: { ttl: 1h, scope: class } }
phases:
  plain: { uses: a }
  told:
    uses: a
    always: true
    timeout: 1s
    retry: { backoff: 10m }
    cache: { inputs: [data/*.csv] }
    gate: { objective: p99 }
  off: { uses: a, cache: false, gate: { objective: { command: [/bin/x, y], goal: minimize }, min_gain: 5%, confidence: 99%, budget: 2m } }
";
    let pipeline = read_text(Path::new("p.yaml"), text.to_owned()).unwrap();
    let [plain, told, off] = &pipeline.phases[..] else { panic!("three phases") };
    let minutes = Duration::from_mins;
    let retry = |phase: &PhaseSpec| {
        let Retry { attempts, backoff, max_backoff, jitter } = phase.retry;
        (attempts, backoff, max_backoff, jitter.0)
    };
    assert_eq!((plain.timeout, plain.always, &plain.gate), (minutes(5), false, &None));
    assert_eq!(retry(plain), (3, Duration::from_secs(1), minutes(5), 0.0));
    assert_eq!((plain.cache.ttl, plain.cache.scope), (minutes(60), CacheScope::Class));
    assert_eq!((told.timeout, told.always), (Duration::from_secs(1), true));
    assert_eq!(retry(told), (3, minutes(10), minutes(10), 0.0));
    assert_eq!((told.cache.ttl, &told.cache.inputs[0].value[..]), (minutes(60), "data/*.csv"));
    let gate = &told.gate.as_ref().unwrap().value;
    assert_eq!(gate.objective, GateObjective::P99);
    assert_eq!((gate.min_gain.0, gate.confidence.0, gate.budget), (1.0, 95.0, minutes(1)));
    assert!(plain.cache.on && told.cache.on && !off.cache.on);
    let argv = vec!["/bin/x".to_owned(), "y".to_owned()];
    let gate = &off.gate.as_ref().unwrap().value;
    assert_eq!(gate.objective, GateObjective::Command { argv, minimize: true });
    assert_eq!((gate.min_gain.0, gate.confidence.0, gate.budget), (5.0, 99.0, minutes(2)));
}

#[test]
fn phases_stand_in_the_order_of_the_file_as_far_as_their_needs_allow() {
    let text = "version: 1\nphases:\n  c: { uses: a, needs: [d] }\n  b: { uses: a }\n  d: { uses: a }\n  a: { uses: a, matrix: { x: [2, 1] }, needs: [b] }\n";
    let pipeline = read_text(Path::new("p.yaml"), text.to_owned()).unwrap();
    let names: Vec<&str> =
        pipeline.order.iter().map(|at| pipeline.phases[*at].name.value.as_str()).collect();
    assert_eq!(names, ["b", "d", "c", "a[2]", "a[1]"]);
    assert_eq!(pipeline.positions("a"), 3..5);
    assert_eq!(pipeline.phase_names().collect::<Vec<_>>(), ["c", "b", "d", "a", "a[2]", "a[1]"]);
}
