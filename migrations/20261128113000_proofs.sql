-- The proof that an alert of the growing is cured: a server of a test user is started and deleted.
create table proofs (
    alert_id    uuid primary key references alerts (id),
    cluster_id  uuid not null references clusters (id),
    state       text not null check (state in ('due', 'starting', 'stopping', 'done')),
    made_at     timestamptz not null,
    -- Until when the server must be ready; set before it is asked for.
    deadline    timestamptz,
    -- When the hub took the request.
    asked_at    timestamptz,
    -- Whose server it is, by the hub's name.
    test_user   text,
    outcome     text check (outcome in ('proven', 'failed', 'not tried')),
    said        text,
    ended_at    timestamptz,
    check (state in ('due', 'done') or (deadline is not null and test_user is not null)),
    check (state in ('due', 'starting') or (outcome is not null and said is not null)),
    check (state <> 'done' or ended_at is not null)
);
create index proofs_open on proofs (made_at) where state <> 'done';
create index proofs_of on proofs (cluster_id, made_at);
