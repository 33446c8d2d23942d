-- What a cluster had at a moment, for the picture of its last hours. Kept for a day.
create table samples (
    cluster_id   uuid not null references clusters (id),
    at           timestamptz not null,
    nodes_ready  integer not null,
    pods_running integer not null,
    pods_pending integer not null,
    primary key (cluster_id, at)
);
create index samples_at on samples (at);
