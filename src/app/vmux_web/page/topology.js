// SPDX-License-Identifier: BSD-3-Clause
// Who is plugged in where: for each switch its ports at the left and its uplinks at the right.
import {svg} from "./graph.js";

const kRow = 42, kBox = 34, kSide = 170, kWidth = 620, kGap = 18, kMost = 40;  // of a side; others are counted only
const kSwitchLeft = 250, kSwitchWidth = 120;

const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function stateOf(member) {
  if (member.link === "down") return "cable pulled";
  if (member.ready) return "up";
  return member.connected ? "driver down" : member.kind === "uplink" ? "down" : "no VM";
}

function box(member, x, y) {
  const note = `${member.made ?? ""}, ${stateOf(member)}`;
  return svg("g", {},
    svg("title", {}, `${member.name} (${note})`),
    svg("rect", {x, y, width: kSide, height: kBox, rx: 4}),
    svg("text", {x: x + 8, y: y + 15}, short(member.name, 22)),
    svg("text", {class: "note", x: x + 8, y: y + 28}, short(note, 30)));
}

function column(members, x, top, toX) {
  const parts = [];
  for (const [at, member] of members.slice(0, kMost).entries()) {
    const y = top + at * kRow, middle = y + kBox / 2;
    const from = toX > x ? x + kSide : x;
    if (toX !== null) parts.push(svg("path", {class: member.ready ? "up" : "down", d: `M${from} ${middle}H${toX}`}));
    parts.push(box(member, x, y));
  }
  if (members.length > kMost) {
    parts.push(svg("text", {class: "note", x: x + 8, y: top + kMost * kRow + 12}, `and ${members.length - kMost} more`));
  }
  return parts;
}

const rowsOf = (count) => Math.max(1, Math.min(count, kMost) + (count > kMost ? 1 : 0));

/** An svg element, or null where there is nothing to draw. */
export function topology(switches, members) {
  const groups = switches.map((one) => ({name: one.name, all: members.filter((member) => member.switch === one.name)}));
  const alone = members.filter((member) => !switches.some((one) => one.name === member.switch));
  if (alone.length > 0) groups.push({name: null, all: alone});
  if (groups.length === 0) return null;
  const parts = [];
  let top = 10;
  for (const {name, all} of groups) {
    const ports = all.filter((one) => one.kind === "port"), uplinks = all.filter((one) => one.kind === "uplink");
    const rows = Math.max(rowsOf(ports.length), rowsOf(uplinks.length));
    const height = rows * kRow - (kRow - kBox);
    parts.push(...column(ports, 10, top, name === null ? null : kSwitchLeft));
    parts.push(...column(uplinks, kWidth - kSide - 10, top, name === null ? null : kSwitchLeft + kSwitchWidth));
    if (name !== null) {
      parts.push(svg("g", {}, svg("title", {}, `switch ${name}`),
        svg("rect", {class: "switch", x: kSwitchLeft, y: top, width: kSwitchWidth, height, rx: 4}),
        svg("text", {x: kSwitchLeft + kSwitchWidth / 2, y: top + height / 2 + 4, "text-anchor": "middle"}, short(name, 15))));
    }
    top += height + kGap;
  }
  const said = groups.map(({name, all}) => `${name === null ? "without a switch" : `switch ${name}`}: ` +
    (all.map((one) => `${one.name} ${stateOf(one)}`).slice(0, kMost).join(", ") || "nothing"));
  return svg("svg", {class: "map", viewBox: `0 0 ${kWidth} ${top}`, role: "img", "aria-label": said.join("; ")}, ...parts);
}
