//! `pangeo-bot render values|tosca`: prints exactly what a deploy would send.
//!
//! The flags are those of `commands/deploy.toml`, so that they cannot differ from the chat.
//! Secrets that are not given print as the howto's placeholders; those that are given come from a
//! file, never from the command line, where every user of the machine could read them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use chrono::NaiveDate;
use clap::{Arg, ArgMatches, builder::PossibleValuesParser};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::{
    commands::{
        Catalogue, Command, OptionSpec,
        deploy::{DeployDefaults, deploy_options},
        options::{OptionError, parse_given},
        value::RawValue,
    },
    config::Config,
    domain::{
        deploy::{Auth, CheckinInstance, DeployOptions},
        tosca::ToscaSecrets,
        values::{DaskhubValues, ValuesSecrets},
    },
    services::{http, templates::TemplatesClient},
};

/// The longest file of secrets, in bytes.
const MAX_SECRETS_BYTES: u64 = 64 * 1024;

/// The sub-command, with the options of `deploy` as flags.
pub fn command(catalogue: &Catalogue) -> clap::Command {
    let options = catalogue
        .get("deploy")
        .map(|deploy| deploy.options.as_slice())
        .unwrap_or_default();
    let flags: Vec<Arg> = options.iter().map(flag).collect();
    let secrets = Arg::new("secrets")
        .long("secrets")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("TOML file with the secrets, by the names of their placeholders (token1, …)");
    let templates = Arg::new("templates")
        .long("templates")
        .value_name("DIR|URL")
        .help("Where the TOSCA templates are, instead of the configured source");
    clap::Command::new("render")
        .about("Print what a deploy would send; secrets that are not given print as placeholders")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            clap::Command::new("values")
                .about("The values of the DaskHub chart, as helm gets them")
                .args(flags.clone())
                .arg(secrets.clone()),
        )
        .subcommand(
            clap::Command::new("tosca")
                .about("The TOSCA document, as IM gets it")
                .args(flags)
                .arg(secrets)
                .arg(templates),
        )
}

fn flag(option: &OptionSpec) -> Arg {
    let mut arg = Arg::new(option.name.clone())
        .long(option.name.clone())
        .help(option.description.clone())
        .allow_hyphen_values(true);
    if !option.choices.is_empty() {
        arg = arg.value_parser(PossibleValuesParser::new(option.choices.clone()));
    }
    match &option.default {
        // Not a clap default: a value that nobody gave must not count as given.
        Some(default) => arg.help(format!("{} [default: {default}]", option.description)),
        None => arg,
    }
}

/// Runs the sub-command and returns what it prints.
///
/// # Errors
/// What is wrong with the options, the secrets file or the templates, in words for people.
pub async fn render(
    config: &Config,
    catalogue: &Catalogue,
    matches: &ArgMatches,
    today: NaiveDate,
) -> anyhow::Result<String> {
    let deploy = catalogue
        .get("deploy")
        .context("find the command `deploy`")?;
    match matches.subcommand() {
        Some(("values", matches)) => {
            let options = options(config, deploy, matches, today, false)?;
            values(config, &options, &secrets(matches)?)
        }
        Some(("tosca", matches)) => {
            let options = options(config, deploy, matches, today, true)?;
            let source = matches.get_one::<String>("templates");
            let source = source.unwrap_or(&config.templates.source);
            tosca(config, &options, source, &secrets(matches)?).await
        }
        Some(_) | None => bail!("say what to render: `values` or `tosca`"),
    }
}

fn options(
    config: &Config,
    deploy: &Command,
    matches: &ArgMatches,
    today: NaiveDate,
    email_needed: bool,
) -> anyhow::Result<DeployOptions> {
    let given: BTreeMap<String, RawValue> = deploy
        .options
        .iter()
        .filter_map(|option| {
            let value = matches.get_one::<String>(&option.name)?;
            Some((option.name.clone(), RawValue::from(value.as_str())))
        })
        .collect();
    let defaults = DeployDefaults {
        email: config.vo.email.clone(),
        email_needed,
        chart_version: config.helm.default_version.clone(),
        domains: config.dns.domains.clone(),
        today,
    };
    parse_given(deploy, &given)
        .and_then(|options| deploy_options(&options, &defaults))
        .map_err(|errors| in_words(&errors))
}

fn in_words(errors: &[OptionError]) -> anyhow::Error {
    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("--{}: {}", error.option, error.text))
        .collect();
    anyhow!("{}", lines.join("\n"))
}

/// The secrets file: every key is a placeholder.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct GivenSecrets {
    token1: Option<SecretString>,
    token2: Option<SecretString>,
    egi_oauth_client: Option<SecretString>,
    egi_oauth_secret: Option<SecretString>,
    kubernetes_token: Option<SecretString>,
    grafana_password: Option<SecretString>,
    im_auth: Option<SecretString>,
}

fn secrets(matches: &ArgMatches) -> anyhow::Result<GivenSecrets> {
    match matches.get_one::<PathBuf>("secrets") {
        None => Ok(GivenSecrets::default()),
        Some(path) => {
            read_secrets(path).with_context(|| format!("read the secrets file {}", path.display()))
        }
    }
}

fn read_secrets(path: &Path) -> anyhow::Result<GivenSecrets> {
    if std::fs::metadata(path)?.len() > MAX_SECRETS_BYTES {
        bail!("it is longer than {MAX_SECRETS_BYTES} bytes");
    }
    let text = std::fs::read_to_string(path)?;
    // Only the message: the rest of the error would quote the file.
    toml::from_str(&text).map_err(|error| anyhow!("{}", error.message()))
}

