//! `obtain-token`: the new access token is there, sealed, and is what was approved.
//!
//! Changes nothing outside but a login at Check-in. A pasted token is there before; for a login who
//! asked gets code and link privately and the step polls, with a new code when one has ended; a
//! kept refresh token gives one at once. Then signature, holder, remaining life and IM's answer
//! with it are checked, right before it is used. If the bot dies after the issuer gave the tokens
//! out and before they are sealed, the person logs in once more. Undo forgets the token, not what
//! is kept for unattended renewals.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{self, StreamExt, TryStreamExt};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::AT_ONCE;
use crate::domain::message::{MessageKind, Notice, Place};
use crate::domain::token::{NEEDED_TO_WRITE, NewToken, RenewBy, RenewOptions};
use crate::domain::values::generate_token;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};
use crate::services::checkin::{CheckinError, Tokens, TokensAnswer};
use crate::store::secrets::SecretOwner;
use crate::store::vault::{LOGIN, REFRESH_TOKEN};

/// See the module.
pub(super) struct ObtainToken;

/// What later steps want to know, and how far a login is.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Output {
    /// The name of the sealed token; it belongs to the operation's cluster. Empty before.
    #[serde(default)]
    pub(super) secret: String,
    /// The login that is under way.
    #[serde(default)]
    login: Option<UnderWay>,
    /// How many logins were begun.
    #[serde(default)]
    logins: u32,
}

/// A login that is under way, without its secrets.
#[derive(Serialize, Deserialize)]
struct UnderWay {
    ends_at: DateTime<Utc>,
    interval_s: u64,
    told: bool,
}

/// The secrets of a login, sealed as JSON.
#[derive(Serialize, Deserialize)]
struct Codes {
    device_code: String,
    verifier: String,
    user_code: String,
    link: Url,
}

/// Where tokens come from.
enum Source {
    /// The issuer gave them out.
    Tokens(Tokens),
    /// The person has not logged in yet.
    Wait(Duration),
}

#[async_trait]
impl Step for ObtainToken {
    fn name(&self) -> &'static str {
        "obtain-token"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        let options: RenewOptions = context.options()?;
        let mut output = context.learnt_before::<Output>().unwrap_or_default();
        if output.secret.is_empty() {
            let source = match options.way {
                RenewBy::Paste => None,
                RenewBy::Login => Some(login(context, &options, &mut output).await?),
                RenewBy::Kept => Some(kept(context, &options).await?),
            };
            match source {
                Some(Source::Wait(after)) => {
                    let note = format!(
                        "until <@{}> has logged in at Check-in; the link came privately",
                        context.operation.requester
                    );
                    return Ok(Progress::Wait { after, note });
                }
                Some(Source::Tokens(tokens)) => {
                    output.login = None;
                    context.learn(&output).await?;
                    output.secret = keep(context, &options, &tokens).await?;
                }
                None => {
                    let new = options.new.as_ref().ok_or_else(gone)?;
                    output.secret.clone_from(&new.secret);
                }
            }
        }
        let token = sealed(context, &output.secret).await?;
        check(context, &options, &token).await?;
        context
            .log("the new token is verified, of the same person, and IM takes it")
            .await?;
        Ok(Progress::Done(
            serde_json::to_value(output).unwrap_or_default(),
        ))
    }

    async fn undo(&self, context: &StepContext<'_>) -> Result<Undo, StepError> {
        forget(context).await?;
        Ok(Undo::Undone)
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("forget the new access token")
    }
}

