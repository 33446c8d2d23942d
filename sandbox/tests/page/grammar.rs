//! What texts mean: the markdown of messages and the options of commands, as functions of the page.

use serde_json::{Value, json};

use crate::tab::opened;

/// Writes nodes down as `tag.class(children)` with texts as they are.
const OUTLINE: &str = r#"
const { markdown } = await import("/static/markdown.js");
const outline = node => node.nodeType === 3 ? node.textContent
  : `${node.tagName.toLowerCase()}${node.className ? "." + node.className.split(" ")[0] : ""}(${[...node.childNodes].map(outline).join("")})`;
return arguments[0].map(text => markdown(text).map(outline).join(""));
"#;

#[tokio::test]
async fn markdown_means_what_it_means_in_discord() {
    let cases = [
        ("**a *b* c** __d__ ~~e~~", "p(strong(a em(b) c) u(d) s(e))"),
        ("***both*** and _one_", "p(strong(em(both)) and em(one))"),
        (
            "snake_case_name and 2 * 3 * 4",
            "p(snake_case_name and 2 * 3 * 4)",
        ),
        ("**two\nlines**", "p(strong(two\nlines))"),
        (
            r"\*plain\* `*code*` ``a`b``",
            "p(*plain* code(*code*) code(a`b))",
        ),
        ("**never closed", "p(**never closed)"),
        (
            "see https://a.eu/x_y_z. <https://b.eu>",
            "p(see a(https://a.eu/x_y_z). a(https://b.eu))",
        ),
        (
            "[log](https://a.eu/l) [bad](javascript:x)",
            "p(a(log) [bad](javascript:x))",
        ),
        (
            "<@1001> <@!1002> <@&501> <#2001> <#99>",
            "p(span.mention(@ana) span.mention(@ben) span.mention(@operator) button.mention(#pangeo) span.mention(#unknown))",
        ),
        (
            "<t:0:f> <t:0:t> <t:0:d> </pangeo deploy:1> <:ok:12>",
            "p(time.timestamp(1970-01-01 00:00 UTC) time.timestamp(00:00 UTC) time.timestamp(1970-01-01) span.mention(/pangeo deploy) :ok:)",
        ),
        (
            "# Big\n-# small\ntext",
            "p.heading(Big)p.subtext(small)p(text)",
        ),
        (
            "- a\n- **b**\n1. c\n> q\n> r",
            "ul(li(a)li(strong(b)))ol(li(c))blockquote(p(q\nr))",
        ),
        (
            "x\n```diff\n+ a\n- b\n c\n```y",
            "p(x)pre.code(code(span.diff-add(+ a)\nspan.diff-del(- b)\n c))p(y)",
        ),
        (
            "```ansi\n\u{1b}[1;31mred\u{1b}[0m plain\n```",
            "pre.code(code(span.ansi-bold(red) plain))",
        ),
        ("```<b>**x**</b>```", "pre.code(code(<b>**x**</b>))"),
        ("||hidden|| ✅", "p(button.spoiler(hidden) span.emoji(✅))"),
    ];
    let (_mock, page) = opened("vic").await;
    let texts: Vec<_> = cases.iter().map(|(text, _)| text).collect();
    let found = page.script(&async_script(OUTLINE), json!([texts])).await;
    for ((text, expected), found) in cases.iter().zip(found.as_array().unwrap()) {
        assert_eq!(found, expected, "{text:?}");
    }
    let deep = "*_".repeat(2000) + &"> ".repeat(500) + &"[".repeat(1000);
    let found = page.script(&async_script(OUTLINE), json!([[deep]])).await;
    assert!(found[0].as_str().unwrap().len() > 4000, "nothing is lost");
    page.done().await;
}

/// The body of an async function; the browser waits for what it returns.
fn async_script(body: &str) -> String {
    format!("return (async function () {{ {body} }}).apply(null, arguments)")
}

const CHECKS: &str = r#"
const { check, parseOptions } = await import("/static/command.js");
return [arguments[0].map(([option, text]) => check(option, text)),
  [...parseOptions({ options: [{ name: "name" }, { name: "purpose" }] }, arguments[1]).values]];
"#;

#[tokio::test]
async fn options_are_checked_as_by_the_client_of_discord() {
    let integer =
        json!({ "type": 4, "name": "n", "description": "", "min_value": 0, "max_value": 50 });
    let text =
        json!({ "type": 3, "name": "t", "description": "", "required": true, "max_length": 5 });
    let choice = json!({ "type": 3, "name": "c", "description": "", "choices": [{ "name": "Native", "value": "native" }] });
    let user = json!({ "type": 6, "name": "u", "description": "" });
    let cases: [(&Value, &str, Value); 14] = [
        (&integer, "", json!({})),
        (&integer, "50", json!({ "value": 50 })),
        (&integer, "0", json!({ "value": 0 })),
        (
            &integer,
            "-1",
            json!({ "problem": "Input a number greater than or equal to 0" }),
        ),
        (
            &integer,
            "51",
            json!({ "problem": "Input a number less than or equal to 50" }),
        ),
        (
            &integer,
            "1.5",
            json!({ "problem": "Input a valid integer" }),
        ),
        (
            &integer,
            "99999999999999999999",
            json!({ "problem": "Input a valid integer" }),
        ),
        (
            &text,
            "",
            json!({ "problem": "This option is required. Specify a value" }),
        ),
        (&text, "ab🚀de", json!({ "value": "ab🚀de" })),
        (
            &text,
            "abcdef",
            json!({ "problem": "Input at most 5 characters (now 6)" }),
        ),
        (&choice, "native", json!({ "value": "native" })),
        (
            &choice,
            "other",
            json!({ "problem": "Input a valid choice" }),
        ),
        (&user, "ben", json!({ "value": "1002" })),
        (&user, "<@1001>", json!({ "value": "1001" })),
    ];
    let (_mock, page) = opened("vic").await;
    let inputs: Vec<_> = cases
        .iter()
        .map(|(option, text, _)| json!([option, text]))
        .collect();
    let line = "name:geo purpose:a course: day 1 name:again";
    let found = page
        .script(&async_script(CHECKS), json!([inputs, line]))
        .await;
    for ((option, text, expected), found) in cases.iter().zip(found[0].as_array().unwrap()) {
        assert_eq!(found, expected, "{text:?} for {option}");
    }
    let expected = json!([["name", "geo"], ["purpose", "a course: day 1 name:again"]]);
    assert_eq!(found[1], expected);
    page.done().await;
}
