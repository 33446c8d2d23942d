-- The schema of the bot. Forward only; see migrations/README.md.
-- Times come from the bot's clock, never from now(), so that tests can move them.

create table clusters (
    id                 uuid primary key,
    name               text not null,
    host               text not null,
    phase              text not null check (phase in ('deploying', 'running', 'failed', 'removed')),
    owner_id           bigint not null,
    purpose            text,
    contact            text,
    ends_on            date,
    options            jsonb not null,
    infrastructure_id  text,
    address            text,
    ssh_user           text,
    host_key           text,
    revision           integer not null default 0 check (revision >= 0),
    chart_version      text,
    kubernetes_version text,
    created_at         timestamptz not null,
    changed_at         timestamptz not null
);
create unique index clusters_name_in_use on clusters (name) where phase <> 'removed';
create unique index clusters_host_in_use on clusters (host) where phase <> 'removed';

-- Sealed values. The associated data of the seal is owner_kind/owner/name, so rows can't be swapped.
create table secrets (
    owner_kind text not null check (owner_kind in ('cluster', 'host')),
    owner      text not null,
    name       text not null,
    key_id     text not null,
    nonce      bytea not null,
    ciphertext bytea not null,
    changed_at timestamptz not null,
    primary key (owner_kind, owner, name)
);

create table plans (
    id                uuid primary key,
    command           text not null,
    target            text not null,
    options           jsonb not null,
    target_revision   integer not null,
    steps             jsonb not null,
    digest            text not null,
    content           jsonb not null,
    rule              jsonb not null,
    requester_id      bigint not null,
    channel_id        bigint not null,
    state             text not null check (state in ('waiting', 'started', 'refused', 'expired', 'void', 'superseded')),
    state_reason      text,
    superseded_by     uuid references plans (id),
    created_at        timestamptz not null,
    expires_at        timestamptz not null,
    remind_at         timestamptz,
    reminded_at       timestamptz,
    posted_in_full_at timestamptz,
    forced_by         bigint,
    force_reason      text,
    reviewed_by       bigint,
    reviewed_at       timestamptz
);
create index plans_waiting on plans (expires_at) where state = 'waiting';
create index plans_by_digest on plans (digest);

create table plan_files (
    plan_id uuid not null references plans (id),
    name    text not null,
    content text not null,
    primary key (plan_id, name)
);

-- One row per person, plan, way of answering and verdict. A grant counts while taken_back_at and
-- ignored_because are null.
create table grants (
    plan_id         uuid not null references plans (id),
    user_id         bigint not null,
    source          text not null check (source in ('reaction', 'button', 'carried')),
    verdict         text not null check (verdict in ('approve', 'refuse')),
    given_at        timestamptz not null,
    taken_back_at   timestamptz,
    ignored_because text,
    primary key (plan_id, user_id, source, verdict)
);

create table operations (
    id                  uuid primary key,
    plan_id             uuid unique references plans (id),
    command             text not null,
    target              text not null,
    cluster_id          uuid not null references clusters (id),
    options             jsonb not null,
    requester_id        bigint not null,
    channel_id          bigint not null,
    state               text not null check (state in ('queued', 'running', 'waiting', 'stopped', 'succeeded', 'failed', 'cancelled', 'undone')),
    direction           text not null default 'do' check (direction in ('do', 'undo')),
    attempt             integer not null default 0 check (attempt >= 0),
    lease_holder        text,
    lease_expires_at    timestamptz,
    wake_at             timestamptz,
    cancel_requested_by bigint,
    stop_reason         text,
    hint                text,
    deadline            timestamptz not null,
    created_at          timestamptz not null,
    started_at          timestamptz,
    ended_at            timestamptz
);
create index operations_open on operations (target, created_at)
    where state in ('queued', 'running', 'waiting', 'stopped');

-- A step is its name, never its position: the position only orders them.
create table steps (
    operation_id uuid not null references operations (id),
    name         text not null,
    position     integer not null,
    state        text not null default 'pending' check (state in ('pending', 'running', 'done', 'failed', 'undone', 'left')),
    attempts     integer not null default 0 check (attempts >= 0),
    intent_at    timestamptz,
    result_at    timestamptz,
    output       jsonb not null default '{}'::jsonb,
    note         text,
    error        text,
    primary key (operation_id, name),
    unique (operation_id, position)
);

create table operation_log (
    line         bigint generated always as identity primary key,
    operation_id uuid not null references operations (id),
    at           timestamptz not null,
    step         text not null,
    text         text not null
);
create index operation_log_of on operation_log (operation_id, line);

-- The outbox. A row is one message that people see; its text is made from the other rows when it
-- is posted or edited. `version` rises when it must be shown anew.
create table messages (
    key                text primary key,
    kind               jsonb not null,
    place              jsonb not null,
    version            integer not null default 1,
    posted_version     integer not null default 0,
    discord_channel_id bigint,
    discord_message_id bigint,
    first_attempt_at   timestamptz,
    attempts           integer not null default 0,
    not_before         timestamptz not null,
    claimed_by         text,
    claimed_until      timestamptz,
    failed_because     text,
    created_at         timestamptz not null
);
create index messages_due on messages (not_before) where posted_version < version and failed_because is null;
create index messages_by_discord_id on messages (discord_message_id);

create table revisions (
    cluster_id    uuid not null references clusters (id),
    number        integer not null check (number > 0),
    operation_id  uuid references operations (id),
    helm_revision integer not null,
    chart_version text not null,
    values_masked text not null,
    made_by       bigint not null,
    reason        text not null,
    made_at       timestamptz not null,
    primary key (cluster_id, number)
);

-- Named leases: who holds the gateway.
create table leases (
    name       text primary key,
    holder     text not null,
    expires_at timestamptz not null
);

-- Small facts that outlive a process, such as the digest of the registered commands.
create table facts (
    key   text primary key,
    value text not null
);

-- Append-only, with a hash chain; details are kept as text so that the hash covers the very bytes.
create table audit (
    sequence      bigint primary key check (sequence > 0),
    at            timestamptz not null,
    actor         text not null,
    action        text not null,
    subject       text not null,
    details       text not null,
    previous_hash bytea not null check (length(previous_hash) = 32),
    hash          bytea not null check (length(hash) = 32)
);

create function audit_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the audit is append-only';
end
$$;
create trigger audit_no_change before update or delete or truncate on audit
    for each statement execute function audit_is_append_only();
