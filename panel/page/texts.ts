/** The page's own texts, in the browser's language. */

const en = {
  title: "LLM settings",
  signOut: "Sign out",
  signIn: "Sign in",
  about: "Use an account of the app, or create one.",
  email: "Email",
  password: "Password",
  signUp: "Create account",
  confirm: "Account created. Follow the link in the email, then sign in.",
  failed: "Couldn't load the page. Check that `supa-llm panel` is running, then reload.",
};

const de: typeof en = {
  title: "LLM-Einstellungen",
  signOut: "Abmelden",
  signIn: "Anmelden",
  about: "Verwenden Sie ein Konto der App oder erstellen Sie eines.",
  email: "E-Mail",
  password: "Passwort",
  signUp: "Konto erstellen",
  confirm: "Konto erstellt. Folgen Sie dem Link in der E-Mail und melden Sie sich dann an.",
  failed: "Die Seite ließ sich nicht laden. Prüfen Sie, ob `supa-llm panel` läuft, und laden Sie neu.",
};

/** The first of the browser's languages that the panel has; otherwise English. */
export const language = navigator.languages.find((tag) => /^(en|de)\b/i.test(tag)) ?? "en";
export const texts = language.toLowerCase().startsWith("de") ? de : en;
