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

COMMENT ON COLUMN "public"."llm_audit_log"."action" IS 'settings_changed, key_set, key_revoked, key_revealed, or lease (keys handed to a runtime or session until a time).';

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

CREATE TABLE "public"."llm_providers" (
  "id"              text                     NOT NULL,
  "name"            text                     NOT NULL,
  "base_url"        text                     NOT NULL,
  "wire_format"     text                     NOT NULL DEFAULT 'openai'::text,
  "key_header"      text                     NOT NULL DEFAULT 'authorization'::text,
  "key_scheme"      text                     NOT NULL DEFAULT 'Bearer'::text,
  "key_pattern"     text                     NOT NULL DEFAULT '^\S+$'::text,
  "key_example"     text                     NOT NULL DEFAULT ''::text,
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
  "output_tokens"       integer,
  "reasoning_tokens"    integer,
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

COMMENT ON COLUMN "public"."llm_usage_events"."error_class" IS 'Of a failed attempt: auth, forbidden, rate_limited, bad_request, not_found, server_error, timeout, connection or
invalid_response.';

COMMENT ON COLUMN "public"."llm_usage_events"."input_tokens" IS 'All input tokens, cached ones included; null: not said.';

COMMENT ON COLUMN "public"."llm_usage_events"."key_source" IS 'Whose key paid: user, team or operator.';

COMMENT ON COLUMN "public"."llm_usage_events"."latency_ms" IS 'From sending the request to the end of the answer, milliseconds.';

COMMENT ON COLUMN "public"."llm_usage_events"."outcome" IS 'succeeded, failed or cancelled.';

COMMENT ON COLUMN "public"."llm_usage_events"."output_tokens" IS 'All output tokens, reasoning included; null: not said.';

COMMENT ON COLUMN "public"."llm_usage_events"."recorder" IS 'The runtime that ran the attempt, or the user''s own id when they ran it themselves.';

COMMENT ON COLUMN "public"."llm_usage_events"."request_id" IS 'UUIDv7 made when the request began.';

COMMENT ON TABLE "public"."llm_usage_events" IS 'Append-only, a partition a month: one event an attempt. Never prompts or answers. A user reads their own.';

REVOKE ALL ON TABLE "public"."llm_usage_events" FROM "authenticated";

GRANT SELECT ON TABLE "public"."llm_usage_events" TO "authenticated";

REVOKE ALL ON TABLE "public"."llm_usage_events" FROM "service_role";

GRANT SELECT ON TABLE "public"."llm_usage_events" TO "service_role";

CREATE TABLE "public"."llm_usage_totals" (
  "user_id"             uuid                     NOT NULL,
  "id"                  bigint                   GENERATED ALWAYS AS IDENTITY NOT NULL,
  "day"                 date                     NOT NULL,
  "provider"            text                     NOT NULL,
  "model"               text                     NOT NULL,
  "task"                text,
  "key_source"          text                     NOT NULL,
  "key_id"              uuid,
  "recorder"            uuid                     NOT NULL,
  "requests"            bigint                   NOT NULL,
  "attempts"            bigint                   NOT NULL,
  "failures"            bigint                   NOT NULL,
  "input_tokens"        bigint                   NOT NULL,
  "cached_input_tokens" bigint                   NOT NULL,
  "output_tokens"       bigint                   NOT NULL,
  "reasoning_tokens"    bigint                   NOT NULL,
  "last_used_at"        timestamp with time zone NOT NULL,
  CONSTRAINT "llm_usage_totals_pkey" PRIMARY KEY (user_id, id)
);

ALTER TABLE "public"."llm_usage_totals"
  ENABLE ROW LEVEL SECURITY;

ALTER TABLE "public"."llm_usage_totals"
  SET (fillfactor=50);

CREATE INDEX llm_usage_totals_group ON public.llm_usage_totals
  USING btree (user_id, day, provider, model);

CREATE POLICY "users read their own usage totals" ON "public"."llm_usage_totals"
  FOR SELECT
  TO "authenticated"
  USING ((user_id = ( SELECT auth.uid() AS uid)));

COMMENT ON COLUMN "public"."llm_usage_totals"."day" IS 'Day of the request, UTC.';

COMMENT ON COLUMN "public"."llm_usage_totals"."failures" IS 'Attempts that failed; cancelled ones did not.';

COMMENT ON COLUMN "public"."llm_usage_totals"."recorder" IS 'As in the events: what users say of themselves is not mixed with what a runtime says.';

COMMENT ON COLUMN "public"."llm_usage_totals"."requests" IS 'First attempts, so that a request counts once.';

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

COMMENT ON COLUMN "public"."user_llm_settings"."version" IS 'Counts the changes, so that two panels notice each other.';

COMMENT ON TABLE "public"."user_llm_settings" IS 'A user''s LLM settings; written by update_llm_settings() only.';

REVOKE ALL ON TABLE "public"."user_llm_settings" FROM "authenticated";

GRANT SELECT ON TABLE "public"."user_llm_settings" TO "authenticated";

REVOKE ALL ON TABLE "public"."user_llm_settings" FROM "service_role";

GRANT SELECT ON TABLE "public"."user_llm_settings" TO "service_role";

-- Functions that an app may call --------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION public.explain_llm_route (
  p_task               text   DEFAULT NULL::text,
  p_model              text   DEFAULT NULL::text,
  p_needs              text[] DEFAULT '{}'::text[],
  p_operator_providers text[] DEFAULT '{}'::text[]
)
  RETURNS jsonb
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.explain_route(p_task, p_model, p_needs, p_operator_providers)
$function$;

COMMENT ON FUNCTION "public"."explain_llm_route"(text, text, text[], text[]) IS
  'What resolve_llm_route() would answer, without keys: candidates with reasons, what was left out and why, and advice
when nothing is left. Errors: not_signed_in, invalid_argument, unknown_model.';

REVOKE ALL ON FUNCTION "public"."explain_llm_route"(text, text, text[], text[]) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."explain_llm_route"(text, text, text[], text[])
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

CREATE OR REPLACE FUNCTION public.get_llm_settings()
  RETURNS jsonb
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select llm_private.get_settings()
$function$;

COMMENT ON FUNCTION "public"."get_llm_settings"() IS 'The caller''s settings, made at the first call, with total_requests and last_used_at. Error not_signed_in.';

REVOKE ALL ON FUNCTION "public"."get_llm_settings"() FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."get_llm_settings"() TO "authenticated";

CREATE OR REPLACE FUNCTION public.get_llm_usage (
  p_since date DEFAULT NULL::date,
  p_until date DEFAULT NULL::date
)
  RETURNS TABLE (
    day                 date,
    provider            text,
    model               text,
    task                text,
    key_source          text,
    requests            bigint,
    attempts            bigint,
    failures            bigint,
    input_tokens        bigint,
    cached_input_tokens bigint,
    output_tokens       bigint,
    reasoning_tokens    bigint,
    last_used_at        timestamp with time zone
  )
  LANGUAGE sql
  STABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select
    t.day, t.provider, t.model, t.task, t.key_source,
    sum(t.requests)::bigint, sum(t.attempts)::bigint, sum(t.failures)::bigint,
    sum(t.input_tokens)::bigint, sum(t.cached_input_tokens)::bigint,
    sum(t.output_tokens)::bigint, sum(t.reasoning_tokens)::bigint,
    max(t.last_used_at)
  from public.llm_usage_totals as t
  where
    t.user_id = (select auth.uid())
    and t.day >= coalesce(p_since, (now() at time zone 'UTC')::date - 30)
    and t.day <= coalesce(p_until, 'infinity'::date)
  group by t.day, t.provider, t.model, t.task, t.key_source
  order by t.day desc, t.provider, t.model, t.task, t.key_source
$function$;

COMMENT ON FUNCTION "public"."get_llm_usage"(date, date) IS 'The caller''s usage by day (UTC), provider, model, task and key source; from 30 days ago unless p_since says else.';

REVOKE ALL ON FUNCTION "public"."get_llm_usage"(date, date) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "public"."get_llm_usage"(date, date) TO "authenticated";

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
  p_retry_after         double precision DEFAULT NULL::double precision
)
  RETURNS boolean
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return llm_private.record_usage(
    p_request_id, p_attempt, p_task, p_provider, p_model, p_key_source, p_key_id, p_outcome, p_error_class, p_streamed,
    p_latency_ms, p_input_tokens, p_cached_input_tokens, p_output_tokens, p_reasoning_tokens, p_retry_after
  );
