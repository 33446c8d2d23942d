-- A view whose page nobody has opened yet: nothing reads its log before that.
alter table log_views add column waits boolean not null default false;
