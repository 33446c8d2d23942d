-- What the watch found, from its first sign to its end.
create table alerts (
    id            uuid primary key,
    cluster_id    uuid not null references clusters (id),
    kind          text not null,
    state         text not null check (state in ('pending', 'firing', 'resolved')),
    since         timestamptz not null,
    gone_since    timestamptz,
    fired_at      timestamptz,
    resolved_at   timestamptz,
    -- When people were last called, and how often beyond the first time.
    called_at     timestamptz,
    called        integer not null default 0 check (called >= 0),
    acked_by      bigint,
    acked_at      timestamptz,
    -- The words of what was last found.
    finding       jsonb not null,
    check (state <> 'firing' or fired_at is not null),
    check (state <> 'resolved' or resolved_at is not null)
);
create unique index alerts_open on alerts (cluster_id, kind) where state <> 'resolved';
create index alerts_of on alerts (cluster_id, fired_at) where fired_at is not null;

-- Nobody is told of alerts of a kind for a time; kind null is every kind.
create table silences (
    id            uuid primary key,
    cluster_id    uuid not null references clusters (id),
    kind          text,
    reason        text not null,
    ends_at       timestamptz not null,
    set_by        bigint not null,
    set_at        timestamptz not null,
    lifted_at     timestamptz
);
create index silences_of on silences (cluster_id) where lifted_at is null;

-- What the watch remembers of a cluster between two looks.
create table watched (
    cluster_id    uuid primary key references clusters (id),
    memory        jsonb not null,
    looked_at     timestamptz not null
);