/// Begins a login, tells it to who asked, and looks whether it is done.
async fn login(
    context: &StepContext<'_>,
    options: &RenewOptions,
    output: &mut Output,
) -> Result<Source, StepError> {
    let now = context.store.clock().now();
    let (client, issuer) = client(context, options)?;
    let owner = context.cluster_secrets();
    let codes = context.vault.get(&owner, LOGIN).await?;
    let codes = codes.and_then(|text| serde_json::from_str::<Codes>(text.expose_secret()).ok());
    let lives = output
        .login
        .as_ref()
        .is_some_and(|login| login.ends_at > now);
    let codes = match codes.filter(|_codes| lives) {
        Some(codes) => codes,
        None => begin(context, (&client, &issuer), output).await?,
    };
    let Some(under_way) = &mut output.login else {
        return Ok(Source::Wait(context.services.settings.poll));
    };
    if !under_way.told {
        tell(context, output.logins, &codes).await?;
        under_way.told = true;
        context.learn(&*output).await?;
        return Ok(Source::Wait(context.services.settings.poll));
    }
    let device_code = SecretString::from(codes.device_code);
    let verifier = SecretString::from(codes.verifier);
    let polled = context
        .services
        .checkin
        .poll_login(&issuer, &client, (&device_code, &verifier))
        .await
        .map_err(of_checkin)?;
    match polled {
        TokensAnswer::Tokens(tokens) => return Ok(Source::Tokens(tokens)),
        TokensAnswer::Pending => {}
        TokensAnswer::SlowDown => under_way.interval_s += 5,
        TokensAnswer::Ended => output.login = None,
        TokensAnswer::Refused(word) => {
            output.login = None;
            context.learn(&*output).await?;
            return Err(StepError::needs_human(
                format!("the login at Check-in was refused: {word}"),
                "retry for a new code",
            ));
        }
    }
    context.learn(&*output).await?;
    let pause = output.login.as_ref().map_or(1, |login| login.interval_s);
    Ok(Source::Wait(Duration::from_secs(pause)))
}

async fn begin(
    context: &StepContext<'_>,
    (client, issuer): (&str, &Url),
    output: &mut Output,
) -> Result<Codes, StepError> {
    let verifier = generate_token().map_err(|error| StepError::Retry {
        reason: "no random numbers for a login".to_owned(),
        hint: "retry".to_owned(),
        source: Some(error.into()),
    })?;
    let checkin = &context.services.checkin;
    let begun = checkin.begin_login(issuer, client, &verifier).await;
    let begun = begun.map_err(of_checkin)?;
    let codes = Codes {
        device_code: begun.device_code.expose_secret().to_owned(),
        verifier: verifier.expose_secret().to_owned(),
        user_code: begun.user_code,
        link: begun.link,
    };
    let text = SecretString::from(serde_json::to_string(&codes).unwrap_or_default());
    let owner = context.cluster_secrets();
    context.vault.put(&owner, LOGIN, &text).await?;
    let lives = TimeDelta::from_std(begun.lives).unwrap_or(TimeDelta::minutes(5));
    output.logins += 1;
    output.login = Some(UnderWay {
        ends_at: context.store.clock().now() + lives,
        interval_s: begun.interval.as_secs(),
        told: false,
    });
    context.learn(&*output).await?;
    Ok(codes)
}

/// Tells code and link to who asked, and to nobody else.
async fn tell(context: &StepContext<'_>, number: u32, codes: &Codes) -> Result<(), StepError> {
    let operation = context.operation;
    let notice = Notice {
        title: format!("Log in to renew the token of {}", operation.target),
        text: format!(
            "Open {} and log in as the owner of the infrastructure.\nCode: `{}`\nIt is for you alone; the operation `{}` goes on by itself afterwards.",
            codes.link,
            codes.user_code,
            operation.id.short()
        ),
        mention_users: Vec::new(),
        mention_roles: Vec::new(),
        review_of: None,
        remedies: Vec::new(),
    };
    let key = format!("login/{}/{number}", operation.id);
    let place = Place::Direct(operation.requester);
    context
        .store
        .tell(&key, &MessageKind::Notice(notice), &place)
        .await?;
    Ok(())
}

