// SPDX-License-Identifier: BSD-3-Clause
// Puts the answers into the page. Names are other people's: they are text, never markup.
import {Graph, bar} from "./graph.js";
import {History, ask, bits, count, faultsOf, kEvery_ms, list, membersOf, object, si} from "./state.js";
import {topology} from "./topology.js";

const kMostCards = 24, kMostRows = 200;
const byId = (id) => document.getElementById(id);
const history = new History();
const cards = new Map();  // by name
let shown = null;         // the last answer of a daemon that was up

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** `columns`: [title, value of a row, is a number?]. */
function table(rows, columns, whenEmpty) {
  if (rows.length === 0) return element("p", {class: "none"}, whenEmpty);
  const kind = (isNumber) => (isNumber ? {class: "number"} : {});
  const head = columns.map(([title, , isNumber]) => element("th", {scope: "col", ...kind(isNumber)}, title));
  const body = rows.slice(0, kMostRows).map((row) =>
    element("tr", {}, ...columns.map(([, value, isNumber]) => element("td", kind(isNumber), value(row)))));
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}

// --- ports ---

class Card {
  element = element("article", {class: "card"});
  #graph = new Graph();
  #title = element("h3");
  #facts = element("dl");

  constructor(name) {
    this.#title.textContent = name;
    this.element.append(this.#title, this.#graph.element, this.#facts);
  }

  draw(member) {
    const rates = history.rates(member.name), now = rates.at(-1) ?? {in: null, out: null};
    this.#graph.draw(member.name, rates);
    const [text, kind] = stateOf(member);
    const facts = [["state", element("span", {class: kind}, text)], ["is", describe(member)],
                   ["now", `${bits(now.in)} from it, ${bits(now.out)} to it`]];
    const faults = faultsOf(member);
    if (faults > 0) facts.push(["faults", element("span", {class: "bad"}, count(faults))]);
    this.#facts.replaceChildren(...facts.flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, value)]));
  }
}

function stateOf(member) {
  if (member.link === "down") return ["the cable is pulled", "warn"];
  if (member.ready) return [member.kind === "uplink" ? "the link is up" : "the guest's driver is up", "good"];
  if (member.kind === "uplink") return ["the link is down", "bad"];
  return member.connected ? ["a VM is attached, its driver is not up", "warn"] : ["no VM is attached", "quiet"];
}

function describe(member) {
  const parts = [member.kind === "uplink" ? `uplink, ${member.made}` : member.made];
  if (member.switch) parts.push(`on switch ${member.switch}`);
  if (member.mac) parts.push(member.mac);
  return parts.join(", ");
}

const matches = (texts, wanted) => wanted === "" || texts.some((text) => String(text ?? "").toLowerCase().includes(wanted));

function drawPorts(members) {
  const wanted = byId("ports-filter").value.trim().toLowerCase();
  const found = members.filter((one) => matches([one.name, one.made, one.switch, one.mac], wanted));
  const visible = found.slice(0, kMostCards);
  const names = new Set(visible.map((one) => one.name));
  for (const name of cards.keys()) if (!names.has(name)) { cards.get(name).element.remove(); cards.delete(name); }
  for (const [at, member] of visible.entries()) {
    if (!cards.has(member.name)) cards.set(member.name, new Card(member.name));
    const card = cards.get(member.name);
    card.draw(member);
    if (byId("cards").children[at] !== card.element) byId("cards").insertBefore(card.element, byId("cards").children[at] ?? null);
  }
  const rest = found.length - visible.length;
  byId("cards-more").textContent = rest > 0 ? `and ${rest} more: ask for fewer by name`
    : found.length > 0 ? "" : members.length > 0 ? "None of that kind." : "There are no ports yet.";
}

// --- tables ---

function drawDrops(state, members) {
  const meanings = new Map(list(state.counters).map((one) => [one.name, one.meaning]));
  const rows = members.flatMap((member) => Object.entries(object(member.counters))
    .filter(([counter, value]) => counter.startsWith("drop_") && value > 0)
    .map(([counter, value]) => ({port: member.name, counter, value, now: history.drops(member.name)[counter] ?? null})));
  rows.sort((a, b) => (b.now ?? 0) - (a.now ?? 0) || b.value - a.value);
  byId("drops-table").replaceChildren(table(rows, [
    ["port", (row) => row.port], ["reason", (row) => row.counter.slice(5).replaceAll("_", " ")],
    ["frames", (row) => count(row.value), true], ["per second, now", (row) => (row.now === null ? "–" : si(row.now)), true],
    ["what it means", (row) => meanings.get(row.counter) ?? ""]], "Nothing was dropped."));
}

function drawMacs(state) {
  const wanted = byId("macs-filter").value.trim().toLowerCase();
  const all = list(state.switches).flatMap((one) => list(one.mac_table).map((entry) => ({...entry, switch: one.name})));
  const known = list(state.switches).reduce((sum, one) => sum + (one.mac_count ?? 0), 0);
  const rows = all.filter((row) => matches([row.mac, row.port, row.switch, row.vlan], wanted));
  byId("macs-count").textContent = `${count(Math.min(rows.length, kMostRows))} of ${count(known)} addresses are shown`;
  byId("macs-table").replaceChildren(table(rows, [
    ["address", (row) => row.mac], ["VLAN", (row) => (row.vlan ? String(row.vlan) : "none"), true], ["port", (row) => row.port],
    ["switch", (row) => row.switch], ["last heard", (row) => (row.static ? "static" : `${row.age_s} s ago`), true]],
  known === 0 ? "No address is known." : "No such address."));
}

function drawPollers(state) {
  byId("pollers-table").replaceChildren(table(list(state.pollers), [
    ["poller", (row) => String(row.poller)], ["CPU", (row) => (row.cpu === null ? "any" : String(row.cpu))],
    ["ports", (row) => count(row.ports), true],
    ["busy, looking, asleep", (row) => { const shares = history.shares(row.poller); return shares ? bar(shares) : "–"; }],
    ["busy", (row) => { const shares = history.shares(row.poller); return shares ? `${Math.round(shares.busy * 100)} %` : "–"; }, true],
    ["frames and other work", (row) => count(row.work), true], ["sleeps", (row) => count(row.sleeps), true]], "There are no pollers."));
}

function drawEvents(state) {
  byId("events-table").replaceChildren(table(list(state.events).toReversed(), [
    ["time, UTC", (row) => String(row.time ?? "").replace("T", " ").replace(/\.\d+Z$/, "")], ["what", (row) => String(row.event ?? "").replaceAll("_", " ")],
    ["of", (row) => [row.kind, row.name].filter(Boolean).join(" ")], ["more", (row) => [row.detail, row.number].filter((one) => one !== undefined).join(" ")]],
  "Nothing has happened."));
}

function drawFindings(findings) {
  const rows = Array.isArray(findings) ? findings : list(object(findings).findings);
  byId("findings").hidden = findings === null || findings === undefined;
  const say = (row) => {
    const where = [row.kind, row.name].filter(Boolean).join(" ");
    const kind = {problem: "bad", warning: "warn"}[row.severity] ?? "";
    return element("li", {}, element("span", {class: kind}, `${row.severity ?? "note"}: `), where ? `${where}: ` : "",
                   String(row.text ?? ""), row.advice ? ` (${row.advice})` : "");
  };
  byId("findings-list").replaceChildren(...(rows.length > 0 ? rows.map(say) : [element("li", {class: "good"}, "Nothing is wrong.")]));
}

// --- all of it ---

function drawAll() {
  if (shown === null) return;
  const members = membersOf(shown);
  drawPorts(members);
  byId("map").replaceChildren(topology(list(shown.switches), members) ?? element("p", {class: "none"}, "There are no switches."));
  drawDrops(shown, members);
  drawMacs(shown);
  drawPollers(shown);
  drawEvents(shown);
  drawFindings(shown.findings);
}

/** One that is away leaves what was seen last, marked as old. */
function drawState(state) {
  const pill = byId("state");
  const text = state.up ? "The daemon answers" : "The daemon is away";
  if (pill.textContent !== text) pill.textContent = text;  // it is read out when it changes
  pill.className = `pill ${state.up ? "good" : "bad"}`;
  byId("away").hidden = state.up;
  const why = state.up ? "" : `There is no answer: ${state.why}.${shown === null ? "" : " What is below is old."}`;
  if (byId("away").textContent !== why) byId("away").textContent = why;
  byId("content").classList.toggle("stale", !state.up);
  if (!state.up) return;
  byId("version").textContent = object(state.version).version ?? "";
  byId("updated").textContent = `as of ${new Date(state.time_ms).toLocaleTimeString()}`;
}

async function turn() {
  const state = await ask();
  history.add(state);
  if (state.up) shown = state;
  drawState(state);
  drawAll();
}

async function run() {
  for (;;) {
    if (!document.hidden) {
      try {
        await turn();
      } catch (error) {
        console.error(error);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, kEvery_ms));
  }
}

for (const id of ["ports-filter", "macs-filter"]) byId(id).addEventListener("input", drawAll);
run();
