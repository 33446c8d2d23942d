//! What the pretend server holds: people, channels, the `/pangeo` command and some messages.

use serde_json::{Value, json};

pub(crate) const PANGEO: &str = "2001";
pub(crate) const PLAN: &str = "3003";

/// The id of a person.
pub(crate) fn id(person: &str) -> &'static str {
    match person {
        "ana" => "1001",
        "ben" => "1002",
        "eva" => "1003",
        "vic" => "1004",
        "mia" => "1005",
        "zed" => "1006",
        _ => "1999",
    }
}

pub(crate) fn state() -> Value {
    let person = |name: &str, display: &str, roles: Value, color: &str| {
        json!({ "id": id(name), "username": name, "display_name": display, "bot": name == "bot",
                "roles": roles, "color": color })
    };
    json!({
        "people": [
            person("ana", "ana", json!(["501"]), "#e67e22"),
            person("ben", "ben", json!(["502"]), "#2ecc71"),
            person("eva", "eva", json!(["502"]), "#9b59b6"),
            person("vic", "vic", json!(["503"]), "#3498db"),
            person("mia", "mia", json!(["501", "502"]), "#f1c40f"),
            person("zed", "zed", json!([]), "#607d8b"),
            person("bot", "Pangeo Bot", json!([]), "#5865f2"),
        ],
        "bot_user_id": id("bot"),
        "guild": { "id": "1", "name": "Pangeo VO" },
        "roles": [
            { "id": "501", "name": "operator", "color": 0xe6_7e22 },
            { "id": "502", "name": "approver", "color": 0x2e_cc71 },
            { "id": "503", "name": "viewer", "color": 0x34_98db },
        ],
        "channels": [
            { "id": PANGEO, "type": 0, "name": "pangeo", "topic": "Run our hubs from here", "position": 0, "last_message_id": "3009" },
            { "id": "2002", "type": 0, "name": "random", "position": 1, "last_message_id": "3100" },
            { "id": "3005", "type": 11, "name": "deploy geo", "parent_id": PANGEO, "message_count": 2,
              "thread_metadata": { "archived": false }, "last_message_id": "4002" },
            { "id": "2003", "type": 1, "recipients": [{ "id": id("ana"), "username": "ana" }], "last_message_id": "4101" },
        ],
        "commands": [pangeo()],
        "bot_online": true,
        "default_channel_id": PANGEO,
    })
}

fn pangeo() -> Value {
    let cluster = json!({ "type": 3, "name": "cluster", "description": "Which cluster", "required": true, "autocomplete": true });
    json!({ "id": "700", "name": "pangeo", "type": 1, "description": "Deploy and run DaskHub on EGI", "options": [
        { "type": 1, "name": "deploy", "description": "Create a JupyterHub and Dask cluster", "options": [
            { "type": 3, "name": "name", "description": "Name of the new cluster", "required": true, "max_length": 32 },
            { "type": 3, "name": "host", "description": "Its host name", "required": true, "autocomplete": true },
            { "type": 3, "name": "auth", "description": "How people sign in", "choices": [
                { "name": "EGI Check-in", "value": "check-in" }, { "name": "Native accounts", "value": "native" } ] },
            { "type": 4, "name": "workers-max", "description": "Most worker nodes at a time", "min_value": 1, "max_value": 50 },
            { "type": 10, "name": "memory", "description": "Memory of a worker in GB" },
            { "type": 5, "name": "force", "description": "Start without approval" },
            { "type": 6, "name": "contact", "description": "Who answers for it" },
            { "type": 3, "name": "purpose", "description": "Course or paper" } ] },
        { "type": 1, "name": "list", "description": "List the clusters" },
        { "type": 1, "name": "overlay", "description": "Lay a file over the values", "options": [
            { "type": 11, "name": "file", "description": "The file" } ] },
        { "type": 1, "name": "status", "description": "How a cluster does", "options": [cluster] },
        { "type": 2, "name": "ops", "description": "Operations", "options": [
            { "type": 1, "name": "list", "description": "List operations" },
            { "type": 1, "name": "show", "description": "Show one operation", "options": [
                { "type": 3, "name": "id", "description": "Its id", "required": true } ] },
            { "type": 1, "name": "cancel", "description": "Cancel one operation" } ] },
        { "type": 2, "name": "dns", "description": "Host names", "options": [
            { "type": 1, "name": "set-secret", "description": "Give the DNS secret of a host" },
            { "type": 1, "name": "check", "description": "Look up a host" } ] },
    ] })
}

pub(crate) fn modal() -> Value {
    json!({ "interaction_id": "900", "title": "DNS secret", "custom_id": "dns:geo", "components": [
        { "type": 1, "components": [{ "type": 4, "custom_id": "secret", "label": "Secret of the host",
            "style": 1, "min_length": 8, "max_length": 64, "required": true, "placeholder": "from nsupdate.fedcloud.eu" }] },
        { "type": 1, "components": [{ "type": 4, "custom_id": "note", "label": "Note", "style": 2, "required": false }] },
    ] })
}

fn author(name: &str) -> Value {
    json!({ "id": id(name), "username": name, "global_name": if name == "bot" { "Pangeo Bot" } else { name }, "bot": name == "bot" })
}

fn at(message: &str) -> String {
    let minute: u64 = message.parse::<u64>().unwrap() % 60;
    format!("2026-11-24T10:{minute:02}:07.000000+00:00")
}

/// A plain message in #pangeo.
pub(crate) fn said(id: &str, name: &str, text: &str) -> Value {
    json!({ "id": id, "channel_id": PANGEO, "type": 0, "flags": 0, "author": author(name), "content": text,
            "timestamp": at(id), "edited_timestamp": null, "mentions": [], "embeds": [], "attachments": [],
            "components": [], "reactions": [] })
}

