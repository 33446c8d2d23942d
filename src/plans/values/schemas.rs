//! What a chart says of its values, read on the front end and remembered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;

use super::{Before, source};
use crate::domain::chart::{Chart, ChartFolder, ChartSource};
use crate::domain::cluster::Cluster;
use crate::operations::StepError;
use crate::operations::values::{LIVE_LIMIT, of_helm};
use crate::plans::Planner;
use crate::services::helm::{ChartSchema, Helm};

/// The schemas of how many charts are remembered.
const SCHEMAS_KEPT: usize = 8;

/// The schemas that were read, by chart.
#[derive(Clone, Debug, Default)]
pub(in crate::plans) struct Schemas {
    known: Arc<Mutex<BTreeMap<String, Arc<Vec<ChartSchema>>>>>,
    /// The one task that reads them for a completion.
    reading: Arc<Mutex<JoinSet<()>>>,
}

impl Schemas {
    /// The schemas of a chart, if they were read before.
    pub(in crate::plans) fn remembered(&self, chart: &Chart) -> Option<Arc<Vec<ChartSchema>>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&chart.to_string()).cloned()
    }

    fn keep(&self, chart: &Chart, schemas: &Arc<Vec<ChartSchema>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= SCHEMAS_KEPT {
            known.clear();
        }
        known.insert(chart.to_string(), schemas.clone());
    }
}

impl Planner {
    /// The chart that will run with its schemas: another one than now must be readable, and a folder
    /// is taken as it stands now.
    pub(super) async fn chart_to_install(
        &self,
        before: &Before,
        chart: Chart,
    ) -> Result<(Chart, Arc<Vec<ChartSchema>>), String> {
        if let ChartSource::Folder { path, .. } = &chart.source {
            return self.chart_in_folder(&before.cluster, path).await;
        }
        if chart == before.chart {
            return Ok((chart, before.schemas.clone()));
        }
        match self.read_schemas(&before.cluster, &chart).await {
            Ok(schemas) => Ok((chart, schemas)),
            Err(error) => {
                let why = error.for_people();
                let hint = error.hint();
                Err(format!(
                    "{} can't be read on the front end: {why}; {hint}",
                    source::called(&chart)
                ))
            }
        }
    }

    /// What lies in a folder of the front end now.
    async fn chart_in_folder(
        &self,
        cluster: &Cluster,
        path: &ChartFolder,
    ) -> Result<(Chart, Arc<Vec<ChartSchema>>), String> {
        let asked = async {
            let frontend = self.services.frontend(cluster, &self.vault).await?;
            let helm = Helm::new(&frontend, &self.services.settings.helm);
            helm.folder_chart(path).await.map_err(of_helm)
        };
        match asked.await {
            Ok(found) => {
                let schemas = Arc::new(found.schemas);
                self.schemas.keep(&found.chart, &schemas);
                Ok((found.chart, schemas))
            }
            Err(error) => Err(format!(
                "the chart in the folder {path} can't be used: {}; {}",
                error.for_people(),
                error.hint()
            )),
        }
    }

    async fn read_schemas(
        &self,
        cluster: &Cluster,
        chart: &Chart,
    ) -> Result<Arc<Vec<ChartSchema>>, StepError> {
        if let Some(known) = self.schemas.remembered(chart) {
            return Ok(known);
        }
        let frontend = self.services.frontend(cluster, &self.vault).await?;
        let helm = Helm::new(&frontend, &self.services.settings.helm);
        let schemas = Arc::new(helm.chart_schemas(chart).await.map_err(of_helm)?);
        self.schemas.keep(chart, &schemas);
        Ok(schemas)
    }

    /// The chart's schemas; none if the front end does not give them. Helm checks them as well.
    pub(super) async fn schemas(&self, cluster: &Cluster, chart: &Chart) -> Arc<Vec<ChartSchema>> {
        match self.read_schemas(cluster, chart).await {
            Ok(schemas) => schemas,
            Err(error) => {
                tracing::info!(
                    error = &error as &dyn std::error::Error,
                    cluster.name = %cluster.name,
                    "the chart's schemas could not be read"
                );
                Arc::default()
            }
        }
    }

    /// Reads the chart's schemas for the next completion, unless that is under way.
    pub(in crate::plans) fn read_schemas_meanwhile(&self, cluster: Cluster, chart: Chart) {
        let reading = self.schemas.reading.lock();
        let mut reading = reading.unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = reading.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(error = %error, "reading a chart's schemas failed");
            }
        }
        if !reading.is_empty() {
            return;
        }
        let planner = self.clone();
        reading.spawn(async move {
            let reads = planner.schemas(&cluster, &chart);
            if tokio::time::timeout(LIVE_LIMIT, reads).await.is_err() {
                tracing::info!(cluster.name = %cluster.name, "the chart's schemas took too long");
            }
        });
    }
}
