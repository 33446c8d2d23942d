//! A message as data: what is shown, before it becomes Discord's JSON.
//!
//! [`messages`](super::messages) makes views, tests compare them, and [`View::into_message`] and
//! its siblings turn them into requests. Every view is brought within Discord's limits on its way.
//!
//! **Invariant:** a request pings nobody but those that its view names.

use std::borrow::Cow;

use serenity::all::{
    ButtonStyle, CreateActionRow, CreateAllowedMentions, CreateAttachment, CreateButton,
    CreateEmbed, CreateEmbedFooter, CreateInteractionResponseMessage, CreateMessage,
    EditInteractionResponse, EditMessage, RoleId, UserId,
};

use super::custom_id::RunId;
use super::messages::alert::ACK_COMMAND;
use super::messages::schedules::SKIP_COMMAND;
use super::text::{Clean, cut, cut_with, units};
use crate::commands::Catalogue;
use crate::domain::ids::{DiscordRoleId, DiscordUserId};
use crate::domain::message::Prepared;

/// The most of a message's own text.
pub(crate) const CONTENT: usize = 2000;
/// The most of an embed's title, and of a field's name.
const TITLE: usize = 256;
/// The most of an embed's text.
pub(crate) const TEXT: usize = 4096;
/// The most of a field.
pub(crate) const FIELD: usize = 1024;
/// The most of a footer.
const FOOTER: usize = 2048;
/// The most fields.
const FIELDS: usize = 25;
/// The most of an embed in all.
const EMBED: usize = 6000;
/// The most files.
const FILES: usize = 10;
/// The most of a file, in bytes.
pub(crate) const FILE_BYTES: usize = 10 * 1024 * 1024;
/// The most buttons in a row, and rows.
const ROW: usize = 5;

/// The name of the file that is shown below the card.
const PICTURE: &str = "chart.png";

const CUT_TEXT: &str = "… (whole text in the file)";

/// How good or bad it is; the colour of the embed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shade {
    Good,
    #[default]
    Neutral,
    Warn,
    Bad,
}

impl Shade {
    fn colour(self) -> u32 {
        match self {
            Shade::Good => 0x002d_7d46,
            Shade::Neutral => 0x0035_69a8,
            Shade::Warn => 0x00c2_7c0e,
            Shade::Bad => 0x00a1_2d2f,
        }
    }
}

/// What stands under the text of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) shade: Shade,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) footer: String,
}

/// How a button looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Primary,
    Plain,
    Good,
    Danger,
}

/// A button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Button {
    pub(crate) id: String,
    pub(crate) label: Cow<'static, str>,
    pub(crate) look: Look,
}

impl Button {
    /// The button that runs a command; `None` if that can't be done by a button.
    pub(crate) fn runs(catalogue: &Catalogue, prepared: &Prepared) -> Option<Self> {
        Some(Self {
            id: RunId::of(catalogue, prepared)?,
            label: match prepared.command.as_str() {
                SKIP_COMMAND => "Skip this time".into(),
                ACK_COMMAND => "I see to it".into(),
                command => format!("/pangeo {command}").into(),
            },
            look: Look::Primary,
        })
    }
}

/// A text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) content: String,
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) content: String,
    pub(crate) card: Option<Card>,
    pub(crate) buttons: Vec<Button>,
    pub(crate) files: Vec<File>,
    /// A PNG below the card.
    pub(crate) picture: Option<Vec<u8>>,
    pub(crate) mention_users: Vec<DiscordUserId>,
    pub(crate) mention_roles: Vec<DiscordRoleId>,
    /// Whether an edit leaves everything but the buttons as it was posted.
    pub(crate) keeps_text: bool,
}

impl View {
    /// A message of one text.
    pub(crate) fn text(content: impl Into<String>) -> Self {
        Self {
            content: content.into(),
            ..Self::default()
        }
    }

    /// A message of one card.
    pub(crate) fn card(card: Card) -> Self {
        Self {
            card: Some(card),
            ..Self::default()
        }
    }

    /// The message within Discord's limits.
    pub(crate) fn fitted(mut self) -> Self {
        self.content = cut(&self.content, CONTENT);
        self.card = self.card.map(fit_card);
        self.buttons.truncate(ROW * ROW);
        self.files
            .truncate(FILES - usize::from(self.picture.is_some()));
        for file in &mut self.files {
            if file.content.len() > FILE_BYTES {
                file.content = last_bytes(&file.content, FILE_BYTES).to_owned();
            }
        }
        self
    }

