-- What `supa-llm local up`, `supabase start` and `supabase db reset` begin with: the provider catalog.
-- Running it again changes nothing that is there already.
select llm_private.add_default_providers();
