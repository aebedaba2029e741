//! What expressions give, and that no text whatever brings the reader down.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::diagnostic::{Source, Style, render as draw};

fn scope() -> Scope {
    let object = |value: Value| value.as_object().cloned().unwrap_or_else(Map::new);
    Scope {
        env: object(json!({ "HOME": "/root" })).into(),
        host: json!({ "cpus": 4 }).into(),
        vars: object(json!({ "list": [1, 2], "name": "x", "off": false })).into(),
        phases: object(json!({ "pool": { "size": 7 } })),
    }
}

/// The value of a text in a `with`.
fn value(text: &str) -> Result<Value, String> {
    let source = Source::new(Path::new("p.yaml"), json!(text).to_string());
    let node = parse_yaml(&source).map_err(|error| error.to_string())?;
    render(&node, &scope(), &source).map_err(|wrong| wrong[0].to_string())
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
    assert!(evaluate_condition("vars.nothing", &scope()).is_err());
    assert_eq!(evaluate_condition("host.cpus > 3 and not vars.off", &scope()).ok(), Some(true));
}

#[test]
fn references_are_found_in_every_kind_of_expression() {
    let of = |text: &str| references(text).unwrap();
    let phase = |name: &str| Reference::Phase { name: name.to_owned() };
    assert_eq!(of("{{ phases.pool.size }} {{ phases['tune'].x }}").first(), Some(&phase("pool")));
    assert_eq!(of("{% if phases.a.ok %}{{ vars.v }}{% endif %}").len(), 2);
    assert_eq!(of("{{ range(3) }}"), []);
    assert_eq!(of("plain"), []);
    assert!(references("{{ 1 + }}").is_err());
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_made_of_pieces_of_pipelines_brings_the_reader_down(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..30),
    ) {
        read_and_draw(pieces.concat());
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
    let spans = read.unwrap().phases.into_iter().map(|phase| GOOD[phase.name.span].to_owned());
    assert_eq!(spans.collect::<Vec<_>>(), ["first", "second"]);
}