fn with(mut message: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        message[key] = value.clone();
    }
    message
}

/// The deferred, private answer to a command.
pub(crate) fn thinking(person: &Value) -> Value {
    with(
        said("7000", "bot", ""),
        json!({ "flags": 192, "for": person, "type": 20,
                "interaction_metadata": { "type": 2, "name": "pangeo deploy", "user": { "id": person } } }),
    )
}

/// Texts that try to become markup or code.
pub(crate) const HOSTILE: &str = "<img src=x onerror=\"window.hacked=1\"> <script>window.hacked=1</script> \
    [click](javascript:window.hacked=1) [ok](https://example.org/) <javascript:alert(1)> **bo<i>ld**";

pub(crate) fn messages() -> Vec<Value> {
    let plan = with(
        said(PLAN, "bot", ""),
        json!({
            "type": 20,
            "interaction_metadata": { "type": 2, "name": "pangeo deploy", "user": { "id": id("ana") } },
            "embeds": [{ "title": "Plan: deploy `geo` at geo.vm.fedcloud.eu", "url": "https://example.org/plan", "color": 0xf0_b232,
                "description": "<@1001> asks to create a cluster. It needs **1 approval** by <@&502> until <t:4102444800:R>.\n```diff\n+ infrastructure pangeo-geo\n+ DNS name geo.vm.fedcloud.eu\n+ release daskhub 2024.1.1\n- nothing is removed\n```",
                "fields": [
                    { "name": "Front end", "value": "4 CPUs, 8 GB", "inline": true },
                    { "name": "Workers", "value": "0 to 10 × 4 CPUs, 16 GB", "inline": true },
                    { "name": "Quota", "value": "44 of 200 CPUs", "inline": true },
                    { "name": "Warnings", "value": "⚠️ `geo.vm.fedcloud.eu` does not resolve yet\n⚠️ the image has the tag `latest`" } ],
                "footer": { "text": "plan 4f2a91c7 • SIMULATION" }, "timestamp": "2026-11-24T10:03:07Z" }],
            "attachments": [{ "id": "61", "filename": "values.yaml", "size": 2048, "url": "/cdn/values.yaml", "content_type": "text/plain" }],
            "components": [{ "type": 1, "components": [
                { "type": 2, "style": 3, "label": "Approve", "emoji": { "name": "✅" }, "custom_id": "approve:4f2a" },
                { "type": 2, "style": 4, "label": "Reject", "custom_id": "reject:4f2a" },
                { "type": 2, "style": 2, "label": "Details", "custom_id": "details:4f2a" },
                { "type": 2, "style": 5, "label": "Log", "url": "https://example.org/log" } ] },
              { "type": 1, "components": [{ "type": 3, "custom_id": "remind", "placeholder": "Remind me", "options": [
                { "label": "In an hour", "value": "1h" }, { "label": "Tomorrow", "value": "24h", "description": "at the same time" } ] }] }],
            "reactions": [ { "emoji": { "id": null, "name": "✅" }, "count": 1, "me": false }, { "emoji": { "id": null, "name": "❌" }, "count": 1, "me": false } ],
        }),
    );
    vec![
        said(
            "3000",
            "ana",
            "Good morning! The course starts **Friday**, we need a hub.\nSee https://pangeo.io and <#2002>",
        ),
        said(
            "3001",
            "ana",
            "# Heading\n- one\n- two\n> quoted *text* with `code`\n-# small print",
        ),
        said("3002", "ben", HOSTILE),
        plan,
        with(
            said("3005", "bot", "Deploying `geo`"),
            json!({ "edited_timestamp": "2026-11-24T10:06:00Z", "flags": 32,
                "message_reference": { "message_id": PLAN, "channel_id": PANGEO } , "type": 19 }),
        ),
        with(
            said("3009", "bot", "You may not approve your own plan"),
            json!({ "flags": 64, "for": id("ana") }),
        ),
        with(
            said("4001", "bot", ""),
            json!({ "channel_id": "3005", "embeds": [{ "title": "deploy geo", "color": 0x58_65f2,
                "description": "`▰▰▰▰▰▱▱▱▱▱` 52 % • 6 min 12 s\n✓ check-dns-name\n✓ check-oidc-client\n✓ create-infrastructure\n▸ wait-until-configured\n```ansi\n\u{1b}[0;32mok: [front]\u{1b}[0m\n\u{1b}[1;31mfatal: [wn-1]\u{1b}[0m retrying\n```" }] }),
        ),
        with(
            said("4002", "ben", "looks good"),
            json!({ "channel_id": "3005" }),
        ),
        with(
            said("4101", "bot", "Your token expires <t:1:R>"),
            json!({ "channel_id": "2003" }),
        ),
    ]
}

pub(crate) fn world() -> Value {
    json!({ "simulation": true,
        "panels": [
            { "title": "Clusters", "rows": [["geo", "configured", "ok"], ["ocean", "pending", "busy"]] },
            { "title": "Services", "rows": [["IM", "answers", "ok"], ["DNS", "slow", "warn"], ["SSH", "refuses", "bad"]] },
        ],
        "actions": [
            { "id": "token-expire", "title": "Expire the access token", "group": "Break it", "args": [], "danger": true },
            { "id": "dns-slow", "title": "Slow DNS", "group": "Break it", "args": [
                { "name": "seconds", "title": "Delay in seconds", "kind": "number" },
                { "name": "zone", "title": "Zone", "kind": "choice", "choices": ["all", "vm.fedcloud.eu"] } ] },
            { "id": "bot-restart", "title": "Restart the bot", "group": "The bot", "args": [] },
        ] })
}
