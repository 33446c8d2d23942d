-- Logs that are followed for some minutes: what was asked for, and the lines that came.
-- Lines go with their view, a day after it ended.
create table log_views (
    id           uuid        primary key,
    cluster      text        not null,
    source       text        not null,
    pod          text,
    grep         text,
    asked_by     bigint      not null,
    created_at   timestamptz not null,
    follow_until timestamptz not null,
    ended_at     timestamptz,
    problem      text,
    -- The replica that reads the log, and until when others leave it alone.
    holder       text,
    held_until   timestamptz
);

create index log_views_open on log_views (created_at) where ended_at is null;

create table log_view_lines (
    view_id uuid   not null references log_views on delete cascade,
    line    bigint generated always as identity,
    text    text   not null,
    primary key (view_id, line)
);
