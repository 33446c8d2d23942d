-- The kinds of alerts that the code knows; a new one is a later file with both checks anew.
alter table alerts add constraint alerts_kind check (kind in
    ('scaling', 'blind', 'token', 'hub', 'gateway', 'certificate', 'pods', 'disk', 'backup',
     'drift', 'operation'));
alter table silences add constraint silences_kind check (kind in
    ('scaling', 'blind', 'token', 'hub', 'gateway', 'certificate', 'pods', 'disk', 'backup',
     'drift', 'operation'));
