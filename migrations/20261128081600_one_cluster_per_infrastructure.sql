-- Two adoptions of one infrastructure under two names: only one of them may have it.
create unique index clusters_infrastructure_in_use on clusters (infrastructure_id)
    where phase <> 'removed';
