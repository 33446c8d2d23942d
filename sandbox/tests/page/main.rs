//! The page in a headless Chromium, against a stand-in for the page API.
//!
//! `cargo test -p sandbox --test page -- --ignored` writes pictures of the page to
//! `target/tmp/page-pictures`, to look at.
#![cfg(test)]

mod fixture;
mod grammar;
mod mock;
mod tab;

use sandbox::browser::keys;
use serde_json::{Value, json};
use tab::opened;

const COMPOSER: &str = "#main-composer textarea";

#[tokio::test]
async fn hostile_text_stays_text() {
    let (mock, page) = opened("ana").await;
    let text = page.text("[data-id='3002'] .markup").await;
    assert!(text.contains("<img src=x onerror="), "{text}");
    assert!(text.contains("<script>window.hacked=1</script>"), "{text}");
    let found = page.script(
            "return [window.hacked ?? null, [...document.querySelectorAll(\"[data-id='3002'] a\")].map(a => a.href), \
             document.querySelectorAll(\"[data-id='3002'] img, [data-id='3002'] script, [data-id='3002'] i\").length, \
             document.querySelector(\"[data-id='3002'] strong\").textContent]",
            json!([]),
        ).await;
    assert_eq!(found, json!([null, ["https://example.org/"], 0, "bo<i>ld"]));

    // The same as an embed, a name and a thread, coming in live.
    let mut message = fixture::said("3050", "ben", "");
    message["author"]["id"] = json!("6666");
    message["author"]["global_name"] = json!("<b>mallory</b>");
    message["embeds"] = json!([{ "title": fixture::HOSTILE, "url": "javascript:window.hacked=1",
        "description": fixture::HOSTILE, "footer": { "text": fixture::HOSTILE },
        "fields": [{ "name": fixture::HOSTILE, "value": fixture::HOSTILE }],
        "image": { "url": "javascript:window.hacked=1" } }]);
    mock.post(message);
    page.shows("[data-id='3050'] .author", "<b>mallory</b>")
        .await;
    let found = page.script(
            "return [window.hacked ?? null, document.querySelectorAll(\"[data-id='3050'] :is(img, script, i)\").length, \
             [...document.querySelectorAll(\"[data-id='3050'] a\")].every(a => a.protocol === 'https:')]",
            json!([]),
        ).await;
    assert_eq!(found, json!([null, 0, true]));
    page.done().await;
}

#[tokio::test]
async fn a_command_is_typed_completed_and_sent_by_keyboard() {
    let (mock, page) = opened("ana").await;
    page.types(COMPOSER, "/dep").await;
    page.shows("#main-composer .list-item", "/pangeo deploy")
        .await;
    page.presses(keys::ENTER).await;
    page.has(".pill[data-option=name] input:focus").await;

    // A required option is missing: nothing is sent, and the page says which.
    page.presses(keys::ENTER).await;
    page.shows("#main-composer .composer-error", "required")
        .await;
    page.presses("geo").await;
    page.presses(keys::TAB).await;
    page.has(".pill[data-option=host] input:focus").await;
    page.presses("geo-t").await;
    page.shows("#main-composer .list-item", "geo-two.vm.fedcloud.eu")
        .await;
    page.presses(keys::TAB).await;

    // An optional one by its name, with a number that is too large first.
    page.has(".slash-tail:focus").await;
    page.presses("work").await;
    page.presses(keys::TAB).await;
    page.has(".pill[data-option=workers-max] input:focus").await;
    page.presses("500").await;
    page.presses(keys::ENTER).await;
    page.shows("#main-composer .composer-error", "less than or equal to 50")
        .await;
    assert_eq!(mock.calls("command").len(), 0);
    page.presses(keys::BACKSPACE).await;
    page.presses(" auth:").await;
    page.presses("nat").await;
    page.shows("#main-composer .list-item", "Native accounts")
        .await;
    page.presses(keys::ENTER).await;
    page.has(".slash-tail:focus").await;
    page.presses(keys::ENTER).await;

    let expected = json!([{ "type": 1, "name": "deploy", "options": [
        { "name": "name", "type": 3, "value": "geo" },
        { "name": "host", "type": 3, "value": "geo-two.vm.fedcloud.eu" },
        { "name": "workers-max", "type": 4, "value": 50 },
        { "name": "auth", "type": 3, "value": "native" } ] }]);
    let sent = mock.call("command", 0).await;
    assert_eq!(
        sent,
        json!({ "as": "1001", "channel_id": "2001", "command_id": "700", "options": expected })
    );
    page.shows("[data-id='7000'] .thinking", "Pangeo Bot is thinking")
        .await;
    page.shows("[data-id='7000'] .only-you", "Only you can see this")
        .await;
    page.clicks("[data-id='7000'] [data-key=dismiss]").await;
    page.loses("[data-id='7000']").await;
    page.done().await;
}

