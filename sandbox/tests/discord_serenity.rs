#![cfg(test)]
//! A real serenity client against the pretend Discord: what serenity can't read, it drops
//! silently, so that only seeing its effect proves a payload right.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandbox::browser::{Browser, BrowserOptions, keys};
use sandbox::discord::{
    Disconnect, Discord, DiscordOptions, Id, PANGEO_CHANNEL, Permission, RateLimits,
};
use serenity::all::{
    ActionRowComponent, AutocompleteChoice, ButtonStyle, ChannelId, ClientBuilder, Command,
    CommandDataOptionValue, CommandInteraction, CommandOptionType, ComponentInteraction, Context,
    CreateActionRow, CreateAttachment, CreateAutocompleteResponse, CreateButton, CreateCommand,
    CreateCommandOption, CreateEmbed, CreateInputText, CreateInteractionResponse,
    CreateInteractionResponseFollowup, CreateInteractionResponseMessage, CreateMessage,
    CreateModal, CreateThread, EditInteractionResponse, EditMessage, EventHandler, GatewayIntents,
    Guild, GuildChannel, GuildId, InputTextStyle, Interaction, Message, MessageId,
    ModalInteraction, Reaction, ReactionType, Ready, ResumedEvent,
};
use serenity::async_trait;
use serenity::http::HttpBuilder;

const LIMIT: Duration = Duration::from_secs(10);

/// Does one thing of every kind and notes every event that serenity could read.
struct Bot {
    seen: Arc<Mutex<Vec<String>>>,
}

impl Bot {
    fn note(&self, what: impl Into<String>) {
        self.seen.lock().unwrap().push(what.into());
    }
}

fn commands() -> Vec<CreateCommand> {
    let sub = |name: &str| {
        CreateCommandOption::new(CommandOptionType::SubCommand, name, "does it").add_sub_option(
            CreateCommandOption::new(CommandOptionType::String, "name", "which")
                .required(true)
                .set_autocomplete(true),
        )
    };
    vec![
        CreateCommand::new("pangeo")
            .description("All of it")
            .add_option(sub("deploy"))
            .add_option(sub("secret"))
            .add_option(sub("ping")),
    ]
}

fn approve() -> CreateActionRow {
    CreateActionRow::Buttons(vec![
        CreateButton::new("approve")
            .label("Approve")
            .style(ButtonStyle::Success),
        CreateButton::new_link("http://localhost/").label("Open"),
    ])
}

impl Bot {
    async fn command(&self, ctx: &Context, command: &CommandInteraction) {
        let option = &command.data.options[0];
        let CommandDataOptionValue::SubCommand(inner) = &option.value else {
            panic!("no subcommand");
        };
        if option.name == "secret" {
            let input = CreateInputText::new(InputTextStyle::Short, "Secret", "secret");
            let modal = CreateModal::new("secret-modal", "The secret")
                .components(vec![CreateActionRow::InputText(input)]);
            let response = CreateInteractionResponse::Modal(modal);
            command.create_response(ctx, response).await.unwrap();
            return;
        }
        command.defer_ephemeral(ctx).await.unwrap();
        if option.name == "ping" {
            return;
        }
        let who = command.member.as_ref().unwrap();
        let text = format!(
            "{} wants {}",
            who.user.name,
            inner[0].value.as_str().unwrap()
        );
        let followup = CreateInteractionResponseFollowup::new().content(text);
        command.create_followup(ctx, followup).await.unwrap();
        let plan = CreateMessage::new()
            .embed(
                CreateEmbed::new()
                    .title("Plan")
                    .description("all new")
                    .field("cores", "4", true),
            )
            .components(vec![approve()])
            .add_file(CreateAttachment::bytes("a: 1", "values.yaml"))
            .reactions(['✅', '❌']);
        let plan = command.channel_id.send_message(ctx, plan).await.unwrap();
        let thread = CreateThread::new("geo");
        let thread = command
            .channel_id
            .create_thread_from_message(ctx, plan.id, thread);
        let thread = thread.await.unwrap();
        thread.say(ctx, "step 1").await.unwrap();
        let edit = EditInteractionResponse::new().content("see the plan");
        command.edit_response(ctx, edit).await.unwrap();
    }

