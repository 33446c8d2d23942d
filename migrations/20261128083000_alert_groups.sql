-- Many clusters at once: the alert whose group's thread this one stands in.
alter table alerts add column group_id uuid references alerts (id);
create index alerts_called on alerts (called_at) where called_at is not null;

-- A lock that keeps alerts still, too.
alter table locks add column quiet boolean not null default false;