#[tokio::test]
async fn a_file_is_chosen_and_sent_with_a_command() {
    let (mock, page) = opened("ana").await;
    page.types(COMPOSER, "/overlay").await;
    page.shows("#main-composer .list-item", "/pangeo overlay")
        .await;
    page.presses(keys::ENTER).await;
    page.has(".slash-tail:focus").await;
    page.presses("file").await;
    page.presses(keys::TAB).await;
    page.has(".pill[data-option=file] input:focus").await;
    // As if the person had picked it in the browser's own dialog.
    let picks = "const data = new DataTransfer(); data.items.add(new File(['a: 1'], 'my values.yaml')); \
                 const input = document.querySelector('.pill-file'); input.files = data.files; \
                 input.dispatchEvent(new Event('change')); return null";
    page.script(picks, json!([])).await;
    assert_eq!(
        mock.call("file", 0).await,
        json!(["my values.yaml", "a: 1"])
    );
    page.has(".pill[data-option=file].given").await;
    page.presses(keys::ENTER).await;
    let sent = mock.call("command", 0).await;
    let expected = json!([{ "type": 1, "name": "overlay", "options": [
        { "name": "file", "type": 11, "value": "8001" } ] }]);
    assert_eq!(sent["options"], expected);
    page.done().await;
}

#[tokio::test]
async fn a_whole_command_can_be_pasted_or_typed_in_one_go() {
    let (mock, page) = opened("ana").await;
    page.clicks(COMPOSER).await;
    let whole =
        "/pangeo deploy name:geo host:geo.vm.fedcloud.eu purpose:\"a course: day 1\" force:true";
    page.pastes(whole).await;
    page.presses(keys::ENTER).await;
    let sent = mock.call("command", 0).await;
    let expected = json!([{ "type": 1, "name": "deploy", "options": [
        { "name": "name", "type": 3, "value": "geo" },
        { "name": "host", "type": 3, "value": "geo.vm.fedcloud.eu" },
        { "name": "purpose", "type": 3, "value": "a course: day 1" },
        { "name": "force", "type": 5, "value": true } ] }]);
    assert_eq!(sent["options"], expected);

    page.types(COMPOSER, "/pangeo ops show id:42 ").await;
    page.presses(keys::ENTER).await;
    let sent = mock.call("command", 1).await;
    let expected = json!([{ "type": 2, "name": "ops", "options": [{ "type": 1, "name": "show",
        "options": [{ "name": "id", "type": 3, "value": "42" }] }] }]);
    assert_eq!(sent["options"], expected);

    // A refusal is told and loses nothing.
    page.types(COMPOSER, "/pangeo list").await;
    page.presses(keys::ENTER).await;
    page.has(".slash-tail:focus").await;
    page.presses(keys::ENTER).await;
    page.shows(".toast", "The bot is not connected").await;
    page.shows("#main-composer .composer-error", "The bot is not connected")
        .await;
    assert_eq!(page.text(".slash-name").await, "/pangeo list");
    page.done().await;
}

