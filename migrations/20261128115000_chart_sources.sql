-- Where the chart of a revision comes from, as JSON; null is the repository of the configuration, as it
-- always was before.
alter table revisions add column chart_source jsonb;