/// New tokens for the refresh token that the bot keeps.
async fn kept(context: &StepContext<'_>, options: &RenewOptions) -> Result<Source, StepError> {
    let (client, issuer) = client(context, options)?;
    for target in &options.targets {
        let owner = SecretOwner::Cluster(target.cluster);
        let Some(refresh_token) = context.vault.get(&owner, REFRESH_TOKEN).await? else {
            continue;
        };
        let checkin = &context.services.checkin;
        let answer = checkin.refresh(&issuer, &client, &refresh_token).await;
        if let TokensAnswer::Tokens(tokens) = answer.map_err(of_checkin)? {
            return Ok(Source::Tokens(tokens));
        }
    }
    Err(StepError::needs_human(
        "no refresh token is kept that Check-in takes",
        "leave this operation and renew with `way:login keep:true`",
    ))
}

/// Checks the tokens and seals them; the name of the access token.
async fn keep(
    context: &StepContext<'_>,
    options: &RenewOptions,
    tokens: &Tokens,
) -> Result<String, StepError> {
    check(context, options, &tokens.access).await?;
    if let Some(refresh_token) = &tokens.refresh
        && options.keep
    {
        for target in &options.targets {
            let owner = SecretOwner::Cluster(target.cluster);
            context
                .vault
                .put(&owner, REFRESH_TOKEN, refresh_token)
                .await?;
        }
    }
    let secret = NewToken::secret_name(&tokens.access);
    let owner = context.cluster_secrets();
    context.vault.put(&owner, &secret, &tokens.access).await?;
    context.store.forget_secret(&owner, LOGIN).await?;
    Ok(secret)
}

/// The bot's client, and the issuer of the tokens.
fn client(context: &StepContext<'_>, options: &RenewOptions) -> Result<(String, Url), StepError> {
    let services = context.services;
    let client = services.settings.renewals.client_id.clone();
    let issuer = services.issuer_of(&options.holder).cloned();
    client.zip(issuer).ok_or_else(|| {
        StepError::needs_human(
            "the bot has no client at the token's issuer",
            "set `checkin.client_id` in the bot's configuration, then retry",
        )
    })
}

/// Whether the token is what was approved.
async fn check(
    context: &StepContext<'_>,
    options: &RenewOptions,
    token: &SecretString,
) -> Result<(), StepError> {
    let services = context.services;
    let clock = context.store.clock();
    let facts = services
        .verified_token(token, clock, NEEDED_TO_WRITE)
        .await?;
    if facts.holder != options.holder {
        return Err(StepError::needs_human(
            "the new token is another person's than the plan says",
            "retry, and log in as the owner of the infrastructure; a pasted token needs a new plan",
        ));
    }
    let asked: Vec<_> = options
        .targets
        .iter()
        .map(|target| services.token_owns(token, &target.infrastructure))
        .collect();
    stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// The sealed token.
pub(super) async fn sealed(
    context: &StepContext<'_>,
    secret: &str,
) -> Result<SecretString, StepError> {
    let owner = context.cluster_secrets();
    context.vault.get(&owner, secret).await?.ok_or_else(gone)
}

/// Forgets the sealed token and a login that is under way.
pub(super) async fn forget(context: &StepContext<'_>) -> Result<(), StepError> {
    let owner = context.cluster_secrets();
    let options: RenewOptions = context.options()?;
    if let Some(new) = &options.new {
        context.store.forget_secret(&owner, &new.secret).await?;
    }
    if options.way == RenewBy::Login {
        context.store.forget_secret(&owner, LOGIN).await?;
    }
    let output: Option<Output> = context
        .steps
        .iter()
        .find(|step| step.name == ObtainToken.name())
        .and_then(|step| serde_json::from_value(step.output.clone()).ok());
    if let Some(output) = output.filter(|output| output.secret.starts_with(NewToken::PREFIX)) {
        context.store.forget_secret(&owner, &output.secret).await?;
    }
    Ok(())
}

fn of_checkin(error: CheckinError) -> StepError {
    let hint = "see whether Check-in answers and whether the bot's client may do this, then retry";
    let transient = error.is_transient();
    StepError::of_service(transient, "Check-in gave no token", hint, error)
}

fn gone() -> StepError {
    StepError::needs_human(
        "the token that was given is not kept any more",
        "leave this operation and run the command again",
    )
}