    async fn component(&self, ctx: &Context, component: &ComponentInteraction) {
        component.defer(ctx).await.unwrap();
        let mut message = component.message.clone();
        let edit = EditMessage::new().content("approved").components(vec![]);
        message.edit(ctx, edit).await.unwrap();
        let followup = CreateInteractionResponseFollowup::new()
            .content("thanks")
            .ephemeral(true);
        component.create_followup(ctx, followup).await.unwrap();
    }

    async fn modal(&self, ctx: &Context, modal: &ModalInteraction) {
        let ActionRowComponent::InputText(input) = &modal.data.components[0].components[0] else {
            panic!("no input");
        };
        self.note(format!("secret {}", input.value.as_ref().unwrap()));
        let message = CreateInteractionResponseMessage::new()
            .content("kept")
            .ephemeral(true);
        let response = CreateInteractionResponse::Message(message);
        modal.create_response(ctx, response).await.unwrap();
    }
}

#[async_trait]
impl EventHandler for Bot {
    async fn ready(&self, ctx: Context, ready: Ready) {
        self.note("ready");
        let guild = ready.guilds[0].id;
        let known: Vec<Command> = guild.set_commands(&ctx, commands()).await.unwrap();
        assert_eq!(known.len(), 1);
        assert_eq!(guild.get_commands(&ctx).await.unwrap().len(), 1);
    }

    async fn resume(&self, _: Context, _: ResumedEvent) {
        self.note("resumed");
    }

    async fn guild_create(&self, _: Context, guild: Guild, _: Option<bool>) {
        self.note(format!("guild {} {}", guild.name, guild.channels.len()));
    }

    async fn interaction_create(&self, ctx: Context, interaction: Interaction) {
        match interaction {
            Interaction::Command(command) => self.command(&ctx, &command).await,
            Interaction::Component(component) => self.component(&ctx, &component).await,
            Interaction::Modal(modal) => self.modal(&ctx, &modal).await,
            Interaction::Autocomplete(of) => {
                let typed = of.data.autocomplete().unwrap().value.to_owned();
                let choice = AutocompleteChoice::new("Geo", format!("{typed}o"));
                let choices = CreateAutocompleteResponse::new().set_choices(vec![choice]);
                let response = CreateInteractionResponse::Autocomplete(choices);
                of.create_response(ctx, response).await.unwrap();
            }
            Interaction::Ping(_) | _ => panic!("another interaction"),
        }
    }

    async fn message(&self, _: Context, message: Message) {
        self.note(format!("message {:?}", message.content));
    }

    async fn message_delete(&self, _: Context, _: ChannelId, _: MessageId, _: Option<GuildId>) {
        self.note("message deleted");
    }

    async fn reaction_add(&self, _: Context, reaction: Reaction) {
        let member = reaction.member.as_ref().unwrap();
        self.note(format!(
            "{} {} {}",
            reaction.emoji,
            member.user.name,
            member.roles.len()
        ));
    }

    async fn reaction_remove(&self, _: Context, reaction: Reaction) {
        self.note(format!("removed {}", reaction.emoji));
    }

    async fn reaction_remove_emoji(&self, _: Context, reaction: Reaction) {
        self.note(format!("emoji {} removed", reaction.emoji));
    }

    async fn message_delete_bulk(
        &self,
        _: Context,
        _: ChannelId,
        ids: Vec<MessageId>,
        _: Option<GuildId>,
    ) {
        self.note(format!("{} deleted", ids.len()));
    }

    async fn thread_update(&self, _: Context, _: Option<GuildChannel>, thread: GuildChannel) {
        self.note(format!(
            "thread archived {}",
            thread.thread_metadata.unwrap().archived
        ));
    }

    async fn reaction_remove_all(&self, _: Context, _: ChannelId, _: MessageId) {
        self.note("all removed");
    }
}

struct Running {
    discord: Arc<Discord>,
    seen: Arc<Mutex<Vec<String>>>,
    bot: tokio::task::JoinHandle<()>,
    http: Arc<serenity::http::Http>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.bot.abort();
    }
}

impl Running {
    async fn start() -> Self {
        Self::with_heartbeat(DiscordOptions::default().heartbeat).await
    }

    async fn with_heartbeat(heartbeat: Duration) -> Self {
        let intents = GatewayIntents::GUILDS
            | GatewayIntents::GUILD_MESSAGES
            | GatewayIntents::GUILD_MESSAGE_REACTIONS;
        Self::with(heartbeat, intents).await
    }

