//! Questions to the pretend `helm`: history, list, status, values, chart.

use serde_json::{Value, json};

use super::arguments::Arguments;
use super::chart;
use super::helm::Helm;
use super::protocol::{Call, Order};
use super::state::Revision;

impl Helm<'_> {
    /// Answers everything that changes no release.
    pub(super) async fn ask(&mut self, verb: &str, args: &Arguments, call: &Call) -> u8 {
        match verb {
            "history" => self.history(args).await,
            "list" | "ls" => self.list(args).await,
            "status" => self.status(args).await,
            "get" => self.get(args).await,
            "show" => self.show(args, call).await,
            "pull" => self.pull(args, call).await,
            other => {
                let text = format!(
                    "Error: unknown command {other:?} for \"helm\"\nRun 'helm --help' for usage.\n"
                );
                self.fail(&text).await
            }
        }
    }

    fn revisions(&self, args: &Arguments, name: &str) -> Vec<Revision> {
        if args.get("namespace") != Some("daskhub") || name != "daskhub" {
            return Vec::new();
        }
        self.look(|cluster| cluster.releases.clone())
    }

    async fn history(&mut self, args: &Arguments) -> u8 {
        let revisions = self.revisions(args, args.word(1));
        if revisions.is_empty() {
            return self.fail("Error: release: not found\n").await;
        }
        let rows: Vec<_> = revisions
            .iter()
            .map(|r| {
                json!({
                    "revision": r.revision, "updated": r.updated.to_rfc3339(), "status": r.status,
                    "chart": format!("{}-{}", r.chart, r.chart_version),
                    "app_version": chart::app_version(&r.chart_version),
                    "description": r.description
                })
            })
            .collect();
        let text = if args.get("output") == Some("json") {
            json!(rows).to_string()
        } else {
            revisions.iter().fold(
                "REVISION\tUPDATED\tSTATUS\tCHART\tAPP VERSION\tDESCRIPTION\n".to_owned(),
                |text, r| {
                    let (when, version) = (r.updated.format("%a %b %e %T %Y"), &r.chart_version);
                    let app = chart::app_version(version);
                    format!(
                        "{text}{}\t{when}\t{}\t{}-{version}\t{app}\t{}\n",
                        r.revision, r.status, r.chart, r.description
                    )
                },
            )
        };
        self.caller.out(text).await;
        0
    }

    async fn list(&mut self, args: &Arguments) -> u8 {
        let newest = self.revisions(args, "daskhub").pop();
        // Without `-a` helm shows deployed and failed releases only.
        let shown = newest
            .filter(|r| args.has("all") || matches!(r.status.as_str(), "deployed" | "failed"));
        let rows: Vec<_> = shown
            .iter()
            .map(|r| {
                json!({
                    "name": "daskhub", "namespace": "daskhub", "revision": r.revision.to_string(),
                    "updated": r.updated.format("%Y-%m-%d %H:%M:%S%.9f +0000 UTC").to_string(),
                    "status": r.status, "chart": format!("{}-{}", r.chart, r.chart_version),
                    "app_version": chart::app_version(&r.chart_version)
                })
            })
            .collect();
        let text = if args.get("output") == Some("json") {
            json!(rows).to_string()
        } else {
            shown.iter().fold(
                "NAME\tNAMESPACE\tREVISION\tUPDATED\tSTATUS\tCHART\tAPP VERSION\n".to_owned(),
                |text, r| {
                    format!(
                        "{text}daskhub\tdaskhub\t{}\t{}\t{}\t{}-{}\n",
                        r.revision, r.updated, r.status, r.chart, r.chart_version
                    )
                },
            )
        };
        self.caller.out(format!("{text}\n")).await;
        0
    }

    async fn status(&mut self, args: &Arguments) -> u8 {
        let Some(r) = self.revisions(args, args.word(1)).pop() else {
            return self.fail("Error: release: not found\n").await;
        };
        // As with the real helm the JSON holds the values with all their secrets.
        let text = if args.get("output") == Some("json") {
            json!({
                "name": "daskhub", "namespace": "daskhub", "version": r.revision,
                "info": { "status": r.status, "description": r.description },
                "config": r.values
            })
            .to_string()
        } else {
            format!(
                "NAME: daskhub\nNAMESPACE: daskhub\nSTATUS: {}\nREVISION: {}\n",
                r.status, r.revision
            )
        };
        self.caller.out(text).await;
        0
    }

    async fn get(&mut self, args: &Arguments) -> u8 {
        let wanted = args
            .get("revision")
            .and_then(|text| text.parse::<u32>().ok());
        let mut revisions = self.revisions(args, args.word(2)).into_iter();
        let Some(r) = revisions.rfind(|r| wanted.is_none_or(|wanted| r.revision == wanted)) else {
            return self.fail("Error: release: not found\n").await;
        };
        let text = match args.word(1) {
            "values" if args.get("output") == Some("json") => {
                let tree: Value = serde_saphyr::from_str(&r.values).unwrap_or_default();
                format!("{tree}\n")
            }
            "values" => format!("USER-SUPPLIED VALUES:\n{}\n", r.values),
            "metadata" => json!({
                "name": "daskhub", "chart": r.chart, "version": r.chart_version,
                "appVersion": chart::app_version(&r.chart_version), "namespace": "daskhub",
                "revision": r.revision, "status": r.status, "deployedAt": r.updated.to_rfc3339()
            })
            .to_string(),
            _ => {
                return self
                    .fail("Error: this simulation knows get values and get metadata\n")
                    .await;
            }
        };
        self.caller.out(text).await;
        0
    }

    async fn show(&mut self, args: &Arguments, call: &Call) -> u8 {
        let found = match self.find_chart(args, call) {
            Ok(found) => found,
            Err(text) => return self.fail(&text).await,
        };
        let text = match args.word(1) {
            // They lie in the sub-charts; of those that are missing helm shows nothing.
            "crds" if found.missing.is_empty() => chart::crds(&found.version),
            "crds" => String::new(),
            "chart" => found.yaml,
            _ => {
                return self
                    .fail("Error: this simulation knows show crds and show chart\n")
                    .await;
            }
        };
        self.caller.out(text).await;
        0
    }

    async fn pull(&mut self, args: &Arguments, call: &Call) -> u8 {
        let found = match self.find_chart(args, call) {
            Ok(found) => found,
            Err(text) => return self.fail(&text).await,
        };
        let folder = args.get("untardir").unwrap_or(".").to_owned();
        let mut files = vec![("daskhub/Chart.yaml".to_owned(), found.yaml)];
        for part in ["jupyterhub", "dask-gateway"] {
            let schema = chart::schema(part).unwrap_or_default();
            let path = format!("daskhub/charts/{part}/values.schema.json");
            files.push((path, format!("{schema:#}\n")));
        }
        for (path, content) in files {
            let path = format!("{folder}/{path}");
            self.caller.order(&Order::Write { path, content }).await;
        }
        0
    }
}