#[tokio::test]
async fn a_modal_is_filled() {
    let (mock, page) = opened("ana").await;
    page.types(COMPOSER, "/pangeo dns set-secret ").await;
    page.presses(keys::ENTER).await;
    page.shows("dialog.modal h2", "DNS secret").await;
    page.presses("short").await;
    page.presses(keys::ENTER).await;
    page.shows(".field-note.wrong", "At least 8 characters, now 5")
        .await;
    assert_eq!(mock.calls("modal").len(), 0);
    page.presses("-but-longer").await;
    page.presses(keys::TAB).await;
    page.presses("two words").await;
    page.clicks_text("dialog.modal button", "Submit").await;
    let expected = json!({ "as": "1001", "channel_id": "2001", "interaction_id": "900", "custom_id": "dns:geo",
        "fields": { "secret": "short-but-longer", "note": "two words" } });
    assert_eq!(mock.call("modal", 0).await, expected);
    page.loses("dialog").await;
    page.done().await;
}

#[tokio::test]
async fn reactions_and_buttons_work_and_a_failure_is_told() {
    let (mock, page) = opened("ben").await;
    let check = "#main [data-id='3003'] .reaction[data-emoji='✅']";
    page.clicks(check).await;
    page.has(&format!("{check}[aria-pressed=true]")).await;
    assert_eq!(page.text(&format!("{check} .count")).await, "2");
    let expected =
        json!({ "as": "1002", "channel_id": "2001", "message_id": "3003", "emoji": "✅" });
    assert_eq!(mock.call("react", 0).await, expected);
    // The focus stays where it was, so the keyboard takes it back.
    page.presses(keys::ENTER).await;
    page.has(&format!("{check}[aria-pressed=false]")).await;
    assert_eq!(mock.calls("unreact").len(), 1);

    page.clicks_text(".component-row button", "Reject").await;
    assert_eq!(mock.call("component", 0).await["custom_id"], "reject:4f2a");
    let text = "The application did not respond";
    page.shows("#main-composer .composer-error", text).await;

    page.clicks(".select").await;
    page.presses(keys::DOWN).await;
    page.presses(keys::ENTER).await;
    assert_eq!(mock.call("component", 1).await["values"], json!(["24h"]));
    page.done().await;
}

#[tokio::test]
async fn another_person_sees_other_private_messages() {
    let (mock, page) = opened("ana").await;
    page.shows("#person-switch", "You are: ana (operator)")
        .await;
    page.has("[data-id='3009'].ephemeral").await;
    page.has("[data-channel='2003']").await;
    page.chord(&[keys::ALT], "p").await;
    page.has("dialog.menu [role=option]:focus").await;
    page.presses("2").await;
    page.shows("#person-switch", "You are: ben (approver)")
        .await;
    page.loses("[data-id='3009']").await;
    page.loses("[data-channel='2003']").await;
    assert!(page.url().await.contains("#as=ben&in=2001"));
    assert_eq!(mock.call("events", 1).await["as"], "1002");

    // What comes in elsewhere is marked as unread.
    let mut elsewhere = fixture::said("3200", "vic", "lunch?");
    elsewhere["channel_id"] = json!("2002");
    mock.post(elsewhere);
    page.has(".channel.unread[data-channel='2002']").await;
    page.clicks("[data-channel='2002']").await;
    page.shows("#main .markup", "lunch?").await;
    page.loses(".channel.unread").await;
    mock.send("bot", json!({ "online": false }));
    page.shows("#main-composer .offline", "Pangeo Bot is offline")
        .await;
    page.done().await;
}

