-- How many servers of users ran at a moment, and when a cluster was last used.
alter table samples add column servers integer not null default 0 check (servers >= 0);
alter table watched add column used_at timestamptz;
