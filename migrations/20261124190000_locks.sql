-- Locks: times in which nobody changes a cluster. A lifted one stays as history.
create table locks (
    id         uuid primary key,
    cluster_id uuid not null references clusters (id),
    reason     text not null,
    starts_at  timestamptz not null,
    ends_at    timestamptz not null check (ends_at > starts_at),
    set_by     bigint not null,
    set_at     timestamptz not null,
    lifted_by  bigint,
    lifted_at  timestamptz
);
create index locks_open on locks (cluster_id, ends_at) where lifted_at is null;
