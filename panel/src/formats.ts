/** Numbers, money and times in the reader's locale. */

export class Formats {
  constructor(
    private readonly lang: string,
    private readonly timeZone: string,
  ) {}

  number(value: number): string {
    return new Intl.NumberFormat(this.lang).format(value);
  }

  /** A number to edit, without separators between thousands. */
  input(value: number): string {
    return new Intl.NumberFormat(this.lang, { useGrouping: false, maximumFractionDigits: 20 }).format(value);
  }

  /** Large counts, shortened: 1.5M. */
  short(value: number): string {
    return new Intl.NumberFormat(this.lang, { notation: "compact", maximumFractionDigits: 1 }).format(value);
  }

  /** A share of 1, as a whole number of percent. */
  percent(value: number): string {
    return new Intl.NumberFormat(this.lang, { style: "percent" }).format(value);
  }

  /** US dollars, with enough digits to show small amounts. */
  money(value: number): string {
    const cents = value * 100;
    const digits = Math.abs(value) < 1 && Math.abs(cents - Math.round(cents)) > 1e-9;
    return new Intl.NumberFormat(this.lang, {
      style: "currency",
      currency: "USD",
      ...(digits ? { maximumSignificantDigits: 3 } : {}),
    }).format(value);
  }

  time(value: string): string {
    return new Intl.DateTimeFormat(this.lang, {
      dateStyle: "medium",
      timeStyle: "short",
      timeZone: this.timeZone,
    }).format(new Date(value));
  }

  /** A time of the last months, without its year. */
  shortTime(value: string): string {
    return new Intl.DateTimeFormat(this.lang, {
      day: "numeric",
      month: "short",
      hour: "numeric",
      minute: "2-digit",
      timeZone: this.timeZone,
    }).format(new Date(value));
  }

  /** A past time relative to now: 5 minutes ago. */
  ago(value: string): string {
    const seconds = Math.min(0, (new Date(value).getTime() - Date.now()) / 1000);
    const units = [
      ["day", 86_400],
      ["hour", 3600],
      ["minute", 60],
    ] as const;
    if (seconds < -30 * 86_400) return this.day(value);
    const [unit, size] = units.find(([, length]) => -seconds >= length) ?? ["second", 1];
    const format = new Intl.RelativeTimeFormat(this.lang, { numeric: "auto" });
    return unit === "second" ? format.format(0, "second") : format.format(Math.ceil(seconds / size), unit);
  }

  /** A date (YYYY-MM-DD) without its year, for an axis. */
  monthDay(date: string): string {
    return new Intl.DateTimeFormat(this.lang, { day: "numeric", month: "short", timeZone: "UTC" }).format(
      new Date(date),
    );
  }

  /** A date (YYYY-MM-DD) with its weekday. */
  dateInWords(date: string): string {
    const style = {
      weekday: "short",
      day: "numeric",
      month: "short",
      year: "numeric",
      timeZone: "UTC",
    } as const;
    return new Intl.DateTimeFormat(this.lang, style).format(new Date(date));
  }

  /** The date `ago` days before a time, as YYYY-MM-DD. */
  dateBefore(now: number, ago: number): string {
    // Swedish dates have this format.
    const today = new Intl.DateTimeFormat("sv", { timeZone: this.timeZone }).format(now);
    return new Date(Date.parse(today) - ago * 86_400_000).toISOString().slice(0, 10);
  }

  day(value: string): string {
    return new Intl.DateTimeFormat(this.lang, { dateStyle: "medium", timeZone: this.timeZone }).format(
      new Date(value),
    );
  }
}
