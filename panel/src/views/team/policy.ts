/** A team's policy as the Policy section shows and changes it. */

import { changesBetween, countChanges } from "../../changes.js";
import type { Policy, TeamDetails } from "../../types.js";

export function policyOf(team: TeamDetails): Policy {
  return structuredClone({
    keys_first: team.keys_first,
    allowed_providers: team.allowed_providers,
    default_provider: team.default_provider,
    provider_preferences: team.provider_preferences,
    task_overrides: team.task_overrides,
  });
}

/** The changes in the format of set_llm_team(); null if there are none. */
export function policyChanges(base: Policy, wanted: Policy): object | null {
  return changesBetween(base, wanted);
}

export function countPolicyChanges(base: Policy, wanted: Policy): number {
  return countChanges(base, wanted);
}

/** Whether requests with the team may use a provider. */
export function allows(policy: Policy, provider: string): boolean {
  const { allowed_providers: allowed, provider_preferences: preferences } = policy;
  if (preferences[provider]?.enabled === false) return false;
  const models = allowed === null || (Object.hasOwn(allowed, provider) && allowed[provider]);
  return models === true || (Array.isArray(models) && models.length > 0);
}

/** The models that the team may use at a provider; null: all of them. */
export function modelsOf({ allowed_providers: allowed }: Policy, provider: string): string[] | null {
  const models = allowed?.[provider];
  return Array.isArray(models) ? models : null;
}

/** Allow or forbid a provider. While every provider is allowed, a forbidden one is disabled instead. */
export function setAllowed(policy: Policy, provider: string, on: boolean): Policy {
  const changed = structuredClone(policy);
  const { allowed_providers: allowed, provider_preferences: preferences } = changed;
  const { enabled: _, ...rest } = preferences[provider] ?? {};
  const preference = allowed === null && !on ? { ...rest, enabled: false } : rest;
  if (Object.keys(preference).length) preferences[provider] = preference;
  else delete preferences[provider];
  if (allowed && on) allowed[provider] = true;
  if (allowed && !on) delete allowed[provider];
  return changed;
}

/** Allow only these models of a provider, or all of them with null. */
export function setModels(
  policy: Policy,
  provider: string,
  models: string[] | null,
  providers: string[],
): Policy {
  const changed = models ? setOnlyListed(policy, true, providers) : structuredClone(policy);
  if (changed.allowed_providers) changed.allowed_providers[provider] = models ?? true;
  return changed;
}

/**
 * Allow only the listed providers: those that are allowed now. Otherwise all are allowed, also those that the app adds
 * later, except for those that are off now.
 */
export function setOnlyListed(policy: Policy, only: boolean, providers: string[]): Policy {
  if (only === (policy.allowed_providers !== null)) return structuredClone(policy);
  const on = providers.filter((provider) => allows(policy, provider));
  const listed = only ? Object.fromEntries(on.map((provider) => [provider, true as const])) : null;
  const changed: Policy = { ...structuredClone(policy), allowed_providers: listed };
  return providers.reduce((result, provider) => setAllowed(result, provider, on.includes(provider)), changed);
}