fn values(
    config: &Config,
    options: &DeployOptions,
    given: &GivenSecrets,
) -> anyhow::Result<String> {
    let instance = match options.auth {
        Auth::CheckIn(instance) => instance,
        // Not used by the native login.
        Auth::Native => CheckinInstance::Production,
    };
    let issuer = config.checkin.issuers.of(instance);
    let values = DaskhubValues::howto(options, issuer, &config.vo.name);
    let names = ValuesSecrets::placeholders();
    let or = |given: &Option<SecretString>, name: SecretString| given.clone().unwrap_or(name);
    let secrets = ValuesSecrets {
        gateway_token: or(&given.token1, names.gateway_token),
        proxy_token: or(&given.token2, names.proxy_token),
        client_id: or(&given.egi_oauth_client, names.client_id),
        client_secret: or(&given.egi_oauth_secret, names.client_secret),
    };
    let rendered = values.render(&secrets).context("render the values")?;
    Ok(rendered.expose_secret().to_owned())
}

async fn tosca(
    config: &Config,
    options: &DeployOptions,
    source: &str,
    given: &GivenSecrets,
) -> anyhow::Result<String> {
    let http = http::client(None).context("make the HTTP client")?;
    let template = TemplatesClient::new(http, source)?
        .fetch(options.method)
        .await
        .with_context(|| format!("read the TOSCA templates from {source}"))?;
    let problems = template.problems(options);
    if !problems.is_empty() {
        let errors: Vec<OptionError> = problems
            .into_iter()
            .map(|(option, text)| OptionError::new(option, text))
            .collect();
        return Err(in_words(&errors));
    }
    let names = ToscaSecrets::placeholders();
    let or = |given: &Option<SecretString>, name: SecretString| given.clone().unwrap_or(name);
    let secrets = ToscaSecrets {
        kubernetes_token: or(&given.kubernetes_token, names.kubernetes_token),
        grafana_password: or(&given.grafana_password, names.grafana_password),
        jupyterhub_token: or(&given.token1, names.jupyterhub_token),
        im_auth: given.im_auth.clone().or(names.im_auth),
    };
    let credential = config.im.credential(options.credential.as_deref());
    let image = options
        .site_image
        .as_deref()
        .or_else(|| credential?.image.as_deref());
    let document = template
        .fill(options, image, &secrets)
        .context("fill the TOSCA templates")?;
    Ok(document.expose_secret().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::start::known_steps;

    fn run(args: &str) -> Result<String, String> {
        let catalogue = Catalogue::built_in(&known_steps()).unwrap();
        let matches = command(&catalogue)
            .try_get_matches_from(args.split(' '))
            .map_err(|error| error.to_string())?;
        let today = NaiveDate::from_ymd_opt(2026, 9, 1).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime
            .block_on(render(&Config::default(), &catalogue, &matches, today))
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_howtos_two_files_are_printed() {
        let text = run("render values --host pangeo.vm.fedcloud.eu --auth check-in --check-in development --image pangeo/pangeo-notebook --tag 2022.09.21").unwrap();
        assert_eq!(
            text,
            include_str!("../domain/values/expected/check-in.yaml")
        );
        let text = run("render values --host pangeo.vm.fedcloud.eu --auth native").unwrap();
        assert_eq!(
            text,
            include_str!("../domain/values/expected/native.yaml")
                .replace("2022.09.21\"", "latest\"")
                .replace("tag: \"latest\"", "tag: latest")
        );
    }

    #[test]
    fn flags_are_the_options_of_deploy_and_errors_name_them() {
        let error = run("render values --host a.b.c.example.org --workers-max -1").unwrap_err();
        insta::assert_snapshot!(error, @"--workers-max: `-1` is not allowed; use a whole number from 1 to 500");
        let error = run("render values --auth native").unwrap_err();
        insta::assert_snapshot!(error, @"--host: is needed");
        let error = run("render tosca --host x.vm.fedcloud.eu").unwrap_err();
        assert!(error.starts_with("--email: is needed"), "{error}");
        assert!(run("render values --secret x").is_err());
        let catalogue = Catalogue::built_in(&known_steps()).unwrap();
        command(&catalogue).debug_assert();
    }

    #[test]
    fn given_secrets_come_from_a_file() {
        let path = std::env::temp_dir().join(format!("secrets-{}.toml", uuid::Uuid::new_v4()));
        std::fs::write(&path, "token1 = \"abc\"\negi_oauth_secret = \"def\"\n").unwrap();
        let args = format!(
            "render values --host pangeo.vm.fedcloud.eu --secrets {}",
            path.display()
        );
        let text = run(&args).unwrap();
        assert_eq!(text.matches("apiToken: abc").count(), 2);
        assert!(text.contains("client_secret: def") && text.contains("secretToken: token2"));
        std::fs::write(&path, "token9 = \"hidden\"\n").unwrap();
        let error = run(&args).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(
            error.contains("unknown field `token9`") && !error.contains("hidden"),
            "{error}"
        );
    }

    #[test]
    fn an_absent_template_folder_is_named() {
        let error = run("render tosca --host x.vm.fedcloud.eu --email a@b.eu --templates /nowhere")
            .unwrap_err();
        assert!(error.contains("/nowhere/kubernetes.yaml"), "{error}");
    }
}