end
$function$;

COMMENT ON FUNCTION
  "public"."record_llm_usage"(uuid, integer, text, text, text, text, text, uuid, text, boolean,
  integer, integer, integer, integer, integer, double precision) IS 'Record one attempt of a request: who answered, whose key paid, tokens, latency in milliseconds, outcome. Idempotent on
(request id, attempt): true when recorded, false when it was on record already. The outcome updates the status of the
user''s own key; p_retry_after: seconds that the provider asked to wait.
Errors: not_signed_in, runtime_unknown, runtime_required, invalid_argument.';

REVOKE ALL
  ON FUNCTION
    "public"."record_llm_usage"(uuid, integer, text, text, text, text, text, uuid, text, boolean,
    integer, integer, integer, integer, integer, double precision)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION
    "public"."record_llm_usage"(uuid, integer, text, text, text, text, text, uuid, text, boolean,
    integer, integer, integer, integer, integer, double precision)
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

CREATE OR REPLACE FUNCTION public.resolve_llm_route (
  p_task               text   DEFAULT NULL::text,
  p_model              text   DEFAULT NULL::text,
  p_needs              text[] DEFAULT '{}'::text[],
  p_operator_providers text[] DEFAULT '{}'::text[]
)
  RETURNS json
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  return llm_private.resolve_route(p_task, p_model, p_needs, p_operator_providers);
end
$function$;

