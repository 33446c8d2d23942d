use serde_json::json;

use super::*;

const CHECK_IN: &str = include_str!("../expected/check-in.yaml");
const NATIVE: &str = include_str!("../expected/native.yaml");

const BY_HAND: &str = r#"# made by hand
dask-gateway:   # the gateway
  gateway:
    extraConfig:
      # what people may take
      dasklimits: |
        c.A = 6   # six
        c.B = "24 G"

      other: |-
        x = 1
jupyterhub:
    singleuser: # four spaces here
        cpu: {guarantee: 1, limit: 2}  # flow
        image:
            name: "pangeo/pangeo-notebook"   # quoted
            tag: 2022.09.21 # plain
        startTimeout: 600

        lifecycle: ~
    ingress:
        annotations:
            kubernetes.io/ingress.class: nginx
    hosts:
    - a.b   # one
    - c.d
    empty: {}
    "10": ten
"#;

fn set_to(path: &str, value: Value) -> Edit {
    Edit {
        path: Path::parse(path).unwrap(),
        old: None,
        new: Some(value),
    }
}

/// The lines that differ, with `-` and `+`.
fn changed(before: &str, after: &str) -> Vec<String> {
    similar::TextDiff::from_lines(before, after)
        .iter_all_changes()
        .filter(|change| change.tag() != similar::ChangeTag::Equal)
        .map(|change| format!("{}{}", change.tag(), change.value().trim_end()))
        .collect()
}

#[test]
fn one_value_changes_and_its_comment_stays() {
    for (path, value, lines) in [
        (
            "jupyterhub.singleuser.startTimeout",
            json!(900),
            vec!["-        startTimeout: 600", "+        startTimeout: 900"],
        ),
        (
            "jupyterhub.singleuser.cpu.limit",
            json!(4),
            vec![
                "-        cpu: {guarantee: 1, limit: 2}  # flow",
                "+        cpu: {guarantee: 1, limit: 4}  # flow",
            ],
        ),
        (
            "jupyterhub.singleuser.image.tag",
            json!("2023.01"),
            vec![
                "-            tag: 2022.09.21 # plain",
                "+            tag: \"2023.01\" # plain",
            ],
        ),
        (
            r"jupyterhub.ingress.annotations.kubernetes\.io/ingress\.class",
            json!("traefik"),
            vec![
                "-            kubernetes.io/ingress.class: nginx",
                "+            kubernetes.io/ingress.class: traefik",
            ],
        ),
        (
            "jupyterhub.10",
            json!("zehn"),
            vec!["-    \"10\": ten", "+    \"10\": zehn"],
        ),
        (
            "jupyterhub.singleuser.memory.limit",
            json!("4G"),
            vec!["+        memory:", "+          limit: 4G"],
        ),
    ] {
        let after = edited(BY_HAND, &[set_to(path, value)]).unwrap();
        assert_eq!(changed(BY_HAND, &after), lines, "{path}");
    }
}

#[test]
fn a_block_is_replaced_and_a_place_taken_away() {
    let path = "dask-gateway.gateway.extraConfig.dasklimits";
    let after = edited(BY_HAND, &[set_to(path, json!("c.A = 7\nc.B = \"48 G\"\n"))]).unwrap();
    assert!(
        after.contains("        c.A = 7\n        c.B = \"48 G\"\n"),
        "{after}"
    );
    assert!(after.contains("# what people may take") && after.contains("# made by hand"));
    let remove = Edit {
        path: Path::parse("jupyterhub.singleuser.startTimeout").unwrap(),
        old: None,
        new: None,
    };
    let after = edited(BY_HAND, &[remove]).unwrap();
    assert!(!after.contains("startTimeout") && after.contains("# four spaces here"));
}

#[test]
fn what_can_not_be_done_faithfully_is_refused() {
    let below_a_text = set_to("jupyterhub.singleuser.image.tag.x", json!(1));
    assert!(matches!(
        edited(BY_HAND, &[below_a_text]),
        Err(TextError::NoMapping { .. })
    ));
    let shared = "a: &x\n  k: 1\nb: *x\n";
    assert!(matches!(
        edited(shared, &[set_to("b.k", json!(2))]),
        Err(TextError::NotFaithful { .. })
    ));
    let many = vec![set_to("a.b", json!(1)); MAX_EDITS + 1];
    assert!(matches!(edited("a: {}\n", &many), Err(TextError::TooLarge)));
}