    async fn with(heartbeat: Duration, intents: GatewayIntents) -> Self {
        let discord = Discord::start(DiscordOptions {
            heartbeat,
            openapi: std::env::var_os("CONFORMANCE_DATA")
                .map(|dir| std::path::PathBuf::from(dir).join("discord-openapi.json")),
            // serenity without its limiter does not wait for its second reaction.
            rate_limits: RateLimits::Relaxed,
            ..DiscordOptions::default()
        })
        .await
        .unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let http = http(&discord, discord.token());
        let handler = Bot {
            seen: Arc::clone(&seen),
        };
        let mut client = ClientBuilder::new_with_http(http, intents)
            .event_handler(handler)
            .await
            .unwrap();
        let http = Arc::clone(&client.http);
        let bot = tokio::spawn(async move { client.start().await.unwrap() });
        discord.wait_for_bot().await.unwrap();
        discord.wait_for_command("pangeo").await.unwrap();
        Self {
            discord,
            seen,
            bot,
            http,
        }
    }

    fn saw(&self, what: &str) -> bool {
        self.seen.lock().unwrap().iter().any(|s| s.contains(what))
    }

    /// Waits until serenity noted an event.
    async fn sees(&self, what: &str) {
        let until = tokio::time::Instant::now() + LIMIT;
        while !self.saw(what) {
            assert!(
                tokio::time::Instant::now() < until,
                "no {what}: {:?}",
                self.seen
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn clean(&self) {
        assert_eq!(self.discord.unexpected_calls(), Vec::<String>::new());
        let violations = self.discord.violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

#[tokio::test]
async fn a_command_is_deferred_answered_and_approved() {
    let bot = Running::start().await;
    let (ana, ben) = (bot.discord.person("ana"), bot.discord.person("ben"));
    let choices = ana.completes("/pangeo deploy name:ge").await;
    assert_eq!(choices, [("Geo".to_owned(), "geo".to_owned())]);
    let deploy = ana.runs("/pangeo deploy name:geo").await;
    let answer = deploy.answer().await;
    assert!(answer.is_ephemeral());
    let plan = bot
        .discord
        .wait_for_message(|m| m.reactions.len() == 2, LIMIT)
        .await
        .unwrap();
    let seen = |d: &Discord| d.message(answer.id).filter(|m| m.says("see the plan"));
    bot.discord.wait_until(LIMIT, seen).await.unwrap();
    ben.reacts(&plan, "✅");
    bot.sees("✅ ben 1").await;
    ben.takes_back(&plan, "✅");
    bot.sees("removed ✅").await;
    bot.discord.other_bot().reacts(&plan, "👀");
    bot.sees("👀 other-bot 0").await;
    ben.presses("Approve").await.answer().await;
    insta::assert_snapshot!(bot.discord.transcript(), @r#"
    #pangeo ana: /pangeo deploy name:geo
    #pangeo pangeo-bot → ana: see the plan
    #pangeo pangeo-bot: approved
      | Plan
      | all new
      | cores: 4
      file values.yaml
      ✅ 1 ❌ 1 👀 1
      thread "geo"
        pangeo-bot: step 1
    #pangeo ben presses [Approve]
    #pangeo pangeo-bot → ben: thanks
    "#);
    bot.discord.archive_thread(plan.id, false);
    bot.sees("thread archived true").await;
    // serenity 0.12.5 wants `burst` and `type`, which Discord does not send here, and so drops the
    // event: a bot has to read reactions again over REST.
    bot.discord.remove_emoji(&plan, "👀");
    bot.discord.remove_all_reactions(&plan);
    bot.sees("all removed").await;
    assert!(!bot.saw("emoji 👀 removed"));
    ben.deletes(&plan);
    bot.sees("message deleted").await;
    bot.clean();
}

#[tokio::test]
async fn a_form_comes_back_with_what_was_typed() {
    let bot = Running::start().await;
    let ana = bot.discord.person("ana");
    let modal = ana.runs("/pangeo secret name:geo").await.modal().await;
    assert_eq!(modal.title, "The secret");
    assert!(ana.tries_to_fill(&modal, &[]).is_err());
    let kept = ana
        .fills(&modal, &[("Secret", "s3cret")])
        .await
        .answer()
        .await;
    assert!(kept.is_ephemeral() && kept.says("kept"));
    bot.sees("secret s3cret").await;
    bot.clean();
}

#[tokio::test]
async fn a_reconnected_bot_gets_what_it_missed() {
    let bot = Running::start().await;
    let ana = bot.discord.person("ana");
    for how in [Disconnect::Reconnect, Disconnect::Close(4000)] {
        bot.seen.lock().unwrap().clear();
        assert_eq!(bot.discord.disconnect_bots(how), 1);
        ana.says(PANGEO_CHANNEL, "hello");
        bot.sees("resumed").await;
        bot.sees("message \"\"").await;
        bot.discord.wait_for_bot().await.unwrap();
    }
    bot.seen.lock().unwrap().clear();
    bot.discord
        .disconnect_bots(Disconnect::InvalidSession(false));
    ana.says(PANGEO_CHANNEL, "lost");
    bot.sees("ready").await;
    assert!(!bot.saw("message"), "an event before IDENTIFY was kept");
    bot.clean();
}

#[tokio::test]
async fn reactions_are_read_again_over_rest() {
    let bot = Running::start().await;
    let channel = ChannelId::new(PANGEO_CHANNEL.get());
    let message = channel.say(&bot.http, "vote").await.unwrap();
    let here = bot.discord.message(Id::new(message.id.get())).unwrap();
    for name in ["ana", "ben", "eva"] {
        bot.discord.person(name).reacts(&here, "✅");
    }
    let yes = ReactionType::Unicode("✅".to_owned());
    let page = |after| channel.reaction_users(&bot.http, message.id, yes.clone(), Some(2), after);
    let first = page(None).await.unwrap();
    let second = page(Some(first[1].id)).await.unwrap();
    let names: Vec<_> = first
        .iter()
        .chain(&second)
        .map(|u| u.name.as_str())
        .collect();
    assert_eq!(names, ["ana", "ben", "eva"]);
    bot.discord.deny(PANGEO_CHANNEL, Permission::ManageMessages);
    let ana = serenity::all::UserId::new(bot.discord.person("ana").id().get());
    let refused = bot
        .http
        .delete_reaction(channel, message.id, ana, &yes)
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("Missing Permissions"),
        "{refused}"
    );
    bot.clean();
}

#[tokio::test]
async fn a_nonce_is_sent_once() {
    let bot = Running::start().await;
    let channel = ChannelId::new(PANGEO_CHANNEL.get());
    let send = || {
        let message = CreateMessage::new()
            .content("once")
            .nonce(serenity::all::Nonce::String("n1".to_owned()))
            .enforce_nonce(true);
        channel.send_message(&bot.http, message)
    };
    let (first, second) = (send().await.unwrap(), send().await.unwrap());
    assert_eq!(first.id, second.id);
    assert!(first.nonce.is_some());
    assert!(
        channel
            .message(&bot.http, first.id)
            .await
            .unwrap()
            .nonce
            .is_none()
    );
    assert_eq!(bot.discord.messages(PANGEO_CHANNEL).len(), 1);
    bot.clean();
}

/// The page of the same server, from the command to the approval, in a real browser.
#[tokio::test]
async fn the_page_drives_the_bot() {
    let bot = Running::start().await;
    let page = Browser::start(BrowserOptions::default()).await.unwrap();
    let url = |person: &str| format!("{}/#as={person}", bot.discord.url());
    page.open(&url("ana")).await.unwrap();
    page.wait_for_text(".bot-state", "online").await.unwrap();
    let composer = "#main-composer textarea";
    page.type_text(composer, "/pangeo deploy name:ge")
        .await
        .unwrap();
    page.wait_for_text(".list-item", "Geo").await.unwrap();
    page.press(keys::TAB).await.unwrap();
    page.press(keys::ENTER).await.unwrap();
    page.wait_for_text(".message.ephemeral", "see the plan")
        .await
        .unwrap();
    page.wait_for_text(".context", "used /pangeo deploy")
        .await
        .unwrap();
    page.wait_for_text(".embed-title", "Plan").await.unwrap();
    page.wait_for_text(".file code", "a: 1").await.unwrap();
    page.click(".thread-card").await.unwrap();
    page.wait_for_text("#side .markup", "step 1").await.unwrap();
    page.press(keys::ESCAPE).await.unwrap();

    page.type_text(composer, "/pangeo secret name:x ")
        .await
        .unwrap();
    page.press(keys::ENTER).await.unwrap();
    page.wait_for_text("dialog h2", "The secret").await.unwrap();
    page.press("s3cret").await.unwrap();
    page.press(keys::ENTER).await.unwrap();
    bot.sees("secret s3cret").await;
    page.wait_for_text(".message.ephemeral", "kept")
        .await
        .unwrap();

    // The bot's own ✅ is not ben's; his own can be given and taken back.
    page.open(&url("ben")).await.unwrap();
    page.wait_until_gone(".message.ephemeral").await.unwrap();
    let check = ".reaction[data-emoji='✅']";
    page.click(&format!("{check}[aria-pressed=false]"))
        .await
        .unwrap();
    bot.sees("✅ ben 1").await;
    page.click(&format!("{check}[aria-pressed=true]"))
        .await
        .unwrap();
    bot.sees("removed ✅").await;
    page.click_text(".component-row button", "Approve")
        .await
        .unwrap();
    page.wait_for_text(".message.ephemeral", "thanks")
        .await
        .unwrap();
    page.wait_for_text(".message .markup", "approved (edited)")
        .await
        .unwrap();
    assert_eq!(page.console_errors().await.unwrap(), Vec::<String>::new());
    page.close().await.unwrap();
    bot.clean();
}

#[tokio::test]
async fn messages_deleted_in_bulk_are_told() {
    let bot = Running::start().await;
    let ana = bot.discord.person("ana");
    let both = [ana.says(PANGEO_CHANNEL, "1"), ana.says(PANGEO_CHANNEL, "2")];
    bot.discord.delete_in_bulk(&both);
    bot.sees("2 deleted").await;
    bot.clean();
}

#[tokio::test]
async fn messages_are_told_only_with_their_intent_and_without_what_people_write() {
    let with = Running::start().await;
    let intents = GatewayIntents::GUILDS | GatewayIntents::GUILD_MESSAGE_REACTIONS;
    let without = Running::with(DiscordOptions::default().heartbeat, intents).await;
    for bot in [&with, &without] {
        let ana = bot.discord.person("ana");
        let message = ana.says(PANGEO_CHANNEL, "horse-battery-staple");
        ana.reacts(&message, "👀");
        ana.deletes(&message);
        ana.reacts(&ana.says(PANGEO_CHANNEL, "the last one"), "🏁");
        bot.sees("🏁").await;
        assert!(!bot.saw("horse") && !bot.saw("the last one"));
        bot.clean();
    }
    assert!(with.saw("message \"\"") && with.saw("message deleted"));
    assert!(!without.saw("message"), "{:?}", without.seen);
}

#[tokio::test]
async fn a_burst_is_acknowledged_in_full() {
    let bot = Running::start().await;
    let times = bot
        .discord
        .burst("/pangeo ping name:x", 100, 1)
        .await
        .unwrap();
    assert_eq!(times.len(), 100);
    let mut t = times.clone();
    t.sort();
    bot.clean();
}

fn http(discord: &Discord, token: &str) -> serenity::http::Http {
    HttpBuilder::new(token)
        .proxy(discord.url())
        .ratelimiter_disabled(true)
        .build()
}

#[tokio::test]
async fn a_wrong_token_and_privileged_intents_are_turned_away() {
    let discord = Discord::start(DiscordOptions::default()).await.unwrap();
    let wrong = http(&discord, "MTE.sandbx.wrong").get_bot_gateway().await;
    let error = wrong.unwrap_err().to_string();
    assert!(error.contains("401"), "{error}");
    let http = http(&discord, discord.token());
    let mut client = ClientBuilder::new_with_http(http, GatewayIntents::MESSAGE_CONTENT)
        .await
        .unwrap();
    let ended = tokio::time::timeout(LIMIT, client.start()).await.unwrap();
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("Disallowed gateway intents"), "{error}");
}

#[tokio::test]
async fn a_silent_gateway_is_left_for_a_new_connection() {
    let bot = Running::with_heartbeat(Duration::from_secs(1)).await;
    bot.seen.lock().unwrap().clear();
    assert_eq!(bot.discord.disconnect_bots(Disconnect::Silence), 1);
    assert!(!bot.discord.bot_online());
    bot.discord.wait_for_bot().await.unwrap();
    bot.clean();
}
