//! `clear-dns-name`: the host name points nowhere, if it pointed to this cluster.
//!
//! What Dynamic DNS refuses is said in the summary and left. Undo can't bring it back: a new
//! deployment points the name again.

use async_trait::async_trait;

use super::point_dns_name::clear;
use super::{as_progress, for_good};
use crate::operations::services::address_of;
use crate::operations::{Progress, Step, StepContext, StepError, Undo};

/// See the module.
pub(super) struct ClearDnsName;

#[async_trait]
impl Step for ClearDnsName {
    fn name(&self) -> &'static str {
        "clear-dns-name"
    }

    async fn run(&self, context: &StepContext<'_>) -> Result<Progress, StepError> {
        match address_of(context.cluster) {
            Ok(address) => clear(context, address).await.map(as_progress),
            // It never had an address, so no name was pointed to it.
            Err(_unknown) => Ok(Progress::done()),
        }
    }

    async fn undo(&self, _context: &StepContext<'_>) -> Result<Undo, StepError> {
        Ok(for_good())
    }

    fn undo_words(&self) -> Option<&'static str> {
        Some("nothing: the next deploy points the name again")
    }
}
