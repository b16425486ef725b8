// SPDX-License-Identifier: BSD-3-Clause
// What the daemon told, and what follows from two answers in a row. Nothing here touches the page.

export const kEvery_ms = 2000;
export const kKept = 150;  // answers: five minutes

/** The answer of /api/state, or {up: false, why}: vmux-web itself may be away, too. */
export async function ask() {
  try {
    const answer = await fetch("api/state", {cache: "no-store", signal: AbortSignal.timeout(8000)});
    if (!answer.ok) return {up: false, why: `vmux-web refuses: ${answer.status} ${answer.statusText}`};
    return await answer.json();
  } catch {
    return {up: false, why: "vmux-web does not answer: it, or the way to it, is down"};
  }
}

export const list = (value) => (Array.isArray(value) ? value : []);
export const object = (value) => (value !== null && typeof value === "object" && !Array.isArray(value) ? value : {});

/** Ports and uplinks in one form. */
export function membersOf(state) {
  const stats = new Map(list(state.stats).map((one) => [one.name, one]));
  const ports = list(state.ports).map((port) => {
    const own = object(stats.get(port.name));
    return {...port, kind: "port", made: port.model, counters: own.counters ?? null, model_counters: object(own.model)};
  });
  const uplinks = list(state.uplinks).map((uplink) => ({...uplink, kind: "uplink", made: uplink.backend, model_counters: {}}));
  return [...ports, ...uplinks];
}

/** Faults for which a device stopped something of its guest's. */
export function faultsOf(member) {
  return Object.entries(member.model_counters)
    .filter(([name]) => /(^|\.)(guest_fault|admin_faults)$/.test(name))
    .reduce((sum, [, value]) => sum + value, 0);
}

/** A second's worth of what has grown; null where it has not been seen twice, or was begun anew in between. */
export function rate(now, before, seconds) {
  if (typeof now !== "number" || typeof before !== "number" || now < before || !(seconds > 0)) return null;
  return (now - before) / seconds;
}

/** Remembers answers, and gives rates. */
export class History {
  #last = new Map();   // by member: {time_ms, counters}
  #rates = new Map();  // by member: [{time_ms, in, out}], bit/s
  #drops = new Map();  // by member: {reason: rate}
  #pollers = new Map();
  #shares = new Map();

  add(state) {
    if (!state.up) {
      for (const rates of this.#rates.values()) this.#push(rates, {time_ms: Date.now(), in: null, out: null});
      this.#last.clear();
      this.#pollers.clear();
      return;
    }
    const members = membersOf(state);
    const names = new Set(members.map((one) => one.name));
    for (const name of this.#rates.keys()) if (!names.has(name)) this.#forget(name);
    for (const member of members) this.#addMember(member, state.time_ms);
    for (const poller of list(state.pollers)) this.#addPoller(poller);
  }

  rates(name) { return this.#rates.get(name) ?? []; }
  drops(name) { return this.#drops.get(name) ?? {}; }
  /** {busy, looking, asleep} of a poller, that add up to 1; null at first. */
  shares(poller) { return this.#shares.get(poller) ?? null; }

  #push(rates, value) {
    rates.push(value);
    if (rates.length > kKept) rates.shift();
  }

  #forget(name) {
    this.#rates.delete(name);
    this.#last.delete(name);
    this.#drops.delete(name);
  }

  #addMember(member, time_ms) {
    if (member.counters === null) return;
    const before = this.#last.get(member.name);
    if (before && before.time_ms === time_ms) return;  // the same answer again
    const seconds = before ? (time_ms - before.time_ms) / 1000 : 0;
    const of = (counter) => rate(member.counters[counter], before?.counters[counter], seconds);
    const bits = (counter) => { const bytes = of(counter); return bytes === null ? null : bytes * 8; };
    if (!this.#rates.has(member.name)) this.#rates.set(member.name, []);
    this.#push(this.#rates.get(member.name), {time_ms, in: bits("rx_bytes"), out: bits("tx_bytes")});
    const drops = Object.keys(member.counters).filter((counter) => counter.startsWith("drop_"));
    this.#drops.set(member.name, Object.fromEntries(drops.map((counter) => [counter, of(counter)])));
    this.#last.set(member.name, {time_ms, counters: member.counters});
  }

  #addPoller(poller) {
    const before = this.#pollers.get(poller.poller);
    this.#pollers.set(poller.poller, poller);
    if (!before) return;
    const grown = ["busy_ns", "looking_ns", "asleep_ns"].map((key) => Math.max(0, poller[key] - before[key]));
    const all = grown.reduce((sum, one) => sum + one, 0);
    if (all > 0) this.#shares.set(poller.poller, {busy: grown[0] / all, looking: grown[1] / all, asleep: grown[2] / all});
  }
}

/** 12345678 -> "12.3 M", 1000 -> "1 k" */
export function si(value) {
  const steps = ["", "k", "M", "G", "T"];
  let step = 0;
  while (value >= 999.5 && step < steps.length - 1) { value /= 1000; ++step; }
  const digits = value === 0 || value >= 99.95 || (step === 0 && Number.isInteger(value)) ? 0 : value >= 9.995 ? 1 : 2;
  return `${Number(value.toFixed(digits))} ${steps[step]}`;
}
export const bits = (value) => (value === null || value === undefined ? "–" : `${si(value)}bit/s`);
export const count = (value) => (typeof value === "number" ? value.toLocaleString("en") : "–");
