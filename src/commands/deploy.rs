//! From the parsed options of `deploy` to [`DeployOptions`].

use chrono::NaiveDate;

use super::{
    options::OptionError,
    value::{OptionValue, Options},
};
use crate::domain::{
    deploy::{Auth, CheckinInstance, DeployOptions, MachineSize, Method, NotebookImage},
    names::{ClusterName, HostName},
    size::Size,
};

pub use crate::domain::deploy::STEPS;

/// The notebook image of the howto.
const IMAGE: &str = "pangeo/pangeo-notebook";

/// What the configuration adds to the options.
#[derive(Clone, Debug)]
pub struct DeployDefaults {
    /// The e-mail for Let's Encrypt when none is given.
    pub email: Option<String>,
    /// Whether an e-mail is needed; not for rendering the values.
    pub email_needed: bool,
    /// The chart version when none is given.
    pub chart_version: String,
    /// Host names must lie below one of these.
    pub domains: Vec<HostName>,
    /// Today, UTC: an end date must not lie before it.
    pub today: NaiveDate,
}

/// Fills in the howto's defaults and checks everything that can be checked without asking anyone.
///
/// # Errors
/// One error for each thing that is wrong.
pub fn deploy_options(
    options: &Options,
    defaults: &DeployDefaults,
) -> Result<DeployOptions, Vec<OptionError>> {
    let mut reader = Reader {
        options,
        errors: Vec::new(),
    };
    let Some((name, host)) = reader.names(defaults) else {
        return Err(reader.errors);
    };
    let method = reader.method();
    let auth = reader.auth(method);
    let deploy = DeployOptions {
        name,
        host,
        auth,
        email: reader.email(defaults),
        workers_max: reader.number("workers-max", 5),
        workers_min_free: reader.number("workers-min-free", 0),
        worker: reader.machine("worker", 8, "32 GB"),
        frontend: reader.machine("frontend", 4, "16 GB"),
        image: reader.image(auth),
        chart_version: reader.chart_version(method, defaults),
        kubernetes_version: options.text("kubernetes-version"),
        credential: options.text("credential"),
        site_image: options.text("site-image"),
        method,
        purpose: options.text("purpose"),
        contact: options.text("contact"),
        ends_on: reader.ends_on(defaults),
        template: None,
    };
    let mut errors = reader.errors;
    let problems = deploy.problems();
    errors.extend(
        problems
            .into_iter()
            .map(|(option, text)| OptionError::new(option, text)),
    );
    if errors.is_empty() {
        Ok(deploy)
    } else {
        Err(errors)
    }
}

struct Reader<'a> {
    options: &'a Options,
    errors: Vec<OptionError>,
}

