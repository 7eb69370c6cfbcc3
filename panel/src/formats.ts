/** Numbers, money and times as the reader's language writes them. */

export class Formats {
  constructor(
    private readonly lang: string,
    private readonly timeZone: string,
  ) {}

  number(value: number): string {
    return new Intl.NumberFormat(this.lang).format(value);
  }

  /** Large counts in few letters: 1.5M. */
  short(value: number): string {
    return new Intl.NumberFormat(this.lang, { notation: "compact", maximumFractionDigits: 1 }).format(value);
  }

  /** US dollars, with as many digits as it takes to see small amounts. */
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

  /** A day without its year, for an axis. */
  monthDay(at: number): string {
    return new Intl.DateTimeFormat(this.lang, {
      day: "numeric",
      month: "short",
      timeZone: this.timeZone,
    }).format(at);
  }

  /** The date, as YYYY-MM-DD, that it is `ago` days before a time. */
  dateBefore(now: number, ago: number): string {
    // Swedish dates are written so.
    const today = new Intl.DateTimeFormat("sv", { timeZone: this.timeZone }).format(now);
    return new Date(Date.parse(today) - ago * 86_400_000).toISOString().slice(0, 10);
  }

  day(value: string): string {
    return new Intl.DateTimeFormat(this.lang, { dateStyle: "medium", timeZone: this.timeZone }).format(
      new Date(value),
    );
  }
}
