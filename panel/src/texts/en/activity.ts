export const activity = {
  "activity.none":
    "Nothing has happened yet. Changes to your keys and settings, and who was given a key, appear here.",
  "activity.more": "Load more",
  "activity.when": "When",
  "activity.what": "What",
  "activity.who": "Who",
  "activity.actor.user": "you",
  "activity.actor.runtime": "the app's server",
  "activity.action.settings_changed": "Settings changed",
  "activity.action.key_set": "Key {hint} of {provider} stored",
  "activity.action.key_revoked": "Key {hint} of {provider} removed",
  "activity.action.key_revealed": "Key {hint} of {provider} shown",
  "activity.action.key_tested": "A key of {provider} tested",
  "activity.action.price_set": "Price of a model of {provider} set",
  "activity.action.price_ended": "Price of a model of {provider} ended",
  "activity.action.lease": "Key {hint} of {provider} lent for requests, until {until}",
};
