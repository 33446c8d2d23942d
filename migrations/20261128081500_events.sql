-- Events: courses. What runs by itself for one, and its lock, name it.
create table events (
    -- Of the operation that recorded it.
    id            uuid primary key,
    cluster_id    uuid not null references clusters (id),
    people        integer not null check (people > 0),
    nodes         integer not null check (nodes > 0),
    starts_at     timestamptz not null,
    ends_at       timestamptz not null check (ends_at > starts_at),
    reason        text not null,
    made_by       bigint not null,
    channel_id    bigint not null,
    made_at       timestamptz not null,
    -- Cancelled or undone.
    ended_at      timestamptz,
    ended_by      bigint,
    ended_because text
);
create index events_of on events (cluster_id, ends_at) where ended_at is null;

alter table locks add column event_id uuid references events (id);
create index locks_of_event on locks (event_id) where event_id is not null;
alter table schedules add column event_id uuid references events (id);
create index schedules_of_event on schedules (event_id) where event_id is not null;