impl Reader<'_> {
    fn error(&mut self, option: &str, text: impl Into<String>) {
        self.errors.push(OptionError::new(option, text));
    }

    /// The host, and the name: the host's first label when no name is given.
    fn names(&mut self, defaults: &DeployDefaults) -> Option<(ClusterName, HostName)> {
        let Some(host) = self.options.host_name("host").cloned() else {
            self.error("host", "is needed");
            return None;
        };
        if let Some(problem) = host.problem_below(&defaults.domains) {
            self.error("host", problem);
        }
        if let Some(name) = self.options.cluster_name("name") {
            return Some((name.clone(), host));
        }
        let label = host.as_str().split('.').next().unwrap_or_default();
        match ClusterName::parse(label) {
            Ok(name) => Some((name, host)),
            Err(error) => {
                self.error("name", format!("is needed: {error}"));
                None
            }
        }
    }

    fn method(&self) -> Method {
        match self.options.text("method").as_deref() {
            Some("tosca") => Method::Tosca,
            Some(_) | None => Method::Helm,
        }
    }

    fn auth(&mut self, method: Method) -> Auth {
        let given = self.options.is_given("auth");
        let native = match self.options.text("auth").as_deref() {
            Some("native") => true,
            Some(_) | None => method == Method::Tosca && !given,
        };
        if native {
            if self.options.is_given("check-in") {
                self.error(
                    "check-in",
                    "goes only with `auth:check-in`; leave it out with native login",
                );
            }
            return Auth::Native;
        }
        let instance = self.options.text("check-in");
        let instance = instance.as_deref().and_then(CheckinInstance::from_word);
        Auth::CheckIn(instance.unwrap_or(CheckinInstance::Production))
    }

    fn email(&mut self, defaults: &DeployDefaults) -> Option<String> {
        let email = self
            .options
            .text("email")
            .or_else(|| defaults.email.clone());
        if email.is_none() && defaults.email_needed {
            self.error(
                "email",
                "is needed: Let's Encrypt writes to it before a certificate ends; the configuration has no `vo.email` either",
            );
        }
        email
    }

    fn number(&self, option: &str, default: u32) -> u32 {
        self.options
            .integer(option)
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default)
    }

    fn machine(&mut self, kind: &str, cpus: u32, memory: &str) -> MachineSize {
        let size = |what: &str| self.options.size(&format!("{kind}-{what}")).cloned();
        let (memory_given, disk) = (size("memory"), size("disk"));
        let memory = memory_given.map_or_else(|| Size::parse(memory), Ok);
        let cpus = self.number(&format!("{kind}-cpus"), cpus);
        match memory {
            Ok(memory) => MachineSize { cpus, memory, disk },
            Err(error) => {
                self.error(&format!("{kind}-memory"), error.to_string());
                MachineSize {
                    cpus,
                    memory: Size::ZERO,
                    disk,
                }
            }
        }
    }

    /// The howto's tags: a fixed one with Check-in, `latest` with native login.
    fn image(&self, auth: Auth) -> NotebookImage {
        let default = match auth {
            Auth::CheckIn(_) => "2022.09.21",
            Auth::Native => "latest",
        };
        let text = |option: &str, default: &str| {
            self.options
                .text(option)
                .unwrap_or_else(|| default.to_owned())
        };
        NotebookImage {
            name: text("image", IMAGE),
            tag: text("tag", default),
        }
    }

    fn chart_version(&mut self, method: Method, defaults: &DeployDefaults) -> String {
        if method == Method::Tosca && self.options.is_given("chart-version") {
            self.error(
                "chart-version",
                "the TOSCA template chooses the chart; leave this out with `method:tosca`",
            );
        }
        self.options
            .text("chart-version")
            .unwrap_or_else(|| defaults.chart_version.clone())
    }

    fn ends_on(&mut self, defaults: &DeployDefaults) -> Option<NaiveDate> {
        let date = match self.options.get("end-date") {
            Some(OptionValue::Date(date)) => *date,
            Some(_) | None => return None,
        };
        if date < defaults.today {
            self.error("end-date", format!("`{date}` is over; use today or later"));
        }
        Some(date)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::commands::{
        catalogue::for_tests, options::parse_given, options::parse_options, value::RawValue,
    };

    fn defaults() -> DeployDefaults {
        DeployDefaults {
            email: None,
            email_needed: true,
            chart_version: "2022.8.2".to_owned(),
            domains: vec![HostName::parse("vm.fedcloud.eu").unwrap()],
            today: NaiveDate::from_ymd_opt(2026, 9, 1).unwrap(),
        }
    }

    fn raw(given: &[(&str, &str)]) -> BTreeMap<String, RawValue> {
        given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), RawValue::from(*value)))
            .collect()
    }

    fn read(given: &[(&str, &str)]) -> Result<DeployOptions, String> {
        let catalogue = for_tests();
        let mut all = vec![
            ("name", "geo"),
            ("host", "geo.vm.fedcloud.eu"),
            ("email", "a@example.org"),
        ];
        all.retain(|(name, _)| !given.iter().any(|(given, _)| given == name));
        all.extend(given.iter().filter(|(_, value)| !value.is_empty()));
        parse_options(catalogue.get("deploy").unwrap(), &raw(&all))
            .and_then(|options| deploy_options(&options, &defaults()))
            .map_err(|errors| {
                errors
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("\n")
            })
    }

    #[test]
    fn the_defaults_are_the_howtos() {
        let options = read(&[]).unwrap();
        assert_eq!(options.auth, Auth::CheckIn(CheckinInstance::Production));
        assert_eq!(
            options.image.to_string(),
            "pangeo/pangeo-notebook:2022.09.21"
        );
        assert_eq!(options.chart_version, "2022.8.2");
        assert_eq!((options.frontend.cpus, options.worker.cpus), (4, 8));
        assert_eq!(options.frontend.memory.to_string(), "16 GB");
        assert_eq!((options.workers_max, options.workers_min_free), (5, 0));
        assert_eq!(options.kubernetes_version, None);
        assert_eq!(options.method, Method::Helm);

        let native = read(&[("auth", "native")]).unwrap();
        assert_eq!(native.image.tag, "latest");
        let tosca = read(&[("method", "tosca")]).unwrap();
        assert_eq!(tosca.auth, Auth::Native);
    }

    #[test]
    fn what_makes_no_sense_together_is_refused_with_words() {
        let error = |given: &[(&str, &str)]| read(given).unwrap_err();
        insta::assert_snapshot!(error(&[("auth", "native"), ("check-in", "demo")]), @"`check-in`: goes only with `auth:check-in`; leave it out with native login");
        insta::assert_snapshot!(error(&[("auth", "check-in"), ("method", "tosca")]), @"`method`: `tosca` has no Check-in login; use `auth:native`, or `method:helm`");
        insta::assert_snapshot!(error(&[("method", "tosca"), ("chart-version", "2024.1.1")]), @"`chart-version`: the TOSCA template chooses the chart; leave this out with `method:tosca`");
        insta::assert_snapshot!(error(&[("workers-max", "1"), ("workers-min-free", "2")]), @"`workers-min-free`: 2 nodes cannot be kept free when at most 1 exist; raise `workers-max` or lower this");
        insta::assert_snapshot!(error(&[("host", "geo.example.org")]), @"`host`: `geo.example.org` is not ours; it must end with `vm.fedcloud.eu`");
        insta::assert_snapshot!(error(&[("host", "vm.fedcloud.eu")]), @"`host`: put a name before `vm.fedcloud.eu`");
        insta::assert_snapshot!(error(&[("end-date", "2026-08-31")]), @"`end-date`: `2026-08-31` is over; use today or later");
        insta::assert_snapshot!(error(&[("email", "")]), @"`email`: is needed: Let's Encrypt writes to it before a certificate ends; the configuration has no `vo.email` either");
        insta::assert_snapshot!(error(&[("frontend-cpus", "1"), ("workers-max", "-1")]), @"`workers-max`: `-1` is not allowed; use a whole number from 1 to 500");
    }

    #[test]
    fn rendering_needs_only_a_host() {
        let catalogue = for_tests();
        let options = parse_given(
            catalogue.get("deploy").unwrap(),
            &raw(&[("host", "pangeo.vm.fedcloud.eu")]),
        )
        .unwrap();
        let defaults = DeployDefaults {
            email_needed: false,
            ..defaults()
        };
        assert_eq!(
            deploy_options(&options, &defaults).unwrap().name.as_str(),
            "pangeo"
        );
    }
}
