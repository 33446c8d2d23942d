-- How many nodes a cluster lacks, and what of it comes to its end, as the watch saw it last.
alter table watched
    add column nodes_missing integer not null default 0 check (nodes_missing >= 0),
    add column certificate_ends_at timestamptz,
    add column refresh_ends_at timestamptz;

-- How many nodes were wanted at a moment; null where that was not counted yet.
alter table samples add column nodes_wanted integer check (nodes_wanted >= 0);