    /// The message once more without secrets, whoever made it.
    pub(crate) fn redacted(mut self, clean: &Clean) -> Self {
        self.content = clean.redact(&self.content);
        if let Some(card) = &mut self.card {
            card.title = clean.redact(&card.title);
            card.text = clean.redact(&card.text);
            for (name, value) in &mut card.fields {
                *name = clean.redact(name);
                *value = clean.redact(value);
            }
        }
        for file in &mut self.files {
            file.content = clean.redact(&file.content);
        }
        self
    }

    fn allowed_mentions(&self) -> CreateAllowedMentions {
        CreateAllowedMentions::new()
            .users(
                self.mention_users
                    .iter()
                    .map(|user| UserId::new(user.0.max(1))),
            )
            .roles(
                self.mention_roles
                    .iter()
                    .map(|role| RoleId::new(role.0.max(1))),
            )
    }

    fn rows(&self) -> Vec<CreateActionRow> {
        self.buttons
            .chunks(ROW)
            .map(|row| CreateActionRow::Buttons(row.iter().map(Button::build).collect()))
            .collect()
    }

    fn attachments(&self) -> Vec<CreateAttachment> {
        let files = self
            .files
            .iter()
            .map(|file| CreateAttachment::bytes(file.content.as_bytes(), file.name.clone()));
        let picture = self
            .picture
            .iter()
            .map(|png| CreateAttachment::bytes(png.clone(), PICTURE));
        files.chain(picture).collect()
    }

    fn embeds(&self) -> Vec<CreateEmbed> {
        let build = |card: &Card| {
            let embed = card.build();
            match self.picture {
                Some(_) => embed.attachment(PICTURE),
                None => embed,
            }
        };
        self.card.iter().map(build).collect()
    }

    /// The request that posts it.
    pub(crate) fn into_message(self) -> CreateMessage {
        let view = self.fitted();
        CreateMessage::new()
            .content(view.content.clone())
            .embeds(view.embeds())
            .components(view.rows())
            .allowed_mentions(view.allowed_mentions())
            .files(view.attachments())
    }

    /// The request that edits it; its files stay.
    pub(crate) fn into_edit(self) -> EditMessage {
        let view = self.fitted();
        if view.keeps_text {
            return EditMessage::new().components(view.rows());
        }
        EditMessage::new()
            .content(view.content.clone())
            .embeds(view.embeds())
            .components(view.rows())
            .allowed_mentions(view.allowed_mentions())
    }

    /// The request that answers an interaction at once and privately.
    pub(crate) fn into_private_answer(self) -> CreateInteractionResponseMessage {
        let view = self.fitted();
        CreateInteractionResponseMessage::new()
            .content(view.content.clone())
            .embeds(view.embeds())
            .components(view.rows())
            .allowed_mentions(CreateAllowedMentions::new())
            .files(view.attachments())
            .ephemeral(true)
    }

    /// The request that completes a deferred answer.
    pub(crate) fn into_deferred_answer(self) -> EditInteractionResponse {
        let view = self.fitted();
        let mut edit = EditInteractionResponse::new()
            .content(view.content.clone())
            .embeds(view.embeds())
            .components(view.rows())
            .allowed_mentions(CreateAllowedMentions::new());
        for file in view.attachments() {
            edit = edit.new_attachment(file);
        }
        edit
    }
}

impl Card {
    fn build(&self) -> CreateEmbed {
        let mut embed = CreateEmbed::new().colour(self.shade.colour());
        if !self.title.is_empty() {
            embed = embed.title(self.title.clone());
        }
        if !self.text.is_empty() {
            embed = embed.description(self.text.clone());
        }
        if !self.footer.is_empty() {
            embed = embed.footer(CreateEmbedFooter::new(self.footer.clone()));
        }
        embed.fields(
            self.fields
                .iter()
                .map(|(name, value)| (name.clone(), value.clone(), false)),
        )
    }

    fn units(&self) -> usize {
        let fields = self.fields.iter();
        let fields: usize = fields.map(|(name, value)| units(name) + units(value)).sum();
        units(&self.title) + units(&self.text) + units(&self.footer) + fields
    }
}

impl Button {
    fn build(&self) -> CreateButton {
        CreateButton::new(self.id.clone())
            .label(self.label.clone())
            .style(match self.look {
                Look::Primary => ButtonStyle::Primary,
                Look::Plain => ButtonStyle::Secondary,
                Look::Good => ButtonStyle::Success,
                Look::Danger => ButtonStyle::Danger,
            })
    }
}