COMMENT ON FUNCTION "public"."resolve_llm_route"(text, text, text[], text[]) IS
  'The ordered candidates for a request of the caller''s, each with its reason, the caller''s own keys in plain text; an
operator''s key stays with the operator. They may be kept until expires_at.
p_needs: of chat, streaming, tools, json_schema, vision, embeddings. p_operator_providers: those the operator has a key
for. Errors: not_signed_in, runtime_unknown, runtime_required, invalid_argument, unknown_model, no_usable_key,
keys_cooling_down, key_unreadable.';

REVOKE ALL ON FUNCTION "public"."resolve_llm_route"(text, text, text[], text[]) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "public"."resolve_llm_route"(text, text, text[], text[])
  TO "authenticated";

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
  "parameter_names" jsonb
);

COMMENT ON TYPE "llm_private"."route_line" IS 'A provider, model and key that was considered; left_out says why it cannot serve.';

-- Private tables ------------------------------------------------------------------------------------------------

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
  "updated_at"               timestamp with time zone NOT NULL DEFAULT now(),
  CONSTRAINT "operator_settings_keys_readable_by_check"
    CHECK ((keys_readable_by = ANY (ARRAY['owner'::text, 'runtime'::text]))),
  CONSTRAINT "operator_settings_lease_seconds_check"
    CHECK (((lease_seconds >= 30) AND (lease_seconds <= 3600))),
  CONSTRAINT "operator_settings_only_row_check" CHECK (only_row),
  CONSTRAINT "operator_settings_pkey" PRIMARY KEY (only_row),
  CONSTRAINT "operator_settings_reveal_sign_in_within_check"
    CHECK ((reveal_sign_in_within > '00:00:00'::interval))
);

ALTER TABLE "llm_private"."operator_settings"
  ENABLE ROW LEVEL SECURITY;

COMMENT ON COLUMN "llm_private"."operator_settings"."keys_readable_by" IS 'owner: a user''s JWT alone may resolve a route with that user''s own keys; runtime: only together with the secret of a
registered runtime, so that a stolen JWT reads no key.';

COMMENT ON COLUMN "llm_private"."operator_settings"."lease_seconds" IS 'How long a runtime or session may keep the keys of a resolved route.';

COMMENT ON COLUMN "llm_private"."operator_settings"."operator_keys_by_default" IS
  'Whether the operator''s keys may serve users who have not said yes or no themselves.';

COMMENT ON COLUMN "llm_private"."operator_settings"."reveal_enabled" IS 'Whether users may read back their own keys through reveal_llm_key().';

COMMENT ON COLUMN "llm_private"."operator_settings"."reveal_sign_in_within" IS
  'To reveal a key, the user must have signed in at most this long ago; null: any session will do.';

COMMENT ON TABLE "llm_private"."operator_settings" IS 'The operator''s switches; exactly one row.';

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

