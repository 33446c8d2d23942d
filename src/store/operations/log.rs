//! The log of an operation.

use crate::domain::ids::OperationId;
use crate::domain::operation::LogLine;
use crate::store::{Store, StoreError, doing};

impl Store {
    /// Appends lines to the log of an operation; the caller has redacted them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn append_log(
        &self,
        operation: OperationId,
        step: &str,
        lines: &[String],
    ) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        // PostgreSQL keeps no NUL in text.
        let lines: Vec<String> = lines
            .iter()
            .map(|line| line.replace('\0', "\u{fffd}"))
            .collect();
        sqlx::query!(
            "insert into operation_log (operation_id, at, step, text)
             select $1, $2, $3, line from unnest($4::text[]) with ordinality as l (line, n) order by n",
            operation.as_uuid(),
            self.clock.now(),
            step,
            &lines
        )
        .execute(&self.pool)
        .await
        .map_err(doing("appended to a log"))?;
        Ok(())
    }

    /// Up to `limit` lines of the log after line `after`, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_lines_after(
        &self,
        operation: OperationId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<LogLine>, StoreError> {
        sqlx::query_as!(
            LogLine,
            "select line, at, step, text from operation_log
             where operation_id = $1 and line > $2 order by line limit $3",
            operation.as_uuid(),
            after,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read a log"))
    }

    /// The last `limit` lines before line `before`, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_lines_before(
        &self,
        operation: OperationId,
        before: i64,
        limit: i64,
    ) -> Result<Vec<LogLine>, StoreError> {
        let mut lines = sqlx::query_as!(
            LogLine,
            "select line, at, step, text from operation_log
             where operation_id = $1 and line < $2 order by line desc limit $3",
            operation.as_uuid(),
            before,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read a log"))?;
        lines.reverse();
        Ok(lines)
    }

    /// The last `limit` lines that a step wrote, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_tail(
        &self,
        operation: OperationId,
        step: &str,
        limit: i64,
    ) -> Result<Vec<LogLine>, StoreError> {
        let mut lines = sqlx::query_as!(
            LogLine,
            "select line, at, step, text from operation_log
             where operation_id = $1 and step = $2 order by line desc limit $3",
            operation.as_uuid(),
            step,
            limit
        )
        .fetch_all(&self.pool)
        .await
        .map_err(doing("read a log"))?;
        lines.reverse();
        Ok(lines)
    }

    /// The last line of the log.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_log_line(
        &self,
        operation: OperationId,
    ) -> Result<Option<LogLine>, StoreError> {
        sqlx::query_as!(
            LogLine,
            "select line, at, step, text from operation_log
             where operation_id = $1 order by line desc limit 1",
            operation.as_uuid()
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(doing("read a log"))
    }
}
