-- Data: the initial rows, so that a database works without configuration.

-- These tables have exactly one row.
insert into llm_private.operator_settings default values;
insert into llm_private.usage_retention default values;

-- A unit comes after the units that it is part of.
insert into llm_private.price_units (unit, position, dimensions)
values
('request', 0, '{"of": "request"}'),
('input', 10, '{"of": "input"}'),
('output', 11, '{"of": "output"}'),
('cached_input', 20, '{"of": "input", "cache": "read"}'),
('cache_write', 21, '{"of": "input", "cache": "write"}'),
('reasoning', 22, '{"of": "output", "part": "reasoning"}'),
('input_audio', 23, '{"of": "input", "modality": "audio"}'),
('output_audio', 24, '{"of": "output", "modality": "audio"}'),
('input_image', 25, '{"of": "input", "modality": "image"}'),
('output_image', 26, '{"of": "output", "modality": "image"}'),
('input_video', 27, '{"of": "input", "modality": "video"}'),
('output_video', 28, '{"of": "output", "modality": "video"}'),
('cache_write_1h', 30, '{"of": "input", "cache": "write", "for": "1h"}'),
('cached_input_audio', 31, '{"of": "input", "cache": "read", "modality": "audio"}'),
('cached_input_image', 32, '{"of": "input", "cache": "read", "modality": "image"}');

-- The default providers and tasks; an administrator changes providers with set_llm_provider().
select llm_private.add_default_providers();

-- The master key: random, created by the database, kept in Vault. The key that signs tickets is random, too.
select llm_private.add_master_key();
insert into llm_private.ticket_keys default values;

-- The partitions of this month and the next three.
select
  llm_private.add_month_partition('llm_usage_events', 'request_id', (now() at time zone 'UTC')::date) as usage,
  llm_private.add_month_partition('llm_audit_log', 'id', (now() at time zone 'UTC')::date) as audit;
select llm_private.add_month_partitions();