#[tokio::test]
async fn a_thread_opens_beside_and_follows_its_edits() {
    let (mock, page) = opened("ana").await;
    page.clicks("#main [data-key='thread-3005']").await;
    page.shows("#side .embed", "wait-until-configured").await;
    let mut edited = fixture::said("4001", "bot", "");
    edited["channel_id"] = json!("3005");
    edited["embeds"] =
        json!([{ "title": "deploy geo", "description": "Done: <https://geo.vm.fedcloud.eu/>" }]);
    mock.post(edited);
    page.shows("#side .embed a", "https://geo.vm.fedcloud.eu/")
        .await;
    assert_eq!(page.count("#side [data-id='4001']").await, 1);
    page.presses(keys::ESCAPE).await;
    page.has("#side[hidden]").await;
    page.shows("[data-id='3003'] .file", "line 6: <b>not markup</b>")
        .await;
    page.clicks("[data-id='3003'] .file summary").await;
    page.shows("[data-id='3003'] .file", "line 40").await;
    page.done().await;
}

#[tokio::test]
async fn the_world_is_shown_and_danger_asks_first() {
    let (mock, page) = opened("ana").await;
    page.shows("#world .tag", "SIMULATION").await;
    page.shows("#world .world-row .state-bad", "refuses").await;
    page.clicks_text("#world button", "Expire the access token")
        .await;
    page.clicks_text("dialog button", "Cancel").await;
    page.loses("dialog").await;
    assert_eq!(mock.calls("act").len(), 0);
    page.clicks_text("#world summary", "Slow DNS").await;
    page.types("#world [data-action=dns-slow] input", "3").await;
    page.presses(keys::ENTER).await;
    let expected = json!({ "action": "dns-slow", "args": { "seconds": 3, "zone": "all" } });
    assert_eq!(mock.call("act", 0).await, expected);
    page.shows(".toast", "Done in the simulation").await;
    page.done().await;
}

#[tokio::test]
async fn after_a_break_the_page_shows_what_it_missed() {
    let (mock, page) = opened("ana").await;
    mock.call("events", 0).await;
    mock.keep(fixture::said("3060", "ben", "said while nobody listened"));
    mock.cut();
    page.shows("#main .markup", "said while nobody listened")
        .await;
    mock.call("events", 1).await;
    page.has("#connection[hidden]").await;
    page.done().await;
}

#[tokio::test]
async fn the_keyboard_reaches_the_actions_of_a_message() {
    let (mock, page) = opened("ben").await;
    page.clicks(COMPOSER).await;
    page.presses(keys::UP).await;
    page.has("#main [data-id='3005']:focus").await;
    page.presses(keys::UP).await;
    page.has("#main [data-id='3003']:focus").await;
    page.script("document.querySelector(\"[data-id='3003'] .toolbar\").previousElementSibling.querySelectorAll('button, a, pre, summary').forEach(e => e.tabIndex = -1); return null", json!([])).await;
    page.presses(keys::TAB).await;
    page.has("#main [data-id='3003'] [data-key='react-✅']:focus")
        .await;
    page.presses(keys::ENTER).await;
    assert_eq!(mock.call("react", 0).await["message_id"], "3003");
    page.presses(keys::ESCAPE).await;
    page.has("#main-composer textarea:focus").await;
    page.done().await;
}

#[tokio::test]
async fn who_reads_above_is_told_of_what_comes_below() {
    let (mock, page) = opened("ana").await;
    let top = "document.querySelector('#main .messages').scrollTop = 0; return null";
    page.script(top, json!([])).await;
    mock.post(fixture::said("3061", "ben", "down here"));
    page.clicks_text(".news", "New messages below ↓").await;
    page.has(".news[hidden]").await;
    let at_end = "const m = document.querySelector('#main .messages'); \
                  return m.scrollHeight - m.scrollTop - m.clientHeight < 2";
    assert_eq!(page.script(at_end, json!([])).await, true);
    page.done().await;
}

