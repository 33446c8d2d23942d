-- Commands that were approved once and run by themselves, once or again and again.
create table schedules (
    id            uuid primary key,
    cluster_id    uuid not null references clusters (id),
    -- The plan with which it was approved.
    plan_id       uuid not null references plans (id),
    command       text not null,
    options       jsonb not null,
    -- Of command, options and steps; a run that would be another one does not start.
    digest        text not null,
    -- A point in time or a cron line, with its zone, as it was typed.
    whenever      text not null,
    reason        text not null,
    until         timestamptz not null,
    made_by       bigint not null,
    channel_id    bigint not null,
    made_at       timestamptz not null,
    -- Null once it is over.
    next_at       timestamptz,
    announced_for timestamptz,
    skip_at       timestamptz,
    skipped_by    bigint,
    -- Which replica makes the plan of a run now; a write with an older attempt changes nothing.
    attempt       integer not null default 0 check (attempt >= 0),
    holder        text,
    held_until    timestamptz,
    last_at       timestamptz,
    last_plan     uuid references plans (id),
    last_result   text,
    ended_by      bigint,
    ended_because text
);
create index schedules_next on schedules (next_at) where next_at is not null;
create index schedules_of on schedules (cluster_id) where next_at is not null;

-- A plan that a schedule makes has the grants of the schedule.
alter table grants drop constraint grants_source_check;
alter table grants add constraint grants_source_check
    check (source in ('reaction', 'button', 'carried', 'schedule'));
