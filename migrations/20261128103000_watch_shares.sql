-- Which replica watches which cluster. A share that expired is anybody's.
create table watch_shares (
    cluster_id uuid primary key references clusters (id) on delete cascade,
    replica text not null,
    expires_at timestamptz not null
);
create index watch_shares_of_replica on watch_shares (replica);