/// Every visible text that stands out less than 4.5 to 1 from the ground that it stands on.
const CONTRAST: &str = r##"
const part = v => v <= 10 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
const light = c => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
const parse = text => { const n = text.match(/[\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
const ground = e => { const layers = []; for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); layers.push(c); if (c[3] === 1) break; }
  return layers.reverse().reduce((below, c) => over(c, below), [0, 0, 0, 1]); };
const bad = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let t = walk.nextNode(); t; t = walk.nextNode()) {
  const e = t.parentElement;
  if (!t.textContent.trim() || !e.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true })) continue;
  if (e.closest(".visually-hidden, .emoji, .spoiler, :disabled, noscript")) continue;
  const behind = ground(e); const colour = over(parse(getComputedStyle(e).color), behind);
  const [a, b] = [light(colour), light(behind)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) bad.push(`${e.tagName}.${e.className}: ${t.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
}
return [bad, document.documentElement.scrollWidth - innerWidth];
"##;

#[tokio::test]
async fn text_can_be_read_and_nothing_is_cut_off_at_both_widths() {
    let (_mock, page) = opened("ana").await;
    page.types(COMPOSER, "/pan").await;
    for (width, height) in [(1280, 800), (900, 700)] {
        page.resize(width, height).await;
        let found = page.script(CONTRAST, json!([])).await;
        assert_eq!(found[0], json!([]), "at {width} wide");
        assert!(
            found[1].as_i64().unwrap() <= 0,
            "the page is wider than {width}"
        );
    }
    let dim = "const p = document.createElement('p'); p.textContent = 'dim'; p.style.color = '#777'; \
               document.querySelector('.pane-head').append(p); return null";
    page.script(dim, json!([])).await;
    let found = page.script(CONTRAST, json!([])).await;
    assert!(
        found[0][0].as_str().unwrap().contains("dim"),
        "the measure finds dim text"
    );
    let unnamed = "return [...document.querySelectorAll('button, input, select, textarea')].filter(e => e.checkVisibility() \
        && !(e.innerText || e.ariaLabel || e.title || e.labels?.length)).map(e => e.outerHTML)";
    assert_eq!(page.script(unnamed, json!([])).await, json!([]));
    page.done().await;
}

#[tokio::test]
#[ignore = "writes pictures to look at, states nothing"]
async fn pictures() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-pictures");
    std::fs::create_dir_all(&folder).unwrap();
    let (mock, page) = opened("ana").await;
    let take = async |name: &str| page.screenshot(&folder.join(format!("{name}.png"))).await;
    let to_end = "document.querySelector('.messages').scrollTop = arguments[0]; return null";
    page.has("#world .world-row").await;
    take("1-channel").await;
    page.script(to_end, json!([0])).await;
    take("2-top").await;
    page.types(COMPOSER, "/").await;
    take("3-picker").await;
    page.presses("dep").await;
    page.presses(keys::TAB).await;
    take("4-pills").await;
    page.presses("geo host:").await;
    page.presses("ge").await;
    page.has(".list-item").await;
    take("5-autocomplete").await;
    page.presses(keys::TAB).await;
    take("6-optional").await;
    page.presses("workers-max:").await;
    page.presses("99").await;
    page.presses(keys::ENTER).await;
    take("7-wrong").await;
    page.presses(keys::ESCAPE).await;
    page.presses(keys::ESCAPE).await;
    mock.send("modal", fixture::modal());
    page.has("dialog").await;
    take("8-modal").await;
    page.presses(keys::ESCAPE).await;
    page.chord(&[keys::ALT], "p").await;
    page.has("dialog.menu").await;
    take("9-people").await;
    page.presses(keys::ESCAPE).await;
    page.clicks("#main [data-key='thread-3005']").await;
    page.has("#side .embed").await;
    mock.post(fixture::thinking(&Value::from("1001")));
    take("10-thread").await;
    page.resize(900, 700).await;
    take("11-narrow-thread").await;
    page.presses(keys::ESCAPE).await;
    mock.send("bot", json!({ "online": false }));
    mock.send(
        "interaction_failed",
        json!({ "interaction_id": "1", "text": "The application did not respond" }),
    );
    page.has(".toast").await;
    take("12-narrow").await;
    page.resize(1600, 900).await;
    take("13-wide").await;
    page.done().await;
}