#[test]
fn paths_are_read_and_written() {
    for text in ["a", "a.b.c", r"a.b\.c/d\.e", "jupyterhub.hub.10-auth"] {
        assert_eq!(Path::parse(text).unwrap().to_string(), text);
    }
    for bad in ["", ".", "a..b", "a.", "a\\", "a\nb", &"a.".repeat(40)] {
        assert!(Path::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn trees_differ_by_place_and_overlays_win_by_leaf() {
    let from = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x", "n": 1});
    let to = json!({"a": {"b": 2, "c": [1, 2]}, "e": {"f": 1}, "n": 1.0});
    let places: Vec<String> = differences(&from, &to)
        .iter()
        .map(|edit| edit.path.to_string())
        .collect();
    assert_eq!(places, ["a.b", "d", "e"]);
    let over = json!({"a": {"c": [3], "x": {"y": null}}, "d": "x"});
    let edits = overlay(&from, &over);
    let places: Vec<String> = edits.iter().map(|edit| edit.path.to_string()).collect();
    assert_eq!(places, ["a.c", "a.x.y"]);
}

/// Small numbers that look random, the same at every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(self.0 >> 33).unwrap() % most
    }
}

/// Where texts, numbers and booleans stand.
fn leaves(at: &Path, tree: &Value, found: &mut Vec<Path>) {
    match tree {
        Value::Object(map) => {
            for (key, value) in map {
                leaves(&at.below(key), value, found);
            }
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) => found.push(at.clone()),
        Value::Null | Value::Array(_) => {}
    }
}

/// Changes one leaf to something else, changes it back, and looks that nothing else moved.
fn one_round_trip(text: &str, path: &Path, value: &Value) {
    let tree = yaml::read(text).unwrap();
    let old = path.find(&tree).unwrap().clone();
    let edit = Edit {
        path: path.clone(),
        old: Some(old.clone()),
        new: Some(value.clone()),
    };
    let after = edited(text, std::slice::from_ref(&edit))
        .unwrap_or_else(|error| panic!("{path} to {value}: {error}\n{text}"));
    let mut wanted = tree.clone();
    set(&mut wanted, &edit).unwrap();
    assert_eq!(yaml::read(&after).unwrap(), wanted, "{path}\n{after}");
    // Every line that stays is in the same order; those that go belong to the value.
    let height = |value: &Value| value.as_str().map_or(1, |text| text.lines().count() + 1);
    let mut lines = changed(text, &after);
    // Blank lines behind a block belong to it.
    lines.retain(|line| line != "-" || !old.as_str().is_some_and(|old| old.contains('\n')));
    let (gone, new): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with('-'));
    assert!(gone.len() <= height(&old), "{path}: {lines:#?}");
    assert!(new.len() <= height(value), "{path}: {lines:#?}");
    for line in gone {
        if let Some((_, comment)) = line.split_once(" #!") {
            assert!(after.contains(comment), "{path}: lost {comment:?}");
        }
    }
}

fn new_value(numbers: &mut Numbers) -> Value {
    const TEXTS: [&str; 14] = [
        "plain",
        "with space",
        "yes",
        "2022.09",
        "012",
        "a: b",
        "a #b",
        "- x",
        "'q'",
        "\"d\"",
        "ümlaut",
        "",
        "*a",
        "c.A = 1\nc.B = \"x\"\n",
    ];
    match numbers.below(4) {
        0 => json!(numbers.below(100_000)),
        1 => json!(numbers.below(2) == 0),
        _ => json!(TEXTS[numbers.below(TEXTS.len())]),
    }
}

#[test]
fn each_leaf_of_the_two_reference_files_changes_alone() {
    let mut numbers = Numbers(7);
    for text in [CHECK_IN, NATIVE, BY_HAND] {
        let mut places = Vec::new();
        leaves(&Path(Vec::new()), &yaml::read(text).unwrap(), &mut places);
        assert!(places.len() > 8);
        for path in places {
            for _ in 0..4 {
                one_round_trip(text, &path, &new_value(&mut numbers));
            }
        }
    }
}

/// Values as somebody could have written them: indents, quotes, comments, flow, blank lines.
fn generated(numbers: &mut Numbers) -> String {
    let mut text = String::from("# generated\n");
    let step = 2 + 2 * numbers.below(2);
    block(numbers, 0, step, 0, &mut text);
    text
}

fn block(numbers: &mut Numbers, indent: usize, step: usize, depth: usize, text: &mut String) {
    let pad = " ".repeat(indent);
    for index in 0..=numbers.below(4) {
        let key = match numbers.below(6) {
            0 => format!("key-{index}"),
            1 => format!("\"quoted {index}\""),
            2 => format!("dotted.io/key{index}"),
            _ => format!("plain{index}"),
        };
        let comment = match numbers.below(3) {
            0 => format!("  #! c{}", numbers.below(1_000_000)),
            _ => String::new(),
        };
        if numbers.below(5) == 0 {
            text.push_str(&format!("{pad}# own line {}\n", numbers.below(1_000_000)));
        }
        match numbers.below(if depth < 4 { 10 } else { 7 }) {
            0 => text.push_str(&format!("{pad}{key}: {}{comment}\n", numbers.below(5000))),
            1 => text.push_str(&format!("{pad}{key}: \"two words\"{comment}\n")),
            2 => text.push_str(&format!("{pad}{key}: 'single'{comment}\n")),
            3 => text.push_str(&format!("{pad}{key}: true{comment}\n")),
            4 => text.push_str(&format!("{pad}{key}: {{a: 1, b: \"x\"}}{comment}\n")),
            5 => {
                let inner = " ".repeat(indent + step);
                text.push_str(&format!(
                    "{pad}{key}: |\n{inner}line = 1\n{inner}  more(2)  # py\n"
                ));
            }
            6 => text.push_str(&format!("{pad}{key}:\n{pad}- one{comment}\n{pad}- two\n")),
            _ => {
                text.push_str(&format!("{pad}{key}:{comment}\n"));
                block(numbers, indent + step, step, depth + 1, text);
            }
        }
        if numbers.below(6) == 0 {
            text.push('\n');
        }
    }
}

#[test]
fn one_leaf_of_a_thousand_generated_files_changes_alone() {
    let mut numbers = Numbers(42);
    let mut tried = 0;
    while tried < 1000 {
        let text = generated(&mut numbers);
        let tree = yaml::read(&text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
        let mut places = Vec::new();
        leaves(&Path(Vec::new()), &tree, &mut places);
        if places.is_empty() {
            continue;
        }
        let path = &places[numbers.below(places.len())];
        one_round_trip(&text, path, &new_value(&mut numbers));
        tried += 1;
    }
}
