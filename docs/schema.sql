-- The schema of supa-llm, as its migrations leave it. Written by `make docs`; `make check` fails where it is
-- out of date. To read, not to run: what a project runs is supabase/migrations. Grants are those of a project
-- whose default privileges open new tables to the API. Append-only tables have a partition a month, which is
-- not listed.

-- Schemas -------------------------------------------------------------------------------------------------------

CREATE SCHEMA "llm_private";

COMMENT ON SCHEMA "llm_private" IS 'supa-llm: ciphertext, and the functions that run with the owner''s rights. Not exposed through the API.';

GRANT USAGE ON SCHEMA "llm_private" TO "authenticated";

GRANT USAGE ON SCHEMA "llm_private" TO "service_role";

-- Tables that an app may read -----------------------------------------------------------------------------------

CREATE TABLE "public"."llm_audit_log" (
  "user_id"    uuid                     NOT NULL,
  "id"         uuid                     NOT NULL,
  "at"         timestamp with time zone NOT NULL,
  "action"     text                     NOT NULL,
  "actor"      text                     NOT NULL,
  "provider"   text,
  "key_id"     uuid,
  "runtime_id" uuid,
  "detail"     jsonb                    NOT NULL
) PARTITION BY RANGE (id);

ALTER TABLE "public"."llm_audit_log"
  ENABLE ROW LEVEL SECURITY;

ALTER TABLE "public"."llm_audit_log"
  ALTER COLUMN "at" SET DEFAULT now();

ALTER TABLE "public"."llm_audit_log"
  ALTER COLUMN "detail" SET DEFAULT '{}'::jsonb;

ALTER TABLE "public"."llm_audit_log"
  ADD CONSTRAINT "llm_audit_log_pkey" PRIMARY KEY (user_id, id);

CREATE POLICY "users read their own audit log" ON "public"."llm_audit_log"
  FOR SELECT
  TO "authenticated"
  USING ((user_id = ( SELECT auth.uid() AS uid)));

COMMENT ON COLUMN "public"."llm_audit_log"."action" IS 'settings_changed, key_set, key_revoked, key_revealed, key_tested, price_set, price_ended, or lease (keys handed to a
runtime or session until a time).';

COMMENT ON COLUMN "public"."llm_audit_log"."actor" IS 'user, or runtime when a registered runtime acted for the user.';

COMMENT ON COLUMN "public"."llm_audit_log"."detail" IS 'What changed, masked hints, until when; never a secret value.';

COMMENT ON TABLE "public"."llm_audit_log" IS 'Append-only, a partition a month: settings and key changes, reveals and leases. A user reads their own.';

REVOKE ALL ON TABLE "public"."llm_audit_log" FROM "authenticated";

GRANT SELECT ON TABLE "public"."llm_audit_log" TO "authenticated";

REVOKE ALL ON TABLE "public"."llm_audit_log" FROM "service_role";

GRANT SELECT ON TABLE "public"."llm_audit_log" TO "service_role";

ALTER TABLE "public"."llm_audit_log"
  ALTER COLUMN "id" SET DEFAULT llm_private.uuid_v7();

CREATE TABLE "public"."llm_keys" (
  "user_id"       uuid                     NOT NULL,
  "id"            uuid                     NOT NULL DEFAULT gen_random_uuid(),
  "provider"      text                     NOT NULL,
  "hint"          text                     NOT NULL,
  "status"        text                     NOT NULL DEFAULT 'untested'::text,
  "cooling_until" timestamp with time zone,
  "created_at"    timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT "llm_keys_pkey" PRIMARY KEY (user_id, id),
  CONSTRAINT "llm_keys_status_check"
    CHECK ((status = ANY (ARRAY['untested'::text, 'working'::text, 'rejected'::text]))),
  CONSTRAINT "llm_keys_user_id_fkey" FOREIGN KEY (user_id) REFERENCES auth.users(id)
    ON DELETE CASCADE,
  CONSTRAINT "llm_keys_user_id_provider_key" UNIQUE (user_id, provider),
  CONSTRAINT "llm_keys_provider_fkey" FOREIGN KEY (provider) REFERENCES public.llm_providers(id)
);

ALTER TABLE "public"."llm_keys"
  ENABLE ROW LEVEL SECURITY;

CREATE INDEX llm_keys_provider ON public.llm_keys USING btree (provider);

CREATE POLICY "users read what is known of their own keys" ON "public"."llm_keys"
  FOR SELECT
  TO "authenticated"
  USING ((user_id = ( SELECT auth.uid() AS uid)));

COMMENT ON COLUMN "public"."llm_keys"."cooling_until" IS 'The provider asked to wait until then.';

COMMENT ON COLUMN "public"."llm_keys"."hint" IS 'Masked: the first and last few characters.';

COMMENT ON COLUMN "public"."llm_keys"."status" IS 'As the last attempt with it left it: untested, working or rejected.';

COMMENT ON TABLE "public"."llm_keys" IS 'What a user may know of their stored keys; a replaced key is a new row.';

REVOKE ALL ON TABLE "public"."llm_keys" FROM "authenticated";

GRANT SELECT ON TABLE "public"."llm_keys" TO "authenticated";

REVOKE ALL ON TABLE "public"."llm_keys" FROM "service_role";

GRANT SELECT ON TABLE "public"."llm_keys" TO "service_role";

CREATE TABLE "public"."llm_notices" (
  "user_id"    uuid                     NOT NULL,
  "kind"       text                     NOT NULL,
  "subject"    text                     NOT NULL,
  "detail"     jsonb                    NOT NULL,
  "created_at" timestamp with time zone NOT NULL DEFAULT now(),
  "read_at"    timestamp with time zone,
  CONSTRAINT "llm_notices_once" UNIQUE (user_id, kind, subject)
);

ALTER TABLE "public"."llm_notices"
  ENABLE ROW LEVEL SECURITY;

CREATE POLICY "users read their own notices" ON "public"."llm_notices"
  FOR SELECT
  TO "authenticated"
  USING ((user_id = ( SELECT auth.uid() AS uid)));

COMMENT ON COLUMN "public"."llm_notices"."detail" IS 'The facts to show: what was used, the limit, masked hints; never a secret value.';

COMMENT ON COLUMN "public"."llm_notices"."kind" IS 'quota_warning (80 % used), quota_reached (100 %), key_rejected or price_missing.';

COMMENT ON COLUMN "public"."llm_notices"."read_at" IS 'When it was marked as read; null: not yet.';

COMMENT ON COLUMN "public"."llm_notices"."subject" IS 'What it is about, so that it is said once: a quota and its period, a key, a provider and model.';

COMMENT ON TABLE "public"."llm_notices" IS 'Each notice once. A user reads their own; those of the operator carry the id of llm_private.operator_id().';

REVOKE ALL ON TABLE "public"."llm_notices" FROM "authenticated";

GRANT SELECT ON TABLE "public"."llm_notices" TO "authenticated";

REVOKE ALL ON TABLE "public"."llm_notices" FROM "service_role";

GRANT SELECT ON TABLE "public"."llm_notices" TO "service_role";

ALTER TABLE "public"."llm_notices"
  ADD COLUMN "id" uuid NOT NULL DEFAULT llm_private.uuid_v7();

ALTER TABLE "public"."llm_notices"
  ADD CONSTRAINT "llm_notices_pkey" PRIMARY KEY (user_id, id);

CREATE TABLE "public"."llm_prices" (
  "id"           bigint                   GENERATED ALWAYS AS IDENTITY NOT NULL,
  "source"       text                     NOT NULL,
  "user_id"      uuid,
  "provider"     text                     NOT NULL,
  "model"        text                     NOT NULL,
  "key_source"   text,
  "service_tier" text,
  "valid_from"   timestamp with time zone NOT NULL DEFAULT now(),
  "valid_until"  timestamp with time zone NOT NULL DEFAULT 'infinity'::timestamp with time zone,
  "daily_from"   time without time zone,
  "daily_until"  time without time zone,
  "rates"        jsonb                    NOT NULL,
  "created_at"   timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT "a_user_has_their_own" CHECK (((source = 'user'::text) = (user_id IS NOT NULL))),
  CONSTRAINT "daily_window_is_not_empty" CHECK ((daily_from <> daily_until)),
  CONSTRAINT "daily_window_is_whole" CHECK (((daily_from IS NULL) = (daily_until IS NULL))),
  CONSTRAINT "it_ends_after_it_begins" CHECK ((valid_until >= valid_from)),
  CONSTRAINT "key_source_is_known"
    CHECK ((key_source = ANY (ARRAY['user'::text, 'team'::text, 'operator'::text]))),
  CONSTRAINT "llm_prices_pkey" PRIMARY KEY (id),
  CONSTRAINT "llm_prices_user_id_fkey" FOREIGN KEY (user_id) REFERENCES auth.users(id)
    ON DELETE CASCADE,
  CONSTRAINT "model_is_a_name" CHECK ((model ~ '^[!-~]{1,200}$'::text)),
  CONSTRAINT "service_tier_is_a_name" CHECK ((service_tier ~ '^[a-z0-9_-]{1,32}$'::text)),
  CONSTRAINT "source_is_known"
    CHECK ((source = ANY (ARRAY['catalogue'::text, 'operator'::text, 'user'::text]))),
  CONSTRAINT "llm_prices_provider_fkey" FOREIGN KEY (provider) REFERENCES public.llm_providers(id)
);

ALTER TABLE "public"."llm_prices"
  ENABLE ROW LEVEL SECURITY;

CREATE INDEX llm_prices_catalogue ON public.llm_prices USING btree (provider, model)
  WHERE (source = 'catalogue'::text);

CREATE INDEX llm_prices_operator ON public.llm_prices USING btree (provider)
  WHERE (source = 'operator'::text);

CREATE INDEX llm_prices_user ON public.llm_prices USING btree (user_id, provider)
  WHERE (source = 'user'::text);

CREATE TRIGGER forget_charges
  BEFORE INSERT OR DELETE OR UPDATE ON public.llm_prices
  FOR EACH ROW
  EXECUTE FUNCTION llm_private.forget_charges();

CREATE POLICY "users read the catalogue's, the operator's and their own prices"
  ON "public"."llm_prices"
  FOR SELECT
  TO "authenticated"
  USING (((user_id IS NULL) OR (user_id = ( SELECT auth.uid() AS uid))));

COMMENT ON COLUMN "public"."llm_prices"."daily_from" IS 'Only from this time of day (UTC) until daily_until, over midnight where that is earlier; null: all day.';

COMMENT ON COLUMN "public"."llm_prices"."key_source" IS 'Only for attempts that such a key pays; null: any.';

COMMENT ON COLUMN "public"."llm_prices"."model" IS 'catalogue: name of the price list''s entry; else a model name in lower case: * at its end stands for any ending.';

COMMENT ON COLUMN "public"."llm_prices"."rates" IS 'Unit → US dollars per million tokens; request → US dollars per request. A rate is a number or, by the size of the
input, {"base": 1.25, "above": {"200000": 2.5}}: with more than 200000 input tokens all tokens cost 2.5.';

COMMENT ON COLUMN "public"."llm_prices"."service_tier" IS 'Only for attempts that the provider served in this tier (flex, priority, …); null: any that has no row of its own.';

COMMENT ON COLUMN "public"."llm_prices"."source" IS 'catalogue: of the price list that is synced; operator: set by an administrator; user: set by a user for themselves.';

COMMENT ON COLUMN "public"."llm_prices"."valid_from" IS 'From then on, -infinity included.';

COMMENT ON COLUMN "public"."llm_prices"."valid_until" IS 'Until then, and not at that moment; may be infinity.';

COMMENT ON TABLE "public"."llm_prices" IS 'What models cost. Of the rows that hold at a time: a user''s own before the operator''s before the catalogue''s, then
the most specific, then the newest. Every signed-in user reads the catalogue''s and the operator''s, and their own.';

REVOKE ALL ON TABLE "public"."llm_prices" FROM "authenticated";

GRANT SELECT ON TABLE "public"."llm_prices" TO "authenticated";

REVOKE ALL ON TABLE "public"."llm_prices" FROM "service_role";

GRANT SELECT ON TABLE "public"."llm_prices" TO "service_role";

CREATE TABLE "public"."llm_providers" (
  "id"              text                     NOT NULL,
  "name"            text                     NOT NULL,
  "base_url"        text                     NOT NULL,
  "wire_format"     text                     NOT NULL DEFAULT 'openai'::text,
  "key_header"      text                     NOT NULL DEFAULT 'authorization'::text,
  "key_scheme"      text                     NOT NULL DEFAULT 'Bearer'::text,
  "key_pattern"     text                     NOT NULL DEFAULT '^\S+$'::text,
  "key_example"     text                     NOT NULL DEFAULT ''::text,
  "key_url"         text                     NOT NULL DEFAULT ''::text,
  "key_test_path"   text,
  "capabilities"    text[]
    NOT NULL DEFAULT '{chat,streaming,tools,json_schema}'::text[],
  "default_model"   text                     NOT NULL,
  "task_models"     jsonb                    NOT NULL DEFAULT '{}'::jsonb,
  "model_pattern"   text,
  "parameter_names" jsonb                    NOT NULL DEFAULT '{}'::jsonb,
  "position"        integer                  NOT NULL DEFAULT 100,
  "enabled"         boolean                  NOT NULL DEFAULT true,
  "created_at"      timestamp with time zone NOT NULL DEFAULT now(),
  "updated_at"      timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT "base_url_is_https_or_loopback"
    CHECK
    (((base_url ~
    '^(https://[^\s/?#@]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?)(/[^\s?#]*)?$'::text)
    AND (base_url !~ '/$'::text))),
  CONSTRAINT "capabilities_are_known"
    CHECK ((capabilities <@ '{chat,streaming,tools,json_schema,vision,embeddings}'::text[])),
  CONSTRAINT "id_is_lower_case" CHECK ((id ~ '^[a-z][a-z0-9_-]{0,31}$'::text)),
  CONSTRAINT "key_header_is_a_header_name" CHECK ((key_header ~ '^[a-z][a-z0-9-]{0,63}$'::text)),
  CONSTRAINT "key_scheme_is_a_token" CHECK ((key_scheme ~ '^[A-Za-z0-9-]{0,32}$'::text)),
  CONSTRAINT "key_test_path_is_a_path" CHECK ((key_test_path ~ '^/[^\s#@]*$'::text)),
  CONSTRAINT "key_url_is_https"
    CHECK (((key_url = ''::text) OR (key_url ~ '^https://[^\s@"<>]+$'::text))),
  CONSTRAINT "llm_providers_pkey" PRIMARY KEY (id),
  CONSTRAINT "name_is_short" CHECK (((length(name) >= 1) AND (length(name) <= 60))),
  CONSTRAINT "parameter_names_is_an_object"
    CHECK ((jsonb_typeof(parameter_names) = 'object'::text)),
  CONSTRAINT "patterns_compile" CHECK ((((''::text ~ key_pattern) IS
    NOT NULL) AND ((''::text ~ model_pattern) = ANY (ARRAY[true, false, NULL::boolean])))),
  CONSTRAINT "task_models_is_an_object" CHECK ((jsonb_typeof(task_models) = 'object'::text)),
  CONSTRAINT "wire_format_is_known"
    CHECK ((wire_format = ANY (ARRAY['openai'::text, 'anthropic'::text, 'google'::text])))
);

ALTER TABLE "public"."llm_providers"
  ENABLE ROW LEVEL SECURITY;

CREATE POLICY "signed-in users read the catalogue" ON "public"."llm_providers"
  FOR SELECT
  TO "authenticated"
  USING (true);

COMMENT ON COLUMN "public"."llm_providers"."base_url" IS 'Where requests go, without a slash at the end. A key of this provider is only ever sent there.';

COMMENT ON COLUMN "public"."llm_providers"."capabilities" IS 'Of chat, streaming, tools, json_schema, vision, embeddings.';

COMMENT ON COLUMN "public"."llm_providers"."default_model" IS 'Model for a task that names none.';

COMMENT ON COLUMN "public"."llm_providers"."enabled" IS 'Switched off, a provider serves nobody; keys stay stored.';

COMMENT ON COLUMN "public"."llm_providers"."key_example" IS 'What a key looks like, for people: sk-…';

COMMENT ON COLUMN "public"."llm_providers"."key_header" IS 'Header that carries the key, in lower case.';

COMMENT ON COLUMN "public"."llm_providers"."key_pattern" IS 'Regular expression that a key must match before it is stored.';

COMMENT ON COLUMN "public"."llm_providers"."key_scheme" IS 'Word before the key in that header (Bearer), or empty.';

COMMENT ON COLUMN "public"."llm_providers"."key_test_path" IS 'What, below base_url, answers only to a key that works (/key); null: the list of models of the wire format.';

COMMENT ON COLUMN "public"."llm_providers"."key_url" IS 'Page of the provider where one gets a key, or empty.';

COMMENT ON COLUMN "public"."llm_providers"."model_pattern" IS 'Regular expression for the names of this provider''s models, to place a request that asks for a bare model name.';

COMMENT ON COLUMN "public"."llm_providers"."parameter_names" IS 'OpenAI parameter → this provider''s name for it, or null where it must not be sent.';

COMMENT ON COLUMN "public"."llm_providers"."position" IS 'Order among providers that a user has not ordered: lower is earlier.';

COMMENT ON COLUMN "public"."llm_providers"."task_models" IS 'Model for a task: {"speed": "…"}; the one for embeddings stands under "embedding".';

COMMENT ON COLUMN "public"."llm_providers"."wire_format" IS 'How requests and answers are written: openai, anthropic or google.';

COMMENT ON TABLE "public"."llm_providers" IS 'The provider catalogue: readable by every signed-in user, changed by administrators.';

REVOKE ALL ON TABLE "public"."llm_providers" FROM "authenticated";

GRANT SELECT ON TABLE "public"."llm_providers" TO "authenticated";

REVOKE ALL ON TABLE "public"."llm_providers" FROM "service_role";

GRANT SELECT ON TABLE "public"."llm_providers" TO "service_role";

CREATE TABLE "public"."llm_tasks" (
  "task"           text   NOT NULL,
  "description"    text   NOT NULL DEFAULT ''::text,
  "provider_order" text[] NOT NULL DEFAULT '{}'::text[],
  CONSTRAINT "llm_tasks_pkey" PRIMARY KEY (task),
  CONSTRAINT "task_is_short" CHECK (((length(task) >= 1) AND (length(task) <= 64)))
);

ALTER TABLE "public"."llm_tasks"
  ENABLE ROW LEVEL SECURITY;

CREATE POLICY "signed-in users read the tasks" ON "public"."llm_tasks"
  FOR SELECT
  TO "authenticated"
  USING (true);

COMMENT ON COLUMN "public"."llm_tasks"."provider_order" IS 'Providers that suit this task best, first the best; orders what a user has not ordered.';

COMMENT ON TABLE "public"."llm_tasks" IS 'Tasks the operator knows of. Any other string is a task too: it has no order of providers of its own.';

REVOKE ALL ON TABLE "public"."llm_tasks" FROM "authenticated";

GRANT SELECT ON TABLE "public"."llm_tasks" TO "authenticated";

REVOKE ALL ON TABLE "public"."llm_tasks" FROM "service_role";

GRANT SELECT ON TABLE "public"."llm_tasks" TO "service_role";

CREATE TABLE "public"."llm_usage_adjustments" (
  "user_id"        uuid                     NOT NULL,
  "request_id"     uuid                     NOT NULL,
  "attempt"        smallint                 NOT NULL,
  "recorder"       uuid                     NOT NULL,
  "restatement_id" bigint                   NOT NULL,
  "cost"           numeric,
  "cache_savings"  numeric,
  "price_id"       bigint                   NOT NULL,
  "adjusted_at"    timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT "llm_usage_adjustments_pkey" PRIMARY KEY
    (user_id, request_id, attempt, recorder, restatement_id)
);

ALTER TABLE "public"."llm_usage_adjustments"
  ENABLE ROW LEVEL SECURITY;

CREATE POLICY "users read their own usage adjustments" ON "public"."llm_usage_adjustments"
  FOR SELECT
  TO "authenticated"
  USING ((user_id = ( SELECT auth.uid() AS uid)));

COMMENT ON COLUMN "public"."llm_usage_adjustments"."cost" IS 'US dollars to add to the event''s, less than 0 where it became cheaper; null: priced now, but its tokens were not
counted.';

COMMENT ON COLUMN "public"."llm_usage_adjustments"."price_id" IS 'The price that it was restated at.';

COMMENT ON TABLE "public"."llm_usage_adjustments" IS 'Append-only: what a restatement added to the cost of a usage event. A user reads their own.';

REVOKE ALL ON TABLE "public"."llm_usage_adjustments" FROM "authenticated";

GRANT SELECT ON TABLE "public"."llm_usage_adjustments" TO "authenticated";

REVOKE ALL ON TABLE "public"."llm_usage_adjustments" FROM "service_role";

GRANT SELECT ON TABLE "public"."llm_usage_adjustments" TO "service_role";

CREATE TABLE "public"."llm_usage_events" (
  "user_id"             uuid                     NOT NULL,
  "request_id"          uuid                     NOT NULL,
  "attempt"             smallint                 NOT NULL,
  "recorder"            uuid                     NOT NULL,
  "task"                text,
  "provider"            text                     NOT NULL,
  "model"               text                     NOT NULL,
  "key_source"          text                     NOT NULL,
  "key_id"              uuid,
  "outcome"             text                     NOT NULL,
  "error_class"         text,
  "streamed"            boolean                  NOT NULL,
  "latency_ms"          integer,
  "input_tokens"        integer,
  "cached_input_tokens" integer,
  "cache_write_tokens"  integer,
  "output_tokens"       integer,
  "reasoning_tokens"    integer,
  "other_tokens"        jsonb,
  "service_tier"        text,
  "cost"                numeric,
  "cache_savings"       numeric,
  "price_id"            bigint,
  "recorded_at"         timestamp with time zone NOT NULL
) PARTITION BY RANGE (request_id);

ALTER TABLE "public"."llm_usage_events"
  ENABLE ROW LEVEL SECURITY;

ALTER TABLE "public"."llm_usage_events"
  ALTER COLUMN "recorded_at" SET DEFAULT now();

ALTER TABLE "public"."llm_usage_events"
  ADD CONSTRAINT "llm_usage_events_pkey" PRIMARY KEY (user_id, request_id, attempt, recorder);

CREATE POLICY "users read their own usage events" ON "public"."llm_usage_events"
  FOR SELECT
  TO "authenticated"
  USING ((user_id = ( SELECT auth.uid() AS uid)));

COMMENT ON COLUMN "public"."llm_usage_events"."cache_savings" IS 'US dollars that the provider''s cache saved, less what writing to it cost; part of the cost already.';

COMMENT ON COLUMN "public"."llm_usage_events"."cache_write_tokens" IS 'Of the input: written to the provider''s cache.';

COMMENT ON COLUMN "public"."llm_usage_events"."cached_input_tokens" IS 'Of the input: read from the provider''s cache.';

COMMENT ON COLUMN "public"."llm_usage_events"."cost" IS 'US dollars, at the price valid when the request began. Null without price_id: unpriced; null with it: unmeasured.';

COMMENT ON COLUMN "public"."llm_usage_events"."error_class" IS 'Of a failed attempt: auth, forbidden, rate_limited, bad_request, not_found, server_error, timeout, connection or
invalid_response.';

COMMENT ON COLUMN "public"."llm_usage_events"."input_tokens" IS 'All input tokens, cached ones included; null: not said.';

COMMENT ON COLUMN "public"."llm_usage_events"."key_source" IS 'Whose key paid: user, team or operator.';

COMMENT ON COLUMN "public"."llm_usage_events"."latency_ms" IS 'From sending the request to the end of the answer, milliseconds.';

COMMENT ON COLUMN "public"."llm_usage_events"."other_tokens" IS 'Parts of the above that some providers price by themselves: {"input_audio": 120, "cache_write_1h": 2048, …}.';

COMMENT ON COLUMN "public"."llm_usage_events"."outcome" IS 'succeeded, failed or cancelled.';

COMMENT ON COLUMN "public"."llm_usage_events"."output_tokens" IS 'All output tokens, reasoning included; null: not said.';

COMMENT ON COLUMN "public"."llm_usage_events"."recorder" IS 'The runtime that ran the attempt, or the user''s own id when they ran it themselves.';

COMMENT ON COLUMN "public"."llm_usage_events"."request_id" IS 'UUIDv7 made when the request began.';

COMMENT ON COLUMN "public"."llm_usage_events"."service_tier" IS 'What the provider served it as (flex, priority, …); null: standard.';

COMMENT ON TABLE "public"."llm_usage_events" IS 'Append-only, a partition a month: one event an attempt. Never prompts or answers. A user reads their own.';

REVOKE ALL ON TABLE "public"."llm_usage_events" FROM "authenticated";

GRANT SELECT ON TABLE "public"."llm_usage_events" TO "authenticated";

REVOKE ALL ON TABLE "public"."llm_usage_events" FROM "service_role";

GRANT SELECT ON TABLE "public"."llm_usage_events" TO "service_role";

CREATE TABLE "public"."llm_usage_totals" (
  "user_id"             uuid                     NOT NULL,
  "id"                  bigint                   GENERATED ALWAYS AS IDENTITY NOT NULL,
  "hour"                timestamp with time zone NOT NULL,
  "provider"            text                     NOT NULL,
  "model"               text                     NOT NULL,
  "task"                text,
  "key_source"          text                     NOT NULL,
  "key_id"              uuid,
  "recorder"            uuid                     NOT NULL,
  "requests"            bigint                   NOT NULL,
  "attempts"            bigint                   NOT NULL,
  "fallbacks"           bigint                   NOT NULL,
  "failures"            bigint                   NOT NULL,
  "cancelled"           bigint                   NOT NULL,
  "input_tokens"        bigint                   NOT NULL,
  "cached_input_tokens" bigint                   NOT NULL,
  "cache_write_tokens"  bigint                   NOT NULL,
  "output_tokens"       bigint                   NOT NULL,
  "reasoning_tokens"    bigint                   NOT NULL,
  "cost"                numeric                  NOT NULL,
  "cache_savings"       numeric                  NOT NULL,
  "unpriced"            bigint                   NOT NULL,
  "unmeasured"          bigint                   NOT NULL,
  "latency_counts"      integer[]                NOT NULL,
  "last_used_at"        timestamp with time zone NOT NULL,
  CONSTRAINT "llm_usage_totals_pkey" PRIMARY KEY (user_id, id)
);

ALTER TABLE "public"."llm_usage_totals"
  ENABLE ROW LEVEL SECURITY;

ALTER TABLE "public"."llm_usage_totals"
  SET (fillfactor=50);

CREATE INDEX llm_usage_totals_group ON public.llm_usage_totals
  USING btree (user_id, hour, provider, model);

CREATE INDEX llm_usage_totals_hour ON public.llm_usage_totals USING btree (hour, user_id);

CREATE POLICY "users read their own usage totals" ON "public"."llm_usage_totals"
  FOR SELECT
  TO "authenticated"
  USING ((user_id = ( SELECT auth.uid() AS uid)));

COMMENT ON COLUMN "public"."llm_usage_totals"."cost" IS 'US dollars, adjustments included; without what is unpriced or unmeasured.';

COMMENT ON COLUMN "public"."llm_usage_totals"."failures" IS 'Attempts that failed; cancelled ones did not.';

COMMENT ON COLUMN "public"."llm_usage_totals"."fallbacks" IS 'Second attempts: requests whose first one failed.';

COMMENT ON COLUMN "public"."llm_usage_totals"."hour" IS 'Hour in which the requests began, whenever they were recorded.';

COMMENT ON COLUMN "public"."llm_usage_totals"."latency_counts" IS 'A histogram of the latencies, see latency_bucket(): 40 buckets, each wider than the one before by the root of 2.';

COMMENT ON COLUMN "public"."llm_usage_totals"."recorder" IS 'As in the events: what users say of themselves is not mixed with what a runtime says.';

COMMENT ON COLUMN "public"."llm_usage_totals"."requests" IS 'First attempts, so that a request counts once.';

COMMENT ON COLUMN "public"."llm_usage_totals"."unmeasured" IS 'Attempts whose tokens the provider did not count.';

COMMENT ON COLUMN "public"."llm_usage_totals"."unpriced" IS 'Attempts of models that no price is known for.';

COMMENT ON TABLE "public"."llm_usage_totals" IS 'Sums of usage events; several rows a group, to be summed again: see get_llm_usage().';

REVOKE ALL ON TABLE "public"."llm_usage_totals" FROM "authenticated";

GRANT SELECT ON TABLE "public"."llm_usage_totals" TO "authenticated";

REVOKE ALL ON TABLE "public"."llm_usage_totals" FROM "service_role";

GRANT SELECT ON TABLE "public"."llm_usage_totals" TO "service_role";

CREATE TABLE "public"."user_llm_settings" (
  "user_id"              uuid                     NOT NULL,
  "default_provider"     text,
  "enable_fallbacks"     boolean                  NOT NULL DEFAULT true,
  "provider_preferences" jsonb                    NOT NULL DEFAULT '{}'::jsonb,
  "task_overrides"       jsonb                    NOT NULL DEFAULT '{}'::jsonb,
  "allow_operator_keys"  boolean,
  "time_zone"            text                     NOT NULL DEFAULT 'UTC'::text,
  "version"              bigint                   NOT NULL DEFAULT 1,
  "created_at"           timestamp with time zone NOT NULL DEFAULT now(),
  "updated_at"           timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT "user_llm_settings_default_provider_fkey" FOREIGN KEY (default_provider)
    REFERENCES public.llm_providers(id) ON DELETE SET NULL,
  CONSTRAINT "user_llm_settings_pkey" PRIMARY KEY (user_id),
  CONSTRAINT "user_llm_settings_user_id_fkey" FOREIGN KEY (user_id) REFERENCES auth.users(id)
    ON DELETE CASCADE
);

ALTER TABLE "public"."user_llm_settings"
  ENABLE ROW LEVEL SECURITY;

CREATE INDEX user_llm_settings_default_provider ON public.user_llm_settings
  USING btree (default_provider);

CREATE POLICY "users read their own settings" ON "public"."user_llm_settings"
  FOR SELECT
  TO "authenticated"
  USING ((user_id = ( SELECT auth.uid() AS uid)));

COMMENT ON COLUMN "public"."user_llm_settings"."allow_operator_keys" IS 'Consent to the operator''s keys; null: as the operator set it for everybody.';

COMMENT ON COLUMN "public"."user_llm_settings"."enable_fallbacks" IS 'false: only the first candidate of a route is tried.';

COMMENT ON COLUMN "public"."user_llm_settings"."provider_preferences" IS '{"groq": {"enabled": true, "priority": 1, "model": "…"}}: a lower priority is tried earlier.';

COMMENT ON COLUMN "public"."user_llm_settings"."task_overrides" IS '{"speed": {"provider": "groq", "model": "…", "fallbacks": [{"provider": "openai", "model": "…"}]}}: with fallbacks
given, nothing else is tried for this task.';

COMMENT ON COLUMN "public"."user_llm_settings"."time_zone" IS 'The user''s time zone (Europe/Berlin): when their days and months begin, in reports and in quotas that say so.';

COMMENT ON COLUMN "public"."user_llm_settings"."version" IS 'Counts the changes, so that two panels notice each other.';

COMMENT ON TABLE "public"."user_llm_settings" IS 'A user''s LLM settings; written by update_llm_settings() only.';

REVOKE ALL ON TABLE "public"."user_llm_settings" FROM "authenticated";

GRANT SELECT ON TABLE "public"."user_llm_settings" TO "authenticated";

REVOKE ALL ON TABLE "public"."user_llm_settings" FROM "service_role";

GRANT SELECT ON TABLE "public"."user_llm_settings" TO "service_role";

-- Functions that an app may call --------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION public.begin_llm_key_test (
  json
)
  RETURNS json
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.begin_key_test($1)
$function$;

COMMENT ON FUNCTION "public"."begin_llm_key_test"(json) IS 'For a runtime that is going to ask a provider about the caller''s key: {"provider": "groq"} is about the stored one,
which is in the answer in plain text and on the audit log; {"provider": "groq", "key": "gsk_…"} is about one that is
being typed: its form is checked, and nothing of it is kept. Answers with test_id, and where and how to ask. At most 10 in
10 minutes. Errors: not_signed_in, runtime_unknown, runtime_required, key_malformed, unknown_provider, invalid_argument,
key_not_found, key_unreadable, too_many_key_tests.';

REVOKE ALL ON FUNCTION "public"."begin_llm_key_test"(json) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."begin_llm_key_test"(json) TO "authenticated";

CREATE OR REPLACE FUNCTION public.check_llm_usage (
  p_since date DEFAULT NULL::date,
  p_until date DEFAULT NULL::date
)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.check_usage(p_since, p_until)
$function$;

COMMENT ON FUNCTION "public"."check_llm_usage"(date, date) IS 'For administrators: hold the totals against the events and adjustments that they sum, and the project''s totals against
the users'', on the days (UTC) from p_since to p_until, as far as there are events. Returns first_day (with events),
since, until (what was compared), differing (how many groups; 0: the totals are exact) and differences, the first 100:
each with the group, and by how much its totals are more.';

REVOKE ALL ON FUNCTION "public"."check_llm_usage"(date, date) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."check_llm_usage"(date, date) TO "service_role";

CREATE OR REPLACE FUNCTION public.end_llm_price (
  p_id bigint
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.end_price(p_id)
$function$;

COMMENT ON FUNCTION "public"."end_llm_price"(bigint) IS 'End a price now: a user their own, an administrator one of the operator''s. What was used until now keeps its cost.
Errors: not_signed_in, price_not_found.';

REVOKE ALL ON FUNCTION "public"."end_llm_price"(bigint) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."end_llm_price"(bigint)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION public.explain_llm_route (
  p_task               text   DEFAULT NULL::text,
  p_model              text   DEFAULT NULL::text,
  p_needs              text[] DEFAULT '{}'::text[],
  p_operator_providers text[] DEFAULT '{}'::text[],
  p_changes            jsonb  DEFAULT NULL::jsonb
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.explain_route(p_task, p_model, p_needs, p_operator_providers, p_changes)
$function$;

COMMENT ON FUNCTION "public"."explain_llm_route"(text, text, text[], text[], jsonb) IS
  'What resolve_llm_route() would answer, without keys: candidates with reasons, what was left out and why, and advice
when nothing is left. With p_changes, what it would answer after update_llm_settings(p_changes); nothing is changed.
Errors: not_signed_in, invalid_argument, unknown_model; with p_changes also invalid_setting and unknown_setting.';

REVOKE ALL ON FUNCTION "public"."explain_llm_route"(text, text, text[], text[], jsonb) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."explain_llm_route"(text, text, text[], text[], jsonb)
  TO "authenticated";

CREATE OR REPLACE FUNCTION public.get_llm_audit_log (
  p_limit  integer DEFAULT 50,
  p_before uuid    DEFAULT NULL::uuid
)
  RETURNS SETOF public.llm_audit_log
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select * from public.llm_audit_log
  where user_id = (select auth.uid()) and (p_before is null or id < p_before)
  order by id desc
  limit least(greatest(coalesce(p_limit, 50), 1), 500)
$function$;

COMMENT ON FUNCTION "public"."get_llm_audit_log"(integer, uuid) IS 'The caller''s audit log, newest first, at most 500 lines; p_before: the id of the last line seen, to read on.';

REVOKE ALL ON FUNCTION "public"."get_llm_audit_log"(integer, uuid) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."get_llm_audit_log"(integer, uuid) TO "authenticated";

CREATE OR REPLACE FUNCTION public.get_llm_forecast()
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.forecast()
$function$;

COMMENT ON FUNCTION "public"."get_llm_forecast"() IS 'What the caller''s month (in the time zone of their settings) has cost and is going to: cost_so_far, daily_average (of
the last 7 full days, or as many as there are since they began) and forecast (so far, and the average until the end of
the month), in US dollars, null where nothing is priced; unpriced and unmeasured attempts are in none of them.
Error not_signed_in.';

REVOKE ALL ON FUNCTION "public"."get_llm_forecast"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."get_llm_forecast"() TO "authenticated";

CREATE OR REPLACE FUNCTION public.get_llm_hints()
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.hints()
$function$;

COMMENT ON FUNCTION "public"."get_llm_hints"() IS 'Where the caller could do better, a JSON array; each with a message for people. kind: cheaper_model (another model of
the same provider would have cost at most half for the tokens of the last 30 days), cache_loss (writing to a
provider''s cache cost more than reading saved) or failing (a fifth of the attempts of the last 7 days failed).
Error not_signed_in.';

REVOKE ALL ON FUNCTION "public"."get_llm_hints"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."get_llm_hints"() TO "authenticated";

CREATE OR REPLACE FUNCTION public.get_llm_operator_settings()
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.operator_settings_json()
$function$;

COMMENT ON FUNCTION "public"."get_llm_operator_settings"() IS 'For administrators: the operator''s switches.';

REVOKE ALL ON FUNCTION "public"."get_llm_operator_settings"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."get_llm_operator_settings"() TO "service_role";

CREATE OR REPLACE FUNCTION public.get_llm_project_usage (
  p_since     date    DEFAULT NULL::date,
  p_until     date    DEFAULT NULL::date,
  p_bucket    text    DEFAULT 'day'::text,
  p_by        text[]  DEFAULT '{provider,model,task,key_source}'::text[],
  p_time_zone text    DEFAULT NULL::text,
  p_order     text    DEFAULT NULL::text,
  p_limit     integer DEFAULT NULL::integer
)
  RETURNS json
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.usage_report(p_since, p_until, p_bucket, p_by, p_time_zone, p_order, p_limit)
$function$;

COMMENT ON FUNCTION "public"."get_llm_project_usage"(date, date, text, text[], text, text, integer)
  IS 'For administrators: the usage of all users together, as get_llm_usage() tells each of theirs; p_by may name user too.
By user or key_id, or in hours of another zone than UTC, it reads more and takes longer.
Errors: not_signed_in, invalid_argument.';

REVOKE ALL
  ON FUNCTION "public"."get_llm_project_usage"(date, date, text, text[], text, text, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."get_llm_project_usage"(date, date, text, text[], text, text, integer)
  TO "service_role";

CREATE OR REPLACE FUNCTION public.get_llm_receipts (
  p_limit  integer DEFAULT 50,
  p_before uuid    DEFAULT NULL::uuid
)
  RETURNS TABLE (
    request_id   uuid,
    requested_at timestamp with time zone,
    task         text,
    outcome      text,
    cost         numeric,
    unpriced     bigint,
    unmeasured   bigint,
    attempts     jsonb
  )
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select * from llm_private.list_receipts(p_limit, p_before)
$function$;

COMMENT ON FUNCTION "public"."get_llm_receipts"(integer, uuid) IS 'The caller''s requests, newest first, at most 500, each with its attempts in order; p_before: the request_id of the
last one seen, to read on. cost is in US dollars: what is known of it, null where nothing is; of an attempt, cost_status says
why: priced, unpriced (no price known) or unmeasured (tokens not counted). Error not_signed_in.';

REVOKE ALL ON FUNCTION "public"."get_llm_receipts"(integer, uuid) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."get_llm_receipts"(integer, uuid) TO "authenticated";

CREATE OR REPLACE FUNCTION public.get_llm_settings()
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.get_settings()
$function$;

COMMENT ON FUNCTION "public"."get_llm_settings"() IS 'The caller''s settings, made at the first call, with total_requests, last_used_at and reveal_allowed (whether
reveal_llm_key() shows a key without a runtime). Error not_signed_in.';

REVOKE ALL ON FUNCTION "public"."get_llm_settings"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."get_llm_settings"() TO "authenticated";

CREATE OR REPLACE FUNCTION public.get_llm_usage (
  p_since     date    DEFAULT NULL::date,
  p_until     date    DEFAULT NULL::date,
  p_bucket    text    DEFAULT 'day'::text,
  p_by        text[]  DEFAULT '{provider,model,task,key_source}'::text[],
  p_time_zone text    DEFAULT NULL::text,
  p_order     text    DEFAULT NULL::text,
  p_limit     integer DEFAULT NULL::integer
)
  RETURNS json
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.usage_report(p_since, p_until, p_bucket, p_by, p_time_zone, p_order, p_limit)
$function$;

COMMENT ON FUNCTION "public"."get_llm_usage"(date, date, text, text[], text, text, integer) IS
  'The caller''s usage, a JSON array with an object a line: starts_at, user_id, provider, model, task, key_source, key_id
(null where the report is not by it), requests, attempts, fallbacks, failures, cancelled, input_tokens,
cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, cache_savings, unpriced, unmeasured,
latency_p50_ms, latency_p95_ms and last_used_at.
From the day p_since (30 days ago) to the end of p_until, by p_bucket (hour, day, month; null: all in one) and by each of
p_by (provider, model, task, key_source, key_id). Days are those of p_time_zone, else of the caller''s settings, else UTC;
they are made of UTC hours, each counted where it begins. The newest first, or by p_order (cost, requests, tokens) the
most first; at most p_limit lines.
cost is in US dollars: what is known of it, null where nothing is; unpriced and unmeasured attempts are not in it.
Errors: not_signed_in, invalid_argument.';

REVOKE ALL
  ON FUNCTION "public"."get_llm_usage"(date, date, text, text[], text, text, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."get_llm_usage"(date, date, text, text[], text, text, integer)
  TO "authenticated";

CREATE OR REPLACE FUNCTION public.list_llm_keys()
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.list_keys()
$function$;

COMMENT ON FUNCTION "public"."list_llm_keys"() IS 'The caller''s keys: id, provider, masked hint, status (untested, working, rejected, cooling_down), last used; never a
key. Error not_signed_in.';

REVOKE ALL ON FUNCTION "public"."list_llm_keys"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."list_llm_keys"() TO "authenticated";

CREATE OR REPLACE FUNCTION public.list_llm_models (
  p_provider text
)
  RETURNS json
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.list_models(p_provider)
$function$;

COMMENT ON FUNCTION "public"."list_llm_models"(text) IS 'The models of a provider that are known by name, a JSON array: of the catalogue, of the price list, and what the caller
has used; each with input_price and output_price on an own key (US dollars for a million tokens; null where no single
one is known). Errors: not_signed_in, unknown_provider.';

REVOKE ALL ON FUNCTION "public"."list_llm_models"(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."list_llm_models"(text) TO "authenticated";

CREATE OR REPLACE FUNCTION public.list_llm_notices (
  p_unread_only boolean DEFAULT true,
  p_limit       integer DEFAULT 50,
  p_before      uuid    DEFAULT NULL::uuid
)
  RETURNS SETOF public.llm_notices
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select * from public.llm_notices
  where
    user_id = (select llm_private.acting_owner())
    and (read_at is null or not coalesce(p_unread_only, true))
    and (p_before is null or id < p_before)
  order by id desc
  limit least(greatest(coalesce(p_limit, 50), 1), 500)
$function$;

COMMENT ON FUNCTION "public"."list_llm_notices"(boolean, integer, uuid) IS 'The caller''s notices, or with a secret key the operator''s, newest first, at most 500; p_before: the id of the last
one seen, to read on. Error not_signed_in.';

REVOKE ALL ON FUNCTION "public"."list_llm_notices"(boolean, integer, uuid) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."list_llm_notices"(boolean, integer, uuid)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION public.list_llm_prices (
  p_provider text DEFAULT NULL::text,
  p_model    text DEFAULT NULL::text
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.list_prices(p_provider, p_model)
$function$;

COMMENT ON FUNCTION "public"."list_llm_prices"(text, text) IS 'What models cost now or later: the catalogue''s prices, the operator''s and, for users, their own. With p_model only
what is for that model: in_force marks, and puts first, what a request by the user''s own key (for administrators: the
operator''s) pays now. Errors: not_signed_in, invalid_argument.';

REVOKE ALL ON FUNCTION "public"."list_llm_prices"(text, text) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."list_llm_prices"(text, text)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION public.list_llm_project_usage_events (
  p_since timestamp with time zone DEFAULT NULL::timestamp with time zone,
  p_until timestamp with time zone DEFAULT NULL::timestamp with time zone,
  p_after text                     DEFAULT NULL::text,
  p_limit integer                  DEFAULT 1000
)
  RETURNS TABLE (
    user_id             uuid,
    request_id          uuid,
    attempt             smallint,
    recorder            uuid,
    requested_at        timestamp with time zone,
    task                text,
    provider            text,
    model               text,
    key_source          text,
    key_id              uuid,
    outcome             text,
    error_class         text,
    streamed            boolean,
    latency_ms          integer,
    input_tokens        integer,
    cached_input_tokens integer,
    cache_write_tokens  integer,
    output_tokens       integer,
    reasoning_tokens    integer,
    other_tokens        jsonb,
    service_tier        text,
    cost                numeric,
    cost_status         text,
    cache_savings       numeric,
    price_id            bigint,
    recorded_at         timestamp with time zone,
    cursor              text
  )
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select * from llm_private.list_events(p_since, p_until, p_after, p_limit)
$function$;

COMMENT ON FUNCTION "public"."list_llm_project_usage_events"(timestamp with time zone, timestamp
  with time zone, text, integer) IS 'For administrators: the usage events of all users as list_llm_usage_events() lists each of theirs, by user and then the
oldest first. Error invalid_argument.';

REVOKE ALL
  ON FUNCTION "public"."list_llm_project_usage_events"(timestamp with time zone, timestamp
    with time zone, text, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."list_llm_project_usage_events"(timestamp with time zone, timestamp
    with time zone, text, integer)
  TO "service_role";

CREATE OR REPLACE FUNCTION public.list_llm_providers()
  RETURNS SETOF public.llm_providers
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select * from public.llm_providers where enabled order by position, id
$function$;

COMMENT ON FUNCTION "public"."list_llm_providers"() IS 'The providers that a user may choose from, in catalogue order.';

REVOKE ALL ON FUNCTION "public"."list_llm_providers"() FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."list_llm_providers"()
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION public.list_llm_quotas (
  p_user_id uuid DEFAULT NULL::uuid
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.list_quotas(p_user_id)
$function$;

COMMENT ON FUNCTION "public"."list_llm_quotas"(uuid) IS 'The quotas that bind the caller, with used, reserved and resets_at; p_user_id is for administrators, who without it see
all quotas as they were set. Error not_signed_in.';

REVOKE ALL ON FUNCTION "public"."list_llm_quotas"(uuid) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."list_llm_quotas"(uuid)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION public.list_llm_runtimes()
  RETURNS TABLE (
    id           uuid,
    name         text,
    created_at   timestamp with time zone,
    revoked_at   timestamp with time zone,
    last_seen_at timestamp with time zone
  )
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select r.id, r.name, r.created_at, r.revoked_at, r.last_seen_at from llm_private.list_runtimes() as r
$function$;

COMMENT ON FUNCTION "public"."list_llm_runtimes"() IS 'For administrators: all runtimes, when they were registered, revoked and last seen (to the minute).';

REVOKE ALL ON FUNCTION "public"."list_llm_runtimes"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."list_llm_runtimes"() TO "service_role";

CREATE OR REPLACE FUNCTION public.list_llm_usage_events (
  p_since timestamp with time zone DEFAULT NULL::timestamp with time zone,
  p_until timestamp with time zone DEFAULT NULL::timestamp with time zone,
  p_after text                     DEFAULT NULL::text,
  p_limit integer                  DEFAULT 1000
)
  RETURNS TABLE (
    user_id             uuid,
    request_id          uuid,
    attempt             smallint,
    recorder            uuid,
    requested_at        timestamp with time zone,
    task                text,
    provider            text,
    model               text,
    key_source          text,
    key_id              uuid,
    outcome             text,
    error_class         text,
    streamed            boolean,
    latency_ms          integer,
    input_tokens        integer,
    cached_input_tokens integer,
    cache_write_tokens  integer,
    output_tokens       integer,
    reasoning_tokens    integer,
    other_tokens        jsonb,
    service_tier        text,
    cost                numeric,
    cost_status         text,
    cache_savings       numeric,
    price_id            bigint,
    recorded_at         timestamp with time zone,
    cursor              text
  )
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select * from llm_private.list_events(p_since, p_until, p_after, p_limit)
$function$;

COMMENT ON FUNCTION "public"."list_llm_usage_events"(timestamp with time zone, timestamp
  with time zone, text, integer) IS 'The caller''s usage events of requests that began from p_since to before p_until, oldest first, at most 1000, with
what they cost by now; p_after: the cursor of the last one seen, to read on until nothing comes.
Errors: not_signed_in, invalid_argument.';

REVOKE ALL
  ON FUNCTION "public"."list_llm_usage_events"(timestamp with time zone, timestamp
    with time zone, text, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."list_llm_usage_events"(timestamp with time zone, timestamp
    with time zone, text, integer)
  TO "authenticated";

CREATE OR REPLACE FUNCTION public.read_llm_notices (
  p_ids uuid[] DEFAULT NULL::uuid[]
)
  RETURNS integer
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.read_notices(p_ids)
$function$;

COMMENT ON FUNCTION "public"."read_llm_notices"(uuid[]) IS 'Mark these notices of the caller''s as read, all of them without p_ids; returns how many were unread.
Error not_signed_in.';

REVOKE ALL ON FUNCTION "public"."read_llm_notices"(uuid[]) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."read_llm_notices"(uuid[])
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION public.record_llm_key_test (
  p_test_id     uuid,
  p_verdict     text,
  p_retry_after double precision DEFAULT NULL::double precision
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.record_key_test(p_test_id, p_verdict, p_retry_after)
$function$;

COMMENT ON FUNCTION "public"."record_llm_key_test"(uuid, text, double precision) IS
  'Put what a test found on the stored key: works, rejected or unknown (with p_retry_after, in seconds, the provider asked
to wait). Once, within 10 minutes, by the runtime that began it. Returns the key as list_llm_keys() does, null where it
was none that is stored, or it was replaced meanwhile. Errors: not_signed_in, runtime_unknown, invalid_argument, not_found.';

REVOKE ALL ON FUNCTION "public"."record_llm_key_test"(uuid, text, double precision) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."record_llm_key_test"(uuid, text, double precision)
  TO "authenticated";

CREATE OR REPLACE FUNCTION public.record_llm_usage (
  p_request_id          uuid,
  p_attempt             integer,
  p_provider            text,
  p_model               text,
  p_key_source          text,
  p_outcome             text,
  p_task                text             DEFAULT NULL::text,
  p_key_id              uuid             DEFAULT NULL::uuid,
  p_error_class         text             DEFAULT NULL::text,
  p_streamed            boolean          DEFAULT false,
  p_latency_ms          integer          DEFAULT NULL::integer,
  p_input_tokens        integer          DEFAULT NULL::integer,
  p_cached_input_tokens integer          DEFAULT NULL::integer,
  p_output_tokens       integer          DEFAULT NULL::integer,
  p_reasoning_tokens    integer          DEFAULT NULL::integer,
  p_retry_after         double precision DEFAULT NULL::double precision,
  p_cache_write_tokens  integer          DEFAULT NULL::integer,
  p_other_tokens        jsonb            DEFAULT NULL::jsonb,
  p_service_tier        text             DEFAULT NULL::text
)
  RETURNS boolean
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return llm_private.record_usage(
    p_request_id, p_attempt, p_task, p_provider, p_model, p_key_source, p_key_id, p_outcome, p_error_class, p_streamed,
    p_latency_ms, p_input_tokens, p_cached_input_tokens, p_output_tokens, p_reasoning_tokens, p_retry_after,
    p_cache_write_tokens, p_other_tokens, p_service_tier
  );
end
$function$;

COMMENT ON FUNCTION
  "public"."record_llm_usage"(uuid, integer, text, text, text, text, text, uuid, text, boolean,
  integer,
  integer,
  integer, integer, integer, double precision, integer, jsonb, text) IS 'Record one attempt of a request: who answered, whose key paid, tokens, latency in milliseconds, outcome. Its cost is
worked out here, at the price valid when the request began, and what was reserved for it is settled. Idempotent on
(request id, attempt): true when recorded, false when it was on record already. The outcome updates the status of the
user''s own key; p_retry_after: seconds that the provider asked to wait. Cached and written tokens are part of the
input, reasoning tokens of the output; p_other_tokens: see the column of llm_usage_events.
Errors: not_signed_in, runtime_unknown, runtime_required, invalid_argument.';

REVOKE ALL
  ON FUNCTION
    "public"."record_llm_usage"(uuid, integer, text, text, text, text, text, uuid, text, boolean,
    integer, integer, integer, integer, integer, double precision, integer, jsonb, text)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION
    "public"."record_llm_usage"(uuid, integer, text, text, text, text, text, uuid, text, boolean,
    integer, integer, integer, integer, integer, double precision, integer, jsonb, text)
  TO "authenticated";

CREATE OR REPLACE FUNCTION public.register_llm_runtime (
  p_name text
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.register_runtime(p_name)
$function$;

COMMENT ON FUNCTION "public"."register_llm_runtime"(text) IS 'For administrators: register a process that runs requests. Its secret is shown this once. Error invalid_argument.';

REVOKE ALL ON FUNCTION "public"."register_llm_runtime"(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."register_llm_runtime"(text) TO "service_role";

CREATE OR REPLACE FUNCTION public.release_llm_request (
  p_request_id uuid
)
  RETURNS void
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.release_request(p_request_id)
$function$;

COMMENT ON FUNCTION "public"."release_llm_request"(uuid) IS 'Free what the caller reserved for a request that was not run after all. Errors: not_signed_in, runtime_unknown.';

REVOKE ALL ON FUNCTION "public"."release_llm_request"(uuid) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."release_llm_request"(uuid) TO "authenticated";

CREATE OR REPLACE FUNCTION public.remove_llm_quota (
  p_id bigint
)
  RETURNS void
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.remove_quota(p_id)
$function$;

COMMENT ON FUNCTION "public"."remove_llm_quota"(bigint) IS 'Remove a quota: a user those of their own, an administrator the operator''s. Errors: not_signed_in, not_found.';

REVOKE ALL ON FUNCTION "public"."remove_llm_quota"(bigint) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."remove_llm_quota"(bigint)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION public.reserve_llm_attempt (
  p_request_id    uuid,
  p_attempt       integer,
  p_provider      text,
  p_model         text,
  p_key_source    text,
  p_task          text    DEFAULT NULL::text,
  p_input_tokens  integer DEFAULT NULL::integer,
  p_output_tokens integer DEFAULT NULL::integer
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  perform llm_private.reserve_attempt(
    p_request_id, p_attempt, p_task, p_provider, p_model, p_key_source, p_input_tokens, p_output_tokens
  );
end
$function$;

COMMENT ON FUNCTION
  "public"."reserve_llm_attempt"(uuid, integer, text, text, text, text, integer, integer) IS
  'Before the next candidate of a metered route is tried: reserve what it may use at most, in place of what was reserved
for the same attempt before. resolve_llm_route() did it for the first candidate; record_llm_usage() settles it.
Errors: not_signed_in, runtime_unknown, invalid_argument, quota_exceeded, model_unpriced, runtime_required.';

REVOKE ALL
  ON FUNCTION
    "public"."reserve_llm_attempt"(uuid, integer, text, text, text, text, integer, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION
    "public"."reserve_llm_attempt"(uuid, integer, text, text, text, text, integer, integer)
  TO "authenticated";

CREATE OR REPLACE FUNCTION public.resolve_llm_route (
  p_task               text    DEFAULT NULL::text,
  p_model              text    DEFAULT NULL::text,
  p_needs              text[]  DEFAULT '{}'::text[],
  p_operator_providers text[]  DEFAULT '{}'::text[],
  p_request_id         uuid    DEFAULT NULL::uuid,
  p_input_tokens       integer DEFAULT NULL::integer,
  p_output_tokens      integer DEFAULT NULL::integer
)
  RETURNS json
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return llm_private.resolve_route(
    p_task, p_model, p_needs, p_operator_providers, p_request_id, p_input_tokens, p_output_tokens
  );
end
$function$;

COMMENT ON FUNCTION "public"."resolve_llm_route"(text, text, text[], text[], uuid, integer, integer)
  IS 'The ordered candidates for a request of the caller''s, each with its reason, the caller''s own keys in plain text; an
operator''s key stays with the operator. They may be kept until expires_at.
p_needs: of chat, streaming, tools, json_schema, vision, embeddings. p_operator_providers: those the operator has a key
for. Where a quota binds the caller the route is metered: it is for the request p_request_id (a UUIDv7) alone, and what
that may use at most (p_input_tokens, p_output_tokens; without the latter, max_output_tokens of the answer is the limit
to keep) is reserved for its first candidate until record_llm_usage() settles it.
Errors: not_signed_in, runtime_unknown, runtime_required, invalid_argument, unknown_model, no_usable_key,
keys_cooling_down, key_unreadable, quota_exceeded, model_unpriced.';

REVOKE ALL
  ON FUNCTION "public"."resolve_llm_route"(text, text, text[], text[], uuid, integer, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."resolve_llm_route"(text, text, text[], text[], uuid, integer, integer)
  TO "authenticated";

CREATE OR REPLACE FUNCTION public.restate_llm_costs (
  p_from        timestamp with time zone DEFAULT NULL::timestamp with time zone,
  p_until       timestamp with time zone DEFAULT NULL::timestamp with time zone,
  p_restatement bigint                   DEFAULT NULL::bigint,
  p_batch       integer                  DEFAULT 2000
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.restate_costs(p_from, p_until, p_restatement, p_batch)
$function$;

COMMENT ON FUNCTION "public"."restate_llm_costs"(timestamp with time zone, timestamp
  with time zone, bigint, integer) IS 'For administrators: work out recorded costs again, at the prices known now for the times of the requests, from p_from
to before p_until (null: all). A call looks at p_batch events; call it again with p_restatement, the id that came back,
until done. One that was left off is gone on with by its range too, if no price was added since. What differs is
appended to llm_usage_adjustments and the totals follow; what had a price never loses it.
Returns id, from, until, expected, events (looked at), changed, newly_priced, cost_before, cost_after (US dollars, of
those looked at), started_at and done. Errors: invalid_argument, not_found.';

REVOKE ALL
  ON FUNCTION "public"."restate_llm_costs"(timestamp with time zone, timestamp
    with time zone, bigint, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."restate_llm_costs"(timestamp with time zone, timestamp
    with time zone, bigint, integer)
  TO "service_role";

CREATE OR REPLACE FUNCTION public.reveal_llm_key (
  p_provider text
)
  RETURNS text
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.reveal_key(p_provider)
$function$;

COMMENT ON FUNCTION "public"."reveal_llm_key"(text) IS 'The caller''s own key for a provider, in plain text; each call is on the audit log.
Errors: not_signed_in, runtime_unknown, runtime_required, reveal_disabled, recent_sign_in_required, key_not_found,
key_unreadable.';

REVOKE ALL ON FUNCTION "public"."reveal_llm_key"(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."reveal_llm_key"(text) TO "authenticated";

CREATE OR REPLACE FUNCTION public.revoke_llm_key (
  p_provider text
)
  RETURNS void
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.revoke_key(p_provider)
$function$;

COMMENT ON FUNCTION "public"."revoke_llm_key"(text) IS 'Delete the caller''s key for a provider. Errors: not_signed_in, key_not_found.';

REVOKE ALL ON FUNCTION "public"."revoke_llm_key"(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."revoke_llm_key"(text) TO "authenticated";

CREATE OR REPLACE FUNCTION public.revoke_llm_runtime (
  p_id uuid
)
  RETURNS void
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.revoke_runtime(p_id)
$function$;

COMMENT ON FUNCTION "public"."revoke_llm_runtime"(uuid) IS 'For administrators: refuse this runtime from now on. Keys it holds run out with their lease. Error not_found.';

REVOKE ALL ON FUNCTION "public"."revoke_llm_runtime"(uuid) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."revoke_llm_runtime"(uuid) TO "service_role";

CREATE OR REPLACE FUNCTION public.run_llm_maintenance()
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.run_maintenance()
$function$;

COMMENT ON FUNCTION "public"."run_llm_maintenance"() IS 'For administrators, or pg_cron: fold hours that are over into the project''s totals for some seconds, make the months
ahead, and drop the months of events that are not kept. Returns hours_left (null: somebody else is at it), dropped_months
(null: somebody was in the way) and done; call it again until then. Nothing is wrong without it, only slower.';

REVOKE ALL ON FUNCTION "public"."run_llm_maintenance"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."run_llm_maintenance"() TO "service_role";

CREATE OR REPLACE FUNCTION public.set_llm_key (
  json
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.set_key($1)
$function$;

COMMENT ON FUNCTION "public"."set_llm_key"(json) IS 'Store the caller''s key for a provider, or replace it: {"provider": "groq", "key": "gsk_…"}.
Errors: not_signed_in, key_malformed, unknown_provider, invalid_argument.';

REVOKE ALL ON FUNCTION "public"."set_llm_key"(json) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."set_llm_key"(json) TO "authenticated";

CREATE OR REPLACE FUNCTION public.set_llm_operator_settings (
  p_changes jsonb
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.set_operator_settings(p_changes)
$function$;

COMMENT ON FUNCTION "public"."set_llm_operator_settings"(jsonb) IS 'For administrators: change the operator''s switches that are named in p_changes, and return all.
Errors: invalid_argument, unknown_setting, invalid_setting.';

REVOKE ALL ON FUNCTION "public"."set_llm_operator_settings"(jsonb) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."set_llm_operator_settings"(jsonb) TO "service_role";

CREATE OR REPLACE FUNCTION public.set_llm_price (
  p_provider     text,
  p_model        text,
  p_rates        jsonb,
  p_valid_from   timestamp with time zone DEFAULT NULL::timestamp with time zone,
  p_valid_until  timestamp with time zone DEFAULT NULL::timestamp with time zone,
  p_key_source   text                     DEFAULT NULL::text,
  p_service_tier text                     DEFAULT NULL::text
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.set_price(
    p_provider, p_model, p_rates, p_valid_from, p_valid_until, p_key_source, p_service_tier
  )
$function$;

COMMENT ON FUNCTION "public"."set_llm_price"(text, text, jsonb, timestamp with time zone, timestamp
  with time zone, text, text) IS 'Say what a model costs: a user for what their own keys pay, an administrator for everybody, or where keys of one source
pay. p_model may end with *, for any ending; p_rates: {"input": 2.5, "output": 10} in US dollars per million tokens, see
the table llm_prices. It holds from now on unless dates say else, and goes before every older one for the same.
Errors: not_signed_in, unknown_provider, invalid_price.';

REVOKE ALL
  ON FUNCTION "public"."set_llm_price"(text, text, jsonb, timestamp with time zone, timestamp
    with time zone, text, text)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."set_llm_price"(text, text, jsonb, timestamp with time zone, timestamp
    with time zone, text, text)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION public.set_llm_provider (
  p_provider jsonb
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.set_provider(p_provider)
$function$;

COMMENT ON FUNCTION "public"."set_llm_provider"(jsonb) IS 'For administrators: add a provider, or change the named columns of one. A new provider that speaks the OpenAI format
needs id, base_url and default_model. Errors: invalid_argument, unknown_setting, invalid_provider.';

REVOKE ALL ON FUNCTION "public"."set_llm_provider"(jsonb) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."set_llm_provider"(jsonb) TO "service_role";

CREATE OR REPLACE FUNCTION public.set_llm_quota (
  p_quota jsonb
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.set_quota(p_quota)
$function$;

COMMENT ON FUNCTION "public"."set_llm_quota"(jsonb) IS 'Set a quota of the caller''s own, or as an administrator one for a user_id, a group or everybody:
{"limit": 20, "unit": "cost", "period": "month", "provider": "openai", "key_source": "user"}.
unit: requests, tokens, cost (US dollars). period: minute, day, month, total. Counts all attempts, or only those of a
key_source, provider or task. clock: utc, or user for days and months in the user''s time zone (a user''s own quotas
unless they say else). hard (true): refuses; false: warns. unpriced (refuse): whether a hard quota of cost lets models
without a price pass. shared (false): all whom it binds use it up together. A quota that counts the same for the same
whom is changed. Errors: not_signed_in, invalid_quota.';

REVOKE ALL ON FUNCTION "public"."set_llm_quota"(jsonb) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."set_llm_quota"(jsonb)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION public.set_llm_user_group (
  p_user_id uuid,
  p_group   text
)
  RETURNS void
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.set_user_group(p_user_id, p_group)
$function$;

COMMENT ON FUNCTION "public"."set_llm_user_group"(uuid, text) IS 'For administrators: put a user into a group, which quotas can be set for, or with null into none.
Error invalid_argument.';

REVOKE ALL ON FUNCTION "public"."set_llm_user_group"(uuid, text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."set_llm_user_group"(uuid, text) TO "service_role";

CREATE OR REPLACE FUNCTION public.sync_llm_prices (
  p_provider text,
  p_entries  jsonb,
  p_apply    boolean DEFAULT false
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.sync_prices(p_provider, p_entries, p_apply)
$function$;

COMMENT ON FUNCTION "public"."sync_llm_prices"(text, jsonb, boolean) IS 'For administrators: what a price list would change in the catalogue''s prices of a provider; with p_apply, change them.
Entries: [{"name", "pattern", "position", "prices": [{"valid_from", "valid_until", "daily_from", "daily_until",
"service_tier", "rates"}]}], where pattern is a regular expression for model names in lower case, and the entry with the
lowest position that matches counts. No recorded cost changes; only what the list dates may begin in the past.
Returns, a change each: model, change (added, dated, changed, until or gone), service_tier, daily_from, daily_until,
before, after, valid_from, valid_until. Errors: unknown_provider, invalid_price_list.';

REVOKE ALL ON FUNCTION "public"."sync_llm_prices"(text, jsonb, boolean) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."sync_llm_prices"(text, jsonb, boolean)
  TO "service_role";

CREATE OR REPLACE FUNCTION public.update_llm_settings (
  p_changes          jsonb,
  p_expected_version bigint DEFAULT NULL::bigint
)
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.update_settings(p_changes, p_expected_version)
$function$;

COMMENT ON FUNCTION "public"."update_llm_settings"(jsonb, bigint) IS 'Change what p_changes names: provider_preferences by provider and field, task_overrides by task; null resets.
With p_expected_version the change is refused if the settings are at another version by now.
Errors: not_signed_in, invalid_setting, unknown_setting, settings_changed.';

REVOKE ALL ON FUNCTION "public"."update_llm_settings"(jsonb, bigint) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."update_llm_settings"(jsonb, bigint)
  TO "authenticated";

-- Private types -------------------------------------------------------------------------------------------------

CREATE TYPE "llm_private"."route_line" AS (
  "provider"        text,
  "name"            text,
  "model"           text,
  "reason"          text,
  "key_source"      text,
  "key_id"          uuid,
  "key_hint"        text,
  "cooling_until"   timestamp with time zone,
  "left_out"        text,
  "wire_format"     text,
  "base_url"        text,
  "key_header"      text,
  "key_scheme"      text,
  "parameter_names" jsonb,
  "quota"           jsonb
);

COMMENT ON TYPE "llm_private"."route_line" IS 'A provider, model and key that was considered; left_out says why it cannot serve, and quota by which quota.';

-- Private tables ------------------------------------------------------------------------------------------------

CREATE TABLE "llm_private"."charges" (
  "provider"         text                     NOT NULL,
  "model"            text                     NOT NULL,
  "key_source"       text                     NOT NULL,
  "price_id"         bigint,
  "holds_from"       timestamp with time zone NOT NULL,
  "holds_until"      timestamp with time zone NOT NULL,
  "input_above"      integer                  NOT NULL,
  "input_up_to"      integer                  NOT NULL,
  "per_request"      numeric,
  "per_input"        numeric,
  "per_cached_input" numeric,
  "per_cache_write"  numeric,
  "per_output"       numeric,
  "per_reasoning"    numeric,
  CONSTRAINT "charges_pkey" PRIMARY KEY (provider, model, key_source),
  CONSTRAINT "charges_price_id_fkey" FOREIGN KEY (price_id) REFERENCES public.llm_prices(id)
    ON DELETE CASCADE
);

ALTER TABLE "llm_private"."charges"
  ENABLE ROW LEVEL SECURITY;

CREATE INDEX charges_price ON llm_private.charges USING btree (price_id);

COMMENT ON COLUMN "llm_private"."charges"."price_id" IS 'Null where there is no price.';

COMMENT ON TABLE "llm_private"."charges" IS 'What attempts of a model cost, remembered: from when until when, and for inputs of which size. Finding the price and
its tier costs as much as the rest of recording does. Emptied when a price or the price list changes.';

CREATE TABLE "llm_private"."key_secrets" (
  "user_id"       uuid     NOT NULL,
  "key_id"        uuid     NOT NULL,
  "master_key_id" smallint NOT NULL,
  "ciphertext"    bytea    NOT NULL,
  CONSTRAINT "key_secrets_pkey" PRIMARY KEY (user_id, key_id),
  CONSTRAINT "key_secrets_master_key_id_fkey" FOREIGN KEY (master_key_id)
    REFERENCES llm_private.master_keys(id),
  CONSTRAINT "key_secrets_user_id_key_id_fkey" FOREIGN KEY (user_id, key_id)
    REFERENCES public.llm_keys(user_id, id) ON DELETE CASCADE
);

ALTER TABLE "llm_private"."key_secrets"
  ENABLE ROW LEVEL SECURITY;

CREATE INDEX key_secrets_master_key ON llm_private.key_secrets USING btree (master_key_id);

COMMENT ON TABLE "llm_private"."key_secrets" IS 'The encrypted keys. The plaintext names its key id and owner.';

CREATE TABLE "llm_private"."key_tests" (
  "user_id"    uuid                     NOT NULL,
  "provider"   text                     NOT NULL,
  "key_id"     uuid,
  "runtime_id" uuid,
  "begun_at"   timestamp with time zone NOT NULL DEFAULT clock_timestamp(),
  "settled_at" timestamp with time zone,
  CONSTRAINT "key_tests_user_id_fkey" FOREIGN KEY (user_id) REFERENCES auth.users(id)
    ON DELETE CASCADE
);

ALTER TABLE "llm_private"."key_tests"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE "llm_private"."key_tests" IS 'Tests of the last hour, of stored keys and (without key_id) of keys that were being typed; of those nothing is kept.';

ALTER TABLE "llm_private"."key_tests"
  ADD COLUMN "id" uuid NOT NULL DEFAULT llm_private.uuid_v7();

ALTER TABLE "llm_private"."key_tests"
  ADD CONSTRAINT "key_tests_pkey" PRIMARY KEY (user_id, id);

CREATE TABLE "llm_private"."leases" (
  "user_id"    uuid                     NOT NULL,
  "key_id"     uuid                     NOT NULL,
  "holder"     text                     NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  CONSTRAINT "leases_pkey" PRIMARY KEY (user_id, key_id, holder),
  CONSTRAINT "leases_user_id_key_id_fkey" FOREIGN KEY (user_id, key_id)
    REFERENCES public.llm_keys(user_id, id) ON DELETE CASCADE
);

ALTER TABLE "llm_private"."leases"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN "llm_private"."leases"."holder" IS 'runtime:… or session:… with its id; user:… for a token that names no session.';

COMMENT ON TABLE "llm_private"."leases" IS 'Until when a runtime, or a session of the user, may keep a decrypted key. Resolving again until then writes nothing.';

CREATE TABLE "llm_private"."llm_audit_log_default" PARTITION OF "public"."llm_audit_log" DEFAULT;

ALTER TABLE "llm_private"."llm_audit_log_default"
  ENABLE ROW LEVEL SECURITY;

CREATE TABLE "llm_private"."llm_usage_events_default" PARTITION OF "public"."llm_usage_events"
  DEFAULT;

ALTER TABLE "llm_private"."llm_usage_events_default"
  ENABLE ROW LEVEL SECURITY;

CREATE TABLE "llm_private"."master_keys" (
  "id"              smallint                 GENERATED ALWAYS AS IDENTITY NOT NULL,
  "vault_secret_id" uuid                     NOT NULL,
  "created_at"      timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT "master_keys_pkey" PRIMARY KEY (id),
  CONSTRAINT "master_keys_vault_secret_id_key" UNIQUE (vault_secret_id)
);

ALTER TABLE "llm_private"."master_keys"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE "llm_private"."master_keys" IS 'Where in Vault the master keys are; the newest encrypts.';

CREATE TABLE "llm_private"."operator_settings" (
  "only_row"                 boolean                  NOT NULL DEFAULT true,
  "keys_readable_by"         text                     NOT NULL DEFAULT 'owner'::text,
  "reveal_enabled"           boolean                  NOT NULL DEFAULT true,
  "reveal_sign_in_within"    interval,
  "operator_keys_by_default" boolean                  NOT NULL DEFAULT true,
  "lease_seconds"            integer                  NOT NULL DEFAULT 300,
  "reservation_seconds"      integer                  NOT NULL DEFAULT 900,
  "unbounded_output_tokens"  integer                  NOT NULL DEFAULT 8192,
  "events_kept_months"       integer,
  "updated_at"               timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT "operator_settings_events_kept_months_check"
    CHECK (((events_kept_months >= 2) AND (events_kept_months <= 1200))),
  CONSTRAINT "operator_settings_keys_readable_by_check"
    CHECK ((keys_readable_by = ANY (ARRAY['owner'::text, 'runtime'::text]))),
  CONSTRAINT "operator_settings_lease_seconds_check"
    CHECK (((lease_seconds >= 30) AND (lease_seconds <= 3600))),
  CONSTRAINT "operator_settings_only_row_check" CHECK (only_row),
  CONSTRAINT "operator_settings_pkey" PRIMARY KEY (only_row),
  CONSTRAINT "operator_settings_reservation_seconds_check"
    CHECK (((reservation_seconds >= 30) AND (reservation_seconds <= 86400))),
  CONSTRAINT "operator_settings_reveal_sign_in_within_check"
    CHECK ((reveal_sign_in_within > '00:00:00'::interval)),
  CONSTRAINT "operator_settings_unbounded_output_tokens_check"
    CHECK (((unbounded_output_tokens >= 1) AND (unbounded_output_tokens <= 1000000)))
);

ALTER TABLE "llm_private"."operator_settings"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN "llm_private"."operator_settings"."events_kept_months" IS
  'Of how many months the events are kept, this month included; null: for ever. Reports are made of totals, which stay.';

COMMENT ON COLUMN "llm_private"."operator_settings"."keys_readable_by" IS 'owner: a user''s JWT alone may resolve a route with that user''s own keys; runtime: only together with the secret of a
registered runtime, so that a stolen JWT reads no key.';

COMMENT ON COLUMN "llm_private"."operator_settings"."lease_seconds" IS 'How long a runtime or session may keep the keys of a resolved route.';

COMMENT ON COLUMN "llm_private"."operator_settings"."operator_keys_by_default" IS
  'Whether the operator''s keys may serve users who have not said yes or no themselves.';

COMMENT ON COLUMN "llm_private"."operator_settings"."reservation_seconds" IS
  'How long a request may run before what it reserved of a quota is free again; longer than the longest request.';

COMMENT ON COLUMN "llm_private"."operator_settings"."reveal_enabled" IS 'Whether users may read back their own keys through reveal_llm_key().';

COMMENT ON COLUMN "llm_private"."operator_settings"."reveal_sign_in_within" IS
  'To reveal a key, the user must have signed in at most this long ago; null: any session will do.';

COMMENT ON COLUMN "llm_private"."operator_settings"."unbounded_output_tokens" IS
  'Most output tokens of a request that sets no limit itself, where a hard quota of tokens or cost binds its user.';

COMMENT ON TABLE "llm_private"."operator_settings" IS 'The operator''s switches; exactly one row.';

CREATE TABLE "llm_private"."price_list" (
  "provider" text    NOT NULL,
  "name"     text    NOT NULL,
  "pattern"  text    NOT NULL,
  "position" integer NOT NULL,
  "prices"   jsonb   NOT NULL,
  CONSTRAINT "price_list_pkey" PRIMARY KEY (provider, name),
  CONSTRAINT "price_list_provider_fkey" FOREIGN KEY (provider) REFERENCES public.llm_providers(id)
);

ALTER TABLE "llm_private"."price_list"
  ENABLE ROW LEVEL SECURITY;

CREATE INDEX price_list_order ON llm_private.price_list USING btree (provider, "position");

COMMENT ON COLUMN "llm_private"."price_list"."pattern" IS 'Regular expression for model names in lower case.';

COMMENT ON COLUMN "llm_private"."price_list"."prices" IS 'As last synced, to tell what changes; [] once the entry is gone.';

COMMENT ON TABLE "llm_private"."price_list" IS 'The price list as last synced: which model names belong to which entry. Of several that match, the first one counts.';

CREATE TABLE "llm_private"."price_names" (
  "provider" text NOT NULL,
  "model"    text NOT NULL,
  "name"     text,
  CONSTRAINT "price_names_pkey" PRIMARY KEY (provider, model)
);

ALTER TABLE "llm_private"."price_names"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE "llm_private"."price_names" IS 'Which entry of the price list a model name belongs to, null for none: asked once, since matching hundreds of patterns
takes milliseconds. Emptied when the list changes.';

CREATE TABLE "llm_private"."price_tiers" (
  "price_id"         bigint  NOT NULL,
  "above"            integer NOT NULL,
  "per_request"      numeric NOT NULL,
  "per_input"        numeric NOT NULL,
  "per_cached_input" numeric NOT NULL,
  "per_cache_write"  numeric NOT NULL,
  "per_output"       numeric NOT NULL,
  "per_reasoning"    numeric NOT NULL,
  "per_other"        jsonb,
  CONSTRAINT "price_tiers_pkey" PRIMARY KEY (price_id, above),
  CONSTRAINT "price_tiers_price_id_fkey" FOREIGN KEY (price_id) REFERENCES public.llm_prices(id)
    ON DELETE CASCADE
);

ALTER TABLE "llm_private"."price_tiers"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE "llm_private"."price_tiers" IS 'Rates, compiled. For an attempt with more than `above` input tokens: US dollars that one token of each kind costs on
top of what the kinds that contain it have charged for it already, so that cost is a sum over the counts of an event.';

CREATE TABLE "llm_private"."price_units" (
  "unit"       text     NOT NULL,
  "position"   smallint NOT NULL,
  "dimensions" jsonb    NOT NULL,
  CONSTRAINT "price_units_dimensions_key" UNIQUE (dimensions),
  CONSTRAINT "price_units_pkey" PRIMARY KEY (unit),
  CONSTRAINT "price_units_position_key" UNIQUE ("position")
);

ALTER TABLE "llm_private"."price_units"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE "llm_private"."price_units" IS 'What rates may price. A unit is part of each unit whose dimensions are among its own: cached_input_audio of
cached_input, of input_audio and of input. A token is paid at the rate of the most specific unit that has one.';

CREATE TABLE "llm_private"."project_totals" (
  "id"                  bigint                   GENERATED ALWAYS AS IDENTITY NOT NULL,
  "span"                text                     NOT NULL,
  "starts_at"           timestamp with time zone NOT NULL,
  "provider"            text                     NOT NULL,
  "model"               text                     NOT NULL,
  "task"                text,
  "key_source"          text                     NOT NULL,
  "requests"            bigint                   NOT NULL,
  "attempts"            bigint                   NOT NULL,
  "fallbacks"           bigint                   NOT NULL,
  "failures"            bigint                   NOT NULL,
  "cancelled"           bigint                   NOT NULL,
  "input_tokens"        bigint                   NOT NULL,
  "cached_input_tokens" bigint                   NOT NULL,
  "cache_write_tokens"  bigint                   NOT NULL,
  "output_tokens"       bigint                   NOT NULL,
  "reasoning_tokens"    bigint                   NOT NULL,
  "cost"                numeric                  NOT NULL,
  "cache_savings"       numeric                  NOT NULL,
  "unpriced"            bigint                   NOT NULL,
  "unmeasured"          bigint                   NOT NULL,
  "latency_counts"      integer[]                NOT NULL,
  "last_used_at"        timestamp with time zone NOT NULL,
  CONSTRAINT "project_totals_pkey" PRIMARY KEY (id)
);

ALTER TABLE "llm_private"."project_totals"
  ENABLE ROW LEVEL SECURITY;

CREATE INDEX project_totals_span ON llm_private.project_totals USING btree (span, starts_at);

COMMENT ON TABLE "llm_private"."project_totals" IS 'Sums of llm_usage_totals over all users, an hour or a day (UTC) at a time; only what usage_folds holds counts.';

CREATE TABLE "llm_private"."quota_counters" (
  "owner"     uuid                     NOT NULL,
  "quota_id"  bigint                   NOT NULL,
  "starts_at" timestamp with time zone NOT NULL,
  "ends_at"   timestamp with time zone NOT NULL,
  "used"      numeric                  NOT NULL,
  "reserved"  numeric                  NOT NULL,
  CONSTRAINT "quota_counters_pkey" PRIMARY KEY (owner, quota_id),
  CONSTRAINT "quota_counters_quota_id_fkey" FOREIGN KEY (quota_id) REFERENCES llm_private.quotas(id)
    ON DELETE CASCADE
);

ALTER TABLE "llm_private"."quota_counters"
  ENABLE ROW LEVEL SECURITY;

ALTER TABLE "llm_private"."quota_counters"
  SET (fillfactor=50);

CREATE INDEX quota_counters_quota ON llm_private.quota_counters USING btree (quota_id, owner);

COMMENT ON TABLE "llm_private"."quota_counters" IS 'What was used of a quota in its present period, and what is reserved; owned by a user, or by operator_id() if shared.';

CREATE TABLE "llm_private"."quotas" (
  "id"         bigint                   GENERATED ALWAYS AS IDENTITY NOT NULL,
  "set_by"     text                     NOT NULL,
  "user_id"    uuid,
  "group_name" text,
  "shared"     boolean                  NOT NULL,
  "key_source" text,
  "provider"   text,
  "task"       text,
  "unit"       text                     NOT NULL,
  "period"     text                     NOT NULL,
  "clock"      text                     NOT NULL,
  "amount"     numeric                  NOT NULL,
  "hard"       boolean                  NOT NULL,
  "unpriced"   text                     NOT NULL,
  "created_at" timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT "quotas_amount_check" CHECK ((amount >= (0)::numeric)),
  CONSTRAINT "quotas_clock_check" CHECK ((clock = ANY (ARRAY['utc'::text, 'user'::text]))),
  CONSTRAINT "quotas_period_check"
    CHECK ((period = ANY (ARRAY['minute'::text, 'day'::text, 'month'::text, 'total'::text]))),
  CONSTRAINT "quotas_pkey" PRIMARY KEY (id),
  CONSTRAINT "quotas_set_by_check" CHECK ((set_by = ANY (ARRAY['operator'::text, 'user'::text]))),
  CONSTRAINT "quotas_unit_check"
    CHECK ((unit = ANY (ARRAY['requests'::text, 'tokens'::text, 'cost'::text]))),
  CONSTRAINT "quotas_unpriced_check"
    CHECK ((unpriced = ANY (ARRAY['allow'::text, 'refuse'::text]))),
  CONSTRAINT "quotas_user_id_fkey" FOREIGN KEY (user_id) REFERENCES auth.users(id)
    ON DELETE CASCADE,
  CONSTRAINT "quotas_provider_fkey" FOREIGN KEY (provider) REFERENCES public.llm_providers(id)
    ON DELETE CASCADE
);

ALTER TABLE "llm_private"."quotas"
  ENABLE ROW LEVEL SECURITY;

CREATE UNIQUE INDEX quotas_once ON llm_private.quotas
  USING btree
  (set_by, unit, period, shared, COALESCE(user_id, '00000000-0000-0000-0000-000000000000'::uuid),
  COALESCE(group_name, ''::text),
  COALESCE(key_source, ''::text), COALESCE(provider, ''::text), COALESCE(task, ''::text));

CREATE INDEX quotas_provider ON llm_private.quotas USING btree (provider);

CREATE INDEX quotas_user ON llm_private.quotas USING btree (user_id);

COMMENT ON COLUMN "llm_private"."quotas"."clock" IS 'Whether days and months begin in UTC or in the user''s time zone.';

COMMENT ON COLUMN "llm_private"."quotas"."hard" IS 'true: what would pass it is refused; false: it only warns.';

COMMENT ON COLUMN "llm_private"."quotas"."key_source" IS 'Counts only what this kind of key paid for; null: whoever paid.';

COMMENT ON COLUMN "llm_private"."quotas"."shared" IS 'true: all whom it binds use it up together; false: each has it whole.';

COMMENT ON COLUMN "llm_private"."quotas"."unit" IS 'requests (attempts that did not fail), tokens (input and output) or cost (US dollars).';

COMMENT ON COLUMN "llm_private"."quotas"."unpriced" IS 'Of a hard quota of cost: whether models without a price may be used (and count as nothing).';

COMMENT ON COLUMN "llm_private"."quotas"."user_id" IS 'The user that it binds; null: those of the group, or everybody.';

COMMENT ON TABLE "llm_private"."quotas" IS 'Who may use how much; changed by set_llm_quota() and remove_llm_quota() only.';

CREATE TABLE "llm_private"."reservations" (
  "user_id"    uuid                     NOT NULL,
  "request_id" uuid                     NOT NULL,
  "attempt"    smallint                 NOT NULL,
  "holder"     uuid                     NOT NULL,
  "quota_id"   bigint                   NOT NULL,
  "owner"      uuid                     NOT NULL,
  "starts_at"  timestamp with time zone NOT NULL,
  "amount"     numeric                  NOT NULL,
  "expires_at" timestamp with time zone NOT NULL,
  CONSTRAINT "reservations_pkey" PRIMARY KEY (user_id, request_id, attempt, holder, quota_id)
);

ALTER TABLE "llm_private"."reservations"
  ENABLE ROW LEVEL SECURITY;

CREATE INDEX reservations_expiry ON llm_private.reservations
  USING btree (quota_id, owner, expires_at);

COMMENT ON COLUMN "llm_private"."reservations"."holder" IS 'The runtime that reserved it, or the user who did themselves: nobody else settles or releases it.';

COMMENT ON COLUMN "llm_private"."reservations"."owner" IS 'With the quota: the counter that it is reserved in.';

COMMENT ON COLUMN "llm_private"."reservations"."starts_at" IS 'The period of the counter that it is reserved in.';

COMMENT ON TABLE "llm_private"."reservations" IS 'What a running attempt may still use of a quota. Settled with its usage, or else over by itself when it expires.';

CREATE TABLE "llm_private"."restatements" (
  "id"                bigint                   GENERATED ALWAYS AS IDENTITY NOT NULL,
  "from_at"           timestamp with time zone NOT NULL,
  "until_at"          timestamp with time zone NOT NULL,
  "last_price"        bigint                   NOT NULL,
  "position_user"     uuid
    NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'::uuid,
  "position_request"  uuid
    NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'::uuid,
  "position_attempt"  smallint                 NOT NULL DEFAULT 0,
  "position_recorder" uuid
    NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'::uuid,
  "expected"          bigint                   NOT NULL,
  "events"            bigint                   NOT NULL DEFAULT 0,
  "changed"           bigint                   NOT NULL DEFAULT 0,
  "newly_priced"      bigint                   NOT NULL DEFAULT 0,
  "cost_before"       numeric                  NOT NULL DEFAULT 0,
  "cost_after"        numeric                  NOT NULL DEFAULT 0,
  "started_at"        timestamp with time zone NOT NULL DEFAULT now(),
  "finished_at"       timestamp with time zone,
  CONSTRAINT "restatements_pkey" PRIMARY KEY (id)
);

ALTER TABLE "llm_private"."restatements"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN "llm_private"."restatements"."expected" IS 'How many events it will about look at, by the totals.';

COMMENT ON COLUMN "llm_private"."restatements"."last_price" IS 'The newest price when it began: with others, an unfinished one is not gone on with.';

COMMENT ON COLUMN "llm_private"."restatements"."position_user" IS 'With the other three: the last event that was looked at. Events are looked at by user, and in the order of time.';

COMMENT ON TABLE "llm_private"."restatements" IS 'Each restatement: its range, how far it has come, and what it changed.';

CREATE TABLE "llm_private"."runtimes" (
  "name"         text                     NOT NULL,
  "secret_hash"  bytea                    NOT NULL,
  "created_at"   timestamp with time zone NOT NULL DEFAULT now(),
  "revoked_at"   timestamp with time zone,
  "last_seen_at" timestamp with time zone,
  CONSTRAINT "runtimes_secret_hash_key" UNIQUE (secret_hash)
);

ALTER TABLE "llm_private"."runtimes"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE "llm_private"."runtimes" IS 'Registered runtimes; of a secret only its SHA-256.';

ALTER TABLE "llm_private"."runtimes"
  ADD COLUMN "id" uuid NOT NULL DEFAULT llm_private.uuid_v7();

ALTER TABLE "llm_private"."runtimes"
  ADD CONSTRAINT "runtimes_pkey" PRIMARY KEY (id);

CREATE TABLE "llm_private"."usage_folds" (
  "span"      text                     NOT NULL,
  "starts_at" timestamp with time zone NOT NULL,
  "stale"     boolean                  NOT NULL,
  "folded_at" timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT "span_is_known" CHECK ((span = ANY (ARRAY['hour'::text, 'day'::text]))),
  CONSTRAINT "usage_folds_pkey" PRIMARY KEY (span, starts_at)
);

ALTER TABLE "llm_private"."usage_folds"
  ENABLE ROW LEVEL SECURITY;

CREATE INDEX usage_folds_stale ON llm_private.usage_folds USING btree (span, starts_at)
  WHERE stale;

COMMENT ON COLUMN "llm_private"."usage_folds"."stale" IS 'The users'' totals say something else by now, or it was being recorded when it was its turn.';

COMMENT ON TABLE "llm_private"."usage_folds" IS 'Which hours and days (UTC) the project totals hold. Hours without a gap from the first one on, be they stale.';

CREATE TABLE "llm_private"."usage_retention" (
  "only_row"     boolean                  NOT NULL DEFAULT true,
  "events_since" timestamp with time zone NOT NULL DEFAULT '-infinity'::timestamp with time zone,
  CONSTRAINT "usage_retention_only_row_check" CHECK (only_row),
  CONSTRAINT "usage_retention_pkey" PRIMARY KEY (only_row)
);

ALTER TABLE "llm_private"."usage_retention"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN "llm_private"."usage_retention"."events_since" IS 'Events of requests from before were dropped; their totals are here.';

COMMENT ON TABLE "llm_private"."usage_retention" IS 'How far back there are events; exactly one row.';

CREATE TABLE "llm_private"."user_groups" (
  "user_id"    uuid NOT NULL,
  "group_name" text NOT NULL,
  CONSTRAINT "user_groups_group_name_check" CHECK ((group_name ~ '^[^[:cntrl:]]{1,64}$'::text)),
  CONSTRAINT "user_groups_pkey" PRIMARY KEY (user_id),
  CONSTRAINT "user_groups_user_id_fkey" FOREIGN KEY (user_id) REFERENCES auth.users(id)
    ON DELETE CASCADE
);

ALTER TABLE "llm_private"."user_groups"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON TABLE "llm_private"."user_groups" IS 'The group of a user, for quotas; a user has at most one.';

-- Private functions ---------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION llm_private.acting_owner()
  RETURNS uuid
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if current_setting('role') = 'service_role' then
    return llm_private.operator_id();
  end if;
  return llm_private.require_user();
end
$function$;

COMMENT ON FUNCTION "llm_private"."acting_owner"() IS 'Whose rows a call is about where both may call: the signed-in user''s, or with a secret key the operator''s.
Error not_signed_in.';

REVOKE ALL ON FUNCTION "llm_private"."acting_owner"() FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."acting_owner"()
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION llm_private.add_default_providers()
  RETURNS void
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  insert into public.llm_providers (
    id, name, base_url, wire_format, key_header, key_scheme, key_pattern, key_example, key_url,
    capabilities, default_model, task_models, model_pattern, parameter_names, position
  )
  values
  (
    'openai', 'OpenAI', 'https://api.openai.com/v1', 'openai', 'authorization', 'Bearer',
    '^sk-(?!ant-|or-)[A-Za-z0-9_-]{16,}$', 'sk-…', 'https://platform.openai.com/api-keys',
    '{chat,streaming,tools,json_schema,vision,embeddings}', 'gpt-5-mini',
    '{"speed": "gpt-5-nano", "code": "gpt-5", "embedding": "text-embedding-3-small"}',
    '^(gpt-|chatgpt-|o[0-9]|text-embedding-)', '{}', 10
  ),
  (
    'groq', 'Groq', 'https://api.groq.com/openai/v1', 'openai', 'authorization', 'Bearer',
    '^gsk_[A-Za-z0-9]{16,}$', 'gsk_…', 'https://console.groq.com/keys',
    '{chat,streaming,tools,json_schema}', 'openai/gpt-oss-120b',
    '{"speed": "llama-3.1-8b-instant"}',
    '^(llama|meta-llama/|qwen)', '{"store": null}', 20
  ),
  (
    'mistral', 'Mistral', 'https://api.mistral.ai/v1', 'openai', 'authorization', 'Bearer',
    '^[A-Za-z0-9]{32}$', '32 letters and digits', 'https://console.mistral.ai/api-keys',
    '{chat,streaming,tools,json_schema,vision,embeddings}', 'mistral-medium-latest',
    '{"speed": "mistral-small-latest", "code": "codestral-latest", "embedding": "mistral-embed"}',
    '^(mistral|ministral|magistral|codestral|devstral|pixtral|open-mi)',
    '{"max_completion_tokens": "max_tokens", "seed": "random_seed", "stream_options": null, "store": null, "user": null,
      "service_tier": null, "safety_identifier": null, "prompt_cache_key": null, "verbosity": null}', 30
  ),
  (
    'anthropic', 'Anthropic', 'https://api.anthropic.com', 'anthropic', 'x-api-key', '',
    '^sk-ant-[A-Za-z0-9_-]{16,}$', 'sk-ant-…', 'https://console.anthropic.com/settings/keys',
    '{chat,streaming,tools,json_schema,vision}', 'claude-sonnet-4-5',
    '{"speed": "claude-haiku-4-5"}', '^claude', '{}', 40
  ),
  (
    'google', 'Google', 'https://generativelanguage.googleapis.com', 'google', 'x-goog-api-key', '',
    '^(AIza|AQ\.)[A-Za-z0-9_-]{16,}$', 'AIza…', 'https://aistudio.google.com/apikey',
    '{chat,streaming,tools,json_schema,vision,embeddings}', 'gemini-2.5-flash',
    '{"speed": "gemini-2.5-flash-lite", "code": "gemini-2.5-pro", "embedding": "gemini-embedding-001"}',
    '^(gemini|gemma)', '{}', 50
  )
  on conflict (id) do nothing;

  insert into public.llm_tasks (task, description, provider_order)
  values
  ('speed', 'Short answers, at once', '{groq,google,mistral,openai,anthropic}'),
  ('code', 'Writing and reading code', '{anthropic,openai,google,mistral,groq}'),
  ('embedding', 'Vectors for search', '{openai,mistral,google}')
  on conflict (task) do nothing;
$function$;

COMMENT ON FUNCTION "llm_private"."add_default_providers"() IS 'Put the providers and tasks that everybody starts with into the catalogue; what is there already stays as it is.';

REVOKE ALL ON FUNCTION "llm_private"."add_default_providers"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.add_month_partition (
  p_table  text,
  p_column text,
  p_month  date
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_partition text := p_table || '_' || to_char(p_month, 'YYYY_MM');
  -- A plain timestamp: of a date, date_trunc() would make midnight in the time zone of the session.
  v_month timestamp := date_trunc('month', p_month::timestamp);
  v_from uuid := llm_private.first_uuid_v7(v_month at time zone 'UTC');
  v_to uuid := llm_private.first_uuid_v7((v_month + interval '1 month') at time zone 'UTC');
begin
  if to_regclass(format('llm_private.%I', v_partition)) is not null then
    return;
  end if;
  execute format('create table llm_private.%I (like public.%I including all)', v_partition, p_table);
  execute format(
    'revoke all on table llm_private.%I from public, anon, authenticated, service_role', v_partition
  );
  execute format('alter table llm_private.%I enable row level security', v_partition);
  -- A row that appears there after its month was moved would keep the month from being attached.
  execute format('lock table llm_private.%I in access exclusive mode', p_table || '_default');
  execute format(
    'with moved as (delete from llm_private.%I where %I >= %L and %I < %L returning *) '
    'insert into llm_private.%I select * from moved',
    p_table || '_default', p_column, v_from, p_column, v_to, v_partition
  );
  execute format(
    'alter table public.%I attach partition llm_private.%I for values from (%L) to (%L)',
    p_table, v_partition, v_from, v_to
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."add_month_partition"(text, text, date) IS
  'Give an append-only table its partition for one month; does nothing where it has it.';

REVOKE ALL ON FUNCTION "llm_private"."add_month_partition"(text, text, date) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.add_month_partitions()
  RETURNS void
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  SET lock_timeout TO '250ms'
  AS $function$
declare
  v_months constant integer := 3;
  v_month date;
begin
  if to_regclass('llm_private.llm_usage_events_' || to_char(
    (now() at time zone 'UTC') + make_interval(months => v_months), 'YYYY_MM'
  )) is not null then
    return;
  end if;
  -- One at a time; whoever comes second has nothing to wait for.
  if not pg_try_advisory_xact_lock(hashtext('llm_private.add_month_partitions')) then
    return;
  end if;
  for i in 1..v_months loop
    v_month := ((now() at time zone 'UTC') + make_interval(months => i))::date;
    perform llm_private.add_month_partition('llm_usage_events', 'request_id', v_month);
    perform llm_private.add_month_partition('llm_audit_log', 'id', v_month);
  end loop;
exception when lock_not_available then
  -- A sign-in does not wait for somebody's long report: there is time, and a default partition.
  null;
end
$function$;

COMMENT ON FUNCTION "llm_private"."add_month_partitions"() IS 'Make the partitions of the next three months, unless somebody is in the way. Called when a user is seen for the first
time and when a runtime is registered, off the hot path; a project with pg_cron may call it daily.';

REVOKE ALL ON FUNCTION "llm_private"."add_month_partitions"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.add_price (
  p_price public.llm_prices
)
  RETURNS public.llm_prices
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_price public.llm_prices;
begin
  perform llm_private.check_rates(p_price.rates);
  insert into public.llm_prices (
    source, user_id, provider, model, key_source, service_tier, valid_from, valid_until, daily_from, daily_until, rates
  )
  values (
    p_price.source, p_price.user_id, p_price.provider, p_price.model, p_price.key_source, p_price.service_tier,
    coalesce(p_price.valid_from, now()), coalesce(p_price.valid_until, 'infinity'),
    p_price.daily_from, p_price.daily_until, p_price.rates
  )
  returning * into v_price;
  perform llm_private.compile_price(v_price.id, v_price.rates);
  return v_price;
end
$function$;

COMMENT ON FUNCTION "llm_private"."add_price"(public.llm_prices) IS 'Add a price and compile it; without dates it holds from now on. Error invalid_price.';

REVOKE ALL ON FUNCTION "llm_private"."add_price"(public.llm_prices) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.adjust_totals (
  p_job llm_private.restatements
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v record;
begin
  for v in
    select
      e.user_id, date_trunc('hour', llm_private.uuid_v7_time(e.request_id), 'UTC') as hour,
      e.provider, e.model, e.task, e.key_source, e.key_id, e.recorder,
      coalesce(sum(a.cost), 0) as cost, coalesce(sum(a.cache_savings), 0) as cache_savings,
      count(*) filter (where n.newly_priced) as newly_priced,
      count(*) filter (where n.newly_priced and a.cost is null) as unmeasured
    from public.llm_usage_adjustments as a
    inner join public.llm_usage_events as e using (user_id, request_id, attempt, recorder)
    cross join lateral (
      select
        e.cost is null and e.price_id is null and not exists (
          select from public.llm_usage_adjustments as b
          where
            b.user_id = a.user_id and b.request_id = a.request_id and b.attempt = a.attempt
            and b.recorder = a.recorder and b.restatement_id < a.restatement_id
        ) as newly_priced
    ) as n
    where
      a.restatement_id = p_job.id
      and (a.user_id, a.request_id, a.attempt, a.recorder)
      > (p_job.position_user, p_job.position_request, p_job.position_attempt, p_job.position_recorder)
    group by 1, 2, 3, 4, 5, 6, 7, 8
    order by 2
  loop
    update public.llm_usage_totals as t
    set
      cost = t.cost + v.cost,
      cache_savings = t.cache_savings + v.cache_savings,
      unpriced = t.unpriced - v.newly_priced,
      unmeasured = t.unmeasured + v.unmeasured
    where
      t.user_id = v.user_id and t.id = (
        select u.id
        from public.llm_usage_totals as u
        where
          u.user_id = v.user_id and u.hour = v.hour and u.provider = v.provider
          and u.model = v.model and u.task is not distinct from v.task and u.key_source = v.key_source
          and u.key_id is not distinct from v.key_id and u.recorder = v.recorder
        limit 1
        for update skip locked
      );
    if not found then
      insert into public.llm_usage_totals (
        user_id, hour, provider, model, task, key_source, key_id, recorder, requests, attempts, fallbacks, failures,
        cancelled, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
        cache_savings, unpriced, unmeasured, latency_counts, last_used_at
      )
      values (
        v.user_id, v.hour, v.provider, v.model, v.task, v.key_source, v.key_id, v.recorder, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, v.cost,
        v.cache_savings, -v.newly_priced, v.unmeasured, array_fill(0, '{40}'::integer[]), v.hour
      );
    end if;
    perform llm_private.note_hour(v.hour);
  end loop;
end
$function$;

COMMENT ON FUNCTION "llm_private"."adjust_totals"(llm_private.restatements) IS
  'Bring the totals in line with what a restatement appended beyond its position.';

REVOKE ALL ON FUNCTION "llm_private"."adjust_totals"(llm_private.restatements) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.asked_providers (
  p_model            text,
  p_default_provider text
)
  RETURNS TABLE (
    provider text,
    model    text
  )
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_prefix constant text := split_part(p_model, '/', 1);
begin
  perform 1 from public.llm_providers as p where p.id = v_prefix;
  if found then
    return query select v_prefix, nullif(substr(p_model, length(v_prefix) + 2), '');
    return;
  end if;
  return query
  select p.id, p_model from public.llm_providers as p
  where p_model ~ p.model_pattern
  order by (p.id = p_default_provider) desc nulls last, p.position, p.id;
  if found then
    return;
  end if;
  if p_default_provider is null then
    perform llm_private.fail(
      400, 'unknown_model', 'It is not known which provider has the model that was asked for.',
      'Ask for it as provider/model, with one of these providers: '
      || (select string_agg(p.id, ', ' order by p.position, p.id) from public.llm_providers as p) || '.'
    );
  end if;
  return query select p_default_provider, p_model;
end
$function$;

COMMENT ON FUNCTION "llm_private"."asked_providers"(text, text) IS 'Who has the model asked for: the provider it names before the slash; else all whose model_pattern it matches; else the
user''s default provider. Error unknown_model.';

REVOKE ALL ON FUNCTION "llm_private"."asked_providers"(text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.audit (
  p_user     uuid,
  p_action   text,
  p_provider text  DEFAULT NULL::text,
  p_key_id   uuid  DEFAULT NULL::uuid,
  p_runtime  uuid  DEFAULT NULL::uuid,
  p_detail   jsonb DEFAULT '{}'::jsonb
)
  RETURNS void
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  insert into public.llm_audit_log (user_id, action, actor, provider, key_id, runtime_id, detail)
  values (
    p_user, p_action, case when p_runtime is null then 'user' else 'runtime' end,
    p_provider, p_key_id, p_runtime, p_detail
  )
$function$;

COMMENT ON FUNCTION "llm_private"."audit"(uuid, text, text, uuid, uuid, jsonb) IS
  'Append one line to a user''s audit log.';

REVOKE ALL ON FUNCTION "llm_private"."audit"(uuid, text, text, uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.begin_key_test (
  p_body json
)
  RETURNS json
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_most constant integer := 10;
  v_window constant interval := interval '10 minutes';
  v_operator llm_private.operator_settings;
  v_provider public.llm_providers;
  v_stored public.llm_keys;
  v_key text;
  v_test uuid;
  v_free_at timestamptz;
begin
  perform llm_private.refuse_cast();
  v_provider := llm_private.read_key_body(p_body, false);
  select * into strict v_operator from llm_private.operator_settings;
  perform llm_private.ensure_settings(v_user);
  -- Many at once follow each other, so that they cannot pass the limit together.
  perform 1 from public.user_llm_settings where user_id = v_user for update;
  delete from llm_private.key_tests where user_id = v_user and begun_at < clock_timestamp() - interval '1 hour';
  select t.begun_at + v_window into v_free_at
  from llm_private.key_tests as t
  where t.user_id = v_user and t.begun_at > clock_timestamp() - v_window
  order by t.begun_at desc
  offset v_most - 1 limit 1;
  if found then
    perform llm_private.fail(
      429, 'too_many_key_tests', format('At most %s keys can be tested in 10 minutes.', v_most),
      format('Try again in %s seconds.', ceil(extract(epoch from v_free_at - clock_timestamp()))::integer)
    );
  end if;
  if p_body ->> 'key' is null then
    perform llm_private.require_readable_keys(v_runtime, v_operator);
    v_stored := llm_private.own_key(v_user, v_provider.id);
    select llm_private.decrypt_key(s.user_id, s.key_id, s.ciphertext, llm_private.master_key(s.master_key_id))
    into strict v_key
    from llm_private.key_secrets as s
    where s.user_id = v_user and s.key_id = v_stored.id;
  end if;
  insert into llm_private.key_tests (user_id, provider, key_id, runtime_id)
  values (v_user, v_provider.id, v_stored.id, v_runtime)
  returning id into v_test;
  perform llm_private.audit(
    v_user, 'key_tested', v_provider.id, v_stored.id, v_runtime,
    jsonb_strip_nulls(jsonb_build_object('hint', v_stored.hint, 'test', v_test))
  );
  return json_build_object(
    'test_id', v_test, 'provider', v_provider.id, 'base_url', v_provider.base_url,
    'wire_format', v_provider.wire_format, 'key_header', v_provider.key_header, 'key_scheme', v_provider.key_scheme,
    'key_test_path', v_provider.key_test_path, 'key_id', v_stored.id, 'key', v_key
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."begin_key_test"(json) IS 'Begin to test a key. Errors: see begin_llm_key_test().';

REVOKE ALL ON FUNCTION "llm_private"."begin_key_test"(json) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."begin_key_test"(json) TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.begin_reserving (
  p_user       uuid,
  p_runtime    uuid,
  p_request_id uuid,
  p_attempt    integer
)
  RETURNS bigint[]
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_holder constant uuid := coalesce(p_runtime, p_user);
  v_quotas constant bigint[] := llm_private.countable_quotas(p_user, p_runtime);
begin
  -- With those that the attempt holds something in and that do not bind any more.
  perform llm_private.open_counters(
    p_user,
    v_quotas || array(
      select r.quota_id from llm_private.reservations as r
      where r.user_id = p_user and r.request_id = p_request_id and r.attempt = p_attempt and r.holder = v_holder
    )
  );
  -- The same attempt again: its reservation was for a candidate that could not be tried, or its answer was lost.
  perform llm_private.release(p_user, v_holder, p_request_id, p_attempt);
  return v_quotas;
end
$function$;

COMMENT ON FUNCTION "llm_private"."begin_reserving"(uuid, uuid, uuid, integer) IS
  'Lock all counters that an attempt of this user may need, whatever is tried; returns their quotas. The attempt holds
nothing then.';

REVOKE ALL ON FUNCTION "llm_private"."begin_reserving"(uuid, uuid, uuid, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.begin_restatement (
  p_from  timestamp with time zone,
  p_until timestamp with time zone
)
  RETURNS llm_private.restatements
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_from constant timestamptz := coalesce(p_from, '-infinity');
  v_until constant timestamptz := coalesce(p_until, 'infinity');
  v_last_price constant bigint := coalesce((select max(p.id) from public.llm_prices as p), 0);
  v_job llm_private.restatements;
begin
  perform llm_private.check_value('invalid_argument', v_from < v_until, 'p_until', 'a time after p_from, or null for now');
  select * into v_job from llm_private.restatements as r
  where r.finished_at is null and r.from_at = v_from and r.until_at = v_until and r.last_price = v_last_price
  order by r.id desc limit 1;
  if not found then
    insert into llm_private.restatements (from_at, until_at, last_price, expected)
    select v_from, v_until, v_last_price, coalesce(sum(s.attempts), 0)
    from llm_private.sum_usage('project', null, v_from, v_until, null, 'UTC', '{}') as s
    returning * into v_job;
  end if;
  return v_job;
end
$function$;

COMMENT ON FUNCTION "llm_private"."begin_restatement"(timestamp with time zone, timestamp
  with time zone) IS 'A new restatement, or one with the same range and prices that did not come to its end. Error invalid_argument.';

REVOKE ALL
  ON FUNCTION "llm_private"."begin_restatement"(timestamp with time zone, timestamp with time zone)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.binding_quotas (
  p_user uuid
)
  RETURNS SETOF llm_private.quotas
  LANGUAGE plpgsql
  STABLE
  ROWS 5
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return query
  select distinct on (
    q.set_by, q.unit, q.period, q.key_source, q.provider, q.task, case when q.shared then q.id end
  ) q.*
  from llm_private.quotas as q
  where
    q.user_id = p_user
    or q.user_id is null and (
      q.group_name is null
      or q.group_name = (select g.group_name from llm_private.user_groups as g where g.user_id = p_user)
    )
  order by
    q.set_by, q.unit, q.period, q.key_source, q.provider, q.task, case when q.shared then q.id end,
    q.user_id is null, q.group_name is null;
end
$function$;

COMMENT ON FUNCTION "llm_private"."binding_quotas"(uuid) IS 'The quotas that hold for a user: their own, all shared ones, and of the operator''s others that differ only in whom
they bind the closest.';

REVOKE ALL ON FUNCTION "llm_private"."binding_quotas"(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.charge (
  p_user         uuid,
  p_provider     text,
  p_model        text,
  p_key_source   text,
  p_service_tier text,
  p_at           timestamp with time zone,
  p_input        integer,
  p_cached_input integer,
  p_cache_write  integer,
  p_output       integer,
  p_reasoning    integer,
  p_other_tokens jsonb,
  OUT            price_id bigint,
  OUT            cost numeric,
  OUT            cache_savings numeric
)
  RETURNS record
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_plain constant boolean := p_service_tier is null and p_other_tokens is null;
begin
  if v_plain then
    select
      c.price_id,
      case when c.price_id is not null then trim_scale(greatest(
        c.per_request + coalesce(p_input, 0) * c.per_input + coalesce(p_output, 0) * c.per_output
        + coalesce(p_reasoning, 0) * c.per_reasoning + coalesce(p_cached_input, 0) * c.per_cached_input
        + coalesce(p_cache_write, 0) * c.per_cache_write, 0
      )) end,
      trim_scale(-(coalesce(p_cached_input, 0) * c.per_cached_input + coalesce(p_cache_write, 0) * c.per_cache_write))
    into price_id, cost, cache_savings
    from llm_private.charges as c
    where
      c.provider = p_provider and c.model = lower(p_model) and c.key_source = p_key_source
      and c.holds_from <= p_at and p_at < c.holds_until
      and coalesce(p_input, 0) > c.input_above and coalesce(p_input, 0) <= c.input_up_to
      and not exists (
        select from public.llm_prices as p
        where p.source = 'user' and p.user_id = p_user and p.provider = p_provider and p_key_source = 'user'
      );
    if found then
      return;
    end if;
    perform pg_advisory_xact_lock_shared(hashtext('llm_private.price_list'), hashtext(p_provider));
  end if;
  price_id := llm_private.find_price(p_user, p_provider, p_model, p_key_source, p_service_tier, p_at);
  if price_id is not null then
    select k.cost, k.cache_savings into cost, cache_savings
    from llm_private.cost_of(
      price_id, p_input, p_cached_input, p_cache_write, p_output, p_reasoning, p_other_tokens
    ) as k;
  end if;
  if v_plain and not exists (
    select from public.llm_prices as p where p.id = charge.price_id and p.source = 'user'
  ) then
    perform llm_private.remember_charge(
      p_provider, lower(p_model), p_key_source, p_at, coalesce(p_input, 0), price_id
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."charge"(uuid, text, text, text, text, timestamp
  with time zone, integer, integer, integer, integer, integer, jsonb) IS 'The price that holds for an attempt, what it costs and what caching saved: what find_price() and cost_of() say, and on
the hot path what they said of the same model before.';

REVOKE ALL
  ON FUNCTION "llm_private"."charge"(uuid, text, text, text, text, timestamp
    with time zone, integer, integer, integer, integer, integer, jsonb)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.cheaper_models (
  p_user uuid
)
  RETURNS SETOF jsonb
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return query
  with used as (
    select t.task, t.provider, t.model, sum(t.cost) as cost, array_agg(distinct t.key_source) as key_sources
    from public.llm_usage_totals as t
    where t.user_id = p_user and t.hour >= now() - interval '30 days'
    group by 1, 2, 3
    having sum(t.cost) > 0 and sum(t.output_tokens) > 0
    order by 4 desc
    limit 10
  ),
  -- Models of the same provider that answer in text: those the user has used, and those of the catalogue.
  others as (
    select u.provider, u.model from used as u
    union
    select p.id, p.default_model from public.llm_providers as p where p.enabled
    union
    select p.id, m.value from public.llm_providers as p cross join lateral jsonb_each_text(p.task_models) as m
    where p.enabled and m.key <> 'embedding'
  ),
  prices as materialized (
    select
      o.provider, o.model, k.key_source,
      llm_private.find_price(p_user, o.provider, o.model, k.key_source, null, now()) as price
    from others as o
    cross join (values ('user'), ('team'), ('operator')) as k (key_source)
    where exists (select from used as u where u.provider = o.provider and k.key_source = any(u.key_sources))
  ),
  compared as (
    select
      u.task, u.provider, u.model, u.cost, o.model as other_model, s.compared, s.other_cost / s.own_cost as ratio,
      row_number() over (partition by u.task, u.provider, u.model order by s.other_cost, o.model) as place
    from used as u
    inner join others as o on o.provider = u.provider and o.model <> u.model
    cross join lateral (
      select count(*) as compared, count(c.cost) as priced, sum(e.cost) as own_cost, sum(c.cost) as other_cost
      from (
        select * from llm_private.adjusted_events as a
        where
          a.user_id = p_user and a.request_id >= llm_private.first_uuid_v7(now() - interval '30 days')
          and a.provider = u.provider and a.model = u.model and a.task is not distinct from u.task and a.cost > 0
        order by a.request_id desc
        limit 200
      ) as e
      inner join prices as p on p.provider = o.provider and p.model = o.model and p.key_source = e.key_source
      cross join lateral llm_private.cost_of(
        p.price, e.input_tokens, e.cached_input_tokens, e.cache_write_tokens, e.output_tokens, e.reasoning_tokens,
        e.other_tokens
      ) as c
    ) as s
    where s.compared > 0 and s.priced = s.compared and s.other_cost <= s.own_cost / 2
  )
  select
    jsonb_build_object(
      'kind', 'cheaper_model', 'task', c.task, 'provider', c.provider, 'model', c.model,
      'other_model', c.other_model, 'cost_30d', c.cost, 'would_have_cost', round(c.cost * c.ratio, 9),
      'ratio', round(c.ratio, 4), 'compared_attempts', c.compared,
      'message', format(
        '%s runs on %s: for the same tokens, %s of the same provider would have cost %s in the last 30 days.',
        coalesce('The task ' || c.task, 'What has no task'), c.model, c.other_model,
        case when c.ratio = 0 then 'nothing' else '1/' || round(1 / c.ratio) || ' of it' end
      )
    )
  from compared as c
  where c.place = 1
  order by c.cost * (1 - c.ratio) desc;
end
$function$;

COMMENT ON FUNCTION "llm_private"."cheaper_models"(uuid) IS 'Hints: models of the same provider that would have cost at most half for the same tokens, by their price of today. The
latest 200 attempts of each line are compared.';

REVOKE ALL ON FUNCTION "llm_private"."cheaper_models"(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_key (
  p_key      text,
  p_provider public.llm_providers
)
  RETURNS void
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_wrong text;
begin
  v_wrong := case
    when length(p_key) > 512 then 'it is longer than 512 characters'
    when p_key ~ '[[:space:]]' then 'it contains a space or a line break'
    when p_key !~ '^[!-~]*$' then 'it contains a character that no key has'
    when length(p_key) < 8 then 'it is shorter than 8 characters'
    when p_key !~ p_provider.key_pattern then 'it does not look like a key of ' || p_provider.name
  end;
  if v_wrong is not null then
    perform llm_private.fail(
      400, 'key_malformed', format('The key was not taken: %s.', v_wrong),
      case
        when p_provider.key_example <> ''
          then
          format('A key of %s looks like %s; copy all of it.', p_provider.name, p_provider.key_example)
        else format('Copy it again from %s.', p_provider.name)
      end
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_key"(text, public.llm_providers) IS
  'Error key_malformed if this cannot be a key of this provider; the error does not repeat it.';

REVOKE ALL ON FUNCTION "llm_private"."check_key"(text, public.llm_providers) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_known_settings (
  p_value jsonb,
  p_path  text,
  p_known text[]
)
  RETURNS void
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_unknown text;
begin
  perform llm_private.check_value(
    'invalid_setting', jsonb_typeof(p_value) = 'object', coalesce(nullif(p_path, ''), 'p_changes'), 'a JSON object'
  );
  select k into v_unknown from jsonb_object_keys(p_value) as k where k <> all(p_known) limit 1;
  if found then
    -- A name is repeated only where it reads like one: a key pasted here has digits.
    perform llm_private.fail(
      400, 'unknown_setting',
      case
        when v_unknown ~ '^[A-Za-z_-]{1,32}$'
          then format('%s is not a setting.', concat_ws('.', nullif(p_path, ''), v_unknown))
        else format('%s has a field that is not a setting.', coalesce(nullif(p_path, ''), 'p_changes'))
      end,
      'Allowed here: ' || array_to_string(p_known, ', ') || '.'
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_known_settings"(jsonb, text, text[]) IS
  'Error invalid_setting unless p_value is an object, unknown_setting if it has a field beyond p_known.';

REVOKE ALL ON FUNCTION "llm_private"."check_known_settings"(jsonb, text, text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_other_tokens (
  p_other        jsonb,
  p_input        integer,
  p_cached_input integer,
  p_cache_write  integer,
  p_output       integer
)
  RETURNS void
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_known constant text[] := array[
    'cache_write_1h', 'input_audio', 'cached_input_audio', 'output_audio', 'input_image', 'cached_input_image',
    'output_image', 'input_video', 'output_video'
  ];
  v_ok boolean;
  v record;
begin
  v_ok := jsonb_typeof(p_other) = 'object';
  if v_ok then
    select bool_and(o.key = any(v_known) and jsonb_typeof(o.value) = 'number' and o.value::text ~ '^[0-9]{1,9}$')
    into v_ok
    from jsonb_each(p_other) as o;
  end if;
  if v_ok then
    select
      coalesce((p_other -> 'cache_write_1h')::integer, 0) as cache_write_1h,
      coalesce((p_other -> 'input_audio')::integer, 0) as input_audio,
      coalesce((p_other -> 'cached_input_audio')::integer, 0) as cached_input_audio,
      coalesce((p_other -> 'output_audio')::integer, 0) as output_audio,
      coalesce((p_other -> 'input_image')::integer, 0) as input_image,
      coalesce((p_other -> 'cached_input_image')::integer, 0) as cached_input_image,
      coalesce((p_other -> 'output_image')::integer, 0) as output_image,
      coalesce((p_other -> 'input_video')::integer, 0) as input_video,
      coalesce((p_other -> 'output_video')::integer, 0) as output_video
    into v;
    v_ok := v.cache_write_1h <= coalesce(p_cache_write, 0)
      and v.input_audio + v.input_image + v.input_video <= coalesce(p_input, 0)
      and v.cached_input_audio <= v.input_audio
      and v.cached_input_image <= v.input_image
      and v.cached_input_audio + v.cached_input_image <= coalesce(p_cached_input, 0)
      and v.output_audio + v.output_image + v.output_video <= coalesce(p_output, 0);
  end if;
  perform llm_private.check_value(
    'invalid_argument', v_ok, 'p_other_tokens',
    'null, or whole numbers for some of ' || array_to_string(v_known, ', ') || ', none larger than what it is part of'
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_other_tokens"(jsonb, integer, integer, integer, integer) IS
  'Error invalid_argument unless these are counts of known kinds of tokens, each part of those beside them.';

REVOKE ALL
  ON FUNCTION "llm_private"."check_other_tokens"(jsonb, integer, integer, integer, integer)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_price_entry (
  p_entry jsonb
)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_entry record;
  v_price record;
begin
  if jsonb_typeof(p_entry) <> 'object' or p_entry - '{name,pattern,position,prices}'::text[] <> '{}' then
    raise data_exception using message = 'An entry has name, pattern, position and prices.';
  end if;
  select * into v_entry from jsonb_to_record(p_entry) as e (name text, pattern text, position integer, prices jsonb);
  if (v_entry.name ~ '^[!-~]{1,200}$' and v_entry.position between 0 and 999999) is not true then
    raise data_exception using message = 'name has 1 to 200 characters, no spaces; position is from 0 to 999999.';
  elsif ('' ~ v_entry.pattern) is null then
    raise data_exception using message = 'pattern is missing.';
  elsif jsonb_typeof(v_entry.prices) is distinct from 'array' then
    raise data_exception using message = 'prices is no array.';
  elsif exists (
    select from jsonb_array_elements(v_entry.prices) as p
    where p - '{valid_from,valid_until,daily_from,daily_until,service_tier,rates}'::text[] <> '{}'
  ) then
    raise data_exception using message =
      'A price has rates, and may have valid_from, valid_until, daily_from with daily_until, service_tier.';
  elsif exists (
    select from (
      select
        p.valid_from,
        lag(p.valid_until) over (partition by p.service_tier, p.daily_from, p.daily_until order by p.valid_from) as last
      from llm_private.price_entries(jsonb_build_array(p_entry)) as p
    ) as p
    where p.valid_from < p.last
  ) then
    raise data_exception using message = 'It has two prices for the same time.';
  end if;
  for v_price in select * from llm_private.price_entries(jsonb_build_array(p_entry)) loop
    if (
      v_price.valid_from < v_price.valid_until
      and (v_price.daily_from is null) = (v_price.daily_until is null)
      and (v_price.daily_from = v_price.daily_until) is not true
      and coalesce(v_price.service_tier, 'any') ~ '^[a-z0-9_-]{1,32}$'
    ) is not true then
      raise data_exception using message = 'A price has dates, times of day or a service tier that cannot be.';
    end if;
    perform llm_private.check_rates(v_price.rates);
  end loop;
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_price_entry"(jsonb) IS 'Raises an error of class 22, or invalid_price, unless this can be an entry of a price list.';

REVOKE ALL ON FUNCTION "llm_private"."check_price_entry"(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_price_list (
  p_entries jsonb
)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_entry jsonb;
  v_name text;
  v_hint text;
begin
  if jsonb_typeof(p_entries) is distinct from 'array' then
    perform llm_private.fail(400, 'invalid_price_list', 'p_entries must be a JSON array.');
  end if;
  for v_entry in select e from jsonb_array_elements(p_entries) as e loop
    begin
      perform llm_private.check_price_entry(v_entry);
    exception when data_exception or sqlstate 'PT400' then
      get stacked diagnostics v_hint = pg_exception_hint;
      perform llm_private.fail(
        400, 'invalid_price_list',
        format('The entry %s cannot be taken: %s', coalesce(left(v_entry ->> 'name', 200), 'without a name'), sqlerrm),
        v_hint
      );
    end;
  end loop;
  select e.name into v_name
  from jsonb_to_recordset(p_entries) as e (name text) group by e.name having count(*) > 1 limit 1;
  if found then
    perform llm_private.fail(400, 'invalid_price_list', format('The list has %s twice.', v_name));
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_price_list"(jsonb) IS 'Error invalid_price_list, naming the entry, unless this can be a price list.';

REVOKE ALL ON FUNCTION "llm_private"."check_price_list"(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_provider (
  p_provider text
)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if not exists (select from public.llm_providers where id = p_provider) then
    perform llm_private.fail(
      404, 'unknown_provider', 'There is no such provider.',
      'Known providers: ' || (select string_agg(id, ', ' order by position, id) from public.llm_providers) || '.'
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_provider"(text) IS 'Error unknown_provider unless there is such a provider.';

REVOKE ALL ON FUNCTION "llm_private"."check_provider"(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_rates (
  p_rates jsonb
)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_unit text;
  v_other text;
  v_join text;
begin
  if jsonb_typeof(p_rates) is distinct from 'object' or p_rates = '{}' then
    perform llm_private.fail(
      400, 'invalid_price', 'The rates must be a JSON object that prices something.',
      'Such as {"input": 2.5, "output": 10}, in US dollars per million tokens; free is {"input": 0, "output": 0}.'
    );
  end if;
  select k into v_unit from jsonb_object_keys(p_rates) as k
  where k not in (select u.unit from llm_private.price_units as u) limit 1;
  if found then
    perform llm_private.fail(
      400, 'invalid_price', format('%s is nothing that has a rate.', left(v_unit, 60)),
      'Allowed: ' || (select string_agg(u.unit, ', ' order by u.position) from llm_private.price_units as u) || '.'
    );
  end if;
  select key into v_unit from jsonb_each(p_rates) where not llm_private.is_rate(value) limit 1;
  if found then
    perform llm_private.fail(
      400, 'invalid_price', format('The rate of %s has a value that is not allowed.', v_unit),
      'Allowed: a number from 0 to 1000000 with at most 12 decimal places or, by the size of the input, '
      '{"base": 1.25, "above": {"200000": 2.5}}.'
    );
  end if;
  select u.unit, a.unit into v_unit, v_other
  from llm_private.price_units as u
  inner join llm_private.price_units as a on u.dimensions @> a.dimensions
  where p_rates ? u.unit and not p_rates ? a.unit
  order by u.position, a.position limit 1;
  if found then
    perform llm_private.fail(
      400, 'invalid_price', format('%s has a rate, and %s has none.', v_unit, v_other),
      format('%s is part of %s: give both a rate.', v_unit, v_other)
    );
  end if;
  -- What belongs to two units would be charged twice without a rate of its own.
  select a.unit, b.unit, j.unit into v_unit, v_other, v_join
  from llm_private.price_units as a
  inner join llm_private.price_units as b
    on a.position < b.position and a.dimensions || b.dimensions = b.dimensions || a.dimensions
  left join llm_private.price_units as j on j.dimensions = a.dimensions || b.dimensions
  where p_rates ? a.unit and p_rates ? b.unit and (p_rates ? j.unit) is not true
    -- A request is nothing that tokens are part of.
    and a.dimensions ->> 'of' = b.dimensions ->> 'of'
  order by a.position, b.position limit 1;
  if found then
    perform llm_private.fail(
      400, 'invalid_price',
      format('%s and %s have a rate, and what is both has none.', v_unit, v_other),
      case
        when v_join is null then 'Leave out one of them: what is both is not counted.'
        else format('Give %s a rate.', v_join)
      end
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_rates"(jsonb) IS 'Error invalid_price, saying what is allowed, unless these are rates.';

REVOKE ALL ON FUNCTION "llm_private"."check_rates"(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_reservation (
  p_request_id    uuid,
  p_attempt       integer,
  p_input_tokens  integer,
  p_output_tokens integer
)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  perform
    llm_private.check_value(
      'invalid_argument',
      substr(p_request_id::text, 15, 1) = '7'
      and llm_private.uuid_v7_time(p_request_id) between now() - interval '1 day' and now() + interval '10 minutes',
      'p_request_id', 'where a quota binds the user, the UUIDv7 that the request got when it began'
    ),
    llm_private.check_value('invalid_argument', p_attempt between 1 and 1000, 'p_attempt', '1 to 1000'),
    llm_private.check_value(
      'invalid_argument', coalesce(p_input_tokens, 0) >= 0 and coalesce(p_output_tokens, 0) >= 0,
      'p_input_tokens or p_output_tokens', 'null, or 0 and more'
    );
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_reservation"(uuid, integer, integer, integer) IS
  'Error invalid_argument for what cannot be reserved.';

REVOKE ALL
  ON FUNCTION "llm_private"."check_reservation"(uuid, integer, integer, integer)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_route_request (
  p_task               text,
  p_model              text,
  p_needs              text[],
  p_operator_providers text[]
)
  RETURNS void
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if length(p_task) not between 1 and 64 or p_task ~ '[[:cntrl:]]' then
    perform llm_private.fail(400, 'invalid_argument', 'p_task must have 1 to 64 printable characters, or be null.');
  elsif length(p_model) not between 1 and 200 or p_model ~ '[^!-~]' then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_model must have 1 to 200 characters without spaces, or be null.',
      'Ask for provider/model, or for a bare model.'
    );
  elsif cardinality(p_needs) > 6 or not p_needs <@ '{chat,streaming,tools,json_schema,vision,embeddings}' then
    perform llm_private.fail(
      400, 'invalid_argument', 'p_needs names a capability that does not exist, or too many.',
      'Allowed: each of chat, streaming, tools, json_schema, vision, embeddings.'
    );
  elsif cardinality(p_operator_providers) > 100 then
    perform llm_private.fail(400, 'invalid_argument', 'p_operator_providers may name at most 100 providers.');
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_route_request"(text, text, text[], text[]) IS
  'Error invalid_argument for what cannot be a request.';

REVOKE ALL ON FUNCTION "llm_private"."check_route_request"(text, text, text[], text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_usage (
  p_since date,
  p_until date
)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_events_since constant timestamptz := (select r.events_since from llm_private.usage_retention as r);
  v_first constant timestamptz := (select min(t.hour) from public.llm_usage_totals as t);
  v_from timestamptz;
  v_until timestamptz;
  v_differing bigint;
  v_shown jsonb;
begin
  -- Whole days, for the project's totals have some; from where there are events.
  v_from := greatest(
    coalesce(p_since::timestamp at time zone 'UTC', date_trunc('day', coalesce(v_first, now()), 'UTC')),
    v_events_since, 'epoch'
  );
  v_until := least(
    (p_until + 1)::timestamp at time zone 'UTC', date_trunc('day', now(), 'UTC') + interval '2 days'
  );
  select count(*), coalesce(jsonb_agg(to_jsonb(d)) filter (where d.position <= 100), '[]') into v_differing, v_shown
  from (
    select row_number() over () as position, u.* from llm_private.usage_differences(v_from, v_until) as u
  ) as d;
  return jsonb_build_object(
    'first_day', case when v_first is not null then (greatest(v_first, v_events_since) at time zone 'UTC')::date end,
    'since', (v_from at time zone 'UTC')::date,
    'until', (v_until at time zone 'UTC')::date - 1,
    'differing', v_differing,
    'differences', v_shown
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_usage"(date, date) IS 'See check_llm_usage().';

REVOKE ALL ON FUNCTION "llm_private"."check_usage"(date, date) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."check_usage"(date, date) TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.check_value (
  p_code    text,
  p_ok      boolean,
  p_name    text,
  p_allowed text
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  -- The value is not repeated: a key pasted into the wrong field would stand in a log.
  if p_ok is not true then
    perform llm_private.fail(
      400, p_code, format('%s has a value that is not allowed.', p_name), 'Allowed: ' || p_allowed || '.'
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_value"(text, boolean, text, text) IS
  'Unless p_ok, an error with this code that names the value and what is allowed.';

REVOKE ALL ON FUNCTION "llm_private"."check_value"(text, boolean, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.compile_price (
  p_price bigint,
  p_rates jsonb
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_above integer;
  v_unit llm_private.price_units;
  v_on_top jsonb;
begin
  for v_above in
    select -1
    union
    select step::integer from jsonb_each(p_rates) as r, jsonb_object_keys(r.value -> 'above') as step
    where jsonb_typeof(r.value) = 'object'
  loop
    v_on_top := '{}';
    for v_unit in select * from llm_private.price_units where p_rates ? unit order by position loop
      v_on_top := v_on_top || jsonb_build_object(
        v_unit.unit,
        llm_private.rate_above(p_rates -> v_unit.unit, v_above)
        * case when v_unit.unit = 'request' then 1 else 0.000001 end
        - coalesce(
          (
            select sum((v_on_top ->> a.unit)::numeric) from llm_private.price_units as a
            where v_on_top ? a.unit and v_unit.dimensions @> a.dimensions
          ), 0
        )
      );
    end loop;
    insert into llm_private.price_tiers (
      price_id, above, per_request, per_input, per_cached_input, per_cache_write, per_output, per_reasoning, per_other
    )
    values (
      p_price, v_above,
      coalesce((v_on_top ->> 'request')::numeric, 0), coalesce((v_on_top ->> 'input')::numeric, 0),
      coalesce((v_on_top ->> 'cached_input')::numeric, 0), coalesce((v_on_top ->> 'cache_write')::numeric, 0),
      coalesce((v_on_top ->> 'output')::numeric, 0), coalesce((v_on_top ->> 'reasoning')::numeric, 0),
      nullif(v_on_top - '{request,input,cached_input,cache_write,output,reasoning}'::text[], '{}')
    );
  end loop;
end
$function$;

COMMENT ON FUNCTION "llm_private"."compile_price"(bigint, jsonb) IS 'Write the tiers of a new price.';

REVOKE ALL ON FUNCTION "llm_private"."compile_price"(bigint, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.cost_of (
  p_price        bigint,
  p_input        integer,
  p_cached_input integer,
  p_cache_write  integer,
  p_output       integer,
  p_reasoning    integer,
  p_other_tokens jsonb,
  OUT            cost numeric,
  OUT            cache_savings numeric
)
  RETURNS record
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_tier llm_private.price_tiers;
  v_other numeric := 0;
  v_other_cached numeric := 0;
begin
  select * into v_tier from llm_private.price_tiers
  where price_id = p_price and above < coalesce(p_input, 0)
  order by above desc limit 1;
  if not found then
    return;
  end if;
  if v_tier.per_other is not null and p_other_tokens is not null then
    select
      coalesce(sum(value::numeric * (p_other_tokens ->> key)::numeric), 0),
      coalesce(sum(value::numeric * (p_other_tokens ->> key)::numeric) filter (where starts_with(key, 'cache')), 0)
    into v_other, v_other_cached
    from jsonb_each_text(v_tier.per_other);
  end if;
  cache_savings := trim_scale(-(
    coalesce(p_cached_input, 0) * v_tier.per_cached_input + coalesce(p_cache_write, 0) * v_tier.per_cache_write
    + v_other_cached
  ));
  -- Counts that contradict one another could make it negative, which would pay for something else.
  cost := trim_scale(greatest(
    v_tier.per_request + coalesce(p_input, 0) * v_tier.per_input + coalesce(p_output, 0) * v_tier.per_output
    + coalesce(p_reasoning, 0) * v_tier.per_reasoning + v_other
    + coalesce(p_cached_input, 0) * v_tier.per_cached_input + coalesce(p_cache_write, 0) * v_tier.per_cache_write, 0
  ));
end
$function$;

COMMENT ON FUNCTION
  "llm_private"."cost_of"(bigint, integer, integer, integer, integer, integer, jsonb) IS
  'What an attempt costs at a price, in US dollars, and what reading from the cache saved, less what writing to it cost
(negative where it cost more). A count that is null counts as 0; both are null without a price.';

REVOKE ALL
  ON FUNCTION "llm_private"."cost_of"(bigint, integer, integer, integer, integer, integer, jsonb)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.countable_quotas (
  p_user    uuid,
  p_runtime uuid
)
  RETURNS bigint[]
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  -- What users say of themselves cannot use up what is everybody's.
  return array(
    select q.id from llm_private.binding_quotas(p_user) as q where not q.shared or p_runtime is not null
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."countable_quotas"(uuid, uuid) IS 'The quotas that could count what is run for a user by a runtime, or by themselves.';

REVOKE ALL ON FUNCTION "llm_private"."countable_quotas"(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.current_runtime()
  RETURNS uuid
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_secret text := nullif(current_setting('request.headers', true), '')::json ->> 'x-llm-runtime';
  v_runtime llm_private.runtimes;
begin
  if v_secret is null then
    return null;
  end if;
  select * into v_runtime from llm_private.runtimes
  where secret_hash = sha256(convert_to(v_secret, 'UTF8')) and revoked_at is null;
  -- A wrong secret is an error, not a missing one: the operator must hear that this process is not what it says.
  if not found then
    perform llm_private.fail(
      403, 'runtime_unknown', 'The runtime secret in x-llm-runtime is not registered, or was revoked.',
      'Register the runtime again and give it the new secret.'
    );
  end if;
  -- To the minute is enough, and keeps requests from writing one shared row.
  if v_runtime.last_seen_at is null or v_runtime.last_seen_at < now() - interval '1 minute' then
    update llm_private.runtimes set last_seen_at = now()
    where id = (select id from llm_private.runtimes where id = v_runtime.id for update skip locked);
  end if;
  return v_runtime.id;
end
$function$;

COMMENT ON FUNCTION "llm_private"."current_runtime"() IS 'Id of the runtime whose secret came with this request, null without one. Error runtime_unknown for a wrong one.';

REVOKE ALL ON FUNCTION "llm_private"."current_runtime"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.day_begins (
  p_day  date,
  p_zone text
)
  RETURNS timestamp with time zone
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_at constant timestamptz := p_day::timestamp at time zone p_zone;
begin
  -- Where clocks go back at midnight, there are two: the day begins with the first.
  if ((v_at - interval '1 hour') at time zone p_zone)::date = p_day then
    return v_at - interval '1 hour';
  end if;
  return v_at;
end
$function$;

COMMENT ON FUNCTION "llm_private"."day_begins"(date, text) IS 'When a day begins in a time zone.';

REVOKE ALL ON FUNCTION "llm_private"."day_begins"(date, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.decrypt_key (
  p_user       uuid,
  p_key_id     uuid,
  p_ciphertext bytea,
  p_master     text
)
  RETURNS text
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_binding constant text := p_key_id || ':' || p_user || ':';
  v_payload text;
begin
  begin
    v_payload := extensions.pgp_sym_decrypt(p_ciphertext, p_master);
  exception when others then
    v_payload := null;
  end;
  -- Whoever copies a ciphertext to another row gets nothing for it.
  if v_payload is null or not starts_with(v_payload, v_binding) then
    perform llm_private.fail(
      500, 'key_unreadable', 'A stored key cannot be decrypted.', 'Store the key again; tell the operator if it recurs.'
    );
  end if;
  return substr(v_payload, length(v_binding) + 1);
end
$function$;

COMMENT ON FUNCTION "llm_private"."decrypt_key"(uuid, uuid, bytea, text) IS
  'The key in a ciphertext. Error key_unreadable if the master key is wrong or the ciphertext belongs to another row.';

REVOKE ALL ON FUNCTION "llm_private"."decrypt_key"(uuid, uuid, bytea, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.drop_old_events()
  RETURNS text[]
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  SET lock_timeout TO '250ms'
  AS $function$
declare
  v_months constant integer := (select o.events_kept_months from llm_private.operator_settings as o);
  v_since constant timestamptz := (
    date_trunc('month', now() at time zone 'UTC') - make_interval(months => v_months - 1)
  ) at time zone 'UTC';
  v_oldest constant uuid := llm_private.first_uuid_v7(v_since);
  v_partition text;
  v_dropped text[] := '{}'::text[];
begin
  if v_since is null or exists (select from llm_private.usage_retention as r where r.events_since >= v_since) then
    return '{}'::text[];
  end if;
  for v_partition in
    select c.relname from pg_inherits as i inner join pg_class as c on c.oid = i.inhrelid
    where
      i.inhparent = 'public.llm_usage_events'::regclass
      and c.relname ~ '_[0-9]{4}_[0-9]{2}$'
      and right(c.relname, 7) < to_char(v_since at time zone 'UTC', 'YYYY_MM')
    order by 1
  loop
    execute format('drop table llm_private.%I', v_partition);
    v_dropped := v_dropped || replace(right(v_partition, 7), '_', '-');
  end loop;
  -- Of months that had no partition.
  delete from public.llm_usage_events where request_id < v_oldest;
  delete from public.llm_usage_adjustments where request_id < v_oldest;
  update llm_private.usage_retention set events_since = v_since;
  return v_dropped;
exception when lock_not_available then
  -- Nobody waits for it: there is another time.
  return null;
end
$function$;

COMMENT ON FUNCTION "llm_private"."drop_old_events"() IS 'Drop the months of events that the operator does not keep any more; returns them, null while somebody is in the way.';

REVOKE ALL ON FUNCTION "llm_private"."drop_old_events"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.encrypt_key (
  p_user   uuid,
  p_key_id uuid,
  p_key    text,
  p_master text
)
  RETURNS bytea
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select extensions.pgp_sym_encrypt(
    p_key_id || ':' || p_user || ':' || p_key, p_master, 'cipher-algo=aes256, s2k-mode=1, s2k-digest-algo=sha256'
  )
$function$;

COMMENT ON FUNCTION "llm_private"."encrypt_key"(uuid, uuid, text, text) IS 'A key as ciphertext that is bound to its id and owner.';

REVOKE ALL ON FUNCTION "llm_private"."encrypt_key"(uuid, uuid, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.end_price (
  p_id bigint
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  -- Null for an administrator.
  v_user constant uuid := nullif(llm_private.acting_owner(), llm_private.operator_id());
  v_price public.llm_prices;
begin
  select * into v_price from public.llm_prices
  where
    id = p_id
    and case when v_user is null then source = 'operator' else user_id = v_user end
  for update;
  if not found then
    perform llm_private.fail(
      404, 'price_not_found', 'You have no such price.',
      'list_llm_prices() shows those with their source. One of the catalogue ends when the price list says so; set your '
      'own before it.'
    );
  end if;
  if v_price.valid_until > greatest(now(), v_price.valid_from) then
    update public.llm_prices set valid_until = greatest(now(), valid_from) where id = p_id returning * into v_price;
    if v_user is not null then
      perform llm_private.audit(
        v_user, 'price_ended', v_price.provider, p_runtime => llm_private.current_runtime(),
        p_detail => jsonb_build_object('price_id', v_price.id, 'model', v_price.model)
      );
    end if;
  end if;
  return llm_private.price_json(v_price);
end
$function$;

COMMENT ON FUNCTION "llm_private"."end_price"(bigint) IS 'End a price of the caller''s now. Error price_not_found.';

REVOKE ALL ON FUNCTION "llm_private"."end_price"(bigint) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."end_price"(bigint)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION llm_private.ensure_settings (
  p_user uuid
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  perform 1 from public.user_llm_settings where user_id = p_user;
  if found then
    return;
  end if;
  perform llm_private.add_month_partitions();
  insert into public.user_llm_settings (user_id) values (p_user) on conflict (user_id) do nothing;
exception when foreign_key_violation then
  -- A token outlives its account for a while.
  perform llm_private.fail(401, 'not_signed_in', 'This account does not exist any more.', 'Sign in again.');
end
$function$;

COMMENT ON FUNCTION "llm_private"."ensure_settings"(uuid) IS 'Make the settings row of a user who has none yet.';

REVOKE ALL ON FUNCTION "llm_private"."ensure_settings"(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.explain_route (
  p_task               text,
  p_model              text,
  p_needs              text[],
  p_operator_providers text[],
  p_changes            jsonb
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_route jsonb;
begin
  if p_changes is null then
    return llm_private.explain_saved_route(p_task, p_model, p_needs, p_operator_providers);
  end if;
  -- The changes are made as saving makes them, and undone: what is foretold is then what would happen.
  begin
    perform llm_private.update_settings(p_changes, null);
    v_route := llm_private.explain_saved_route(p_task, p_model, p_needs, p_operator_providers);
    raise exception using errcode = 'LLMUN';
  exception when sqlstate 'LLMUN' then
    return v_route;
  end;
end
$function$;

COMMENT ON FUNCTION "llm_private"."explain_route"(text, text, text[], text[], jsonb) IS
  'The caller''s route with reasons and what was left out, with changes that are not made.
Errors: see explain_llm_route().';

REVOKE ALL ON FUNCTION "llm_private"."explain_route"(text, text, text[], text[], jsonb) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."explain_route"(text, text, text[], text[], jsonb)
  TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.explain_saved_route (
  p_task               text,
  p_model              text,
  p_needs              text[],
  p_operator_providers text[]
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime uuid;
  v_quotas bigint[];
  v_lines llm_private.route_line[];
begin
  perform llm_private.check_route_request(p_task, p_model, p_needs, p_operator_providers);
  v_lines := array(select r from llm_private.route(v_user, p_task, p_model, p_needs, p_operator_providers) as r);
  if llm_private.has_quotas(v_user) then
    v_runtime := llm_private.current_runtime();
    v_quotas := llm_private.countable_quotas(v_user, v_runtime);
    perform llm_private.open_counters(v_user, v_quotas);
    for i in 1..cardinality(v_lines) loop
      if v_lines[i].left_out is null then
        -- Whether there is something left at all: for one token in and one out.
        v_lines[i].quota := (
          select w.refusal
          from llm_private.weigh_attempt(
            v_user, v_runtime, v_quotas, p_task, v_lines[i].provider, v_lines[i].model, v_lines[i].key_source, 1, 1
          ) as w
        );
        v_lines[i].left_out := v_lines[i].quota ->> 'reason';
      end if;
    end loop;
  end if;
  return (
    select jsonb_build_object(
      'task', p_task,
      'candidates', coalesce(
        jsonb_agg(
          jsonb_build_object(
            'provider', l.provider, 'model', l.model, 'reason', l.reason, 'key_source', l.key_source,
            'key_id', l.key_id, 'key_hint', l.key_hint, 'wire_format', l.wire_format, 'base_url', l.base_url,
            'key_header', l.key_header, 'key_scheme', l.key_scheme, 'parameter_names', l.parameter_names
          ) order by l.ordinality
        ) filter (where l.left_out is null), '[]'
      ),
      'left_out', coalesce(
        jsonb_agg(
          jsonb_build_object(
            'provider', l.provider, 'key_source', l.key_source, 'reason', l.left_out,
            'message', llm_private.left_out_message(v_lines[l.ordinality], p_needs), 'quota', l.quota -> 'quota'
          ) order by l.ordinality
        ) filter (where l.left_out is not null), '[]'
      ),
      'advice', case
        when count(*) filter (where l.left_out is null) = 0 then llm_private.route_advice(v_lines, p_needs) else ''
      end
    )
    from unnest(v_lines) with ordinality as l
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."explain_saved_route"(text, text, text[], text[]) IS
  'The caller''s route by their settings as they are. Errors: see explain_llm_route().';

REVOKE ALL ON FUNCTION "llm_private"."explain_saved_route"(text, text, text[], text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.fail (
  p_status  integer,
  p_code    text,
  p_message text,
  p_hint    text    DEFAULT NULL::text
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  raise exception using
    errcode = 'PT' || p_status, message = p_message, detail = p_code, hint = coalesce(p_hint, '');
end
$function$;

COMMENT ON FUNCTION "llm_private"."fail"(integer, text, text, text) IS 'Raise a coded error: PostgREST turns SQLSTATE PTxyz into HTTP xyz; detail is a stable code of docs/errors.md.';

REVOKE ALL ON FUNCTION "llm_private"."fail"(integer, text, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.find_price (
  p_user         uuid,
  p_provider     text,
  p_model        text,
  p_key_source   text,
  p_service_tier text,
  p_at           timestamp with time zone
)
  RETURNS bigint
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_model constant text := lower(p_model);
  v_name constant text := llm_private.price_name(p_provider, v_model);
  v_time constant time := (p_at at time zone 'UTC')::time;
  v_id bigint;
begin
  select p.id into v_id
  from (
    -- Only where their own key pays: they cannot make the operator's keys free.
    select 1 as rank, o.* from public.llm_prices as o
    where o.source = 'user' and o.user_id = p_user and o.provider = p_provider and p_key_source = 'user'
    union all
    select 2 as rank, o.* from public.llm_prices as o
    where o.source = 'operator' and o.provider = p_provider and (o.key_source is null or o.key_source = p_key_source)
    union all
    select 3 as rank, c.* from public.llm_prices as c
    where c.source = 'catalogue' and c.provider = p_provider and c.model = v_name
  ) as p
  where
    (
      p.rank = 3 or p.model = v_model
      or (right(p.model, 1) = '*' and starts_with(v_model, left(p.model, -1)))
    )
    and p.valid_from <= p_at and p_at < p.valid_until
    and (p.service_tier is null or p.service_tier = p_service_tier)
    and (
      p.daily_from is null
      or case
        when p.daily_from < p.daily_until then v_time >= p.daily_from and v_time < p.daily_until
        else v_time >= p.daily_from or v_time < p.daily_until
      end
    )
  order by
    p.rank, right(p.model, 1) = '*', length(p.model) desc,
    p.service_tier is null, p.daily_from is null, p.id desc
  limit 1;
  return v_id;
end
$function$;

COMMENT ON FUNCTION "llm_private"."find_price"(uuid, text, text, text, text, timestamp
  with time zone) IS 'The price of an attempt at a time, null when none is known. The user''s own (where their key pays) before the
operator''s before the catalogue''s; then an exact name before the longest that ends with *; then a row for this service
tier before one for any; then one for this time of day before one for the whole; then the newest.';

REVOKE ALL
  ON FUNCTION "llm_private"."find_price"(uuid, text, text, text, text, timestamp with time zone)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.first_uuid_v7 (
  p_at timestamp with time zone
)
  RETURNS uuid
  LANGUAGE sql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select (lpad(to_hex((extract(epoch from p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$function$;

COMMENT ON FUNCTION "llm_private"."first_uuid_v7"(timestamp
  with time zone) IS 'The smallest id of a moment: the bound of a partition, and of a search by time.';

REVOKE ALL ON FUNCTION "llm_private"."first_uuid_v7"(timestamp with time zone) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.fold_span (
  p_span      text,
  p_starts_at timestamp with time zone
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  delete from llm_private.project_totals where span = p_span and starts_at = p_starts_at;
  insert into llm_private.project_totals (
    span, starts_at, provider, model, task, key_source, requests, attempts, fallbacks, failures, cancelled,
    input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost, cache_savings,
    unpriced, unmeasured, latency_counts, last_used_at
  )
  select
    p_span, p_starts_at, s.provider, s.model, s.task, s.key_source, s.requests, s.attempts, s.fallbacks, s.failures,
    s.cancelled, s.input_tokens, s.cached_input_tokens, s.cache_write_tokens, s.output_tokens, s.reasoning_tokens,
    s.cost, s.cache_savings, s.unpriced, s.unmeasured, s.latency_counts, s.last_used_at
  from llm_private.sum_usage(
    case p_span when 'hour' then 'users' else 'hours' end, null,
    p_starts_at, p_starts_at + ('1 ' || p_span)::interval, null, 'UTC', '{provider,model,task,key_source}'
  ) as s;
  insert into llm_private.usage_folds (span, starts_at, stale) values (p_span, p_starts_at, false)
  on conflict (span, starts_at) do update set stale = false, folded_at = now();
end
$function$;

COMMENT ON FUNCTION "llm_private"."fold_span"(text, timestamp
  with time zone) IS 'Sum an hour of all users, or the folded hours of a day, whose locks the caller holds.';

REVOKE ALL ON FUNCTION "llm_private"."fold_span"(text, timestamp with time zone) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.fold_usage (
  p_budget interval
)
  RETURNS integer
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  -- Late ones mostly come within minutes.
  v_over constant timestamptz := date_trunc('hour', clock_timestamp() - interval '15 minutes', 'UTC');
  v_give_up constant timestamptz := clock_timestamp() + p_budget;
  -- Each holds a lock until the end of the transaction, and there are so many.
  v_most constant integer := 500;
  v_next timestamptz;
  v_hour timestamptz;
  v_day timestamptz;
  v_left integer;
begin
  -- Each statement must see what was committed before it, and there must be one who folds.
  if current_setting('transaction_read_only')::boolean
    or current_setting('transaction_isolation') <> 'read committed'
    or not pg_try_advisory_xact_lock(hashtext('llm_private.fold_usage')) then
    return null;
  end if;
  select max(f.starts_at) + interval '1 hour' into v_next from llm_private.usage_folds as f where f.span = 'hour';
  if v_next is null then
    -- Nothing is recorded for a time before this one any more.
    select date_trunc('day', least(min(t.hour), now() - interval '8 days'), 'UTC') into v_next
    from public.llm_usage_totals as t;
  end if;

  for v_hour in
    select f.starts_at from llm_private.usage_folds as f where f.span = 'hour' and f.stale
    union all
    select g from generate_series(v_next, v_over - interval '1 hour', interval '1 hour') as g
    order by 1
    limit v_most
  loop
    exit when clock_timestamp() > v_give_up;
    if pg_try_advisory_xact_lock(hashtext('llm_private.usage_folds'), llm_private.hour_number(v_hour)) then
      perform llm_private.fold_span('hour', v_hour);
    else
      insert into llm_private.usage_folds (span, starts_at, stale) values ('hour', v_hour, true)
      on conflict do nothing;
    end if;
  end loop;

  for v_day in
    select date_trunc('day', f.starts_at, 'UTC') from llm_private.usage_folds as f
    where f.span = 'hour' and not f.stale
    group by 1
    having count(*) = 24
    except
    select f.starts_at from llm_private.usage_folds as f where f.span = 'day' and not f.stale
    order by 1
    limit v_most / 24
  loop
    exit when clock_timestamp() > v_give_up;
    if (
      select bool_and(pg_try_advisory_xact_lock(hashtext('llm_private.usage_folds'), llm_private.hour_number(v_day) + i))
      from generate_series(0, 23) as i
    ) and not exists (
      -- Asked again now that the locks are held.
      select from llm_private.usage_folds as f
      where f.span = 'hour' and f.stale and f.starts_at >= v_day and f.starts_at < v_day + interval '1 day'
    ) then
      perform llm_private.fold_span('day', v_day);
    end if;
  end loop;

  select
    count(*) filter (where f.stale)
    + greatest(extract(epoch from v_over - max(f.starts_at)) / 3600 - 1, 0)
  into v_left
  from llm_private.usage_folds as f where f.span = 'hour';
  return v_left;
end
$function$;

COMMENT ON FUNCTION "llm_private"."fold_usage"(interval) IS 'Fold hours and days that are over, for about so long; returns how many hours are left, null where somebody else folds
or nothing may be written.';

REVOKE ALL ON FUNCTION "llm_private"."fold_usage"(interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.forecast()
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_zone constant text := llm_private.report_zone(v_user, null);
  v_today constant date := (now() at time zone v_zone)::date;
  v_month constant date := date_trunc('month', v_today::timestamp);
  v_month_ends constant timestamptz := llm_private.day_begins((v_month + interval '1 month')::date, v_zone);
  v_first_day constant date := (
    select (min(t.hour) at time zone v_zone)::date from public.llm_usage_totals as t where t.user_id = v_user
  );
  -- Who began three days ago has not had a week of nothing before.
  v_days constant integer := case when v_first_day < v_today then least(7, v_today - v_first_day) else 0 end;
  v_so_far numeric;
  v_unpriced bigint;
  v_unmeasured bigint;
  v_average numeric;
begin
  select
    llm_private.known_cost(s.cost, s.attempts, s.failures, s.unpriced, s.unmeasured), s.unpriced, s.unmeasured
  into v_so_far, v_unpriced, v_unmeasured
  from llm_private.sum_usage(
    'user', v_user, llm_private.day_begins(v_month, v_zone), v_month_ends, null, v_zone, '{}'
  ) as s;
  if not found then
    v_so_far := 0;
    v_unpriced := 0;
    v_unmeasured := 0;
  end if;
  if v_days > 0 then
    select llm_private.known_cost(s.cost, s.attempts, s.failures, s.unpriced, s.unmeasured) / v_days into v_average
    from llm_private.sum_usage(
      'user', v_user, llm_private.day_begins(v_today - v_days, v_zone), llm_private.day_begins(v_today, v_zone), null,
      v_zone, '{}'
    ) as s;
    if not found then
      v_average := 0;
    end if;
  end if;
  return jsonb_build_object(
    'currency', 'USD',
    'month', v_month,
    'time_zone', v_zone,
    'cost_so_far', v_so_far,
    'unpriced', v_unpriced,
    'unmeasured', v_unmeasured,
    'days_averaged', v_days,
    'daily_average', round(v_average, 6),
    'forecast', round(
      v_so_far + v_average * (extract(epoch from v_month_ends - now()) / 86400)::numeric, 6
    )
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."forecast"() IS 'See get_llm_forecast().';

REVOKE ALL ON FUNCTION "llm_private"."forecast"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."forecast"() TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.forget_charges()
  RETURNS trigger
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_price public.llm_prices := coalesce(new, old);
begin
  -- Whoever is working out a charge to remember holds this lock shared: it is forgotten, or has seen the change.
  if v_price.source <> 'user' then
    perform pg_advisory_xact_lock(hashtext('llm_private.price_list'), hashtext(v_price.provider));
    delete from llm_private.charges where provider = v_price.provider;
  end if;
  return v_price;
end
$function$;

COMMENT ON FUNCTION "llm_private"."forget_charges"() IS 'Before a price changes, what is remembered of its provider is forgotten.';

REVOKE ALL ON FUNCTION "llm_private"."forget_charges"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.forget_counters (
  p_quotas bigint[],
  p_owner  uuid
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  perform from llm_private.quota_counters as c
  where c.quota_id = any(p_quotas) and (p_owner is null or c.owner = p_owner)
  order by c.quota_id, c.owner
  for update;
  delete from llm_private.quota_counters as c
  where c.quota_id = any(p_quotas) and (p_owner is null or c.owner = p_owner);
end
$function$;

COMMENT ON FUNCTION "llm_private"."forget_counters"(bigint[], uuid) IS 'Throw counters away, all or those of one user: a quota that stood back behind a closer one did not count meanwhile, and
is opened anew from the ledger.';

REVOKE ALL ON FUNCTION "llm_private"."forget_counters"(bigint[], uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.get_settings()
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
begin
  perform llm_private.ensure_settings(v_user);
  return llm_private.settings_json(v_user);
end
$function$;

COMMENT ON FUNCTION "llm_private"."get_settings"() IS 'The caller''s settings, made at the first call. Error not_signed_in.';

REVOKE ALL ON FUNCTION "llm_private"."get_settings"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."get_settings"() TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.has_quotas (
  p_user uuid
)
  RETURNS boolean
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  -- Where nobody has any, no more is asked.
  return exists (select from llm_private.quotas) and exists (
    select from llm_private.quotas as q where q.user_id = p_user
    union all
    select from llm_private.quotas as q
    where
      q.user_id is null and (
        q.group_name is null
        or q.group_name = (select g.group_name from llm_private.user_groups as g where g.user_id = p_user)
      )
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."has_quotas"(uuid) IS 'Whether any quota binds this user: all that users without one pay for quotas.';

REVOKE ALL ON FUNCTION "llm_private"."has_quotas"(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.hints()
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
begin
  return coalesce(
    (select jsonb_agg(m.hint) from llm_private.cheaper_models(v_user) as m (hint)), '[]'
  )
  || coalesce(
    (
      select
        jsonb_agg(
          jsonb_build_object(
            'kind', 'cache_loss', 'provider', l.provider, 'model', l.model, 'cost_30d', l.cost, 'lost', l.lost,
            'message', format(
              'Writing to the cache of %s/%s cost $%s more than reading from it saved, in the last 30 days.',
              l.provider, l.model, l.lost
            )
          ) order by l.lost desc
        )
      from (
        select
          t.provider, t.model, sum(t.cost) as cost, trim_scale(-sum(t.cache_savings)) as lost
        from public.llm_usage_totals as t
        where t.user_id = v_user and t.hour >= now() - interval '30 days'
        group by t.provider, t.model
        having sum(t.cache_savings) < 0
      ) as l
    ), '[]'
  )
  || coalesce(
    (
      select
        jsonb_agg(
          jsonb_build_object(
            'kind', 'failing', 'provider', f.provider, 'model', f.model, 'attempts', f.attempts, 'failures', f.failures,
            'message', format(
              '%s/%s failed %s of %s attempts in the last 7 days.', f.provider, f.model, f.failures, f.attempts
            )
          ) order by f.failures desc
        )
      from (
        select t.provider, t.model, sum(t.attempts) as attempts, sum(t.failures) as failures
        from public.llm_usage_totals as t
        where t.user_id = v_user and t.hour >= now() - interval '7 days'
        group by t.provider, t.model
        having sum(t.attempts) >= 20 and sum(t.failures) * 5 >= sum(t.attempts)
      ) as f
    ), '[]'
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."hints"() IS 'See get_llm_hints().';

REVOKE ALL ON FUNCTION "llm_private"."hints"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."hints"() TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.hour_number (
  p_hour timestamp with time zone
)
  RETURNS integer
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return (extract(epoch from p_hour) / 3600)::integer;
end
$function$;

COMMENT ON FUNCTION "llm_private"."hour_number"(timestamp
  with time zone) IS 'Hours since 1970: together with the class usage_folds the advisory lock on an hour.';

REVOKE ALL ON FUNCTION "llm_private"."hour_number"(timestamp with time zone) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.is_amount (
  p_value jsonb
)
  RETURNS boolean
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return jsonb_typeof(p_value) = 'number'
    and (p_value #>> '{}')::numeric between 0 and 1000000 and scale(trim_scale((p_value #>> '{}')::numeric)) <= 12;
end
$function$;

COMMENT ON FUNCTION "llm_private"."is_amount"(jsonb) IS 'Whether it is a number from 0 to 1000000, to 12 decimal places.';

REVOKE ALL ON FUNCTION "llm_private"."is_amount"(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.is_model_name (
  p_value jsonb
)
  RETURNS boolean
  LANGUAGE sql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select coalesce(jsonb_typeof(p_value) = 'string' and p_value #>> '{}' ~ '^[!-~]{1,200}$', false)
$function$;

COMMENT ON FUNCTION "llm_private"."is_model_name"(jsonb) IS 'A JSON string of 1 to 200 printable characters, no spaces.';

REVOKE ALL ON FUNCTION "llm_private"."is_model_name"(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.is_rate (
  p_rate jsonb
)
  RETURNS boolean
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if jsonb_typeof(p_rate) is distinct from 'object' then
    return llm_private.is_amount(p_rate) is true;
  end if;
  return p_rate - '{base,above}'::text[] = '{}'
    and llm_private.is_amount(p_rate -> 'base') is true
    and jsonb_typeof(p_rate -> 'above') is not distinct from 'object'
    and (
      select count(*) between 1 and 16
        and bool_and(key ~ '^(0|[1-9][0-9]{0,8})$' and llm_private.is_amount(value))
      from jsonb_each(p_rate -> 'above')
    );
end
$function$;

COMMENT ON FUNCTION "llm_private"."is_rate"(jsonb) IS 'Whether it is an amount, or amounts by the size of the input.';

REVOKE ALL ON FUNCTION "llm_private"."is_rate"(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.key_json (
  p_key public.llm_keys
)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select jsonb_build_object(
    'id', p_key.id,
    'provider', p_key.provider,
    'hint', p_key.hint,
    'status', case
      when p_key.status <> 'rejected' and p_key.cooling_until > now() then 'cooling_down'
      else p_key.status
    end,
    'cooling_until', case when p_key.cooling_until > now() then p_key.cooling_until end,
    'created_at', p_key.created_at,
    'last_used_at', (
      select max(t.last_used_at) from public.llm_usage_totals as t
      where t.user_id = p_key.user_id and t.hour >= date_trunc('hour', p_key.created_at, 'UTC') and t.key_id = p_key.id
    )
  )
$function$;

COMMENT ON FUNCTION "llm_private"."key_json"(public.llm_keys) IS 'A key as its owner sees it.';

REVOKE ALL ON FUNCTION "llm_private"."key_json"(public.llm_keys) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.known_cost (
  p_cost       numeric,
  p_attempts   bigint,
  p_failures   bigint,
  p_unpriced   bigint,
  p_unmeasured bigint
)
  RETURNS numeric
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if p_unpriced + p_unmeasured > 0 and p_cost = 0 and p_attempts - p_unpriced - p_unmeasured <= p_failures then
    return null;
  end if;
  return p_cost;
end
$function$;

COMMENT ON FUNCTION "llm_private"."known_cost"(numeric, bigint, bigint, bigint, bigint) IS
  'A sum of costs as it may be shown: null where nothing but failures has a known cost, so that what has no price never
looks free.';

REVOKE ALL
  ON FUNCTION "llm_private"."known_cost"(numeric, bigint, bigint, bigint, bigint)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.latency_bucket (
  p_latency_ms integer
)
  RETURNS integer
  LANGUAGE plpgsql
  IMMUTABLE
  STRICT
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return least(40, 1 + floor(2 * ln(greatest(p_latency_ms, 1)) / ln(2.0::double precision)))::integer;
end
$function$;

COMMENT ON FUNCTION "llm_private"."latency_bucket"(integer) IS 'Which of 40 buckets a latency falls into: bucket b holds those from 2^((b-1)/2) to below 2^(b/2) milliseconds;
null where it was not measured.';

REVOKE ALL ON FUNCTION "llm_private"."latency_bucket"(integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.latency_percentile (
  p_counts   bigint[],
  p_fraction double precision
)
  RETURNS integer
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_count bigint;
  v_rank double precision := 0;
begin
  foreach v_count in array p_counts loop
    v_rank := v_rank + v_count;
  end loop;
  v_rank := v_rank * p_fraction;
  for i in 1..40 loop
    if v_rank > 0 and v_rank <= p_counts[i] then
      return round(power(2, (i - 1) / 2.0) + (power(2, i / 2.0) - power(2, (i - 1) / 2.0)) * v_rank / p_counts[i]);
    end if;
    v_rank := v_rank - p_counts[i];
  end loop;
  return null;
end
$function$;

COMMENT ON FUNCTION "llm_private"."latency_percentile"(bigint[], double precision) IS
  'Milliseconds below which this fraction of a histogram lies, as if latencies were spread evenly within a bucket: right
to the width of one, so at most 42 % off and usually a few. Null without any.';

REVOKE ALL ON FUNCTION "llm_private"."latency_percentile"(bigint[], double precision) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.lease_keys (
  p_user    uuid,
  p_runtime uuid,
  p_holder  text,
  p_keys    uuid[],
  p_until   timestamp with time zone
)
  RETURNS boolean
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_there bigint;
begin
  -- First of all, so that keys and leases are locked in the order in which storing another key locks them.
  perform from public.llm_keys as k where k.user_id = p_user and k.id = any(p_keys) for key share;
  get diagnostics v_there = row_count;
  if v_there < cardinality(p_keys) then
    return false;
  end if;
  insert into llm_private.leases (user_id, key_id, holder, expires_at)
  select p_user, k, p_holder, p_until from unnest(p_keys) as k order by k
  on conflict (user_id, key_id, holder) do update set expires_at = excluded.expires_at;
  -- Others' leases that have ended go too, but for those that their holder is renewing right now.
  delete from llm_private.leases as l
  using (
    select e.key_id, e.holder from llm_private.leases as e
    where e.user_id = p_user and e.expires_at <= now()
    for update skip locked
  ) as ended
  where l.user_id = p_user and l.key_id = ended.key_id and l.holder = ended.holder;
  insert into public.llm_audit_log (user_id, action, actor, provider, key_id, runtime_id, detail)
  select
    p_user, 'lease', case when p_runtime is null then 'user' else 'runtime' end, k.provider, k.id, p_runtime,
    jsonb_build_object('hint', k.hint, 'holder', p_holder, 'until', p_until)
  from public.llm_keys as k
  where k.user_id = p_user and k.id = any(p_keys);
  return true;
end
$function$;

COMMENT ON FUNCTION "llm_private"."lease_keys"(uuid, uuid, text, uuid[], timestamp
  with time zone) IS 'Put the release of these keys to this holder on record; false, and nothing done, if one of them was replaced or revoked
meanwhile.';

REVOKE ALL
  ON FUNCTION "llm_private"."lease_keys"(uuid, uuid, text, uuid[], timestamp with time zone)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.left_out_message (
  p_line  llm_private.route_line,
  p_needs text[]
)
  RETURNS text
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select case p_line.left_out
    when 'provider_off' then p_line.name || ' is switched off by the operator.'
    when 'provider_disabled' then 'You switched ' || p_line.name || ' off.'
    when 'other_model' then 'Vectors of ' || p_line.name || ' do not compare with those of the model asked for.'
    when 'not_in_task_fallbacks' then p_line.name || ' is not among your fallbacks for this task.'
    when 'lacks_capability' then p_line.name || ' cannot do all of: ' || array_to_string(p_needs, ', ') || '.'
    when 'no_model' then p_line.name || ' has no model for this task.'
    when 'no_key' then 'You have no key for ' || p_line.name || '.'
    when 'key_rejected' then p_line.name || ' rejected your key ' || p_line.key_hint || ': replace it.'
    when 'key_cooling_down' then format(
      'Your key for %s is cooling down for another %s seconds.',
      p_line.name, ceil(extract(epoch from p_line.cooling_until - now()))::integer
    )
    when 'operator_keys_declined' then 'The operator has a key for ' || p_line.name || ', but you declined its use.'
    when 'quota_exceeded' then p_line.quota ->> 'message'
    when 'model_unpriced' then p_line.quota ->> 'message'
    when 'runtime_required' then p_line.quota ->> 'message'
    when 'fallbacks_off' then p_line.name || ' would be a fallback, and fallbacks are off.'
  end
$function$;

COMMENT ON FUNCTION "llm_private"."left_out_message"(llm_private.route_line, text[]) IS
  'Why a line cannot serve, for people.';

REVOKE ALL ON FUNCTION "llm_private"."left_out_message"(llm_private.route_line, text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.list_events (
  p_since timestamp with time zone,
  p_until timestamp with time zone,
  p_after text,
  p_limit integer
)
  RETURNS TABLE (
    user_id             uuid,
    request_id          uuid,
    attempt             smallint,
    recorder            uuid,
    requested_at        timestamp with time zone,
    task                text,
    provider            text,
    model               text,
    key_source          text,
    key_id              uuid,
    outcome             text,
    error_class         text,
    streamed            boolean,
    latency_ms          integer,
    input_tokens        integer,
    cached_input_tokens integer,
    cache_write_tokens  integer,
    output_tokens       integer,
    reasoning_tokens    integer,
    other_tokens        jsonb,
    service_tier        text,
    cost                numeric,
    cost_status         text,
    cache_savings       numeric,
    price_id            bigint,
    recorded_at         timestamp with time zone,
    cursor              text
  )
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
#variable_conflict use_column
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_from constant uuid := llm_private.first_uuid_v7(greatest(coalesce(p_since, 'epoch'), 'epoch'));
  v_until constant uuid := llm_private.first_uuid_v7(least(coalesce(p_until, 'infinity'), '4000-01-01'));
  v_limit constant integer := least(greatest(coalesce(p_limit, 1000), 1), 1000);
  v_after text[] := string_to_array(p_after, '/');
begin
  perform llm_private.check_value(
    'invalid_argument',
    p_after is null or p_after ~ '^[0-9a-f-]{36}/[0-9a-f-]{36}/[0-9]{1,4}/[0-9a-f-]{36}$',
    'p_after', 'null, or the cursor of the last event of the page before'
  );
  v_after := coalesce(v_after, '{00000000-0000-0000-0000-000000000000,00000000-0000-0000-0000-000000000000,0,'
    '00000000-0000-0000-0000-000000000000}');
  -- Two queries, for a user's may never be planned as one over all users.
  if v_owner <> llm_private.operator_id() then
    return query
    select
      e.user_id, e.request_id, e.attempt, e.recorder, llm_private.uuid_v7_time(e.request_id), e.task, e.provider,
      e.model, e.key_source, e.key_id, e.outcome, e.error_class, e.streamed, e.latency_ms, e.input_tokens,
      e.cached_input_tokens, e.cache_write_tokens, e.output_tokens, e.reasoning_tokens, e.other_tokens,
      e.service_tier, e.cost, e.cost_status, e.cache_savings, e.price_id, e.recorded_at,
      concat_ws('/', e.user_id, e.request_id, e.attempt, e.recorder)
    from llm_private.adjusted_events as e
    where
      e.user_id = v_owner and e.request_id >= v_from and e.request_id < v_until
      and (e.request_id, e.attempt, e.recorder) > (v_after[2]::uuid, v_after[3]::smallint, v_after[4]::uuid)
    order by e.request_id, e.attempt, e.recorder
    limit v_limit;
  else
    return query
    select
      e.user_id, e.request_id, e.attempt, e.recorder, llm_private.uuid_v7_time(e.request_id), e.task, e.provider,
      e.model, e.key_source, e.key_id, e.outcome, e.error_class, e.streamed, e.latency_ms, e.input_tokens,
      e.cached_input_tokens, e.cache_write_tokens, e.output_tokens, e.reasoning_tokens, e.other_tokens,
      e.service_tier, e.cost, e.cost_status, e.cache_savings, e.price_id, e.recorded_at,
      concat_ws('/', e.user_id, e.request_id, e.attempt, e.recorder)
    from llm_private.adjusted_events as e
    where
      e.request_id >= v_from and e.request_id < v_until
      and (e.user_id, e.request_id, e.attempt, e.recorder)
      > (v_after[1]::uuid, v_after[2]::uuid, v_after[3]::smallint, v_after[4]::uuid)
    order by e.user_id, e.request_id, e.attempt, e.recorder
    limit v_limit;
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."list_events"(timestamp with time zone, timestamp
  with time zone, text, integer) IS 'A page of the caller''s events or, with a secret key, of everybody''s. Errors: see list_llm_usage_events().';

REVOKE ALL
  ON FUNCTION "llm_private"."list_events"(timestamp with time zone, timestamp
    with time zone, text, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."list_events"(timestamp with time zone, timestamp
    with time zone, text, integer)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION llm_private.list_keys()
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
begin
  return coalesce(
    (
      select jsonb_agg(llm_private.key_json(k) order by k.provider)
      from public.llm_keys as k
      where k.user_id = v_user
    ),
    '[]'
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."list_keys"() IS 'The caller''s keys as they may see them. Error not_signed_in.';

REVOKE ALL ON FUNCTION "llm_private"."list_keys"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."list_keys"() TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.list_models (
  p_provider text
)
  RETURNS json
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
begin
  perform from public.llm_providers as p where p.id = p_provider;
  if not found then
    perform llm_private.fail(
      404, 'unknown_provider', 'There is no such provider.',
      'Known providers: ' || (select string_agg(p.id, ', ' order by p.position, p.id) from public.llm_providers as p) || '.'
    );
  end if;
  return (
    with known as (
      select p.default_model as model from public.llm_providers as p where p.id = p_provider
      union
      select m.value from public.llm_providers as p cross join lateral jsonb_each_text(p.task_models) as m
      where p.id = p_provider
      union
      select t.model from public.llm_usage_totals as t where t.user_id = v_user and t.provider = p_provider
      union
      -- Names with a star are patterns.
      select r.model from public.llm_prices as r
      where
        r.provider = p_provider and (r.user_id is null or r.user_id = v_user) and strpos(r.model, '*') = 0
        and now() >= r.valid_from and now() < r.valid_until
    )
    select
      coalesce(
        json_agg(
          json_build_object(
            'model', k.model,
            'input_price', case when jsonb_typeof(r.rates -> 'input') = 'number' then r.rates -> 'input' end,
            'output_price', case when jsonb_typeof(r.rates -> 'output') = 'number' then r.rates -> 'output' end
          ) order by k.model
        ), '[]'
      )
    from known as k
    left join public.llm_prices as r
      on r.id = llm_private.find_price(v_user, p_provider, k.model, 'user', null, now())
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."list_models"(text) IS 'See list_llm_models().';

REVOKE ALL ON FUNCTION "llm_private"."list_models"(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."list_models"(text) TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.list_prices (
  p_provider text,
  p_model    text
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  -- Null for an administrator.
  v_user constant uuid := nullif(llm_private.acting_owner(), llm_private.operator_id());
  v_model constant text := lower(p_model);
  v_name text;
  v_in_force bigint;
begin
  if p_model is not null and p_provider is null then
    perform llm_private.fail(400, 'invalid_argument', 'p_model needs p_provider.');
  end if;
  if p_model is not null then
    v_name := llm_private.price_name(p_provider, v_model);
    v_in_force := llm_private.find_price(
      v_user, p_provider, p_model, case when v_user is null then 'operator' else 'user' end, null, now()
    );
  end if;
  return coalesce(
    (
      select jsonb_agg(
        llm_private.price_json(p, case when p_model is not null then p.id is not distinct from v_in_force end)
        order by
          p.id is not distinct from v_in_force desc, p.provider, p.model, p.source desc,
          p.service_tier nulls first, p.daily_from nulls first, p.valid_from, p.id desc
      )
      from public.llm_prices as p
      where
        (p.user_id is null or p.user_id = v_user)
        and p.valid_until > greatest(now(), p.valid_from)
        and (p_provider is null or p.provider = p_provider)
        and (
          p_model is null
          or case
            when p.source = 'catalogue' then p.model = v_name
            else p.model = v_model or (right(p.model, 1) = '*' and starts_with(v_model, left(p.model, -1)))
          end
        )
    ), '[]'
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."list_prices"(text, text) IS 'The prices that hold now or later and that the caller may see: see list_llm_prices().';

REVOKE ALL ON FUNCTION "llm_private"."list_prices"(text, text) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."list_prices"(text, text)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION llm_private.list_quotas (
  p_user_id uuid
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_user constant uuid := case when v_owner = llm_private.operator_id() then p_user_id else v_owner end;
begin
  if v_user is null then
    perform llm_private.open_counters(v_owner, array(select q.id from llm_private.quotas as q where q.shared));
    return (
      select coalesce(
        jsonb_agg(
          case when q.shared then llm_private.quota_status(q, v_owner) else llm_private.quota_json(q) end order by q.id
        ), '[]'
      )
      from llm_private.quotas as q
    );
  end if;
  perform llm_private.open_counters(v_user, array(select q.id from llm_private.binding_quotas(v_user) as q));
  -- What all use up together is for the operator to know in figures.
  return (
    select coalesce(
      jsonb_agg(
        case
          when q.shared and v_user = v_owner then llm_private.quota_json(q)
          else llm_private.quota_status(q, v_user)
        end order by q.id
      ), '[]'
    )
    from llm_private.binding_quotas(v_user) as q
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."list_quotas"(uuid) IS 'The quotas that bind the caller or, for an administrator, a user; all there are when none is named.
Error not_signed_in.';

REVOKE ALL ON FUNCTION "llm_private"."list_quotas"(uuid) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."list_quotas"(uuid)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION llm_private.list_receipts (
  p_limit  integer,
  p_before uuid
)
  RETURNS TABLE (
    request_id   uuid,
    requested_at timestamp with time zone,
    task         text,
    outcome      text,
    cost         numeric,
    unpriced     bigint,
    unmeasured   bigint,
    attempts     jsonb
  )
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
#variable_conflict use_column
declare
  v_user constant uuid := llm_private.require_user();
begin
  return query
  with requests as (
    select distinct e.request_id from public.llm_usage_events as e
    where e.user_id = v_user and e.request_id < coalesce(p_before, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
    order by e.request_id desc
    limit least(greatest(coalesce(p_limit, 50), 1), 500)
  )
  select
    r.request_id,
    llm_private.uuid_v7_time(r.request_id),
    (array_agg(e.task order by e.attempt))[1],
    (array_agg(e.outcome order by e.attempt desc))[1],
    llm_private.known_cost(
      coalesce(sum(e.cost), 0), count(*), count(*) filter (where e.outcome = 'failed'),
      count(*) filter (where e.cost_status = 'unpriced'), count(*) filter (where e.cost_status = 'unmeasured')
    ),
    count(*) filter (where e.cost_status = 'unpriced'),
    count(*) filter (where e.cost_status = 'unmeasured'),
    jsonb_agg(
      jsonb_build_object(
        'attempt', e.attempt, 'provider', e.provider, 'model', e.model, 'key_source', e.key_source,
        'key_id', e.key_id, 'recorder', e.recorder, 'outcome', e.outcome, 'error_class', e.error_class,
        'streamed', e.streamed, 'latency_ms', e.latency_ms, 'service_tier', e.service_tier,
        'input_tokens', e.input_tokens, 'cached_input_tokens', e.cached_input_tokens,
        'cache_write_tokens', e.cache_write_tokens, 'output_tokens', e.output_tokens,
        'reasoning_tokens', e.reasoning_tokens, 'other_tokens', e.other_tokens,
        'cost', e.cost, 'cost_status', e.cost_status, 'cache_savings', e.cache_savings
      ) order by e.attempt, e.recorded_at
    )
  from requests as r
  inner join llm_private.adjusted_events as e on e.user_id = v_user and e.request_id = r.request_id
  group by r.request_id
  order by r.request_id desc;
end
$function$;

COMMENT ON FUNCTION "llm_private"."list_receipts"(integer, uuid) IS 'The caller''s requests. Error not_signed_in.';

REVOKE ALL ON FUNCTION "llm_private"."list_receipts"(integer, uuid) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."list_receipts"(integer, uuid)
  TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.list_runtimes()
  RETURNS TABLE (
    id           uuid,
    name         text,
    created_at   timestamp with time zone,
    revoked_at   timestamp with time zone,
    last_seen_at timestamp with time zone
  )
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select r.id, r.name, r.created_at, r.revoked_at, r.last_seen_at from llm_private.runtimes as r order by r.id
$function$;

COMMENT ON FUNCTION "llm_private"."list_runtimes"() IS 'All runtimes, without their secrets.';

REVOKE ALL ON FUNCTION "llm_private"."list_runtimes"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."list_runtimes"() TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.lock_counters (
  p_user   uuid,
  p_quotas bigint[]
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  perform from llm_private.quota_counters as c
  where c.quota_id = any(p_quotas) and c.owner in (p_user, llm_private.operator_id())
  order by c.quota_id
  for update;
end
$function$;

COMMENT ON FUNCTION "llm_private"."lock_counters"(uuid, bigint[]) IS 'Lock the counters of these quotas that a user''s attempts count in, in the one order.';

REVOKE ALL ON FUNCTION "llm_private"."lock_counters"(uuid, bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.lock_usage (
  p_owner uuid
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if p_owner = llm_private.operator_id() then
    lock table public.llm_usage_totals in share mode;
  else
    perform pg_advisory_xact_lock(llm_private.usage_lock(p_owner));
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."lock_usage"(uuid) IS 'Wait for whoever is recording usage of a user''s, or of any, and let nobody record before this transaction ends.';

REVOKE ALL ON FUNCTION "llm_private"."lock_usage"(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.master_key (
  p_id smallint
)
  RETURNS text
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_master text;
begin
  select d.decrypted_secret into v_master
  from llm_private.master_keys as m
  inner join vault.decrypted_secrets as d on m.vault_secret_id = d.id
  where m.id = p_id;
  if v_master is null then
    perform llm_private.fail(
      500, 'master_key_missing', 'The master key is not in Vault.', 'Restore the Vault entry that supa-llm made.'
    );
  end if;
  return v_master;
end
$function$;

COMMENT ON FUNCTION "llm_private"."master_key"(smallint) IS 'A master key, out of Vault. Error master_key_missing.';

REVOKE ALL ON FUNCTION "llm_private"."master_key"(smallint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.matching_quotas (
  p_user       uuid,
  p_task       text,
  p_provider   text,
  p_key_source text
)
  RETURNS SETOF llm_private.quotas
  LANGUAGE plpgsql
  STABLE
  ROWS 5
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return query
  select q.* from llm_private.binding_quotas(p_user) as q
  where
    (q.key_source is null or q.key_source = p_key_source)
    and (q.provider is null or q.provider = p_provider)
    and (q.task is null or q.task = p_task)
  order by q.id;
end
$function$;

COMMENT ON FUNCTION "llm_private"."matching_quotas"(uuid, text, text, text) IS
  'The quotas of a user that count an attempt such as this, the oldest first.';

REVOKE ALL ON FUNCTION "llm_private"."matching_quotas"(uuid, text, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.merge_preferences (
  p_old       jsonb,
  p_changes   jsonb,
  p_providers text[]
)
  RETURNS jsonb
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_new jsonb := p_old;
  v_provider text;
  v_change jsonb;
  v_path text;
begin
  perform llm_private.check_known_settings(p_changes, 'provider_preferences', p_providers);
  for v_provider, v_change in select * from jsonb_each(p_changes) loop
    v_path := 'provider_preferences.' || v_provider;
    if v_change = 'null' then
      v_new := v_new - v_provider;
      continue;
    end if;
    perform llm_private.check_known_settings(v_change, v_path, '{enabled,priority,model}');
    perform llm_private.check_value(
      'invalid_setting', coalesce(jsonb_typeof(v_change -> 'enabled'), 'null') in ('boolean', 'null'), v_path || '.enabled',
      'true, false or null'
    );
    perform llm_private.check_value(
      'invalid_setting', v_change ->> 'priority' is null
      or v_change ->> 'priority' ~ '^[0-9]{1,4}$' and jsonb_typeof(v_change -> 'priority') = 'number',
      v_path || '.priority', 'a whole number from 0 to 9999, or null'
    );
    perform llm_private.check_value(
      'invalid_setting', v_change ->> 'model' is null or llm_private.is_model_name(v_change -> 'model'), v_path || '.model',
      'a model name of 1 to 200 characters without spaces, or null'
    );
    v_change := jsonb_strip_nulls(coalesce(v_new -> v_provider, '{}') || v_change);
    v_new := case
      when v_change = '{}' then v_new - v_provider
      else v_new || jsonb_build_object(v_provider, v_change)
    end;
  end loop;
  return v_new;
end
$function$;

COMMENT ON FUNCTION "llm_private"."merge_preferences"(jsonb, jsonb, text[]) IS
  'provider_preferences with the given fields changed; null resets a field or a provider.
Errors: invalid_setting, unknown_setting.';

REVOKE ALL ON FUNCTION "llm_private"."merge_preferences"(jsonb, jsonb, text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.merge_task_overrides (
  p_old       jsonb,
  p_changes   jsonb,
  p_providers text[]
)
  RETURNS jsonb
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_new jsonb := p_old;
  v_task text;
  v_change jsonb;
  v_path text;
  v_fallback jsonb;
  v_index bigint;
  v_allowed constant text := 'one of ' || array_to_string(p_providers, ', ');
  v_model_allowed constant text := 'a model name of 1 to 200 characters without spaces, or null';
begin
  perform llm_private.check_value(
    'invalid_setting', jsonb_typeof(p_changes) = 'object', 'task_overrides', 'a JSON object'
  );
  perform llm_private.check_value(
    'invalid_setting', (select count(*) <= 200 from jsonb_object_keys(p_changes)), 'task_overrides', 'at most 200 tasks'
  );
  for v_task, v_change in select * from jsonb_each(p_changes) loop
    perform llm_private.check_value(
      'invalid_setting', v_task ~ '^[^[:cntrl:]]{1,64}$', 'task_overrides', 'task names of 1 to 64 printable characters'
    );
    v_path := 'task_overrides.' || v_task;
    if v_change = 'null' then
      v_new := v_new - v_task;
      continue;
    end if;
    perform llm_private.check_known_settings(v_change, v_path, '{provider,model,fallbacks}');
    perform llm_private.check_value(
      'invalid_setting', v_change ->> 'provider' = any(p_providers), v_path || '.provider', v_allowed
    );
    perform llm_private.check_value(
      'invalid_setting', v_change ->> 'model' is null or llm_private.is_model_name(v_change -> 'model'), v_path || '.model',
      v_model_allowed
    );
    if v_change -> 'fallbacks' <> 'null' then
      perform llm_private.check_value(
        'invalid_setting', jsonb_typeof(v_change -> 'fallbacks') = 'array' and jsonb_array_length(v_change -> 'fallbacks') <= 20,
        v_path || '.fallbacks', 'a list of at most 20 objects with provider and model, or null'
      );
      for v_fallback, v_index in
        select f.value, f.ordinality - 1 from jsonb_array_elements(v_change -> 'fallbacks') with ordinality as f
      loop
        perform llm_private.check_known_settings(
          v_fallback, format('%s.fallbacks[%s]', v_path, v_index), '{provider,model}'
        );
        perform llm_private.check_value(
          'invalid_setting', v_fallback ->> 'provider' = any(p_providers), format('%s.fallbacks[%s].provider', v_path, v_index), v_allowed
        );
        perform llm_private.check_value(
          'invalid_setting', v_fallback ->> 'model' is null or llm_private.is_model_name(v_fallback -> 'model'),
          format('%s.fallbacks[%s].model', v_path, v_index), v_model_allowed
        );
      end loop;
    end if;
    v_new := v_new || jsonb_build_object(v_task, jsonb_strip_nulls(v_change));
  end loop;
  perform llm_private.check_value(
    'invalid_setting', (select count(*) <= 200 from jsonb_object_keys(v_new)), 'task_overrides', 'at most 200 tasks'
  );
  return v_new;
end
$function$;

COMMENT ON FUNCTION "llm_private"."merge_task_overrides"(jsonb, jsonb, text[]) IS
  'task_overrides with the given tasks replaced; null removes a task. Errors: invalid_setting, unknown_setting.';

REVOKE ALL ON FUNCTION "llm_private"."merge_task_overrides"(jsonb, jsonb, text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.next_window (
  p_period       text,
  p_zone         text,
  p_previous_end timestamp with time zone,
  p_at           timestamp with time zone,
  OUT            starts_at timestamp with time zone,
  OUT            ends_at timestamp with time zone
)
  RETURNS record
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_earliest timestamptz;
begin
  select w.starts_at, w.ends_at into starts_at, ends_at from llm_private.quota_window(p_period, p_zone, p_at) as w;
  if starts_at < p_previous_end then
    starts_at := p_previous_end;
    v_earliest := (p_previous_end at time zone p_zone + ('1 ' || p_period)::interval) at time zone p_zone;
    select case when w.starts_at = v_earliest then v_earliest else w.ends_at end into ends_at
    from llm_private.quota_window(p_period, p_zone, v_earliest) as w;
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."next_window"(text, text, timestamp with time zone, timestamp
  with time zone) IS 'The period that follows one which ended before p_at: by the clock, but after a change of the time zone it begins where
the last one ended and is not shorter than others.';

REVOKE ALL
  ON FUNCTION "llm_private"."next_window"(text, text, timestamp with time zone, timestamp
    with time zone)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.note_hour (
  p_hour timestamp with time zone
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  perform pg_advisory_xact_lock_shared(hashtext('llm_private.usage_folds'), llm_private.hour_number(p_hour));
  -- Asked after the lock is there, and so after any fold before it: an hour that is not over yet is not folded.
  if p_hour + interval '1 hour' > clock_timestamp() then
    return;
  end if;
  -- The day before its hour, whoever marks several: two of them wait for each other in one order.
  update llm_private.usage_folds set stale = true
  where span = 'day' and starts_at = date_trunc('day', p_hour, 'UTC') and not stale;
  update llm_private.usage_folds set stale = true
  where span = 'hour' and starts_at = p_hour and not stale;
end
$function$;

COMMENT ON FUNCTION "llm_private"."note_hour"(timestamp with time zone) IS 'Whoever changes the totals of an hour says so in the same transaction; of several hours the earliest first.';

REVOKE ALL ON FUNCTION "llm_private"."note_hour"(timestamp with time zone) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.note_key_outcome (
  p_user        uuid,
  p_key_id      uuid,
  p_outcome     text,
  p_error_class text,
  p_retry_after double precision
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_cooling_until timestamptz;
  v_rejected jsonb;
begin
  if p_outcome = 'succeeded' then
    -- A key that was rejected or limited since is on no route: this request began before, and says nothing new.
    -- Asked before it is updated, which costs more than asking and is hardly ever needed.
    perform from public.llm_keys where user_id = p_user and id = p_key_id and status = 'untested';
    if found then
      update public.llm_keys set status = 'working'
      where user_id = p_user and id = p_key_id and status = 'untested';
    end if;
  elsif p_error_class = 'auth' then
    update public.llm_keys set status = 'rejected', cooling_until = null
    where user_id = p_user and id = p_key_id and status <> 'rejected'
    returning jsonb_build_object('provider', provider, 'hint', hint) into v_rejected;
    if v_rejected is not null then
      perform llm_private.notify(p_user, 'key_rejected', 'key ' || p_key_id, v_rejected);
    end if;
  elsif p_error_class = 'rate_limited' then
    -- At most a day, whatever a provider says; half a minute where it says nothing.
    v_cooling_until := now() + make_interval(secs => least(greatest(coalesce(p_retry_after, 30), 0), 86400));
    update public.llm_keys set cooling_until = v_cooling_until
    where user_id = p_user and id = p_key_id and (cooling_until is null or cooling_until < v_cooling_until);
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."note_key_outcome"(uuid, uuid, text, text, double precision) IS
  'Set the status of a user''s own key after an attempt: working, rejected after auth, cooling down after rate_limited.';

REVOKE ALL
  ON FUNCTION "llm_private"."note_key_outcome"(uuid, uuid, text, text, double precision)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.notice_quota (
  p_quota     llm_private.quotas,
  p_user      uuid,
  p_starts_at timestamp with time zone,
  p_used      numeric
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_step numeric;
begin
  foreach v_step in array '{0.8,1}'::numeric[] loop
    if p_quota.amount > 0 and p_used >= p_quota.amount * v_step then
      perform llm_private.notify(
        case when p_quota.shared then llm_private.operator_id() else p_user end,
        case v_step when 1 then 'quota_reached' else 'quota_warning' end,
        -- In UTC whatever the session's time zone is, which a caller may choose: else it would be another subject.
        p_quota.id || case when isfinite(p_starts_at) then ' from ' || (p_starts_at at time zone 'UTC') else '' end,
        llm_private.quota_json(p_quota) || jsonb_build_object('used', p_used)
        || case when isfinite(p_starts_at) then jsonb_build_object('starts_at', p_starts_at) else '{}' end
      );
    end if;
  end loop;
end
$function$;

COMMENT ON FUNCTION "llm_private"."notice_quota"(llm_private.quotas, uuid, timestamp
  with time zone, numeric) IS 'Tell whose quota it is when it passes 80 % and when it is used up, once in each period.';

REVOKE ALL
  ON FUNCTION "llm_private"."notice_quota"(llm_private.quotas, uuid, timestamp
    with time zone, numeric)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.notify (
  p_user    uuid,
  p_kind    text,
  p_subject text,
  p_detail  jsonb
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  -- Asked first: what was said before is met by every request, and an insert makes its id before it conflicts.
  perform from public.llm_notices as n where n.user_id = p_user and n.kind = p_kind and n.subject = p_subject;
  if found then
    return;
  end if;
  insert into public.llm_notices (user_id, kind, subject, detail)
  values (p_user, p_kind, p_subject, p_detail)
  on conflict (user_id, kind, subject) do nothing;
end
$function$;

COMMENT ON FUNCTION "llm_private"."notify"(uuid, text, text, jsonb) IS 'Tell a user, or the operator, something once: does nothing where it was said before.';

REVOKE ALL ON FUNCTION "llm_private"."notify"(uuid, text, text, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.open_counter (
  p_quota llm_private.quotas,
  p_owner uuid
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  -- Whoever recorded before this lock is in the sum; whoever records after it finds the counter.
  perform llm_private.lock_usage(p_owner);
  insert into llm_private.quota_counters (owner, quota_id, starts_at, ends_at, used, reserved)
  select
    p_owner, p_quota.id, w.starts_at, w.ends_at, llm_private.used_before(p_quota, p_owner, w.starts_at),
    -- Of a counter that was thrown away to be summed anew.
    coalesce(
      (
        select sum(r.amount) from llm_private.reservations as r
        where r.quota_id = p_quota.id and r.owner = p_owner and r.starts_at = w.starts_at
      ), 0
    )
  from llm_private.quota_window(p_quota.period, llm_private.quota_zone(p_quota, p_owner), now()) as w
  -- Not where the quota has been removed meanwhile.
  where exists (select from llm_private.quotas as q where q.id = p_quota.id for key share)
  on conflict (owner, quota_id) do nothing;
end
$function$;

COMMENT ON FUNCTION "llm_private"."open_counter"(llm_private.quotas, uuid) IS
  'Open a counter with what was used so far in its period. Holds no other counter''s lock when it is called.';

REVOKE ALL ON FUNCTION "llm_private"."open_counter"(llm_private.quotas, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.open_counters (
  p_user   uuid,
  p_quotas bigint[]
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_quota llm_private.quotas;
  v_ended record;
begin
  -- Those of shared quotas were opened when they were set.
  for v_quota in
    select q.* from llm_private.quotas as q
    where
      q.id = any(p_quotas) and not q.shared and p_user <> llm_private.operator_id()
      and not exists (
        select from llm_private.quota_counters as c where c.owner = p_user and c.quota_id = q.id
      )
  loop
    perform llm_private.open_counter(v_quota, p_user);
  end loop;
  perform llm_private.lock_counters(p_user, p_quotas);

  for v_ended in
    select c.owner, c.quota_id, w.starts_at, w.ends_at
    from llm_private.quota_counters as c
    inner join llm_private.quotas as q on c.quota_id = q.id
    cross join lateral llm_private.next_window(q.period, llm_private.quota_zone(q, c.owner), c.ends_at, now()) as w
    where c.quota_id = any(p_quotas) and c.owner in (p_user, llm_private.operator_id()) and c.ends_at <= now()
  loop
    update llm_private.quota_counters as c
    set starts_at = v_ended.starts_at, ends_at = v_ended.ends_at, used = 0, reserved = 0
    where c.owner = v_ended.owner and c.quota_id = v_ended.quota_id;
  end loop;

  perform from llm_private.reservations as r
  where r.quota_id = any(p_quotas) and r.owner in (p_user, llm_private.operator_id()) and r.expires_at <= now()
  limit 1;
  if found then
    with gone as (
      delete from llm_private.reservations as r
      where r.quota_id = any(p_quotas) and r.owner in (p_user, llm_private.operator_id()) and r.expires_at <= now()
      returning r.owner, r.quota_id, r.starts_at, r.amount
    )

    update llm_private.quota_counters as c
    set reserved = c.reserved - g.amount
    from (
      select e.owner, e.quota_id, e.starts_at, sum(e.amount) as amount from gone as e
      group by e.owner, e.quota_id, e.starts_at
    ) as g
    where c.owner = g.owner and c.quota_id = g.quota_id and c.starts_at = g.starts_at;
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."open_counters"(uuid, bigint[]) IS 'Lock the counters of these quotas for a user, each as it is at this moment: opened where there was none, in its present
period, and without what expired reservations held.';

REVOKE ALL ON FUNCTION "llm_private"."open_counters"(uuid, bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.operator_id()
  RETURNS uuid
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return '00000000-0000-0000-0000-000000000000'::uuid;
end
$function$;

COMMENT ON FUNCTION "llm_private"."operator_id"() IS 'Stands for the operator where a row names its owner.';

REVOKE ALL ON FUNCTION "llm_private"."operator_id"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.operator_settings_json()
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select to_jsonb(o) - 'only_row' from llm_private.operator_settings as o
$function$;

COMMENT ON FUNCTION "llm_private"."operator_settings_json"() IS 'The operator''s switches, for administrators.';

REVOKE ALL ON FUNCTION "llm_private"."operator_settings_json"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."operator_settings_json"() TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.own_key (
  p_user     uuid,
  p_provider text
)
  RETURNS public.llm_keys
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_row public.llm_keys;
begin
  select * into v_row from public.llm_keys where user_id = p_user and provider = p_provider;
  if not found then
    perform llm_private.fail(
      404, 'key_not_found', 'You have no key stored for this provider.', 'list_llm_keys() shows which you have.'
    );
  end if;
  return v_row;
end
$function$;

COMMENT ON FUNCTION "llm_private"."own_key"(uuid, text) IS 'A user''s key for a provider. Error key_not_found.';

REVOKE ALL ON FUNCTION "llm_private"."own_key"(uuid, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.price_entries (
  p_entries jsonb
)
  RETURNS TABLE (
    name         text,
    service_tier text,
    daily_from   time without time zone,
    daily_until  time without time zone,
    valid_from   timestamp with time zone,
    valid_until  timestamp with time zone,
    rates        jsonb
  )
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select
    e.name, i.service_tier, i.daily_from, i.daily_until,
    coalesce(i.valid_from, '-infinity'), coalesce(i.valid_until, 'infinity'), i.rates
  from jsonb_to_recordset(p_entries) as e (name text, prices jsonb)
  cross join lateral jsonb_to_recordset(e.prices) as i (
    valid_from timestamptz, valid_until timestamptz, daily_from time, daily_until time, service_tier text, rates jsonb
  )
$function$;

COMMENT ON FUNCTION "llm_private"."price_entries"(jsonb) IS 'The prices of a price list, a row each.';

REVOKE ALL ON FUNCTION "llm_private"."price_entries"(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.price_json (
  p_price    public.llm_prices,
  p_in_force boolean           DEFAULT NULL::boolean
)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select to_jsonb(p_price) - 'user_id' || jsonb_build_object('in_force', p_in_force)
$function$;

COMMENT ON FUNCTION "llm_private"."price_json"(public.llm_prices, boolean) IS
  'A price as the RPCs return it.';

REVOKE ALL ON FUNCTION "llm_private"."price_json"(public.llm_prices, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.price_list_changes (
  p_provider text,
  p_entries  jsonb
)
  RETURNS TABLE (
    model        text,
    change       text,
    service_tier text,
    daily_from   time without time zone,
    daily_until  time without time zone,
    before       jsonb,
    after        jsonb,
    valid_from   timestamp with time zone,
    valid_until  timestamp with time zone,
    was_until    timestamp with time zone
  )
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_listed constant jsonb := (
    select coalesce(jsonb_agg(jsonb_build_object('name', l.name, 'prices', l.prices)), '[]')
    from llm_private.price_list as l where l.provider = p_provider
  );
begin
  return query
  select
    d.name, d.change, d.service_tier, d.daily_from, d.daily_until, d.old_rates, d.new_rates,
    case d.change
      when 'added' then case when d.is_known then now() else d.valid_from end
      when 'changed' then greatest(now(), d.valid_from)
      else d.valid_from
    end,
    case when d.change = 'gone' then greatest(now(), d.valid_from) else d.new_until end,
    d.old_until
  from (
    select
      n.valid_until as new_until, n.rates as new_rates, o.valid_until as old_until, o.rates as old_rates, k.*,
      case
        when o.rates is null and k.valid_from > '-infinity' and k.is_known then 'dated'
        when o.rates is null and (n.valid_until > now() or not k.is_known) then 'added'
        when n.rates is null and o.valid_until > now() then 'gone'
        when n.rates <> o.rates and n.valid_until > now() then 'changed'
        when n.valid_until <> o.valid_until and o.valid_until > now() then 'until'
        when n.valid_until <> o.valid_until and n.valid_until > now() then 'added'
      end as change
    from llm_private.price_entries(p_entries) as n
    full join llm_private.price_entries(v_listed) as o
      on
        n.name = o.name and n.valid_from = o.valid_from and coalesce(n.service_tier, '') = coalesce(o.service_tier, '')
        and coalesce(n.daily_from::text, '') = coalesce(o.daily_from::text, '')
        and coalesce(n.daily_until::text, '') = coalesce(o.daily_until::text, '')
    cross join lateral (
      select
        coalesce(n.name, o.name) as name, coalesce(n.valid_from, o.valid_from) as valid_from,
        coalesce(n.service_tier, o.service_tier) as service_tier,
        coalesce(n.daily_from, o.daily_from) as daily_from, coalesce(n.daily_until, o.daily_until) as daily_until,
        exists (
          select from llm_private.price_list as l where l.provider = p_provider and l.name = coalesce(n.name, o.name)
        ) as is_known
    ) as k
  ) as d
  where d.change is not null
  order by d.name, d.valid_from, d.service_tier nulls first, d.daily_from nulls first;
end
$function$;

COMMENT ON FUNCTION "llm_private"."price_list_changes"(text, jsonb) IS 'What a price list changes, compared with the one that was synced last. added: as it stands, for an entry that is new,
else from now on; dated: from the date that the list gives; changed: from now on; until: it ends at another time;
gone: it ends now. was_until: the end that its rows have so far.';

REVOKE ALL ON FUNCTION "llm_private"."price_list_changes"(text, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.price_name (
  p_provider text,
  p_model    text
)
  RETURNS text
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_name text;
  v_model text := p_model;
begin
  select n.name into v_name from llm_private.price_names as n where n.provider = p_provider and n.model = p_model;
  if found then
    return v_name;
  end if;
  -- Syncing waits for this, and this for syncing: no name of the old list is remembered for the new one.
  perform pg_advisory_xact_lock_shared(hashtext('llm_private.price_list'), hashtext(p_provider));
  loop
    select l.name into v_name from llm_private.price_list as l
    where l.provider = p_provider and v_model ~ l.pattern
    order by l.position limit 1;
    exit when found or v_model <> p_model;
    -- Some write the date in a model's name without its dashes: gpt-5-20250807.
    v_model := regexp_replace(
      p_model, '-(20[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])(?=-|:|$)', '-\1-\2-\3', 'g'
    );
    exit when v_model = p_model;
  end loop;
  insert into llm_private.price_names (provider, model, name)
  select p_provider, p_model, v_name
  where exists (select from llm_private.price_list as l where l.provider = p_provider)
  on conflict do nothing;
  return v_name;
end
$function$;

COMMENT ON FUNCTION "llm_private"."price_name"(text, text) IS 'The price list''s entry for a model name in lower case, null when there is none.';

REVOKE ALL ON FUNCTION "llm_private"."price_name"(text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.quota_amount (
  p_quota  llm_private.quotas,
  p_amount numeric
)
  RETURNS text
  LANGUAGE sql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select case
    when p_quota.unit = 'cost' then '$' || trim_scale(round(p_amount, 6))
    when p_amount = 1 then '1 ' || rtrim(p_quota.unit, 's')
    else trim_scale(p_amount) || ' ' || p_quota.unit
  end
$function$;

COMMENT ON FUNCTION "llm_private"."quota_amount"(llm_private.quotas, numeric) IS
  'An amount in the unit of a quota, for people.';

REVOKE ALL ON FUNCTION "llm_private"."quota_amount"(llm_private.quotas, numeric) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.quota_json (
  p_quota llm_private.quotas
)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select jsonb_build_object(
    'id', p_quota.id, 'set_by', p_quota.set_by, 'user_id', p_quota.user_id, 'group', p_quota.group_name,
    'shared', p_quota.shared, 'key_source', p_quota.key_source, 'provider', p_quota.provider, 'task', p_quota.task,
    'unit', p_quota.unit, 'period', p_quota.period, 'clock', p_quota.clock, 'limit', p_quota.amount,
    'hard', p_quota.hard, 'unpriced', p_quota.unpriced, 'created_at', p_quota.created_at
  )
$function$;

COMMENT ON FUNCTION "llm_private"."quota_json"(llm_private.quotas) IS 'A quota as it was set.';

REVOKE ALL ON FUNCTION "llm_private"."quota_json"(llm_private.quotas) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.quota_refusal (
  p_quota     llm_private.quotas,
  p_reason    text,
  p_used      numeric,
  p_reserved  numeric,
  p_resets_at timestamp with time zone
)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_of constant text := concat_ws(
    ', ',
    case p_quota.key_source
      when 'user' then 'your own keys' when 'team' then 'team keys' when 'operator' then 'the operator''s keys'
    end,
    p_quota.provider, 'task ' || p_quota.task
  );
  v_name constant text := format(
    '%s quota of %s %s%s', case p_quota.set_by when 'user' then 'Your own' else 'The operator''s' end,
    llm_private.quota_amount(p_quota, p_quota.amount),
    case p_quota.period when 'total' then 'in total' else 'a ' || p_quota.period end,
    case when v_of <> '' then ' (' || v_of || ')' else '' end
  );
begin
  return jsonb_build_object(
    'reason', p_reason,
    'message', case p_reason
      when 'model_unpriced' then v_name || ' does not allow a model that no price is known for.'
      when 'runtime_required' then v_name || ' lets only a registered runtime use these keys.'
      else v_name || ' does not leave enough'
        || case
          when p_quota.shared then ''
          else format(
            ': %s used, %s reserved', llm_private.quota_amount(p_quota, p_used),
            llm_private.quota_amount(p_quota, p_reserved)
          )
        end
        || case
          when isfinite(p_resets_at) then format(
            '; it resets at %s UTC', to_char(p_resets_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI')
          )
          else ''
        end || '.'
    end,
    'quota', jsonb_build_object(
      'id', p_quota.id, 'set_by', p_quota.set_by, 'unit', p_quota.unit, 'period', p_quota.period,
      'limit', p_quota.amount,
      'used', case when not p_quota.shared then p_used end,
      'reserved', case when not p_quota.shared then p_reserved end,
      'resets_at', case when isfinite(p_resets_at) then p_resets_at end
    )
  );
end
$function$;

COMMENT ON FUNCTION
  "llm_private"."quota_refusal"(llm_private.quotas, text, numeric, numeric, timestamp
  with time zone) IS 'Why a quota refuses an attempt: reason, a sentence, and the quota in figures, which shared ones keep to the operator.';

REVOKE ALL
  ON FUNCTION "llm_private"."quota_refusal"(llm_private.quotas, text, numeric, numeric, timestamp
    with time zone)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.quota_status (
  p_quota llm_private.quotas,
  p_user  uuid
)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return llm_private.quota_json(p_quota) || (
    select jsonb_build_object(
      'used', c.used,
      'reserved', c.reserved,
      'starts_at', case when p_quota.period <> 'total' then c.starts_at end,
      'resets_at', case when p_quota.period <> 'total' then c.ends_at end
    )
    from llm_private.quota_counters as c
    where
      c.quota_id = p_quota.id and c.owner = case when p_quota.shared then llm_private.operator_id() else p_user end
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."quota_status"(llm_private.quotas, uuid) IS
  'A quota with what was used and what is reserved in its present period, after open_counters().';

REVOKE ALL ON FUNCTION "llm_private"."quota_status"(llm_private.quotas, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.quota_window (
  p_period text,
  p_zone   text,
  p_at     timestamp with time zone,
  OUT      starts_at timestamp with time zone,
  OUT      ends_at timestamp with time zone
)
  RETURNS record
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_length constant interval := case when p_period <> 'total' then ('1 ' || p_period)::interval end;
  -- Minutes are the same everywhere, and where clocks go back the local ones come twice.
  v_zone constant text := case p_period when 'minute' then 'UTC' else p_zone end;
  v_local timestamp;
begin
  if p_period = 'total' then
    starts_at := '-infinity';
    ends_at := 'infinity';
    return;
  end if;
  v_local := date_trunc(p_period, p_at at time zone v_zone);
  starts_at := v_local at time zone v_zone;
  -- Where clocks go back over midnight there are two midnights, and the day begins with the second.
  if starts_at > p_at then
    v_local := v_local - v_length;
    starts_at := v_local at time zone v_zone;
  end if;
  ends_at := (v_local + v_length) at time zone v_zone;
end
$function$;

COMMENT ON FUNCTION "llm_private"."quota_window"(text, text, timestamp
  with time zone) IS 'From when until when the period lasts that this moment is in, by the clocks of a time zone.';

REVOKE ALL
  ON FUNCTION "llm_private"."quota_window"(text, text, timestamp with time zone)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.quota_zone (
  p_quota llm_private.quotas,
  p_owner uuid
)
  RETURNS text
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if p_quota.clock = 'user' then
    return coalesce((select s.time_zone from public.user_llm_settings as s where s.user_id = p_owner), 'UTC');
  end if;
  return 'UTC';
end
$function$;

COMMENT ON FUNCTION "llm_private"."quota_zone"(llm_private.quotas, uuid) IS
  'By which clocks the periods of a quota begin.';

REVOKE ALL ON FUNCTION "llm_private"."quota_zone"(llm_private.quotas, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.rate_above (
  p_rate  jsonb,
  p_above integer
)
  RETURNS numeric
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if jsonb_typeof(p_rate) = 'number' then
    return p_rate::numeric;
  end if;
  return coalesce(
    (
      select value::numeric from jsonb_each_text(p_rate -> 'above')
      where key::integer <= p_above
      order by key::integer desc limit 1
    ),
    (p_rate ->> 'base')::numeric
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."rate_above"(jsonb, integer) IS 'What a rate is with more than p_above input tokens, and not more than its next step.';

REVOKE ALL ON FUNCTION "llm_private"."rate_above"(jsonb, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.read_key_body (
  p_body       json,
  p_key_needed boolean
)
  RETURNS public.llm_providers
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_provider public.llm_providers;
begin
  -- All of this before anything is read out of the JSON: PostgreSQL's own complaint about an escape that it cannot
  -- read would print the line into the server log, with the key.
  if
    p_body is null or octet_length(p_body::text) > 8192 or p_body::text ~ '\\u'
    or json_typeof(p_body) <> 'object' or json_typeof(p_body -> 'provider') is distinct from 'string'
    or coalesce(json_typeof(p_body -> 'key'), case when not p_key_needed then 'string' end) is distinct from 'string'
  then
    perform llm_private.fail(
      400, 'key_malformed', 'The key was not taken: it is too long or contains a character that no key has.',
      'Send {"provider": "…", "key": "…"} with the key as the provider shows it.'
    );
  end if;
  if exists (select from json_object_keys(p_body) as k where k not in ('provider', 'key')) then
    perform llm_private.fail(400, 'invalid_argument', 'Only provider and key are allowed.');
  end if;
  -- The name is not repeated: provider and key may have been mixed up.
  select * into v_provider from public.llm_providers where id = p_body ->> 'provider';
  if not found then
    perform llm_private.fail(
      404, 'unknown_provider', 'There is no such provider.',
      'Known providers: ' || (select string_agg(id, ', ' order by position, id) from public.llm_providers) || '.'
    );
  end if;
  if p_body ->> 'key' is not null then
    perform llm_private.check_key(p_body ->> 'key', v_provider);
  end if;
  return v_provider;
end
$function$;

COMMENT ON FUNCTION "llm_private"."read_key_body"(json, boolean) IS 'The provider of {"provider": "…", "key": "…"}, when both are what they should be; the key may be left out unless it is
needed. Errors: key_malformed, invalid_argument, unknown_provider.';

REVOKE ALL ON FUNCTION "llm_private"."read_key_body"(json, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.read_notices (
  p_ids uuid[]
)
  RETURNS integer
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_read integer;
begin
  update public.llm_notices set read_at = now()
  where user_id = v_owner and read_at is null and (p_ids is null or id = any(p_ids));
  get diagnostics v_read = row_count;
  return v_read;
end
$function$;

COMMENT ON FUNCTION "llm_private"."read_notices"(uuid[]) IS 'Mark the caller''s notices as read. Error not_signed_in.';

REVOKE ALL ON FUNCTION "llm_private"."read_notices"(uuid[]) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."read_notices"(uuid[])
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION llm_private.record_key_test (
  p_test_id     uuid,
  p_verdict     text,
  p_retry_after double precision
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_test llm_private.key_tests;
begin
  perform llm_private.check_value(
    'invalid_argument', p_verdict in ('works', 'rejected', 'unknown'), 'p_verdict', 'works, rejected or unknown'
  );
  -- What a runtime began, it alone settles.
  update llm_private.key_tests as t set settled_at = clock_timestamp()
  where
    t.user_id = v_user and t.id = p_test_id and t.settled_at is null
    and t.runtime_id is not distinct from v_runtime and t.begun_at > clock_timestamp() - interval '10 minutes'
  returning t.* into v_test;
  if not found then
    perform llm_private.fail(
      404, 'not_found', 'There is no such key test that is still open.', 'Begin another one.'
    );
  end if;
  if p_verdict = 'works' then
    -- Unlike a request on its way, a test that began after the key was rejected says something new.
    update public.llm_keys set status = 'working', cooling_until = null
    where user_id = v_user and id = v_test.key_id and (status <> 'working' or cooling_until is not null);
  elsif p_verdict = 'rejected' then
    perform llm_private.note_key_outcome(v_user, v_test.key_id, 'failed', 'auth', null);
  elsif p_retry_after is not null then
    perform llm_private.note_key_outcome(v_user, v_test.key_id, 'failed', 'rate_limited', p_retry_after);
  end if;
  return (select llm_private.key_json(k) from public.llm_keys as k where k.user_id = v_user and k.id = v_test.key_id);
end
$function$;

COMMENT ON FUNCTION "llm_private"."record_key_test"(uuid, text, double precision) IS
  'Put what a test found on the key. Errors: see record_llm_key_test().';

REVOKE ALL ON FUNCTION "llm_private"."record_key_test"(uuid, text, double precision) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."record_key_test"(uuid, text, double precision)
  TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.record_usage (
  p_request_id          uuid,
  p_attempt             integer,
  p_task                text,
  p_provider            text,
  p_model               text,
  p_key_source          text,
  p_key_id              uuid,
  p_outcome             text,
  p_error_class         text,
  p_streamed            boolean,
  p_latency_ms          integer,
  p_input_tokens        integer,
  p_cached_input_tokens integer,
  p_output_tokens       integer,
  p_reasoning_tokens    integer,
  p_retry_after         double precision,
  p_cache_write_tokens  integer,
  p_other_tokens        jsonb,
  p_service_tier        text
)
  RETURNS boolean
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_recorder constant uuid := coalesce(v_runtime, v_user);
  v_measured constant boolean := p_input_tokens is not null or p_output_tokens is not null;
  v_requested_at timestamptz;
  v_hour timestamptz;
  v_charge record;
  v_price bigint;
  v_cost numeric;
  v_savings numeric;
  v_unpriced integer := 0;
  v_unmeasured integer := 0;
  v_bucket integer;
  v_latency_counts integer[];
begin
  if substr(p_request_id::text, 15, 1) is distinct from '7' then
    perform llm_private.check_value('invalid_argument', false, 'p_request_id', 'a UUIDv7');
  end if;
  -- As uuid_v7_time() and latency_bucket() have it, without a call on the hot path.
  v_requested_at := to_timestamp(('x' || translate(left(p_request_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
  v_bucket := case
    when p_latency_ms >= 0
      then least(40, 1 + floor(2 * ln(greatest(p_latency_ms, 1)) / ln(2.0::double precision)))::integer
  end;
  -- One test for what is nearly always right; which argument it was is asked only when something is wrong. Lengths are
  -- compared, since a regular expression that counts to 200 takes as long as all the rest.
  if (
    v_requested_at between now() - interval '7 days' and now() + interval '10 minutes'
    and p_attempt between 1 and 1000
    and (p_task is null or length(p_task) between 1 and 64 and p_task !~ '[[:cntrl:]]')
    and p_provider ~ '^[a-z][a-z0-9_-]{0,31}$'
    and length(p_model) between 1 and 200 and p_model !~ '[^!-~]'
    and p_key_source in ('user', 'team', 'operator')
    and p_outcome in ('succeeded', 'failed', 'cancelled')
    and (p_outcome = 'failed') = (p_error_class is not null)
    and (
      p_error_class is null or p_error_class in (
        'auth', 'forbidden', 'rate_limited', 'bad_request', 'not_found', 'server_error', 'timeout', 'connection',
        'invalid_response'
      )
    )
    and p_streamed is not null
    and coalesce(p_latency_ms, 0) >= 0
    and coalesce(p_input_tokens, 0)::bigint
    >= coalesce(p_cached_input_tokens, 0)::bigint + coalesce(p_cache_write_tokens, 0)
    and coalesce(p_cached_input_tokens, 0) >= 0
    and coalesce(p_cache_write_tokens, 0) >= 0
    and coalesce(p_output_tokens, 0) >= coalesce(p_reasoning_tokens, 0)
    and coalesce(p_reasoning_tokens, 0) >= 0
    and (p_service_tier is null or p_service_tier ~ '^[a-z0-9_-]{1,32}$')
  ) is not true then
    perform
      llm_private.check_value(
        'invalid_argument', v_requested_at between now() - interval '7 days' and now() + interval '10 minutes',
        'p_request_id', 'a UUIDv7 made at most 7 days ago'
      ),
      llm_private.check_value('invalid_argument', p_attempt between 1 and 1000, 'p_attempt', '1 to 1000'),
      llm_private.check_value(
        'invalid_argument', p_task is null or length(p_task) between 1 and 64 and p_task !~ '[[:cntrl:]]', 'p_task',
        'null, or 1 to 64 printable characters'
      ),
      llm_private.check_value(
        'invalid_argument', p_provider ~ '^[a-z][a-z0-9_-]{0,31}$', 'p_provider', 'the id of a provider'
      ),
      llm_private.check_value(
        'invalid_argument', length(p_model) between 1 and 200 and p_model !~ '[^!-~]', 'p_model',
        'a model name of 1 to 200 characters, no spaces'
      ),
      llm_private.check_value(
        'invalid_argument', p_key_source in ('user', 'team', 'operator'), 'p_key_source', 'user, team or operator'
      ),
      llm_private.check_value(
        'invalid_argument', p_outcome in ('succeeded', 'failed', 'cancelled'), 'p_outcome',
        'succeeded, failed or cancelled'
      ),
      llm_private.check_value(
        'invalid_argument',
        p_outcome = 'failed' and p_error_class in (
          'auth', 'forbidden', 'rate_limited', 'bad_request', 'not_found', 'server_error', 'timeout', 'connection',
          'invalid_response'
        ) or p_outcome <> 'failed' and p_error_class is null,
        'p_error_class',
        'for a failed attempt auth, forbidden, rate_limited, bad_request, not_found, server_error, timeout, connection or '
        'invalid_response; else null'
      ),
      llm_private.check_value('invalid_argument', p_streamed is not null, 'p_streamed', 'true or false'),
      llm_private.check_value(
        'invalid_argument', coalesce(p_latency_ms, 0) >= 0, 'p_latency_ms', 'null, or 0 and more'
      ),
      llm_private.check_value(
        'invalid_argument', p_service_tier is null or p_service_tier ~ '^[a-z0-9_-]{1,32}$', 'p_service_tier',
        'null, or 1 to 32 lower-case letters, digits, _ and -'
      ),
      llm_private.check_value(
        'invalid_argument', false, 'A token count',
        'null, or 0 and more; cached and written tokens are part of the input, reasoning tokens of the output'
      );
  end if;
  if p_other_tokens is not null then
    perform llm_private.check_other_tokens(
      p_other_tokens, p_input_tokens, p_cached_input_tokens, p_cache_write_tokens, p_output_tokens
    );
  end if;
  -- A team's key is only ever in the hands of a runtime.
  if p_key_source = 'team' and v_runtime is null then
    perform llm_private.fail(
      403, 'runtime_required', 'Only a registered runtime can have used a team''s key.',
      'Send the runtime''s secret in x-llm-runtime.'
    );
  end if;

  if p_outcome = 'failed' and not v_measured then
    v_cost := 0;
  else
    v_charge := llm_private.charge(
      v_user, p_provider, p_model, p_key_source, p_service_tier, v_requested_at, p_input_tokens,
      p_cached_input_tokens, p_cache_write_tokens, p_output_tokens, p_reasoning_tokens, p_other_tokens
    );
    v_price := v_charge.price_id;
    if v_price is null then
      v_unpriced := 1;
    elsif v_measured then
      v_cost := v_charge.cost;
      v_savings := nullif(v_charge.cache_savings, 0);
    else
      v_unmeasured := 1;
    end if;
  end if;

  -- Until the end of the transaction: whoever opens a quota's counter waits to see this attempt.
  perform pg_advisory_xact_lock_shared(llm_private.usage_lock(v_user));
  insert into public.llm_usage_events (
    user_id, request_id, attempt, recorder, task, provider, model, key_source, key_id, outcome, error_class, streamed,
    latency_ms, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, other_tokens,
    service_tier, cost, cache_savings, price_id
  )
  values (
    v_user, p_request_id, p_attempt, v_recorder, p_task, p_provider, p_model, p_key_source, p_key_id,
    p_outcome, p_error_class, p_streamed,
    p_latency_ms, p_input_tokens, p_cached_input_tokens, p_cache_write_tokens, p_output_tokens, p_reasoning_tokens,
    p_other_tokens, p_service_tier, v_cost, v_savings, v_price
  )
  on conflict do nothing;
  if not found then
    return false;
  end if;

  -- Whichever row of the group is free takes it; another is made when none is.
  v_hour := date_trunc('hour', v_requested_at, 'UTC');
  update public.llm_usage_totals as t
  set
    requests = t.requests + (p_attempt = 1)::integer,
    attempts = t.attempts + 1,
    fallbacks = t.fallbacks + (p_attempt = 2)::integer,
    failures = t.failures + (p_outcome = 'failed')::integer,
    cancelled = t.cancelled + (p_outcome = 'cancelled')::integer,
    input_tokens = t.input_tokens + coalesce(p_input_tokens, 0),
    cached_input_tokens = t.cached_input_tokens + coalesce(p_cached_input_tokens, 0),
    cache_write_tokens = t.cache_write_tokens + coalesce(p_cache_write_tokens, 0),
    output_tokens = t.output_tokens + coalesce(p_output_tokens, 0),
    reasoning_tokens = t.reasoning_tokens + coalesce(p_reasoning_tokens, 0),
    cost = t.cost + coalesce(v_cost, 0),
    cache_savings = t.cache_savings + coalesce(v_savings, 0),
    unpriced = t.unpriced + v_unpriced,
    unmeasured = t.unmeasured + v_unmeasured,
    latency_counts[coalesce(v_bucket, 1)] = t.latency_counts[coalesce(v_bucket, 1)] + (v_bucket is not null)::integer,
    last_used_at = greatest(t.last_used_at, v_requested_at)
  where
    t.user_id = v_user and t.id = (
      select u.id
      from public.llm_usage_totals as u
      where
        u.user_id = v_user and u.hour = v_hour and u.provider = p_provider
        and u.model = p_model and u.task is not distinct from p_task and u.key_source = p_key_source
        and u.key_id is not distinct from p_key_id and u.recorder = v_recorder
      limit 1
      for update skip locked
    );
  if not found then
    v_latency_counts := array_fill(0, '{40}'::integer[]);
    if v_bucket is not null then
      v_latency_counts[v_bucket] := 1;
    end if;
    insert into public.llm_usage_totals (
      user_id, hour, provider, model, task, key_source, key_id, recorder, requests, attempts, fallbacks, failures,
      cancelled, input_tokens, cached_input_tokens, cache_write_tokens, output_tokens, reasoning_tokens, cost,
      cache_savings, unpriced, unmeasured, latency_counts, last_used_at
    )
    values (
      v_user, v_hour, p_provider, p_model, p_task, p_key_source, p_key_id, v_recorder,
      (p_attempt = 1)::integer, 1, (p_attempt = 2)::integer, (p_outcome = 'failed')::integer,
      (p_outcome = 'cancelled')::integer, coalesce(p_input_tokens, 0), coalesce(p_cached_input_tokens, 0),
      coalesce(p_cache_write_tokens, 0), coalesce(p_output_tokens, 0), coalesce(p_reasoning_tokens, 0),
      coalesce(v_cost, 0), coalesce(v_savings, 0), v_unpriced, v_unmeasured, v_latency_counts, v_requested_at
    );
  end if;

  -- As note_hour() does, which is only called for an hour that is over. It may wait for a fold, so it comes before any
  -- lock that others wait for.
  perform pg_advisory_xact_lock_shared(
    hashtext('llm_private.usage_folds'), (extract(epoch from v_hour) / 3600)::integer
  );
  if v_hour + interval '1 hour' <= clock_timestamp() then
    perform llm_private.note_hour(v_hour);
  end if;

  if p_key_source = 'user' and p_key_id is not null then
    perform llm_private.note_key_outcome(v_user, p_key_id, p_outcome, p_error_class, p_retry_after);
  elsif p_key_source = 'operator' and p_error_class = 'auth' and v_runtime is not null then
    -- The operator's keys are in no table, so nobody knows when one was replaced: told of once a day.
    perform llm_private.notify(
      llm_private.operator_id(), 'key_rejected', format('%s on %s', p_provider, (now() at time zone 'UTC')::date),
      jsonb_build_object('provider', p_provider)
    );
  end if;
  if llm_private.has_quotas(v_user) then
    perform llm_private.settle(
      v_user, v_runtime, p_request_id, p_attempt, p_task, p_provider, p_key_source, v_requested_at,
      p_outcome <> 'failed',
      case
        when v_measured or p_outcome = 'failed'
          then coalesce(p_input_tokens, 0)::bigint + coalesce(p_output_tokens, 0)
      end,
      v_cost, v_unmeasured = 1
    );
  end if;
  if v_unpriced = 1 then
    perform llm_private.notify(
      v.owner, 'price_missing', p_provider || '/' || p_model,
      jsonb_build_object('provider', p_provider, 'model', p_model)
    )
    from (values (v_user), (llm_private.operator_id())) as v (owner)
    -- Users could tell the operator of any number of models that they make up.
    where v.owner = v_user or v_runtime is not null;
  end if;
  return true;
end
$function$;

COMMENT ON FUNCTION
  "llm_private"."record_usage"(uuid, integer, text, text, text, text, uuid, text, text, boolean,
  integer,
  integer,
  integer, integer, integer, double precision, integer, jsonb, text) IS 'Record one attempt of the caller''s; false when it is on record already. Errors: see record_llm_usage().';

REVOKE ALL
  ON FUNCTION
    "llm_private"."record_usage"(uuid, integer, text, text, text, text, uuid, text, text, boolean,
    integer, integer, integer, integer, integer, double precision, integer, jsonb, text)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION
    "llm_private"."record_usage"(uuid, integer, text, text, text, text, uuid, text, text, boolean,
    integer, integer, integer, integer, integer, double precision, integer, jsonb, text)
  TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.refuse (
  p_refusal jsonb
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if p_refusal ->> 'reason' = 'quota_exceeded' then
    perform llm_private.fail(
      429, 'quota_exceeded', p_refusal ->> 'message',
      case when p_refusal #>> '{quota,resets_at}' is null then 'Use less' else 'Wait until it resets, use less' end
      || ', or '
      || case p_refusal #>> '{quota,set_by}' when 'user' then 'raise the quota' else 'have the quota raised' end
      || ': list_llm_quotas() shows it.'
    );
  elsif p_refusal ->> 'reason' = 'runtime_required' then
    perform llm_private.fail(
      403, 'runtime_required', p_refusal ->> 'message', 'Send the runtime''s secret in x-llm-runtime.'
    );
  end if;
  perform llm_private.fail(
    422, 'model_unpriced', p_refusal ->> 'message',
    'Set a price for the model, or have the quota allow unpriced models.'
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."refuse"(jsonb) IS 'Raise what quota_refusal() made. Errors: quota_exceeded, model_unpriced, runtime_required.';

REVOKE ALL ON FUNCTION "llm_private"."refuse"(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.refuse_cast()
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if strpos(current_query(), 'CAST') > 0 then
    perform llm_private.fail(
      400, 'invalid_argument', 'What holds a key cannot be cast.', 'Leave the cast out of select.'
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."refuse_cast"() IS 'Error invalid_argument when the caller''s statement casts: for functions that give out keys.';

REVOKE ALL ON FUNCTION "llm_private"."refuse_cast"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.register_runtime (
  p_name text
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_secret text := 'slr_' || translate(encode(extensions.gen_random_bytes(32), 'base64'), '+/=', '-_');
  v_runtime llm_private.runtimes;
begin
  if p_name is null or length(p_name) not between 1 and 100 then
    perform llm_private.fail(400, 'invalid_argument', 'p_name must have 1 to 100 characters.');
  end if;
  perform llm_private.add_month_partitions();
  insert into llm_private.runtimes (name, secret_hash)
  values (p_name, sha256(convert_to(v_secret, 'UTF8')))
  returning * into v_runtime;
  return jsonb_build_object(
    'id', v_runtime.id, 'name', v_runtime.name, 'secret', v_secret, 'created_at', v_runtime.created_at
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."register_runtime"(text) IS 'Register a runtime; its secret is in the answer and never again. Error invalid_argument.';

REVOKE ALL ON FUNCTION "llm_private"."register_runtime"(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."register_runtime"(text) TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.release (
  p_user       uuid,
  p_holder     uuid,
  p_request_id uuid,
  p_attempt    integer
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_quotas constant bigint[] := array(
    select r.quota_id from llm_private.reservations as r
    where
      r.user_id = p_user and r.request_id = p_request_id and r.holder = p_holder
      and (p_attempt is null or r.attempt = p_attempt)
  );
begin
  if v_quotas = '{}' then
    return;
  end if;
  perform llm_private.lock_counters(p_user, v_quotas);
  with gone as (
    delete from llm_private.reservations as r
    where
      r.user_id = p_user and r.request_id = p_request_id and r.holder = p_holder
      and (p_attempt is null or r.attempt = p_attempt) and r.quota_id = any(v_quotas)
    returning r.owner, r.quota_id, r.starts_at, r.amount
  )

  update llm_private.quota_counters as c
  set reserved = c.reserved - g.amount
  from (
    select e.owner, e.quota_id, e.starts_at, sum(e.amount) as amount from gone as e
    group by e.owner, e.quota_id, e.starts_at
  ) as g
  where c.owner = g.owner and c.quota_id = g.quota_id and c.starts_at = g.starts_at;
end
$function$;

COMMENT ON FUNCTION "llm_private"."release"(uuid, uuid, uuid, integer) IS 'Free what this holder reserved for an attempt, or for all attempts of a request.';

REVOKE ALL ON FUNCTION "llm_private"."release"(uuid, uuid, uuid, integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.release_request (
  p_request_id uuid
)
  RETURNS void
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
begin
  -- A counter that is opened meanwhile sums the reservations.
  perform pg_advisory_xact_lock_shared(llm_private.usage_lock(v_user));
  perform llm_private.release(v_user, coalesce(llm_private.current_runtime(), v_user), p_request_id, null);
end
$function$;

COMMENT ON FUNCTION "llm_private"."release_request"(uuid) IS 'Free what the caller reserved for a request.';

REVOKE ALL ON FUNCTION "llm_private"."release_request"(uuid) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."release_request"(uuid) TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.remember_charge (
  p_provider   text,
  p_model      text,
  p_key_source text,
  p_at         timestamp with time zone,
  p_input      integer,
  p_price      bigint
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_name constant text := llm_private.price_name(p_provider, p_model);
  v_tier llm_private.price_tiers;
  v_bounds record;
begin
  -- Between two of these moments no price begins or ends.
  select
    coalesce(max(b.at) filter (where b.at <= p_at), '-infinity') as holds_from,
    coalesce(min(b.at) filter (where b.at > p_at), 'infinity') as holds_until,
    bool_or(p.daily_from is not null) as daily
  into v_bounds
  from public.llm_prices as p
  cross join lateral (values (p.valid_from), (p.valid_until)) as b (at)
  where
    p.provider = p_provider and (p.source = 'operator' or p.source = 'catalogue' and p.model = v_name);
  select t.* into v_tier from llm_private.price_tiers as t
  where t.price_id = p_price and t.above < p_input
  order by t.above desc limit 1;
  if v_bounds.daily then
    return;
  end if;
  -- Only what is over makes room: inputs of different sizes would take turns, and wait for one another.
  delete from llm_private.charges as c
  where
    c.provider = p_provider and c.model = p_model and c.key_source = p_key_source
    and c.holds_until <= v_bounds.holds_from;
  insert into llm_private.charges (
    provider, model, key_source, price_id, holds_from, holds_until, input_above, input_up_to,
    per_request, per_input, per_cached_input, per_cache_write, per_output, per_reasoning
  )
  values (
    p_provider, p_model, p_key_source, p_price, v_bounds.holds_from, v_bounds.holds_until, coalesce(v_tier.above, -1),
    coalesce(
      (select min(t.above) from llm_private.price_tiers as t where t.price_id = p_price and t.above >= p_input),
      2147483647
    ),
    v_tier.per_request, v_tier.per_input, v_tier.per_cached_input, v_tier.per_cache_write, v_tier.per_output,
    v_tier.per_reasoning
  )
  on conflict (provider, model, key_source) do nothing;
end
$function$;

COMMENT ON FUNCTION "llm_private"."remember_charge"(text, text, text, timestamp
  with time zone, integer, bigint) IS 'Remember the price that find_price() found, for attempts of the same model, time and size.';

REVOKE ALL
  ON FUNCTION "llm_private"."remember_charge"(text, text, text, timestamp
    with time zone, integer, bigint)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.remove_quota (
  p_id bigint
)
  RETURNS void
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_operator constant boolean := v_owner = llm_private.operator_id();
  v_row llm_private.quotas;
begin
  select q.* into v_row from llm_private.quotas as q
  where q.id = p_id and (v_operator and q.set_by = 'operator' or q.set_by = 'user' and q.user_id = v_owner)
  for update;
  if not found then
    perform llm_private.fail(
      404, 'not_found', 'There is no such quota that you may remove.', 'list_llm_quotas() shows them, and who set them.'
    );
  end if;
  perform llm_private.forget_counters(
    array(
      select q.id from llm_private.quotas as q
      where
        q.id = p_id
        or not v_row.shared and not q.shared and v_operator and q.set_by = 'operator' and q.unit = v_row.unit
        and q.period = v_row.period and q.key_source is not distinct from v_row.key_source
        and q.provider is not distinct from v_row.provider and q.task is not distinct from v_row.task
    ),
    v_row.user_id
  );
  delete from llm_private.quotas where id = p_id;
  delete from llm_private.reservations where quota_id = p_id;
  if not v_operator then
    perform llm_private.audit(
      v_owner, 'quota_removed', v_row.provider, p_runtime => llm_private.current_runtime(),
      p_detail => llm_private.quota_json(v_row)
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."remove_quota"(bigint) IS 'Remove a quota that the caller set. Errors: not_signed_in, not_found.';

REVOKE ALL ON FUNCTION "llm_private"."remove_quota"(bigint) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."remove_quota"(bigint)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION llm_private.report_zone (
  p_owner uuid,
  p_zone  text
)
  RETURNS text
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_zone constant text := coalesce(
    p_zone, (select s.time_zone from public.user_llm_settings as s where s.user_id = p_owner), 'UTC'
  );
begin
  begin
    perform now() at time zone v_zone;
  exception when invalid_parameter_value then
    perform llm_private.check_value(
      'invalid_argument', false, 'p_time_zone', 'the name of a time zone, such as Europe/Berlin or UTC'
    );
  end;
  return v_zone;
end
$function$;

COMMENT ON FUNCTION "llm_private"."report_zone"(uuid, text) IS 'The time zone of a report: as asked for, else of the user''s settings, else UTC. Error invalid_argument.';

REVOKE ALL ON FUNCTION "llm_private"."report_zone"(uuid, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.require_readable_keys (
  p_runtime  uuid,
  p_operator llm_private.operator_settings
)
  RETURNS void
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if p_operator.keys_readable_by = 'runtime' and p_runtime is null then
    perform llm_private.fail(
      403, 'runtime_required', 'In this project, keys are only given to a registered runtime.',
      'Run the request through the app''s server.'
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."require_readable_keys"(uuid, llm_private.operator_settings) IS
  'Error runtime_required where the operator asks for a runtime and there is none.';

REVOKE ALL
  ON FUNCTION "llm_private"."require_readable_keys"(uuid, llm_private.operator_settings)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.require_user()
  RETURNS uuid
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user uuid := auth.uid();
begin
  if v_user is null then
    perform llm_private.fail(401, 'not_signed_in', 'Nobody is signed in.', 'Sign in first.');
  end if;
  return v_user;
end
$function$;

COMMENT ON FUNCTION "llm_private"."require_user"() IS 'Id of the signed-in user; error not_signed_in when there is none.';

REVOKE ALL ON FUNCTION "llm_private"."require_user"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.reserve (
  p_user          uuid,
  p_runtime       uuid,
  p_quotas        bigint[],
  p_request_id    uuid,
  p_attempt       integer,
  p_task          text,
  p_provider      text,
  p_model         text,
  p_key_source    text,
  p_input_tokens  integer,
  p_output_tokens integer
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_refusal jsonb;
  v_holds llm_private.reservations[];
  v_expires_at timestamptz;
begin
  select w.refusal, w.holds into v_refusal, v_holds
  from llm_private.weigh_attempt(
    p_user, p_runtime, p_quotas, p_task, p_provider, p_model, p_key_source, p_input_tokens, p_output_tokens
  ) as w;
  if v_refusal is null then
    select now() + make_interval(secs => o.reservation_seconds) into v_expires_at
    from llm_private.operator_settings as o;
    insert into llm_private.reservations (
      user_id, request_id, attempt, holder, quota_id, owner, starts_at, amount, expires_at
    )
    select
      p_user, p_request_id, p_attempt, coalesce(p_runtime, p_user), h.quota_id, h.owner, h.starts_at, h.amount,
      v_expires_at
    from unnest(v_holds) as h;
    update llm_private.quota_counters as c
    set reserved = c.reserved + h.amount
    from unnest(v_holds) as h
    where c.owner = h.owner and c.quota_id = h.quota_id;
  end if;
  return v_refusal;
end
$function$;

COMMENT ON FUNCTION
  "llm_private"."reserve"(uuid, uuid, bigint[], uuid, integer, text, text, text, text, integer,
  integer) IS 'After begin_reserving(), whose result p_quotas is: reserve what an attempt may use at most in each quota that counts
it. Null when done; else why not, and nothing is reserved.';

REVOKE ALL
  ON FUNCTION
    "llm_private"."reserve"(uuid, uuid, bigint[], uuid, integer, text, text, text, text, integer,
    integer)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.reserve_attempt (
  p_request_id    uuid,
  p_attempt       integer,
  p_task          text,
  p_provider      text,
  p_model         text,
  p_key_source    text,
  p_input_tokens  integer,
  p_output_tokens integer
)
  RETURNS void
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_refusal jsonb;
begin
  perform llm_private.check_reservation(p_request_id, p_attempt, p_input_tokens, p_output_tokens);
  v_refusal := llm_private.reserve(
    v_user, v_runtime, llm_private.begin_reserving(v_user, v_runtime, p_request_id, p_attempt), p_request_id, p_attempt, p_task, p_provider, p_model, p_key_source,
    coalesce(p_input_tokens, 0),
    coalesce(p_output_tokens, (select o.unbounded_output_tokens from llm_private.operator_settings as o))
  );
  if v_refusal is not null then
    perform llm_private.refuse(v_refusal);
  end if;
end
$function$;

COMMENT ON FUNCTION
  "llm_private"."reserve_attempt"(uuid, integer, text, text, text, text, integer, integer) IS
  'Reserve for the next candidate of a request. Errors: see reserve_llm_attempt().';

REVOKE ALL
  ON FUNCTION
    "llm_private"."reserve_attempt"(uuid, integer, text, text, text, text, integer, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION
    "llm_private"."reserve_attempt"(uuid, integer, text, text, text, text, integer, integer)
  TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.resolve_route (
  p_task               text,
  p_model              text,
  p_needs              text[],
  p_operator_providers text[],
  p_request_id         uuid,
  p_input_tokens       integer,
  p_output_tokens      integer
)
  RETURNS json
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_holder constant text := coalesce(
    'runtime:' || v_runtime, 'session:' || (auth.jwt() ->> 'session_id'), 'user:' || v_user
  );
  v_operator llm_private.operator_settings;
  v_candidates json;
  v_keys uuid[];
  v_unleased boolean;
  v_expires_at timestamptz;
  v_lines llm_private.route_line[];
  v_line llm_private.route_line;
  v_metered constant boolean := llm_private.has_quotas(v_user);
  v_quotas bigint[];
  v_told jsonb;
  v_refusal jsonb;
  v_refused text[] := '{}'::text[];
begin
  perform llm_private.refuse_cast();
  select * into strict v_operator from llm_private.operator_settings;
  perform llm_private.require_readable_keys(v_runtime, v_operator);
  -- Also tells a token whose account has been deleted.
  perform from public.user_llm_settings as u where u.user_id = v_user;
  if not found then
    perform llm_private.ensure_settings(v_user);
  end if;
  perform llm_private.check_route_request(p_task, p_model, p_needs, p_operator_providers);

  -- The first candidate that the user's quotas allow is the one that is reserved for.
  if v_metered then
    perform llm_private.check_reservation(p_request_id, 1, p_input_tokens, p_output_tokens);
    v_quotas := llm_private.begin_reserving(v_user, v_runtime, p_request_id, 1);
    for v_line in
      select r.* from llm_private.route(v_user, p_task, p_model, p_needs, p_operator_providers) as r
      where r.left_out is null
    loop
      v_refusal := llm_private.reserve(
        v_user, v_runtime, v_quotas, p_request_id, 1, p_task, v_line.provider, v_line.model, v_line.key_source,
        coalesce(p_input_tokens, 0), coalesce(p_output_tokens, v_operator.unbounded_output_tokens)
      );
      exit when v_refusal is null;
      v_refused := v_refused || concat_ws(' ', v_line.key_source, v_line.provider, v_line.model);
      -- Of several refusals the first is told, and above all one that waiting helps against.
      if v_told is null or v_told ->> 'reason' <> 'quota_exceeded' and v_refusal ->> 'reason' = 'quota_exceeded' then
        v_told := v_refusal;
      end if;
    end loop;
    if v_refusal is not null then
      perform llm_private.refuse(v_told);
    end if;
  end if;

  -- Again where a key was replaced or revoked between reading the route and handing it out.
  loop
    with master as materialized (
      select m.id, d.decrypted_secret
      from llm_private.master_keys as m
      inner join vault.decrypted_secrets as d on m.vault_secret_id = d.id
    )

    select
      json_agg(
        json_build_object(
          'provider', r.provider, 'model', r.model, 'reason', r.reason, 'key_source', r.key_source,
          'key_id', r.key_id, 'key_hint', r.key_hint, 'wire_format', r.wire_format, 'base_url', r.base_url,
          'key_header', r.key_header, 'key_scheme', r.key_scheme, 'parameter_names', r.parameter_names,
          'key', case
            when r.key_id is not null
              then llm_private.decrypt_key(
                v_user, r.key_id, s.ciphertext,
                coalesce(m.decrypted_secret, llm_private.master_key(s.master_key_id))
              )
          end
        ) order by r.ordinality
      ),
      array_agg(distinct r.key_id) filter (where r.key_id is not null),
      bool_or(l.key_id is null) filter (where r.key_id is not null),
      min(l.expires_at)
    into v_candidates, v_keys, v_unleased, v_expires_at
    from llm_private.route(v_user, p_task, p_model, p_needs, p_operator_providers) with ordinality as r
    left join llm_private.key_secrets as s on s.user_id = v_user and r.key_id = s.key_id
    left join master as m on s.master_key_id = m.id
    left join llm_private.leases as l
      on l.user_id = v_user and r.key_id = l.key_id and l.holder = v_holder and l.expires_at > now()
    where r.left_out is null and concat_ws(' ', r.key_source, r.provider, r.model) <> all(v_refused);

    if v_candidates is null then
      v_lines := array(select r from llm_private.route(v_user, p_task, p_model, p_needs, p_operator_providers) as r);
      if exists (select from unnest(v_lines) as l where l.left_out = 'key_cooling_down') then
        perform llm_private.fail(
          429, 'keys_cooling_down', 'No provider can serve this request just now.',
          llm_private.route_advice(v_lines, p_needs)
        );
      end if;
      perform llm_private.fail(
        422, 'no_usable_key', 'No provider can serve this request.', llm_private.route_advice(v_lines, p_needs)
      );
    end if;

    -- While a lease covers all of the keys, nothing is written.
    if v_unleased or v_expires_at is null then
      v_expires_at := now() + make_interval(secs => v_operator.lease_seconds);
    end if;
    exit when v_unleased is not true
      or llm_private.lease_keys(v_user, v_runtime, v_holder, v_keys, v_expires_at);
  end loop;
  if not v_metered then
    return json_build_object('task', p_task, 'candidates', v_candidates, 'expires_at', v_expires_at);
  end if;
  return json_build_object(
    'task', p_task, 'candidates', v_candidates, 'expires_at', v_expires_at, 'metered', true,
    'max_output_tokens', case
      when exists (select from llm_private.binding_quotas(v_user) as q where q.hard and q.unit <> 'requests')
        then coalesce(p_output_tokens, v_operator.unbounded_output_tokens)
    end
  );
end
$function$;

COMMENT ON FUNCTION
  "llm_private"."resolve_route"(text, text, text[], text[], uuid, integer, integer) IS
  'The caller''s route with the keys in plain text, on lease. Errors: see resolve_llm_route().';

REVOKE ALL
  ON FUNCTION "llm_private"."resolve_route"(text, text, text[], text[], uuid, integer, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."resolve_route"(text, text, text[], text[], uuid, integer, integer)
  TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.restate_costs (
  p_from        timestamp with time zone,
  p_until       timestamp with time zone,
  p_restatement bigint,
  p_batch       integer
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_before llm_private.restatements;
  v_job llm_private.restatements;
  v_event llm_private.adjusted_events;
  v_cost numeric;
  v_seen integer := 0;
begin
  perform llm_private.check_value('invalid_argument', p_batch between 1 and 10000, 'p_batch', '1 to 10000');
  -- One at a time: two would append the same difference.
  perform pg_advisory_xact_lock(hashtext('llm_private.restate_costs'));
  if p_restatement is null then
    v_job := llm_private.begin_restatement(p_from, p_until);
  else
    select * into v_job from llm_private.restatements where id = p_restatement;
    if not found then
      perform llm_private.fail(
        404, 'not_found', 'There is no restatement of this id.', 'Begin one: leave p_restatement out.'
      );
    end if;
  end if;
  v_before := v_job;

  for v_event in
    select * from llm_private.adjusted_events as e
    where
      e.request_id >= llm_private.first_uuid_v7(greatest(v_job.from_at, 'epoch'))
      and e.request_id < llm_private.first_uuid_v7(least(v_job.until_at, v_job.started_at + interval '10 minutes'))
      and (e.user_id, e.request_id, e.attempt, e.recorder)
      > (v_job.position_user, v_job.position_request, v_job.position_attempt, v_job.position_recorder)
      and v_job.finished_at is null
    order by e.user_id, e.request_id, e.attempt, e.recorder
    limit p_batch
  loop
    v_cost := llm_private.restate_event(v_event, v_job.id);
    v_seen := v_seen + 1;
    v_job.changed := v_job.changed
      + (v_cost is distinct from v_event.cost)::integer;
    v_job.newly_priced := v_job.newly_priced + (v_event.cost_status = 'unpriced' and v_cost is not null)::integer;
    v_job.cost_before := v_job.cost_before + coalesce(v_event.cost, 0);
    v_job.cost_after := v_job.cost_after + coalesce(v_cost, 0);
  end loop;
  if v_seen > 0 then
    perform llm_private.adjust_totals(v_before);
    v_job.position_user := v_event.user_id;
    v_job.position_request := v_event.request_id;
    v_job.position_attempt := v_event.attempt;
    v_job.position_recorder := v_event.recorder;
  end if;
  update llm_private.restatements
  set
    position_user = v_job.position_user,
    position_request = v_job.position_request,
    position_attempt = v_job.position_attempt,
    position_recorder = v_job.position_recorder,
    events = v_job.events + v_seen,
    changed = v_job.changed,
    newly_priced = v_job.newly_priced,
    cost_before = v_job.cost_before,
    cost_after = v_job.cost_after,
    finished_at = case when v_seen < p_batch then coalesce(v_job.finished_at, now()) end
  where id = v_job.id
  returning * into v_job;
  return jsonb_build_object(
    'id', v_job.id,
    'from', nullif(v_job.from_at, '-infinity'),
    'until', nullif(v_job.until_at, 'infinity'),
    'expected', v_job.expected,
    'events', v_job.events,
    'changed', v_job.changed,
    'newly_priced', v_job.newly_priced,
    'cost_before', v_job.cost_before,
    'cost_after', v_job.cost_after,
    'started_at', v_job.started_at,
    'done', v_job.finished_at is not null
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."restate_costs"(timestamp with time zone, timestamp
  with time zone, bigint, integer) IS 'One batch of a restatement. Errors: see restate_llm_costs().';

REVOKE ALL
  ON FUNCTION "llm_private"."restate_costs"(timestamp with time zone, timestamp
    with time zone, bigint, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."restate_costs"(timestamp with time zone, timestamp
    with time zone, bigint, integer)
  TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.restate_event (
  p_event llm_private.adjusted_events,
  p_job   bigint
)
  RETURNS numeric
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_measured constant boolean := p_event.input_tokens is not null or p_event.output_tokens is not null;
  v_price bigint;
  v record;
begin
  if p_event.outcome = 'failed' and not v_measured then
    return p_event.cost;
  end if;
  v_price := llm_private.find_price(
    p_event.user_id, p_event.provider, p_event.model, p_event.key_source, p_event.service_tier,
    llm_private.uuid_v7_time(p_event.request_id)
  );
  -- What had a price keeps it, though there be none any more.
  if v_price is null or not v_measured and p_event.cost_status = 'unmeasured' then
    return p_event.cost;
  end if;
  select c.cost, c.cache_savings into v
  from llm_private.cost_of(
    v_price, p_event.input_tokens, p_event.cached_input_tokens, p_event.cache_write_tokens, p_event.output_tokens,
    p_event.reasoning_tokens, p_event.other_tokens
  ) as c
  where v_measured;
  if v.cost is distinct from p_event.cost or coalesce(v.cache_savings, 0) <> p_event.cache_savings
    or p_event.cost_status = 'unpriced' then
    insert into public.llm_usage_adjustments (
      user_id, request_id, attempt, recorder, restatement_id, cost, cache_savings, price_id
    )
    values (
      p_event.user_id, p_event.request_id, p_event.attempt, p_event.recorder, p_job,
      v.cost - coalesce(p_event.cost, 0), nullif(coalesce(v.cache_savings, 0) - p_event.cache_savings, 0), v_price
    );
  end if;
  return v.cost;
end
$function$;

COMMENT ON FUNCTION "llm_private"."restate_event"(llm_private.adjusted_events, bigint) IS
  'Append what an event''s cost at the price known now differs by, if it does; returns that cost.';

REVOKE ALL
  ON FUNCTION "llm_private"."restate_event"(llm_private.adjusted_events, bigint)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.reveal_key (
  p_provider text
)
  RETURNS text
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_operator llm_private.operator_settings;
  v_row public.llm_keys;
  v_key text;
begin
  perform llm_private.refuse_cast();
  select * into strict v_operator from llm_private.operator_settings;
  perform llm_private.require_readable_keys(v_runtime, v_operator);
  if not v_operator.reveal_enabled then
    perform llm_private.fail(
      403, 'reveal_disabled', 'In this project, stored keys are not shown.',
      'Replace the key, or look it up at the provider.'
    );
  end if;
  if
    v_operator.reveal_sign_in_within is not null
    and (llm_private.signed_in_at() >= now() - v_operator.reveal_sign_in_within) is not true
  then
    perform llm_private.fail(
      403, 'recent_sign_in_required', 'To see a key, you must have signed in recently.', 'Sign in again, then retry.'
    );
  end if;
  v_row := llm_private.own_key(v_user, p_provider);
  select llm_private.decrypt_key(s.user_id, s.key_id, s.ciphertext, llm_private.master_key(s.master_key_id))
  into strict v_key
  from llm_private.key_secrets as s
  where s.user_id = v_user and s.key_id = v_row.id;
  perform llm_private.audit(
    v_user, 'key_revealed', v_row.provider, v_row.id, v_runtime, jsonb_build_object('hint', v_row.hint)
  );
  return v_key;
end
$function$;

COMMENT ON FUNCTION "llm_private"."reveal_key"(text) IS 'The caller''s own key, on the record. Errors: see reveal_llm_key().';

REVOKE ALL ON FUNCTION "llm_private"."reveal_key"(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."reveal_key"(text) TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.revoke_key (
  p_provider text
)
  RETURNS void
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_row public.llm_keys := llm_private.own_key(v_user, p_provider);
begin
  delete from public.llm_keys where user_id = v_user and id = v_row.id;
  perform llm_private.audit(
    v_user, 'key_revoked', v_row.provider, v_row.id, v_runtime, jsonb_build_object('hint', v_row.hint)
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."revoke_key"(text) IS 'Delete the caller''s key for a provider. Errors: not_signed_in, key_not_found.';

REVOKE ALL ON FUNCTION "llm_private"."revoke_key"(text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."revoke_key"(text) TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.revoke_runtime (
  p_id uuid
)
  RETURNS void
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  update llm_private.runtimes set revoked_at = coalesce(revoked_at, now()) where id = p_id;
  if not found then
    perform llm_private.fail(404, 'not_found', 'There is no such runtime.', 'list_llm_runtimes() shows them.');
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."revoke_runtime"(uuid) IS 'Refuse this runtime from now on. Error not_found.';

REVOKE ALL ON FUNCTION "llm_private"."revoke_runtime"(uuid) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."revoke_runtime"(uuid) TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.route (
  p_user               uuid,
  p_task               text,
  p_model              text,
  p_needs              text[],
  p_operator_providers text[]
)
  RETURNS SETOF llm_private.route_line
  LANGUAGE plpgsql
  STABLE
  ROWS 10
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_settings record;
  v_override jsonb;
  v_providers text[] := '{}'::text[];
  v_models text[] := '{}'::text[];
  v_reasons text[] := '{}'::text[];
  v_closed boolean := false;
  v_only text;
  v_line llm_private.route_line;
  v_taken boolean := false;
begin
  select
    s.default_provider,
    coalesce(s.enable_fallbacks, true) as enable_fallbacks,
    coalesce(s.provider_preferences, '{}') as preferences,
    s.task_overrides -> p_task as override,
    coalesce(s.allow_operator_keys, o.operator_keys_by_default) as allow_operator_keys,
    (select t.provider_order from public.llm_tasks as t where t.task = p_task) as task_order
  into strict v_settings
  from llm_private.operator_settings as o
  left join public.user_llm_settings as s on s.user_id = p_user;

  -- Steps 1 and 2 name a provider together with a model, and may name one twice.
  if p_model is not null then
    select array_agg(a.provider), array_agg(a.model), array_agg('asked_for'::text)
    into v_providers, v_models, v_reasons
    from llm_private.asked_providers(p_model, v_settings.default_provider) as a;
  end if;
  v_override := v_settings.override;
  if v_override is not null then
    v_providers := v_providers || (v_override ->> 'provider');
    v_models := v_models || (v_override ->> 'model');
    v_reasons := v_reasons || 'task_override'::text;
    if v_override ? 'fallbacks' then
      v_closed := true;
      select
        v_providers || coalesce(array_agg(f ->> 'provider'), '{}'),
        v_models || coalesce(array_agg(f ->> 'model'), '{}'),
        v_reasons || coalesce(array_agg('task_fallback'::text), '{}')
      into v_providers, v_models, v_reasons
      from jsonb_array_elements(v_override -> 'fallbacks') as f;
    end if;
  end if;

  for v_line in
    with considered as (
      select
        p.*, s.source, n.place, n.reason, k.id as key_id, k.hint, k.cooling_until,
        (v_settings.preferences -> p.id ->> 'priority')::integer as priority,
        array_position(v_settings.task_order, p.id) as task_position,
        case
          when n.model is not null then n.model
          when 'embeddings' = any(p_needs) then p.task_models ->> 'embedding'
          else coalesce(v_settings.preferences -> p.id ->> 'model', p.task_models ->> p_task, p.default_model)
        end as model,
        case
          when not p.enabled then 'provider_off'
          when v_settings.preferences -> p.id -> 'enabled' = 'false' then 'provider_disabled'
          when 'embeddings' = any(p_needs) and p_model is not null and n.reason is distinct from 'asked_for'
            then 'other_model'
          when v_closed and n.place is null then 'not_in_task_fallbacks'
          when not p.capabilities @> p_needs then 'lacks_capability'
          when 'embeddings' = any(p_needs) and n.model is null and not p.task_models ? 'embedding' then 'no_model'
          when s.source = 'operator' then case when not v_settings.allow_operator_keys then 'operator_keys_declined' end
          when k.id is null then 'no_key'
          when k.status = 'rejected' then 'key_rejected'
          when k.cooling_until > now() then 'key_cooling_down'
        end as left_out
      from public.llm_providers as p
      cross join (values ('user'), ('operator')) as s (source)
      left join unnest(v_providers, v_models, v_reasons) with ordinality as n (provider, model, reason, place)
        on p.id = n.provider
      left join public.llm_keys as k on s.source = 'user' and k.user_id = p_user and k.provider = p.id
      where s.source = 'user' or p.id = any(p_operator_providers)
    ),

    placed as (
      select
        c.*,
        -- What steps 1 and 2 name comes in their order, far below 1000.
        case
          when c.place is not null then c.place
          when c.id = v_settings.default_provider then 1000
          when c.source = 'operator' and c.id = 'openai' and c.priority is null and c.task_position is null then 1002
          else 1001
        end as step
      from considered as c
    )

    select
      c.id, c.name, c.model,
      case c.step
        when 1000 then 'default_provider' when 1001 then 'preference_order' when 1002 then 'operator_openai'
        else c.reason
      end,
      c.source, c.key_id, c.hint, c.cooling_until, c.left_out,
      c.wire_format, c.base_url, c.key_header, c.key_scheme, c.parameter_names, null::jsonb
    from placed as c
    order by c.source desc, c.step, c.priority nulls last, c.task_position nulls last, c.position, c.id
  loop
    if not v_settings.enable_fallbacks and v_line.left_out is null then
      v_only := coalesce(v_providers[1], v_settings.default_provider, v_line.provider);
      if v_taken or v_line.provider <> v_only then
        v_line.left_out := 'fallbacks_off';
      else
        v_taken := true;
      end if;
    end if;
    return next v_line;
  end loop;
end
$function$;

COMMENT ON FUNCTION "llm_private"."route"(uuid, text, text, text[], text[]) IS
  'All that was considered for a request, in the order of the route. What has no left_out is a candidate.
Error unknown_model.';

REVOKE ALL ON FUNCTION "llm_private"."route"(uuid, text, text, text[], text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.route_advice (
  p_lines llm_private.route_line[],
  p_needs text[]
)
  RETURNS text
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  with line as (
    select
      l.*,
      l.key_id is not null or l.left_out = 'operator_keys_declined' or l.quota is not null as mendable,
      l.key_source = 'user' and l.left_out = 'no_key' as keyless,
      llm_private.left_out_message(p_lines[l.ordinality], p_needs) as message,
      row_number() over (partition by l.name, l.key_source order by l.ordinality) as nth
    from unnest(p_lines) with ordinality as l
  )

  select coalesce(
    nullif(
      concat_ws(
        ' ',
        string_agg(line.message, ' ' order by line.ordinality) filter (where line.mendable and line.nth = 1),
        'Store a key for one of: '
        || string_agg(line.name, ', ' order by line.ordinality) filter (where line.keyless and line.nth = 1) || '.'
      ),
      ''
    ),
    'No provider of this project can serve it.'
  )
  from line
$function$;

COMMENT ON FUNCTION "llm_private"."route_advice"(llm_private.route_line[], text[]) IS
  'What a user whose route is empty can do about it.';

REVOKE ALL ON FUNCTION "llm_private"."route_advice"(llm_private.route_line[], text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.run_maintenance()
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_left integer;
  v_dropped text[];
begin
  v_left := llm_private.fold_usage('4 seconds');
  perform llm_private.add_month_partitions();
  v_dropped := llm_private.drop_old_events();
  return jsonb_build_object(
    'hours_left', v_left,
    'dropped_months', v_dropped,
    'done', coalesce(v_left, 1) = 0 and v_dropped is not null
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."run_maintenance"() IS 'See run_llm_maintenance().';

REVOKE ALL ON FUNCTION "llm_private"."run_maintenance"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."run_maintenance"() TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.set_key (
  p_body json
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_runtime constant uuid := llm_private.current_runtime();
  v_key text;
  v_provider public.llm_providers;
  v_replaced uuid;
  v_master constant smallint := (select max(m.id) from llm_private.master_keys as m);
  v_row public.llm_keys;
begin
  v_provider := llm_private.read_key_body(p_body, true);
  v_key := p_body ->> 'key';
  perform llm_private.ensure_settings(v_user);
  -- Two at once follow each other, and the later one stands.
  perform 1 from public.user_llm_settings where user_id = v_user for update;

  delete from public.llm_keys where user_id = v_user and provider = v_provider.id returning id into v_replaced;
  insert into public.llm_keys (user_id, provider, hint)
  values (
    v_user, v_provider.id,
    case when length(v_key) >= 20 then left(v_key, 3) || '…' || right(v_key, 4) else '…' || right(v_key, 2) end
  )
  returning * into v_row;
  insert into llm_private.key_secrets (user_id, key_id, master_key_id, ciphertext)
  values (
    v_user, v_row.id, v_master,
    llm_private.encrypt_key(v_user, v_row.id, v_key, llm_private.master_key(v_master))
  );
  perform llm_private.audit(
    v_user, 'key_set', v_row.provider, v_row.id, v_runtime,
    jsonb_strip_nulls(jsonb_build_object('hint', v_row.hint, 'replaced', v_replaced))
  );
  return llm_private.key_json(v_row);
end
$function$;

COMMENT ON FUNCTION "llm_private"."set_key"(json) IS 'Store or replace a key of the caller''s. Errors: see set_llm_key().';

REVOKE ALL ON FUNCTION "llm_private"."set_key"(json) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."set_key"(json) TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.set_operator_settings (
  p_changes jsonb
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_row llm_private.operator_settings;
  v_unknown text;
begin
  if jsonb_typeof(p_changes) is distinct from 'object' then
    perform llm_private.fail(400, 'invalid_argument', 'p_changes must be a JSON object.');
  end if;
  select * into strict v_row from llm_private.operator_settings for update;
  select k into v_unknown from jsonb_object_keys(p_changes) as k
  where not to_jsonb(v_row) - '{only_row,updated_at}'::text[] ? k limit 1;
  if found then
    perform llm_private.fail(
      400, 'unknown_setting', format('%s is not a setting of the operator.', v_unknown),
      'Allowed: events_kept_months, keys_readable_by, lease_seconds, operator_keys_by_default, reservation_seconds, '
      'reveal_enabled, reveal_sign_in_within, unbounded_output_tokens.'
    );
  end if;
  begin
    v_row := jsonb_populate_record(v_row, p_changes);
    update llm_private.operator_settings
    set
      keys_readable_by = v_row.keys_readable_by,
      reveal_enabled = v_row.reveal_enabled,
      reveal_sign_in_within = v_row.reveal_sign_in_within,
      operator_keys_by_default = v_row.operator_keys_by_default,
      lease_seconds = v_row.lease_seconds,
      reservation_seconds = v_row.reservation_seconds,
      unbounded_output_tokens = v_row.unbounded_output_tokens,
      events_kept_months = v_row.events_kept_months,
      updated_at = now();
  exception when data_exception or integrity_constraint_violation then
    perform llm_private.fail(
      400, 'invalid_setting', 'A setting of the operator has a value that is not allowed.',
      'events_kept_months: 2 to 1200, or null for ever; keys_readable_by: owner or runtime; lease_seconds: 30 to 3600; '
      'operator_keys_by_default and reveal_enabled: true or false; reservation_seconds: 30 to 86400; '
      'reveal_sign_in_within: an interval such as "10 minutes", or null; unbounded_output_tokens: 1 to 1000000.'
    );
  end;
  return llm_private.operator_settings_json();
end
$function$;

COMMENT ON FUNCTION "llm_private"."set_operator_settings"(jsonb) IS 'Change the named switches only. Errors: invalid_argument, unknown_setting, invalid_setting.';

REVOKE ALL ON FUNCTION "llm_private"."set_operator_settings"(jsonb) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."set_operator_settings"(jsonb) TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.set_price (
  p_provider     text,
  p_model        text,
  p_rates        jsonb,
  p_valid_from   timestamp with time zone,
  p_valid_until  timestamp with time zone,
  p_key_source   text,
  p_service_tier text
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  -- Null for an administrator.
  v_user constant uuid := nullif(llm_private.acting_owner(), llm_private.operator_id());
  v_price public.llm_prices;
begin
  perform llm_private.check_provider(p_provider);
  if (p_model ~ '^[!-~]{1,200}$' and strpos(p_model, '*') in (0, length(p_model))) is not true then
    perform llm_private.fail(
      400, 'invalid_price', 'p_model is no name of a model.',
      'Allowed: 1 to 200 characters without spaces; * only at its end, where it stands for any ending.'
    );
  end if;
  if p_valid_until <= coalesce(p_valid_from, now()) then
    perform llm_private.fail(
      400, 'invalid_price', 'The price would end before it begins.', 'Let p_valid_until be later than p_valid_from.'
    );
  end if;
  if p_key_source not in ('user', 'team', 'operator') or (v_user is not null and p_key_source <> 'user') then
    perform llm_private.fail(
      400, 'invalid_price', 'p_key_source has a value that is not allowed.',
      case
        when v_user is null then 'Allowed: user, team, operator, or null for any.'
        else 'A price of your own is for what your own keys pay: leave it out.'
      end
    );
  end if;
  if p_service_tier !~ '^[a-z0-9_-]{1,32}$' then
    perform llm_private.fail(
      400, 'invalid_price', 'p_service_tier has a value that is not allowed.',
      'Allowed: what the provider calls it, such as flex or priority, or null for any.'
    );
  end if;
  v_price.source := case when v_user is null then 'operator' else 'user' end;
  v_price.user_id := v_user;
  v_price.provider := p_provider;
  v_price.model := lower(p_model);
  v_price.rates := p_rates;
  v_price.valid_from := p_valid_from;
  v_price.valid_until := p_valid_until;
  v_price.key_source := case when v_user is null then p_key_source else 'user' end;
  v_price.service_tier := p_service_tier;
  v_price := llm_private.add_price(v_price);
  if v_user is not null then
    perform llm_private.audit(
      v_user, 'price_set', p_provider, p_runtime => llm_private.current_runtime(),
      p_detail => jsonb_build_object('price_id', v_price.id, 'model', v_price.model, 'rates', v_price.rates)
    );
  end if;
  return llm_private.price_json(v_price);
end
$function$;

COMMENT ON FUNCTION "llm_private"."set_price"(text, text, jsonb, timestamp with time zone, timestamp
  with time zone, text, text) IS 'Add a price of the caller''s: see set_llm_price().';

REVOKE ALL
  ON FUNCTION "llm_private"."set_price"(text, text, jsonb, timestamp with time zone, timestamp
    with time zone, text, text)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."set_price"(text, text, jsonb, timestamp with time zone, timestamp
    with time zone, text, text)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION llm_private.set_provider (
  p_provider jsonb
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_row public.llm_providers;
  v_columns constant jsonb := to_jsonb(jsonb_populate_record(null::public.llm_providers, '{}'));
  v_defaults constant jsonb := jsonb_build_object(
    'name', initcap(p_provider ->> 'id'), 'wire_format', 'openai', 'key_header', 'authorization',
    'key_scheme', 'Bearer', 'key_pattern', '^\S+$', 'key_example', '', 'key_url', '',
    'capabilities', '["chat", "streaming", "tools", "json_schema"]'::jsonb, 'task_models', '{}'::jsonb,
    'parameter_names', '{}'::jsonb, 'position', 100, 'enabled', true, 'created_at', now()
  );
  v_unknown text;
  v_constraint text;
begin
  if jsonb_typeof(p_provider) is distinct from 'object' or p_provider ->> 'id' is null then
    perform llm_private.fail(400, 'invalid_argument', 'p_provider must be a JSON object with an id.');
  end if;
  select * into v_row from public.llm_providers where id = p_provider ->> 'id' for update;
  select k into v_unknown from jsonb_object_keys(p_provider) as k
  where not v_columns ? k or k in ('created_at', 'updated_at') limit 1;
  if found then
    perform llm_private.fail(
      400, 'unknown_setting', format('%s is not a column of a provider.', v_unknown),
      'The columns are described on the table public.llm_providers.'
    );
  end if;
  begin
    if v_row.id is null then
      v_row := jsonb_populate_record(v_row, v_defaults);
    end if;
    v_row := jsonb_populate_record(v_row, p_provider);
    v_row.updated_at := now();
    insert into public.llm_providers select v_row.*
    on conflict (id) do update set
      name = excluded.name, base_url = excluded.base_url, wire_format = excluded.wire_format,
      key_header = excluded.key_header, key_scheme = excluded.key_scheme, key_pattern = excluded.key_pattern,
      key_example = excluded.key_example, key_url = excluded.key_url, key_test_path = excluded.key_test_path,
      capabilities = excluded.capabilities,
      default_model = excluded.default_model, task_models = excluded.task_models,
      model_pattern = excluded.model_pattern, parameter_names = excluded.parameter_names,
      position = excluded.position, enabled = excluded.enabled, updated_at = excluded.updated_at;
  exception when data_exception or integrity_constraint_violation then
    get stacked diagnostics v_constraint = constraint_name;
    perform llm_private.fail(
      400, 'invalid_provider',
      case
        when v_constraint <> '' then format('The provider breaks the rule %s.', v_constraint)
        else format('The provider cannot be stored: %s.', sqlerrm)
      end,
      'It needs an id, a base_url (https, or http on this machine) without a slash at the end and a default_model.'
    );
  end;
  return to_jsonb(v_row);
end
$function$;

COMMENT ON FUNCTION "llm_private"."set_provider"(jsonb) IS 'Add a provider, or change the named columns of one. Errors: invalid_argument, unknown_setting, invalid_provider.';

REVOKE ALL ON FUNCTION "llm_private"."set_provider"(jsonb) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."set_provider"(jsonb) TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.set_quota (
  p_quota jsonb
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_operator constant boolean := v_owner = llm_private.operator_id();
  v_known constant text[] := '{limit,unit,period,key_source,provider,task,clock,hard,unpriced}'::text[]
    || case when v_operator then '{user_id,group,shared}'::text[] else '{}' end;
  v_unknown text;
  v_row llm_private.quotas;
begin
  perform llm_private.check_value('invalid_quota', jsonb_typeof(p_quota) = 'object', 'p_quota', 'a JSON object');
  select k into v_unknown from jsonb_object_keys(p_quota) as k where k <> all(v_known) limit 1;
  perform llm_private.check_value(
    'invalid_quota', v_unknown is null, 'A field of the quota', array_to_string(v_known, ', ')
  );
  perform
    llm_private.check_value(
      'invalid_quota',
      jsonb_typeof(p_quota -> 'limit') = 'number' and p_quota ->> 'limit' ~ '^[0-9]{1,15}(\.[0-9]{1,12})?$', 'limit',
      'a number, 0 or more'
    ),
    llm_private.check_value(
      'invalid_quota', p_quota ->> 'unit' in ('requests', 'tokens', 'cost'), 'unit',
      'requests, tokens or cost (US dollars)'
    ),
    llm_private.check_value(
      'invalid_quota', p_quota ->> 'period' in ('minute', 'day', 'month', 'total'), 'period',
      'minute, day, month or total'
    ),
    llm_private.check_value(
      'invalid_quota', coalesce(p_quota ->> 'key_source', 'user') in ('user', 'team', 'operator'), 'key_source',
      'user, team, operator or null'
    ),
    llm_private.check_value(
      'invalid_quota',
      p_quota ->> 'provider' is null
      or exists (select from public.llm_providers as p where p.id = p_quota ->> 'provider'),
      'provider', 'a provider of the catalogue, or null'
    ),
    llm_private.check_value(
      'invalid_quota', p_quota ->> 'task' is null or p_quota ->> 'task' ~ '^[^[:cntrl:]]{1,64}$', 'task',
      'a task of 1 to 64 printable characters, or null'
    ),
    llm_private.check_value(
      'invalid_quota', coalesce(p_quota ->> 'clock', 'utc') in ('utc', 'user'), 'clock', 'utc or user'
    ),
    llm_private.check_value(
      'invalid_quota', coalesce(jsonb_typeof(p_quota -> 'hard'), 'null') in ('boolean', 'null'), 'hard',
      'true or false'
    ),
    llm_private.check_value(
      'invalid_quota', coalesce(p_quota ->> 'unpriced', 'refuse') in ('allow', 'refuse'), 'unpriced',
      'allow or refuse'
    ),
    llm_private.check_value(
      'invalid_quota', coalesce(jsonb_typeof(p_quota -> 'shared'), 'null') in ('boolean', 'null'), 'shared',
      'true or false'
    ),
    llm_private.check_value(
      'invalid_quota', p_quota ->> 'group' is null or p_quota ->> 'group' ~ '^[^[:cntrl:]]{1,64}$', 'group',
      'a group of 1 to 64 printable characters, or null'
    ),
    llm_private.check_value(
      'invalid_quota',
      p_quota ->> 'user_id' is null
      or exists (select from auth.users as u where u.id::text = lower(p_quota ->> 'user_id')),
      'user_id', 'the id of a user, or null'
    ),
    llm_private.check_value(
      'invalid_quota',
      (p_quota ->> 'user_id' is not null)::integer + (p_quota ->> 'group' is not null)::integer <= 1,
      'user_id beside group', 'one of them'
    ),
    llm_private.check_value(
      'invalid_quota',
      p_quota -> 'shared' is distinct from 'true'
      or p_quota ->> 'user_id' is null and coalesce(p_quota ->> 'clock', 'utc') = 'utc',
      'shared', 'true only without a user_id and with the clock utc'
    );
  if not v_operator then
    perform llm_private.ensure_settings(v_owner);
  end if;

  v_row.set_by := case when v_operator then 'operator' else 'user' end;
  v_row.user_id := case when v_operator then (p_quota ->> 'user_id')::uuid else v_owner end;
  v_row.shared := coalesce((p_quota -> 'shared')::boolean, false);
  -- Of what will be summed, before the quota is there: see the order of locks. A user's go one after the other then, so
  -- that they can be counted.
  if v_row.shared or not v_operator then
    perform llm_private.lock_usage(v_owner);
  end if;
  v_row.clock := coalesce(p_quota ->> 'clock', case when v_operator then 'utc' else 'user' end);
  insert into llm_private.quotas (
    set_by, user_id, group_name, shared, key_source, provider, task, unit, period, clock, amount, hard, unpriced
  )
  values (
    v_row.set_by, v_row.user_id, p_quota ->> 'group', v_row.shared, p_quota ->> 'key_source', p_quota ->> 'provider',
    p_quota ->> 'task', p_quota ->> 'unit', p_quota ->> 'period', v_row.clock, (p_quota ->> 'limit')::numeric,
    coalesce((p_quota ->> 'hard')::boolean, true), coalesce(p_quota ->> 'unpriced', 'refuse')
  )
  on conflict (
    set_by, unit, period, shared,
    coalesce(user_id, '00000000-0000-0000-0000-000000000000'), coalesce(group_name, ''),
    coalesce(key_source, ''), coalesce(provider, ''), coalesce(task, '')
  ) do update set
    clock = excluded.clock, amount = excluded.amount, hard = excluded.hard, unpriced = excluded.unpriced
  returning * into v_row;
  if not v_operator then
    perform llm_private.check_value(
      'invalid_quota', (select count(*) <= 50 from llm_private.quotas as q where q.user_id = v_owner and q.set_by = 'user'),
      'The number of quotas', 'at most 50 of your own'
    );
    perform llm_private.audit(
      v_owner, 'quota_set', v_row.provider, p_runtime => llm_private.current_runtime(),
      p_detail => llm_private.quota_json(v_row)
    );
    perform llm_private.open_counters(v_owner, array[v_row.id]);
  elsif v_row.shared then
    -- No user's request should have to wait for the sum over all users. Recording waits for it.
    perform llm_private.open_counter(v_row, v_owner);
    perform llm_private.open_counters(v_owner, array[v_row.id]);
  end if;
  return case
    when v_row.shared or not v_operator then llm_private.quota_status(v_row, v_owner)
    else llm_private.quota_json(v_row)
  end;
end
$function$;

COMMENT ON FUNCTION "llm_private"."set_quota"(jsonb) IS 'Set a quota, or change the one that counts the same for the same whom. Errors: not_signed_in, invalid_quota.';

REVOKE ALL ON FUNCTION "llm_private"."set_quota"(jsonb) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."set_quota"(jsonb)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION llm_private.set_user_group (
  p_user_id uuid,
  p_group   text
)
  RETURNS void
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  perform llm_private.check_value(
    'invalid_argument', exists (select from auth.users as u where u.id = p_user_id), 'p_user_id', 'the id of a user'
  );
  perform llm_private.check_value(
    'invalid_argument', p_group is null or p_group ~ '^[^[:cntrl:]]{1,64}$', 'p_group',
    'null, or 1 to 64 printable characters'
  );
  delete from llm_private.user_groups where user_id = p_user_id and p_group is null;
  insert into llm_private.user_groups (user_id, group_name)
  select p_user_id, p_group where p_group is not null
  on conflict (user_id) do update set group_name = excluded.group_name;
  -- Other quotas bind now than did before.
  perform llm_private.forget_counters(
    array(select q.id from llm_private.quotas as q where q.set_by = 'operator' and not q.shared), p_user_id
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."set_user_group"(uuid, text) IS 'Put a user into a group, or with null into none. Error invalid_argument.';

REVOKE ALL ON FUNCTION "llm_private"."set_user_group"(uuid, text) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."set_user_group"(uuid, text) TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.settings_json (
  p_user uuid
)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select
    to_jsonb(s)
    || jsonb_build_object(
      'allow_operator_keys', coalesce(s.allow_operator_keys, o.operator_keys_by_default),
      'reveal_allowed', o.reveal_enabled and o.keys_readable_by = 'owner',
      'total_requests', t.total_requests,
      'last_used_at', t.last_used_at
    )
  from public.user_llm_settings as s
  cross join llm_private.operator_settings as o
  cross join lateral (
    select coalesce(sum(u.requests), 0) as total_requests, max(u.last_used_at) as last_used_at
    from public.llm_usage_totals as u
    where u.user_id = s.user_id
  ) as t
  where s.user_id = p_user
$function$;

COMMENT ON FUNCTION "llm_private"."settings_json"(uuid) IS 'A user''s settings as they see them: with the effective consent, whether a browser may show them a stored key,
total_requests and last_used_at.';

REVOKE ALL ON FUNCTION "llm_private"."settings_json"(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.settle (
  p_user         uuid,
  p_runtime      uuid,
  p_request_id   uuid,
  p_attempt      integer,
  p_task         text,
  p_provider     text,
  p_key_source   text,
  p_requested_at timestamp with time zone,
  p_answered     boolean,
  p_tokens       bigint,
  p_cost         numeric,
  p_unmeasured   boolean
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_holder constant uuid := coalesce(p_runtime, p_user);
  v_counting constant bigint[] := array(
    select m.id from llm_private.matching_quotas(p_user, p_task, p_provider, p_key_source) as m
    where not m.shared or p_runtime is not null
  );
  v_quotas constant bigint[] := v_counting || array(
    select r.quota_id from llm_private.reservations as r
    where r.user_id = p_user and r.request_id = p_request_id and r.attempt = p_attempt and r.holder = v_holder
  );
  v_line record;
  v_used numeric;
begin
  perform llm_private.lock_counters(p_user, v_quotas);
  -- A counter that is not there will be opened with the sum of the ledger, which has this attempt already.
  for v_line in
    with held as (
      delete from llm_private.reservations as r
      where
        r.user_id = p_user and r.request_id = p_request_id and r.attempt = p_attempt and r.holder = v_holder
        and r.quota_id = any(v_quotas)
      returning r.quota_id, r.starts_at, r.amount
    )

    select
      q as quota, c.owner, c.starts_at, coalesce(h.amount, 0) as held, coalesce(h.starts_at = c.starts_at, false) as here,
      -- What began in a period that is over is not counted in the next one.
      q.id = any(v_counting) and c.ends_at > now()
      and coalesce(h.starts_at = c.starts_at, p_requested_at >= c.starts_at) as counts
    from llm_private.quota_counters as c
    inner join llm_private.quotas as q on c.quota_id = q.id
    left join held as h on c.quota_id = h.quota_id
    where c.quota_id = any(v_quotas) and c.owner in (p_user, llm_private.operator_id())
  loop
    -- What a provider did not count is held to be what was reserved for it: it may have been that much.
    v_used := case
      when not v_line.counts then 0
      when (v_line.quota).unit = 'requests' then p_answered::integer
      when (v_line.quota).unit = 'tokens' then coalesce(p_tokens, case when p_answered then v_line.held else 0 end)
      else coalesce(p_cost, case when p_unmeasured then v_line.held else 0 end)
    end;
    update llm_private.quota_counters as c
    set used = c.used + v_used, reserved = c.reserved - case when v_line.here then v_line.held else 0 end
    where c.owner = v_line.owner and c.quota_id = (v_line.quota).id
    returning c.used into v_used;
    if v_line.counts then
      perform llm_private.notice_quota(v_line.quota, p_user, v_line.starts_at, v_used);
    end if;
  end loop;
end
$function$;

COMMENT ON FUNCTION "llm_private"."settle"(uuid, uuid, uuid, integer, text, text, text, timestamp
  with time zone, boolean, bigint, numeric, boolean) IS 'Count what an attempt used in each quota that counts it, and free what was reserved for it.';

REVOKE ALL
  ON FUNCTION "llm_private"."settle"(uuid, uuid, uuid, integer, text, text, text, timestamp
    with time zone, boolean, bigint, numeric, boolean)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.signed_in_at()
  RETURNS timestamp with time zone
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select to_timestamp(
    coalesce(
      (
        select max((m.entry ->> 'timestamp')::double precision)
        from jsonb_array_elements(
          case jsonb_typeof(auth.jwt() -> 'amr') when 'array' then auth.jwt() -> 'amr' end
        ) as m (entry)
      ),
      (auth.jwt() ->> 'iat')::double precision
    )
  )
$function$;

COMMENT ON FUNCTION "llm_private"."signed_in_at"() IS 'When the caller signed in, as their token says.';

REVOKE ALL ON FUNCTION "llm_private"."signed_in_at"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.sum_usage (
  p_source text,
  p_user   uuid,
  p_from   timestamp with time zone,
  p_until  timestamp with time zone,
  p_bucket text,
  p_zone   text,
  p_by     text[]
)
  RETURNS TABLE (
    hour                timestamp with time zone,
    day                 date,
    user_id             uuid,
    provider            text,
    model               text,
    task                text,
    key_source          text,
    key_id              uuid,
    requests            bigint,
    attempts            bigint,
    fallbacks           bigint,
    failures            bigint,
    cancelled           bigint,
    input_tokens        bigint,
    cached_input_tokens bigint,
    cache_write_tokens  bigint,
    output_tokens       bigint,
    reasoning_tokens    bigint,
    cost                numeric,
    cache_savings       numeric,
    unpriced            bigint,
    unmeasured          bigint,
    latency_counts      bigint[],
    last_used_at        timestamp with time zone
  )
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
#variable_conflict use_column
declare
  -- Days of other zones are made of hours.
  v_days constant boolean := p_source = 'project' and p_zone = 'UTC' and p_bucket is distinct from 'hour';
begin
  return query
  with days as (
    select f.starts_at from llm_private.usage_folds as f
    where
      v_days and f.span = 'day' and not f.stale
      and f.starts_at >= p_from and f.starts_at + interval '1 day' <= p_until
  ),
  hours as (
    select f.starts_at, f.stale from llm_private.usage_folds as f
    where
      p_source in ('project', 'hours') and f.span = 'hour' and f.starts_at >= p_from and f.starts_at < p_until
      and not exists (select from days as d where d.starts_at = date_trunc('day', f.starts_at, 'UTC'))
  ),
  -- Hours that are folded have no gap between the first and the last.
  bounds as (
    select
      (
        select f.starts_at from llm_private.usage_folds as f where f.span = 'hour' order by f.starts_at limit 1
      ) as first_hour,
      (
        select f.starts_at from llm_private.usage_folds as f where f.span = 'hour' order by f.starts_at desc limit 1
      ) as last_hour
  ),
  not_folded as (
    select h.starts_at, h.starts_at + interval '1 hour' as ends_at from hours as h where h.stale
    union all
    select p_from, least(p_until, b.first_hour) from bounds as b
    union all
    select greatest(p_from, b.last_hour + interval '1 hour'), p_until from bounds as b where b.last_hour is not null
  ),
  rows_to_sum as (
    select
      t.hour as starts_at, t.user_id, t.provider, t.model, t.task, t.key_source, t.key_id, t.requests, t.attempts,
      t.fallbacks, t.failures, t.cancelled, t.input_tokens, t.cached_input_tokens, t.cache_write_tokens,
      t.output_tokens, t.reasoning_tokens, t.cost, t.cache_savings, t.unpriced, t.unmeasured,
      t.latency_counts, t.last_used_at
    from public.llm_usage_totals as t
    where p_source = 'user' and t.user_id = p_user and t.hour >= p_from and t.hour < p_until
    union all
    select
      t.hour, t.user_id, t.provider, t.model, t.task, t.key_source, t.key_id, t.requests, t.attempts,
      t.fallbacks, t.failures, t.cancelled, t.input_tokens, t.cached_input_tokens, t.cache_write_tokens,
      t.output_tokens, t.reasoning_tokens, t.cost, t.cache_savings, t.unpriced, t.unmeasured,
      t.latency_counts, t.last_used_at
    from public.llm_usage_totals as t
    where p_source = 'users' and t.hour >= p_from and t.hour < p_until
    union all
    select
      p.starts_at, null, p.provider, p.model, p.task, p.key_source, null, p.requests, p.attempts,
      p.fallbacks, p.failures, p.cancelled, p.input_tokens, p.cached_input_tokens, p.cache_write_tokens,
      p.output_tokens, p.reasoning_tokens, p.cost, p.cache_savings, p.unpriced, p.unmeasured,
      p.latency_counts, p.last_used_at
    from llm_private.project_totals as p
    where
      p.span = 'day' and p.starts_at = any(array(select d.starts_at from days as d))
      or p.span = 'hour' and p.starts_at = any(array(select h.starts_at from hours as h where not h.stale))
    union all
    select
      t.hour, null, t.provider, t.model, t.task, t.key_source, null, t.requests, t.attempts,
      t.fallbacks, t.failures, t.cancelled, t.input_tokens, t.cached_input_tokens, t.cache_write_tokens,
      t.output_tokens, t.reasoning_tokens, t.cost, t.cache_savings, t.unpriced, t.unmeasured,
      t.latency_counts, t.last_used_at
    from not_folded as n
    -- offset 0: each by itself and by its index, or the planner reads the whole table for all of them.
    cross join lateral (
      select u.* from public.llm_usage_totals as u where u.hour >= n.starts_at and u.hour < n.ends_at offset 0
    ) as t
    where p_source = 'project'
  )
  select
    case when p_bucket = 'hour' then r.starts_at end as hour,
    case
      when p_bucket = 'day' then (r.starts_at at time zone p_zone)::date
      when p_bucket = 'month' then date_trunc('month', r.starts_at at time zone p_zone)::date
    end as day,
    case when 'user' = any(p_by) then r.user_id end as user_id,
    case when 'provider' = any(p_by) then r.provider end as provider,
    case when 'model' = any(p_by) then r.model end as model,
    case when 'task' = any(p_by) then r.task end as task,
    case when 'key_source' = any(p_by) then r.key_source end as key_source,
    case when 'key_id' = any(p_by) then r.key_id end as key_id,
    sum(r.requests)::bigint,
    sum(r.attempts)::bigint,
    sum(r.fallbacks)::bigint,
    sum(r.failures)::bigint,
    sum(r.cancelled)::bigint,
    sum(r.input_tokens)::bigint,
    sum(r.cached_input_tokens)::bigint,
    sum(r.cache_write_tokens)::bigint,
    sum(r.output_tokens)::bigint,
    sum(r.reasoning_tokens)::bigint,
    sum(r.cost),
    sum(r.cache_savings),
    sum(r.unpriced)::bigint,
    sum(r.unmeasured)::bigint,
    -- Written out, because unnesting and summing again takes ten times as long.
    array[
      sum(r.latency_counts[1]), sum(r.latency_counts[2]), sum(r.latency_counts[3]), sum(r.latency_counts[4]),
      sum(r.latency_counts[5]), sum(r.latency_counts[6]), sum(r.latency_counts[7]), sum(r.latency_counts[8]),
      sum(r.latency_counts[9]), sum(r.latency_counts[10]), sum(r.latency_counts[11]), sum(r.latency_counts[12]),
      sum(r.latency_counts[13]), sum(r.latency_counts[14]), sum(r.latency_counts[15]), sum(r.latency_counts[16]),
      sum(r.latency_counts[17]), sum(r.latency_counts[18]), sum(r.latency_counts[19]), sum(r.latency_counts[20]),
      sum(r.latency_counts[21]), sum(r.latency_counts[22]), sum(r.latency_counts[23]), sum(r.latency_counts[24]),
      sum(r.latency_counts[25]), sum(r.latency_counts[26]), sum(r.latency_counts[27]), sum(r.latency_counts[28]),
      sum(r.latency_counts[29]), sum(r.latency_counts[30]), sum(r.latency_counts[31]), sum(r.latency_counts[32]),
      sum(r.latency_counts[33]), sum(r.latency_counts[34]), sum(r.latency_counts[35]), sum(r.latency_counts[36]),
      sum(r.latency_counts[37]), sum(r.latency_counts[38]), sum(r.latency_counts[39]), sum(r.latency_counts[40])
    ]::bigint[],
    max(r.last_used_at)
  from rows_to_sum as r
  group by 1, 2, 3, 4, 5, 6, 7, 8;
end
$function$;

COMMENT ON FUNCTION "llm_private"."sum_usage"(text, uuid, timestamp with time zone, timestamp
  with time zone, text, text, text[]) IS 'Sums of totals whose hour begins from p_from to before p_until, by hour, day or month (by the day it begins with) of a
zone, and by user, provider, model, task, key_source and key_id as named in p_by. p_source: user (one user''s totals),
users (everybody''s), hours (the project''s, of folded hours) or project (of folded days and hours, and everybody''s
where nothing is folded).';

REVOKE ALL
  ON FUNCTION "llm_private"."sum_usage"(text, uuid, timestamp with time zone, timestamp
    with time zone, text, text, text[])
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.sync_prices (
  p_provider text,
  p_entries  jsonb,
  p_apply    boolean
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_changes jsonb;
begin
  perform llm_private.check_provider(p_provider);
  perform llm_private.check_price_list(p_entries);
  if p_apply then
    perform pg_advisory_xact_lock(hashtext('llm_private.price_list'), hashtext(p_provider));
  end if;
  select coalesce(jsonb_agg(to_jsonb(c) - 'was_until'), '[]') into v_changes
  from llm_private.price_list_changes(p_provider, p_entries) as c;
  if p_apply then
    -- The rows of a price on the list are those of its tier and time of day that end when it did. One that ended
    -- before it began stands for nothing any more, and must not come back with another that ended then.
    update public.llm_prices as p
    set valid_until = greatest(p.valid_from, case when c.change = 'until' then c.valid_until else now() end)
    from llm_private.price_list_changes(p_provider, p_entries) as c
    where
      c.change in ('changed', 'gone', 'until')
      and p.source = 'catalogue' and p.provider = p_provider and p.model = c.model
      and p.service_tier is not distinct from c.service_tier
      and p.daily_from is not distinct from c.daily_from and p.daily_until is not distinct from c.daily_until
      and p.valid_until = c.was_until and p.valid_until > greatest(now(), p.valid_from);
    perform llm_private.add_price(
      jsonb_populate_record(
        null::public.llm_prices,
        to_jsonb(c) || jsonb_build_object('source', 'catalogue', 'provider', p_provider, 'rates', c.after)
      )
    )
    from llm_private.price_list_changes(p_provider, p_entries) as c
    where c.change in ('added', 'dated', 'changed');
    insert into llm_private.price_list (provider, name, pattern, position, prices)
    select p_provider, e.name, e.pattern, e.position, e.prices
    from jsonb_to_recordset(p_entries) as e (name text, pattern text, position integer, prices jsonb)
    on conflict (provider, name) do update
    set pattern = excluded.pattern, position = excluded.position, prices = excluded.prices;
    -- What is gone stays, behind the others, for attempts of the time when it was there.
    update llm_private.price_list as l
    set position = l.position % 1000000 + 1000000, prices = '[]'
    where
      l.provider = p_provider
      and not exists (select from jsonb_to_recordset(p_entries) as e (name text) where e.name = l.name);
    delete from llm_private.price_names where provider = p_provider;
    delete from llm_private.charges where provider = p_provider;
  end if;
  return v_changes;
end
$function$;

COMMENT ON FUNCTION "llm_private"."sync_prices"(text, jsonb, boolean) IS 'What a price list changes for a provider; with p_apply, change it: see sync_llm_prices().';

REVOKE ALL ON FUNCTION "llm_private"."sync_prices"(text, jsonb, boolean) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."sync_prices"(text, jsonb, boolean)
  TO "service_role";

CREATE OR REPLACE FUNCTION llm_private.update_settings (
  p_changes          jsonb,
  p_expected_version bigint
)
  RETURNS jsonb
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_providers constant text[] := array(select id from public.llm_providers order by position, id);
  v_old public.user_llm_settings;
  v_new public.user_llm_settings;
begin
  perform llm_private.check_known_settings(
    p_changes, '',
    '{default_provider,enable_fallbacks,allow_operator_keys,time_zone,provider_preferences,task_overrides}'
  );
  perform llm_private.ensure_settings(v_user);
  -- The lock makes two changes at once follow each other, so that neither is lost.
  select * into strict v_old from public.user_llm_settings where user_id = v_user for update;
  if p_expected_version is not null and p_expected_version <> v_old.version then
    perform llm_private.fail(
      409, 'settings_changed',
      format('The settings were changed elsewhere: they are at version %s now.', v_old.version),
      'Read them again and repeat the change on what they are now.'
    );
  end if;

  v_new := v_old;
  if p_changes ? 'default_provider' then
    perform llm_private.check_value(
      'invalid_setting', p_changes -> 'default_provider' = 'null' or p_changes ->> 'default_provider' = any(v_providers),
      'default_provider', 'null or one of ' || array_to_string(v_providers, ', ')
    );
    v_new.default_provider := p_changes ->> 'default_provider';
  end if;
  if p_changes ? 'enable_fallbacks' then
    perform llm_private.check_value(
      'invalid_setting', jsonb_typeof(p_changes -> 'enable_fallbacks') = 'boolean', 'enable_fallbacks', 'true or false'
    );
    v_new.enable_fallbacks := (p_changes ->> 'enable_fallbacks')::boolean;
  end if;
  if p_changes ? 'allow_operator_keys' then
    perform llm_private.check_value(
      'invalid_setting', jsonb_typeof(p_changes -> 'allow_operator_keys') in ('boolean', 'null'), 'allow_operator_keys',
      'true, false or null'
    );
    v_new.allow_operator_keys := (p_changes ->> 'allow_operator_keys')::boolean;
  end if;
  if p_changes ? 'time_zone' then
    perform llm_private.check_value(
      'invalid_setting',
      jsonb_typeof(p_changes -> 'time_zone') = 'string'
      and exists (select from pg_timezone_names as z where z.name = p_changes ->> 'time_zone'),
      'time_zone', 'the name of a time zone, such as Europe/Berlin or UTC'
    );
    v_new.time_zone := p_changes ->> 'time_zone';
  end if;
  if p_changes ? 'provider_preferences' then
    v_new.provider_preferences := llm_private.merge_preferences(
      v_old.provider_preferences, p_changes -> 'provider_preferences', v_providers
    );
  end if;
  if p_changes ? 'task_overrides' then
    v_new.task_overrides := llm_private.merge_task_overrides(
      v_old.task_overrides, p_changes -> 'task_overrides', v_providers
    );
  end if;

  if v_new is distinct from v_old then
    update public.user_llm_settings
    set
      default_provider = v_new.default_provider,
      enable_fallbacks = v_new.enable_fallbacks,
      allow_operator_keys = v_new.allow_operator_keys,
      time_zone = v_new.time_zone,
      provider_preferences = v_new.provider_preferences,
      task_overrides = v_new.task_overrides,
      version = v_old.version + 1,
      updated_at = now()
    where user_id = v_user;
    perform llm_private.audit(
      v_user, 'settings_changed', p_runtime => llm_private.current_runtime(),
      p_detail => jsonb_build_object('changes', p_changes, 'version', v_old.version + 1)
    );
  end if;
  return llm_private.settings_json(v_user);
end
$function$;

COMMENT ON FUNCTION "llm_private"."update_settings"(jsonb, bigint) IS 'Change what p_changes names in the caller''s settings. Errors: not_signed_in, invalid_setting, unknown_setting,
settings_changed.';

REVOKE ALL ON FUNCTION "llm_private"."update_settings"(jsonb, bigint) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."update_settings"(jsonb, bigint)
  TO "authenticated";

CREATE OR REPLACE FUNCTION llm_private.usage_differences (
  p_from  timestamp with time zone,
  p_until timestamp with time zone
)
  RETURNS TABLE (
    totals      text,
    starts_at   timestamp with time zone,
    user_id     uuid,
    provider    text,
    model       text,
    task        text,
    key_source  text,
    key_id      uuid,
    recorder    uuid,
    differences jsonb
  )
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
#variable_conflict use_column
declare
  v_measures constant text[] := array[
    'requests', 'attempts', 'fallbacks', 'failures', 'cancelled', 'input_tokens', 'cached_input_tokens',
    'cache_write_tokens', 'output_tokens', 'reasoning_tokens', 'cost', 'cache_savings', 'unpriced', 'unmeasured',
    'last_used_at'
  ];
begin
  return query
  with adjustments as (
    select
      a.user_id, a.request_id, a.attempt, a.recorder, sum(a.cost) as cost, sum(a.cache_savings) as cache_savings
    from public.llm_usage_adjustments as a
    where
      a.request_id >= llm_private.first_uuid_v7(p_from) and a.request_id < llm_private.first_uuid_v7(p_until)
    group by a.user_id, a.request_id, a.attempt, a.recorder
  ),
  events as (
    select
      e.*, t.at, date_trunc('hour', t.at, 'UTC') as hour,
      coalesce(e.cost, 0) + coalesce(a.cost, 0) as cost_now,
      coalesce(e.cache_savings, 0) + coalesce(a.cache_savings, 0) as savings_now,
      e.cost is null and a.cost is null and e.price_id is null and a.user_id is null as unpriced,
      e.cost is null and a.cost is null and (e.price_id is not null or a.user_id is not null) as unmeasured
    from public.llm_usage_events as e
    cross join lateral (select llm_private.uuid_v7_time(e.request_id) as at) as t
    left join adjustments as a
      on a.user_id = e.user_id and a.request_id = e.request_id and a.attempt = e.attempt and a.recorder = e.recorder
    where
      e.request_id >= llm_private.first_uuid_v7(p_from) and e.request_id < llm_private.first_uuid_v7(p_until)
  ),
  folded as (
    select p.*, f.starts_at + ('1 ' || f.span)::interval as ends_at
    from llm_private.usage_folds as f
    inner join llm_private.project_totals as p using (span, starts_at)
    where not f.stale and f.starts_at >= p_from and f.starts_at < p_until
  ),
  users as (
    select 'users' as totals, t.hour as starts_at, t.* from public.llm_usage_totals as t
    where t.hour >= p_from and t.hour < p_until
    union all
    select f.span, f.starts_at, t.* from public.llm_usage_totals as t
    inner join llm_private.usage_folds as f
      on not f.stale and f.starts_at >= p_from and f.starts_at < p_until
        and f.starts_at = date_trunc(f.span, t.hour, 'UTC')
    where t.hour >= p_from and t.hour < p_until + interval '1 day'
  ),
  of_users as (
    select
      u.totals, u.starts_at,
      case when u.totals = 'users' then u.user_id end as user_id, u.provider, u.model, u.task, u.key_source,
      case when u.totals = 'users' then u.key_id end as key_id,
      case when u.totals = 'users' then u.recorder end as recorder,
      array[
        sum(u.requests), sum(u.attempts), sum(u.fallbacks), sum(u.failures), sum(u.cancelled), sum(u.input_tokens),
        sum(u.cached_input_tokens), sum(u.cache_write_tokens), sum(u.output_tokens), sum(u.reasoning_tokens),
        sum(u.cost), sum(u.cache_savings), sum(u.unpriced), sum(u.unmeasured), extract(epoch from max(u.last_used_at))
      ]::numeric[] as sums
    from users as u
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9
  ),
  sides as (
    -- The users' totals are more than the events by …
    select
      u.totals, u.starts_at, u.user_id, u.provider, u.model, u.task, u.key_source, u.key_id, u.recorder,
      v_measures[m.i] as measure, m.value * case when u.totals = 'users' then 1 else -1 end as value
    from of_users as u
    cross join lateral unnest(u.sums) with ordinality as m (value, i)
    union all
    select
      'users', e.hour, e.user_id, e.provider, e.model, e.task, e.key_source, e.key_id, e.recorder,
      v_measures[m.i], -m.value
    from (
      select
        e.hour, e.user_id, e.provider, e.model, e.task, e.key_source, e.key_id, e.recorder,
        array[
          count(*) filter (where e.attempt = 1), count(*), count(*) filter (where e.attempt = 2),
          count(*) filter (where e.outcome = 'failed'), count(*) filter (where e.outcome = 'cancelled'),
          coalesce(sum(e.input_tokens), 0), coalesce(sum(e.cached_input_tokens), 0),
          coalesce(sum(e.cache_write_tokens), 0), coalesce(sum(e.output_tokens), 0),
          coalesce(sum(e.reasoning_tokens), 0), sum(e.cost_now), sum(e.savings_now),
          count(*) filter (where e.unpriced), count(*) filter (where e.unmeasured), extract(epoch from max(e.at))
        ]::numeric[] as sums
      from events as e
      group by 1, 2, 3, 4, 5, 6, 7, 8
    ) as e
    cross join lateral unnest(e.sums) with ordinality as m (value, i)
    union all
    select
      'users', e.hour, e.user_id, e.provider, e.model, e.task, e.key_source, e.key_id, e.recorder,
      'latency_counts ' || llm_private.latency_bucket(e.latency_ms), -count(*)
    from events as e
    where e.latency_ms is not null
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    union all
    select
      u.totals, u.starts_at,
      case when u.totals = 'users' then u.user_id end, u.provider, u.model, u.task, u.key_source,
      case when u.totals = 'users' then u.key_id end, case when u.totals = 'users' then u.recorder end,
      'latency_counts ' || c.i, sum(c.n) * case when u.totals = 'users' then 1 else -1 end
    from users as u
    cross join lateral unnest(u.latency_counts) with ordinality as c (n, i)
    where c.n <> 0
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, u.totals
    union all
    -- … and the project's more than the users'.
    select
      f.span, f.starts_at, null, f.provider, f.model, f.task, f.key_source, null, null, v_measures[m.i], m.value
    from folded as f
    cross join lateral unnest(
      array[
        f.requests, f.attempts, f.fallbacks, f.failures, f.cancelled, f.input_tokens, f.cached_input_tokens,
        f.cache_write_tokens, f.output_tokens, f.reasoning_tokens, f.cost, f.cache_savings, f.unpriced, f.unmeasured,
        extract(epoch from f.last_used_at)
      ]::numeric[]
    ) with ordinality as m (value, i)
    union all
    select
      f.span, f.starts_at, null, f.provider, f.model, f.task, f.key_source, null, null, 'latency_counts ' || c.i, c.n
    from folded as f
    cross join lateral unnest(f.latency_counts) with ordinality as c (n, i)
    where c.n <> 0
  ),
  differing as (
    select
      s.totals, s.starts_at, s.user_id, s.provider, s.model, s.task, s.key_source, s.key_id, s.recorder,
      s.measure, sum(s.value) as value
    from sides as s
    group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
    having sum(s.value) <> 0
  )
  select
    d.totals, d.starts_at, d.user_id, d.provider, d.model, d.task, d.key_source, d.key_id, d.recorder,
    jsonb_object_agg(d.measure, d.value)
  from differing as d
  group by 1, 2, 3, 4, 5, 6, 7, 8, 9
  order by 2, 1, 4, 5;
end
$function$;

COMMENT ON FUNCTION "llm_private"."usage_differences"(timestamp with time zone, timestamp
  with time zone) IS 'Groups whose totals are not the sums of what they are made of, and by how much they are more, for hours that begin from
p_from to before p_until: the users'' against the events and their adjustments, the project''s (folded hours and days)
against the users''.';

REVOKE ALL
  ON FUNCTION "llm_private"."usage_differences"(timestamp with time zone, timestamp with time zone)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.usage_lock (
  p_user uuid
)
  RETURNS bigint
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return hashtextextended('llm_private.usage_lock ' || p_user, 0);
end
$function$;

COMMENT ON FUNCTION "llm_private"."usage_lock"(uuid) IS 'The advisory lock under which a user''s usage is recorded.';

REVOKE ALL ON FUNCTION "llm_private"."usage_lock"(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.usage_report (
  p_since     date,
  p_until     date,
  p_bucket    text,
  p_by        text[],
  p_time_zone text,
  p_order     text,
  p_limit     integer
)
  RETURNS json
  LANGUAGE plpgsql
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  SET "TimeZone" TO 'UTC'
  AS $function$
declare
  v_owner constant uuid := llm_private.acting_owner();
  v_project constant boolean := v_owner = llm_private.operator_id();
  v_by constant text[] := coalesce(p_by, '{}');
  v_zone constant text := llm_private.report_zone(v_owner, p_time_zone);
  v_today constant date := (now() at time zone v_zone)::date;
  v_from timestamptz;
  v_until timestamptz;
  v_lines json;
begin
  perform
    llm_private.check_value(
      'invalid_argument', coalesce(p_bucket, 'day') in ('hour', 'day', 'month'), 'p_bucket',
      'hour, day, month, or null for one sum over all the time'
    ),
    llm_private.check_value(
      'invalid_argument',
      array_position(v_by, null) is null
      and v_by <@ ('{provider,model,task,key_source,key_id}'::text[] || case when v_project then 'user' end),
      'p_by',
      'some of provider, model, task, key_source, key_id' || case when v_project then ' and user' else '' end
    ),
    llm_private.check_value(
      'invalid_argument', coalesce(p_order, 'time') in ('time', 'cost', 'requests', 'tokens'), 'p_order',
      'time (the newest first), cost, requests or tokens (the most first)'
    ),
    llm_private.check_value('invalid_argument', coalesce(p_limit, 1) >= 1, 'p_limit', 'null, or 1 and more');
  v_from := llm_private.day_begins(coalesce(p_since, v_today - 30), v_zone);
  v_until := case when p_until < 'infinity' then llm_private.day_begins(p_until + 1, v_zone) else 'infinity' end;
  if v_project then
    perform llm_private.fold_usage(interval '500 milliseconds');
  end if;

  -- Times are written in the zone of the report, up to the end of this function.
  perform set_config('timezone', v_zone, true);
  select json_agg(row_to_json(l)) into v_lines
  from (
    select
      coalesce(s.hour, llm_private.day_begins(s.day, v_zone)) as starts_at,
      s.user_id, s.provider, s.model, s.task, s.key_source, s.key_id,
      s.requests, s.attempts, s.fallbacks, s.failures, s.cancelled,
      s.input_tokens, s.cached_input_tokens, s.cache_write_tokens, s.output_tokens, s.reasoning_tokens,
      llm_private.known_cost(s.cost, s.attempts, s.failures, s.unpriced, s.unmeasured) as cost,
      s.cache_savings, s.unpriced, s.unmeasured,
      llm_private.latency_percentile(s.latency_counts, 0.5) as latency_p50_ms,
      llm_private.latency_percentile(s.latency_counts, 0.95) as latency_p95_ms,
      s.last_used_at
    from llm_private.sum_usage(
      case
        when not v_project then 'user'
        when v_by && '{user,key_id}' then 'users'
        else 'project'
      end,
      v_owner, v_from, v_until, p_bucket, v_zone, v_by
    ) as s
    order by
      case p_order
        when 'cost' then s.cost
        when 'requests' then s.requests
        when 'tokens' then s.input_tokens + s.output_tokens
      end desc,
      1 desc, s.provider, s.model, s.task, s.key_source, s.key_id, s.user_id
    limit p_limit
  ) as l;
  return coalesce(v_lines, '[]');
end
$function$;

COMMENT ON FUNCTION "llm_private"."usage_report"(date, date, text, text[], text, text, integer) IS
  'The caller''s usage or, with a secret key, everybody''s. Errors: see get_llm_usage().';

REVOKE ALL
  ON FUNCTION "llm_private"."usage_report"(date, date, text, text[], text, text, integer)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."usage_report"(date, date, text, text[], text, text, integer)
  TO "authenticated", "service_role";

CREATE OR REPLACE FUNCTION llm_private.used_before (
  p_quota llm_private.quotas,
  p_user  uuid,
  p_from  timestamp with time zone
)
  RETURNS numeric
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_full_hour constant timestamptz := case
    when date_trunc('hour', p_from, 'UTC') = p_from then p_from
    else date_trunc('hour', p_from, 'UTC') + interval '1 hour'
  end;
begin
  return (
    select coalesce(sum(case p_quota.unit when 'requests' then u.requests when 'tokens' then u.tokens else u.cost end), 0)
    from (
      select
        t.user_id, t.recorder, t.key_source, t.provider, t.task, t.attempts - t.failures as requests,
        t.input_tokens + t.output_tokens as tokens, t.cost
      from public.llm_usage_totals as t
      where t.hour >= v_full_hour and (p_quota.shared or t.user_id = p_user)
      union all
      -- Totals are by the hour; what comes before the first full one is in the events.
      select
        e.user_id, e.recorder, e.key_source, e.provider, e.task, (e.outcome <> 'failed')::integer,
        coalesce(e.input_tokens, 0)::bigint + coalesce(e.output_tokens, 0), coalesce(e.cost, 0)
      from public.llm_usage_events as e
      where
        v_full_hour > p_from
        and e.request_id >= llm_private.first_uuid_v7(p_from) and e.request_id < llm_private.first_uuid_v7(v_full_hour)
        and (p_quota.shared or e.user_id = p_user)
    ) as u
    where
      (p_quota.key_source is null or u.key_source = p_quota.key_source)
      and (p_quota.provider is null or u.provider = p_quota.provider)
      and (p_quota.task is null or u.task = p_quota.task)
      -- What users say of themselves cannot use up what is everybody's.
      and (not p_quota.shared or u.recorder <> u.user_id)
      and (
        not p_quota.shared or p_quota.group_name is null
        or u.user_id in (select g.user_id from llm_private.user_groups as g where g.group_name = p_quota.group_name)
      )
  );
end
$function$;

COMMENT ON FUNCTION "llm_private"."used_before"(llm_private.quotas, uuid, timestamp
  with time zone) IS 'What the ledger says was used since a moment, for a counter that is opened in the middle of a period.';

REVOKE ALL
  ON FUNCTION "llm_private"."used_before"(llm_private.quotas, uuid, timestamp with time zone)
  FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.uuid_v7()
  RETURNS uuid
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_microseconds constant bigint := extract(epoch from clock_timestamp()) * 1000000;
begin
  return (
    lpad(to_hex(v_microseconds / 1000), 12, '0')
    || to_hex(x'7000'::integer + v_microseconds % 1000 * 4096 / 1000)
    || right(gen_random_uuid()::text, 17)
  )::uuid;
end
$function$;

COMMENT ON FUNCTION "llm_private"."uuid_v7"() IS 'A new UUIDv7: ids in the order of time, so that they name a month partition by themselves.';

REVOKE ALL ON FUNCTION "llm_private"."uuid_v7"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.uuid_v7_time (
  p_id uuid
)
  RETURNS timestamp with time zone
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return to_timestamp(('x' || translate(left(p_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
end
$function$;

COMMENT ON FUNCTION "llm_private"."uuid_v7_time"(uuid) IS 'The time that a UUIDv7 carries, to the millisecond.';

REVOKE ALL ON FUNCTION "llm_private"."uuid_v7_time"(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.weigh_attempt (
  p_user          uuid,
  p_runtime       uuid,
  p_quotas        bigint[],
  p_task          text,
  p_provider      text,
  p_model         text,
  p_key_source    text,
  p_input_tokens  integer,
  p_output_tokens integer,
  OUT             refusal jsonb,
  OUT             holds llm_private.reservations[]
)
  RETURNS record
  LANGUAGE plpgsql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_quota llm_private.quotas;
  v_counter llm_private.quota_counters;
  v_charge record;
  v_amount numeric;
  v_hold llm_private.reservations;
begin
  holds := '{}';
  for v_quota in select q.* from llm_private.matching_quotas(p_user, p_task, p_provider, p_key_source) as q loop
    if v_quota.hard and v_quota.set_by = 'operator' and p_key_source = 'operator' and p_runtime is null then
      refusal := llm_private.quota_refusal(v_quota, 'runtime_required', null, null, null);
      return;
    end if;
    select c.* into v_counter from llm_private.quota_counters as c
    where
      c.quota_id = v_quota.id and c.quota_id = any(p_quotas)
      and c.owner = case when v_quota.shared then llm_private.operator_id() else p_user end;
    continue when not found;
    v_amount := case v_quota.unit
      when 'requests' then 1
      -- An estimate of nothing would pass a quota that is used up.
      when 'tokens' then greatest(p_input_tokens::bigint + p_output_tokens, 1)
      else 0
    end;
    if v_quota.unit = 'cost' then
      v_charge := llm_private.charge(
        p_user, p_provider, p_model, p_key_source, null, now(), p_input_tokens, 0, 0, p_output_tokens, 0, null
      );
      if v_charge.price_id is not null then
        v_amount := v_charge.cost;
      elsif v_quota.hard and v_quota.unpriced = 'refuse' then
        refusal := llm_private.quota_refusal(v_quota, 'model_unpriced', null, null, null);
        return;
      end if;
    end if;
    -- What costs nothing does not pass a limit of dollars.
    if v_quota.hard and v_amount > 0 and v_counter.used + v_counter.reserved + v_amount > v_quota.amount then
      refusal := llm_private.quota_refusal(
        v_quota, 'quota_exceeded', v_counter.used, v_counter.reserved, v_counter.ends_at
      );
      return;
    end if;
    v_hold.quota_id := v_quota.id;
    v_hold.owner := v_counter.owner;
    v_hold.starts_at := v_counter.starts_at;
    v_hold.amount := v_amount;
    holds := holds || v_hold;
  end loop;
end
$function$;

COMMENT ON FUNCTION
  "llm_private"."weigh_attempt"(uuid, uuid, bigint[], text, text, text, text, integer, integer) IS
  'Whether the counters, which open_counters() has locked, leave enough for an attempt: the first refusal, or else what to
hold in each of the quotas that count it.';

REVOKE ALL
  ON FUNCTION
    "llm_private"."weigh_attempt"(uuid, uuid, bigint[], text, text, text, text, integer, integer)
  FROM PUBLIC;