-- Private functions ---------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION llm_private.add_default_providers()
  RETURNS void
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  insert into public.llm_providers (
    id, name, base_url, wire_format, key_header, key_scheme, key_pattern, key_example,
    capabilities, default_model, task_models, model_pattern, parameter_names, position
  )
  values
  (
    'openai', 'OpenAI', 'https://api.openai.com/v1', 'openai', 'authorization', 'Bearer',
    '^sk-(?!ant-|or-)[A-Za-z0-9_-]{16,}$', 'sk-…',
    '{chat,streaming,tools,json_schema,vision,embeddings}', 'gpt-5-mini',
    '{"speed": "gpt-5-nano", "code": "gpt-5", "embedding": "text-embedding-3-small"}',
    '^(gpt-|chatgpt-|o[0-9]|text-embedding-)', '{}', 10
  ),
  (
    'groq', 'Groq', 'https://api.groq.com/openai/v1', 'openai', 'authorization', 'Bearer',
    '^gsk_[A-Za-z0-9]{16,}$', 'gsk_…',
    '{chat,streaming,tools,json_schema}', 'openai/gpt-oss-120b',
    '{"speed": "llama-3.1-8b-instant"}',
    '^(llama|meta-llama/|qwen)', '{"store": null}', 20
  ),
  (
    'mistral', 'Mistral', 'https://api.mistral.ai/v1', 'openai', 'authorization', 'Bearer',
    '^[A-Za-z0-9]{32}$', '32 letters and digits',
    '{chat,streaming,tools,json_schema,vision,embeddings}', 'mistral-medium-latest',
    '{"speed": "mistral-small-latest", "code": "codestral-latest", "embedding": "mistral-embed"}',
    '^(mistral|ministral|magistral|codestral|devstral|pixtral|open-mi)',
    '{"max_completion_tokens": "max_tokens", "seed": "random_seed", "stream_options": null, "store": null, "user": null,
      "service_tier": null, "safety_identifier": null, "prompt_cache_key": null, "verbosity": null}', 30
  ),
  (
    'anthropic', 'Anthropic', 'https://api.anthropic.com', 'anthropic', 'x-api-key', '',
    '^sk-ant-[A-Za-z0-9_-]{16,}$', 'sk-ant-…',
    '{chat,streaming,tools,json_schema,vision}', 'claude-sonnet-4-5',
    '{"speed": "claude-haiku-4-5"}', '^claude', '{}', 40
  ),
  (
    'google', 'Google', 'https://generativelanguage.googleapis.com', 'google', 'x-goog-api-key', '',
    '^(AIza|AQ\.)[A-Za-z0-9_-]{16,}$', 'AIza…',
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
      400, 'key_malformed', format('The key was not stored: %s.', v_wrong),
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
  perform llm_private.check_setting(
    jsonb_typeof(p_value) = 'object', coalesce(nullif(p_path, ''), 'p_changes'), 'a JSON object'
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
  if p_task !~ '^[^[:cntrl:]]{1,64}$' then
    perform llm_private.fail(400, 'invalid_argument', 'p_task must have 1 to 64 printable characters, or be null.');
  elsif p_model !~ '^[!-~]{1,200}$' then
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

CREATE OR REPLACE FUNCTION llm_private.check_setting (
  p_ok      boolean,
  p_path    text,
  p_allowed text
)
  RETURNS void
  LANGUAGE plpgsql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if p_ok is not true then
    perform llm_private.fail(
      400, 'invalid_setting', format('%s has a value that is not allowed.', p_path), 'Allowed: ' || p_allowed || '.'
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_setting"(boolean, text, text) IS 'Error invalid_setting, naming the path and what is allowed, unless p_ok.';

REVOKE ALL ON FUNCTION "llm_private"."check_setting"(boolean, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.check_usage (
  p_ok       boolean,
  p_argument text,
  p_allowed  text
)
  RETURNS void
  LANGUAGE plpgsql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
begin
  if p_ok is not true then
    perform llm_private.fail(
      400, 'invalid_argument', format('%s has a value that is not allowed.', p_argument),
      'Allowed: ' || p_allowed || '.'
    );
  end if;
end
$function$;

COMMENT ON FUNCTION "llm_private"."check_usage"(boolean, text, text) IS 'Error invalid_argument, naming the argument and what is allowed, unless p_ok.';

REVOKE ALL ON FUNCTION "llm_private"."check_usage"(boolean, text, text) FROM PUBLIC;

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
  p_operator_providers text[]
)
  RETURNS jsonb
  LANGUAGE plpgsql
  STABLE
  SECURITY DEFINER
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
declare
  v_user constant uuid := llm_private.require_user();
  v_lines llm_private.route_line[];
begin
  perform llm_private.check_route_request(p_task, p_model, p_needs, p_operator_providers);
  v_lines := array(select r from llm_private.route(v_user, p_task, p_model, p_needs, p_operator_providers) as r);
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
            'message', llm_private.left_out_message(v_lines[l.ordinality], p_needs)
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

COMMENT ON FUNCTION "llm_private"."explain_route"(text, text, text[], text[]) IS
  'The caller''s route with reasons and what was left out. Errors: see explain_llm_route().';

REVOKE ALL ON FUNCTION "llm_private"."explain_route"(text, text, text[], text[]) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."explain_route"(text, text, text[], text[])
  TO "authenticated";

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
      where t.user_id = p_key.user_id and t.day >= (p_key.created_at at time zone 'UTC')::date and t.key_id = p_key.id
    )
  )
$function$;

COMMENT ON FUNCTION "llm_private"."key_json"(public.llm_keys) IS 'A key as its owner sees it.';

REVOKE ALL ON FUNCTION "llm_private"."key_json"(public.llm_keys) FROM PUBLIC;

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
    when 'fallbacks_off' then p_line.name || ' would be a fallback, and fallbacks are off.'
  end
$function$;

COMMENT ON FUNCTION "llm_private"."left_out_message"(llm_private.route_line, text[]) IS
  'Why a line cannot serve, for people.';

REVOKE ALL ON FUNCTION "llm_private"."left_out_message"(llm_private.route_line, text[]) FROM PUBLIC;

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
    perform llm_private.check_setting(
      coalesce(jsonb_typeof(v_change -> 'enabled'), 'null') in ('boolean', 'null'), v_path || '.enabled',
      'true, false or null'
    );
    perform llm_private.check_setting(
      v_change ->> 'priority' is null
      or v_change ->> 'priority' ~ '^[0-9]{1,4}$' and jsonb_typeof(v_change -> 'priority') = 'number',
      v_path || '.priority', 'a whole number from 0 to 9999, or null'
    );
    perform llm_private.check_setting(
      v_change ->> 'model' is null or llm_private.is_model_name(v_change -> 'model'), v_path || '.model',
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
  perform llm_private.check_setting(jsonb_typeof(p_changes) = 'object', 'task_overrides', 'a JSON object');
  perform llm_private.check_setting(
    (select count(*) <= 200 from jsonb_object_keys(p_changes)), 'task_overrides', 'at most 200 tasks'
  );
  for v_task, v_change in select * from jsonb_each(p_changes) loop
    perform llm_private.check_setting(
      v_task ~ '^[^[:cntrl:]]{1,64}$', 'task_overrides', 'task names of 1 to 64 printable characters'
    );
    v_path := 'task_overrides.' || v_task;
    if v_change = 'null' then
      v_new := v_new - v_task;
      continue;
    end if;
    perform llm_private.check_known_settings(v_change, v_path, '{provider,model,fallbacks}');
    perform llm_private.check_setting(v_change ->> 'provider' = any(p_providers), v_path || '.provider', v_allowed);
    perform llm_private.check_setting(
      v_change ->> 'model' is null or llm_private.is_model_name(v_change -> 'model'), v_path || '.model',
      v_model_allowed
    );
    if v_change -> 'fallbacks' <> 'null' then
      perform llm_private.check_setting(
        jsonb_typeof(v_change -> 'fallbacks') = 'array' and jsonb_array_length(v_change -> 'fallbacks') <= 20,
        v_path || '.fallbacks', 'a list of at most 20 objects with provider and model, or null'
      );
      for v_fallback, v_index in
        select f.value, f.ordinality - 1 from jsonb_array_elements(v_change -> 'fallbacks') with ordinality as f
      loop
        perform llm_private.check_known_settings(
          v_fallback, format('%s.fallbacks[%s]', v_path, v_index), '{provider,model}'
        );
        perform llm_private.check_setting(
          v_fallback ->> 'provider' = any(p_providers), format('%s.fallbacks[%s].provider', v_path, v_index), v_allowed
        );
        perform llm_private.check_setting(
          v_fallback ->> 'model' is null or llm_private.is_model_name(v_fallback -> 'model'),
          format('%s.fallbacks[%s].model', v_path, v_index), v_model_allowed
        );
      end loop;
    end if;
    v_new := v_new || jsonb_build_object(v_task, jsonb_strip_nulls(v_change));
  end loop;
  perform llm_private.check_setting(
    (select count(*) <= 200 from jsonb_object_keys(v_new)), 'task_overrides', 'at most 200 tasks'
  );
  return v_new;
end
$function$;

COMMENT ON FUNCTION "llm_private"."merge_task_overrides"(jsonb, jsonb, text[]) IS
  'task_overrides with the given tasks replaced; null removes a task. Errors: invalid_setting, unknown_setting.';

REVOKE ALL ON FUNCTION "llm_private"."merge_task_overrides"(jsonb, jsonb, text[]) FROM PUBLIC;

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
begin
  if p_outcome = 'succeeded' then
    -- A key that was rejected or limited since is on no route: this request began before, and says nothing new.
    update public.llm_keys set status = 'working'
    where user_id = p_user and id = p_key_id and status = 'untested';
  elsif p_error_class = 'auth' then
    update public.llm_keys set status = 'rejected', cooling_until = null
    where user_id = p_user and id = p_key_id and status <> 'rejected';
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
  p_retry_after         double precision
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
  v_requested_at timestamptz;
begin
  if substr(p_request_id::text, 15, 1) is distinct from '7' then
    perform llm_private.check_usage(false, 'p_request_id', 'a UUIDv7');
  end if;
  -- As uuid_v7_time() has it; an SQL function would be planned anew in each call.
  v_requested_at := to_timestamp(('x' || translate(left(p_request_id::text, 13), '-', ''))::bit(48)::bigint / 1000.0);
  -- One test for what is nearly always right; which argument it was is asked only when something is wrong.
  if (
    v_requested_at between now() - interval '7 days' and now() + interval '10 minutes'
    and p_attempt between 1 and 1000
    and (p_task is null or p_task ~ '^[^[:cntrl:]]{1,64}$')
    and p_provider ~ '^[a-z][a-z0-9_-]{0,31}$'
    and p_model ~ '^[!-~]{1,200}$'
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
    and coalesce(p_input_tokens, 0) >= coalesce(p_cached_input_tokens, 0)
    and coalesce(p_cached_input_tokens, 0) >= 0
    and coalesce(p_output_tokens, 0) >= coalesce(p_reasoning_tokens, 0)
    and coalesce(p_reasoning_tokens, 0) >= 0
  ) is not true then
    perform
      llm_private.check_usage(
        v_requested_at between now() - interval '7 days' and now() + interval '10 minutes', 'p_request_id',
        'a UUIDv7 made at most 7 days ago'
      ),
      llm_private.check_usage(p_attempt between 1 and 1000, 'p_attempt', '1 to 1000'),
      llm_private.check_usage(
        p_task is null or p_task ~ '^[^[:cntrl:]]{1,64}$', 'p_task', 'null, or 1 to 64 printable characters'
      ),
      llm_private.check_usage(p_provider ~ '^[a-z][a-z0-9_-]{0,31}$', 'p_provider', 'the id of a provider'),
      llm_private.check_usage(p_model ~ '^[!-~]{1,200}$', 'p_model', 'a model name of 1 to 200 characters, no spaces'),
      llm_private.check_usage(
        p_key_source in ('user', 'team', 'operator'), 'p_key_source', 'user, team or operator'
      ),
      llm_private.check_usage(
        p_outcome in ('succeeded', 'failed', 'cancelled'), 'p_outcome', 'succeeded, failed or cancelled'
      ),
      llm_private.check_usage(
        p_outcome = 'failed' and p_error_class in (
          'auth', 'forbidden', 'rate_limited', 'bad_request', 'not_found', 'server_error', 'timeout', 'connection',
          'invalid_response'
        ) or p_outcome <> 'failed' and p_error_class is null,
        'p_error_class',
        'for a failed attempt auth, forbidden, rate_limited, bad_request, not_found, server_error, timeout, connection or '
        'invalid_response; else null'
      ),
      llm_private.check_usage(p_streamed is not null, 'p_streamed', 'true or false'),
      llm_private.check_usage(coalesce(p_latency_ms, 0) >= 0, 'p_latency_ms', 'null, or 0 and more'),
      llm_private.check_usage(
        false, 'A token count',
        'null, or 0 and more; cached tokens are part of the input, reasoning tokens of the output'
      );
  end if;
  -- A team's key is only ever in the hands of a runtime.
  if p_key_source = 'team' and v_runtime is null then
    perform llm_private.fail(
      403, 'runtime_required', 'Only a registered runtime can have used a team''s key.',
      'Send the runtime''s secret in x-llm-runtime.'
    );
  end if;

  insert into public.llm_usage_events (
    user_id, request_id, attempt, recorder, task, provider, model, key_source, key_id, outcome, error_class, streamed,
    latency_ms, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens
  )
  values (
    v_user, p_request_id, p_attempt, v_recorder, p_task, p_provider, p_model, p_key_source, p_key_id,
    p_outcome, p_error_class, p_streamed,
    p_latency_ms, p_input_tokens, p_cached_input_tokens, p_output_tokens, p_reasoning_tokens
  )
  on conflict do nothing;
  if not found then
    return false;
  end if;

  -- Whichever row of the group is free takes it; another is made when none is.
  update public.llm_usage_totals as t
  set
    requests = t.requests + (p_attempt = 1)::integer,
    attempts = t.attempts + 1,
    failures = t.failures + (p_outcome = 'failed')::integer,
    input_tokens = t.input_tokens + coalesce(p_input_tokens, 0),
    cached_input_tokens = t.cached_input_tokens + coalesce(p_cached_input_tokens, 0),
    output_tokens = t.output_tokens + coalesce(p_output_tokens, 0),
    reasoning_tokens = t.reasoning_tokens + coalesce(p_reasoning_tokens, 0),
    last_used_at = greatest(t.last_used_at, v_requested_at)
  where
    t.user_id = v_user and t.id = (
      select u.id
      from public.llm_usage_totals as u
      where
        u.user_id = v_user and u.day = (v_requested_at at time zone 'UTC')::date and u.provider = p_provider
        and u.model = p_model and u.task is not distinct from p_task and u.key_source = p_key_source
        and u.key_id is not distinct from p_key_id and u.recorder = v_recorder
      limit 1
      for update skip locked
    );
  if not found then
    insert into public.llm_usage_totals (
      user_id, day, provider, model, task, key_source, key_id, recorder, requests, attempts, failures,
      input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, last_used_at
    )
    values (
      v_user, (v_requested_at at time zone 'UTC')::date, p_provider, p_model, p_task, p_key_source, p_key_id, v_recorder,
      (p_attempt = 1)::integer, 1, (p_outcome = 'failed')::integer,
      coalesce(p_input_tokens, 0), coalesce(p_cached_input_tokens, 0),
      coalesce(p_output_tokens, 0), coalesce(p_reasoning_tokens, 0), v_requested_at
    );
  end if;

  if p_key_source = 'user' then
    perform llm_private.note_key_outcome(v_user, p_key_id, p_outcome, p_error_class, p_retry_after);
  end if;
  return true;
end
$function$;

COMMENT ON FUNCTION
  "llm_private"."record_usage"(uuid, integer, text, text, text, text, uuid, text, text, boolean,
  integer, integer, integer, integer, integer, double precision) IS 'Record one attempt of the caller''s; false when it is on record already. Errors: see record_llm_usage().';

REVOKE ALL
  ON FUNCTION
    "llm_private"."record_usage"(uuid, integer, text, text, text, text, uuid, text, text, boolean,
    integer, integer, integer, integer, integer, double precision)
  FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION
    "llm_private"."record_usage"(uuid, integer, text, text, text, text, uuid, text, text, boolean,
    integer, integer, integer, integer, integer, double precision)
  TO "authenticated";

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

CREATE OR REPLACE FUNCTION llm_private.resolve_route (
  p_task               text,
  p_model              text,
  p_needs              text[],
  p_operator_providers text[]
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
    where r.left_out is null;

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
  return json_build_object('task', p_task, 'candidates', v_candidates, 'expires_at', v_expires_at);
end
$function$;

COMMENT ON FUNCTION "llm_private"."resolve_route"(text, text, text[], text[]) IS
  'The caller''s route with the keys in plain text, on lease. Errors: see resolve_llm_route().';

REVOKE ALL ON FUNCTION "llm_private"."resolve_route"(text, text, text[], text[]) FROM PUBLIC;

GRANT EXECUTE
  ON FUNCTION "llm_private"."resolve_route"(text, text, text[], text[])
  TO "authenticated";

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
      c.wire_format, c.base_url, c.key_header, c.key_scheme, c.parameter_names
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
      l.key_id is not null or l.left_out = 'operator_keys_declined' as mendable,
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
  -- All of this before anything is read out of the JSON: PostgreSQL's own complaint about an escape that it cannot
  -- read would print the line into the server log, with the key.
  if
    p_body is null or octet_length(p_body::text) > 8192 or p_body::text ~ '\\u'
    or json_typeof(p_body) <> 'object' or json_typeof(p_body -> 'key') is distinct from 'string'
    or json_typeof(p_body -> 'provider') is distinct from 'string'
  then
    perform llm_private.fail(
      400, 'key_malformed', 'The key was not stored: it is too long or contains a character that no key has.',
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
  v_key := p_body ->> 'key';
  perform llm_private.check_key(v_key, v_provider);
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
      'Allowed: keys_readable_by, lease_seconds, operator_keys_by_default, reveal_enabled, reveal_sign_in_within.'
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
      updated_at = now();
  exception when data_exception or integrity_constraint_violation then
    perform llm_private.fail(
      400, 'invalid_setting', 'A setting of the operator has a value that is not allowed.',
      'keys_readable_by: owner or runtime; lease_seconds: 30 to 3600; operator_keys_by_default and reveal_enabled: '
      'true or false; reveal_sign_in_within: an interval such as "10 minutes", or null.'
    );
  end;
  return llm_private.operator_settings_json();
end
$function$;

COMMENT ON FUNCTION "llm_private"."set_operator_settings"(jsonb) IS 'Change the named switches only. Errors: invalid_argument, unknown_setting, invalid_setting.';

REVOKE ALL ON FUNCTION "llm_private"."set_operator_settings"(jsonb) FROM PUBLIC;

GRANT EXECUTE ON FUNCTION "llm_private"."set_operator_settings"(jsonb) TO "service_role";

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
    'key_scheme', 'Bearer', 'key_pattern', '^\S+$', 'key_example', '',
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
      key_example = excluded.key_example, capabilities = excluded.capabilities,
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

COMMENT ON FUNCTION "llm_private"."settings_json"(uuid) IS 'A user''s settings as they see them: with the effective consent, total_requests and last_used_at.';

REVOKE ALL ON FUNCTION "llm_private"."settings_json"(uuid) FROM PUBLIC;

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
    '{default_provider,enable_fallbacks,allow_operator_keys,provider_preferences,task_overrides}'
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
    perform llm_private.check_setting(
      p_changes -> 'default_provider' = 'null' or p_changes ->> 'default_provider' = any(v_providers),
      'default_provider', 'null or one of ' || array_to_string(v_providers, ', ')
    );
    v_new.default_provider := p_changes ->> 'default_provider';
  end if;
  if p_changes ? 'enable_fallbacks' then
    perform llm_private.check_setting(
      jsonb_typeof(p_changes -> 'enable_fallbacks') = 'boolean', 'enable_fallbacks', 'true or false'
    );
    v_new.enable_fallbacks := (p_changes ->> 'enable_fallbacks')::boolean;
  end if;
  if p_changes ? 'allow_operator_keys' then
    perform llm_private.check_setting(
      jsonb_typeof(p_changes -> 'allow_operator_keys') in ('boolean', 'null'), 'allow_operator_keys',
      'true, false or null'
    );
    v_new.allow_operator_keys := (p_changes ->> 'allow_operator_keys')::boolean;
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

CREATE OR REPLACE FUNCTION llm_private.uuid_v7()
  RETURNS uuid
  LANGUAGE sql
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select encode(
    set_bit(set_bit(
      overlay(
        uuid_send(gen_random_uuid())
        placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
        from 1 for 6
      ), 52, 1), 53, 1),
    'hex'
  )::uuid
$function$;

COMMENT ON FUNCTION "llm_private"."uuid_v7"() IS 'A new UUIDv7: ids in the order of time, so that they name a month partition by themselves.';

REVOKE ALL ON FUNCTION "llm_private"."uuid_v7"() FROM PUBLIC;

CREATE OR REPLACE FUNCTION llm_private.uuid_v7_time (
  p_id uuid
)
  RETURNS timestamp with time zone
  LANGUAGE sql
  IMMUTABLE
  SET search_path TO 'pg_catalog', 'pg_temp'
  AS $function$
  select to_timestamp(
    ('x' || lpad(left(replace(p_id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint / 1000.0
  )
$function$;

COMMENT ON FUNCTION "llm_private"."uuid_v7_time"(uuid) IS 'The time that a UUIDv7 carries, to the millisecond.';

REVOKE ALL ON FUNCTION "llm_private"."uuid_v7_time"(uuid) FROM PUBLIC;