/// Cuts the parts, then the whole: the last fields give way first, the text after them.
fn fit_card(mut card: Card) -> Card {
    card.title = cut(&card.title, TITLE);
    card.text = cut_with(&card.text, TEXT, CUT_TEXT);
    card.footer = cut(&card.footer, FOOTER);
    card.fields
        .retain(|(name, value)| !name.is_empty() && !value.is_empty());
    card.fields.truncate(FIELDS);
    for (name, value) in &mut card.fields {
        *name = cut(name, TITLE);
        *value = cut_value(value, FIELD);
    }
    for index in (0..card.fields.len()).rev() {
        let over = card.units().saturating_sub(EMBED);
        if over == 0 {
            break;
        }
        if let Some((_name, value)) = card.fields.get_mut(index) {
            let room = units(value).saturating_sub(over).max(units(CUT_TEXT));
            *value = cut_value(value, room);
        }
    }
    let over = card.units().saturating_sub(EMBED);
    let room = units(&card.text).saturating_sub(over);
    card.text = cut_with(&card.text, room, CUT_TEXT);
    card
}

/// Cuts a value; a code block that loses its end gets it back.
fn cut_value(value: &str, max: usize) -> String {
    if units(value) <= max {
        return value.to_owned();
    }
    if value.starts_with("```") && max > units(CUT_TEXT) + 12 {
        return cut_with(value, max, &format!("\n```{CUT_TEXT}"));
    }
    cut_with(value, max, CUT_TEXT)
}

/// The last `max` bytes at most, from a character's edge.
pub(crate) fn last_bytes(text: &str, max: usize) -> &str {
    let mut start = text.len().saturating_sub(max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_message_is_brought_within_the_limits() {
        let view = View {
            content: "c".repeat(5000),
            card: Some(Card {
                title: "t".repeat(500),
                text: "é".repeat(9000),
                fields: (0..40)
                    .map(|n| {
                        (
                            format!("field {n}"),
                            format!("```diff\n{}\n```", "x".repeat(3000)),
                        )
                    })
                    .collect(),
                footer: "plan 1a2b3c4d".to_owned(),
                shade: Shade::Warn,
            }),
            files: (0..12)
                .map(|n| File {
                    name: format!("{n}.log"),
                    content: "ü".repeat(FILE_BYTES),
                })
                .collect(),
            ..View::default()
        };
        let fitted = view.fitted();
        assert_eq!(units(&fitted.content), CONTENT);
        let card = fitted.card.unwrap();
        assert!(card.units() <= EMBED, "{}", card.units());
        assert!(card.fields.len() <= FIELDS);
        assert!(
            card.fields
                .iter()
                .all(|(_name, value)| units(value) <= FIELD)
        );
        assert!(card.fields[0].1.ends_with("```… (whole text in the file)"));
        assert_eq!(card.footer, "plan 1a2b3c4d");
        assert_eq!(fitted.files.len(), FILES);
        assert!(
            fitted
                .files
                .iter()
                .all(|file| file.content.len() <= FILE_BYTES)
        );
    }

    #[test]
    fn nobody_is_pinged_unless_named() {
        let message = serde_json::to_value(View::text("@everyone <@1>").into_message()).unwrap();
        assert_eq!(message["allowed_mentions"]["parse"], serde_json::json!([]));
        assert_eq!(message["allowed_mentions"]["users"], serde_json::json!([]));
        let view = View {
            mention_users: vec![DiscordUserId(7)],
            ..View::text("<@7>")
        };
        let message = serde_json::to_value(view.into_message()).unwrap();
        assert_eq!(
            message["allowed_mentions"]["users"],
            serde_json::json!(["7"])
        );
    }

    #[test]
    fn a_text_that_is_kept_is_not_part_of_its_edit() {
        let view = View {
            keeps_text: true,
            ..View::text("made anew from the rows")
        };
        let edit = serde_json::to_value(view.into_edit()).unwrap();
        assert_eq!(edit, serde_json::json!({"components": []}));
    }

    #[test]
    fn the_end_of_a_long_text_is_kept() {
        assert_eq!(last_bytes("abcdef", 3), "def");
        assert_eq!(last_bytes("aüü", 3), "ü");
        assert_eq!(last_bytes("abc", 10), "abc");
    }
}
