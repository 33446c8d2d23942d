//! Texts that were made when they were written.

use super::reference;
use crate::chat::custom_id::ButtonId;
use crate::chat::text::{Clean, cut};
use crate::chat::view::{Button, Card, Look, Shade, TEXT, View};
use crate::commands::Catalogue;
use crate::domain::ids::DiscordRoleId;
use crate::domain::message::Notice;

/// The message; `roles` are the Discord roles behind those that the notice calls.
pub(crate) fn view(
    clean: &Clean,
    catalogue: &Catalogue,
    (key, notice): (&str, &Notice),
    roles: Vec<DiscordRoleId>,
) -> View {
    let mut called: Vec<String> = notice
        .mention_users
        .iter()
        .map(|user| format!("<@{user}>"))
        .collect();
    called.extend(roles.iter().map(|role| format!("<@&{role}>")));
    let review = notice.review_of.map(|plan| Button {
        id: ButtonId::Review(plan).to_string(),
        label: "I have reviewed it".into(),
        look: Look::Primary,
    });
    let remedies = notice.remedies.iter();
    let remedies = remedies.filter_map(|prepared| Button::runs(catalogue, prepared));
    View {
        content: called.join(" "),
        card: Some(Card {
            title: cut(&clean.redact(&notice.title), 200),
            text: cut(&clean.markdown(&notice.text), TEXT),
            shade: match (notice.review_of, key.starts_with("hub/")) {
                (Some(_plan), _) => Shade::Warn,
                (None, true) => Shade::Good,
                (None, false) => Shade::Neutral,
            },
            fields: Vec::new(),
            footer: reference(key),
        }),
        buttons: review.into_iter().chain(remedies).collect(),
        files: Vec::new(),
        picture: None,
        mention_users: notice.mention_users.clone(),
        mention_roles: roles,
        keeps_text: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{DiscordUserId, PlanId};
    use crate::domain::redact::Redactor;
    use crate::operations::start::known_steps;

    #[test]
    fn a_notice_calls_only_whom_it_names() {
        let notice = Notice {
            title: "Started without approval".to_owned(),
            text: "by <@9>".to_owned(),
            mention_users: vec![DiscordUserId(8)],
            mention_roles: Vec::new(),
            review_of: Some(PlanId::new()),
            remedies: Vec::new(),
        };
        let catalogue = Catalogue::built_in(&known_steps()).unwrap();
        let view = view(
            &Clean::new(Redactor::new()),
            &catalogue,
            ("forced/1", &notice),
            vec![DiscordRoleId(20)],
        );
        assert_eq!(view.content, "<@8> <@&20>");
        assert_eq!(view.mention_users, [DiscordUserId(8)]);
        assert_eq!(view.mention_roles, [DiscordRoleId(20)]);
        assert_eq!(view.buttons.len(), 1);
    }
}
