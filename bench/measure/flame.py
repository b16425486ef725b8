# SPDX-License-Identifier: BSD-3-Clause
"""Folded stacks as a flame graph: one SVG that needs nothing else. Click a frame to enlarge it, Escape to go back, / to search."""
from html import escape

WIDTH, ROW, TOP, LEAST = 1200, 18, 34, 0.4  # pixels; a frame narrower than LEAST is not drawn
HEADS = 3  # levels that are no code: all, process, thread
CHARACTER = 6.6  # of the 11-pixel font, about


class Frame:
    def __init__(self, name):
        self.name, self.count, self.inner = name, 0, {}

    def add(self, path, count):
        self.count += count
        if path:
            self.inner.setdefault(path[0], Frame(path[0])).add(path[1:], count)

    def depth(self):
        return 1 + max((frame.depth() for frame in self.inner.values()), default=0)


def tree(folded):
    root = Frame("all")
    for stack, count in folded.items():
        root.add(stack.split(";"), count)
    return root


def colour(name, level):
    """The kind of code by hue, neighbours by lightness: steady between graphs, so two can be looked at side by side."""
    shade = sum(ord(letter) * (at + 1) for at, letter in enumerate(name)) % 5
    if level < HEADS:
        return f"p{shade}"
    if name.endswith("_[k]"):
        return f"k{shade}"
    if name.startswith("["):
        return f"u{shade}"
    return f"v{shade}" if "vmux" in name else f"n{shade}"


def _rows(frame, x, level, scale, total, out):
    width = frame.count * scale
    if width < LEAST:
        return
    share = 100 * frame.count / total
    out.append((x, level, width, frame.name.removesuffix("_[k]"), colour(frame.name, level), f"{frame.count} samples, {share:.1f} %"))
    at = x
    for inner in sorted(frame.inner.values(), key=lambda one: one.name):
        _rows(inner, at, level + 1, scale, total, out)
        at += inner.count * scale


def svg(folded, title):
    """The whole file. Sizes are fractions of the width, so enlarging is a matter of arithmetic in the file's own script."""
    root = tree(folded)
    if not root.count:
        return ""
    rows = []
    _rows(root, 0.0, 0, WIDTH / root.count, root.count, rows)
    height = TOP + (max(row[1] for row in rows) + 1) * ROW + 8
    parts = [f'<svg class="flame" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="100%" role="img" aria-label="{escape(title)}">',
             f"<style>{STYLE}</style>", f'<text class="t" x="4" y="16">{escape(title)}</text><text class="s" x="{WIDTH - 4}" y="16"></text>']
    for x, level, width, name, kind, note in rows:
        y = height - 8 - (level + 1) * ROW
        shown = label(name, width)
        parts.append(f'<g class="f" data-x="{x:.2f}" data-w="{width:.2f}" data-l="{level}"><title>{escape(name)} ({note})</title>'
                     f'<rect class="{kind}" x="{x:.2f}" y="{y}" width="{max(width - 0.5, 0.4):.2f}" height="{ROW - 1}" rx="2"/>'
                     f'<text x="{x + 3:.2f}" y="{y + 12.5}">{escape(shown)}</text></g>')
    parts.append(f"<script><![CDATA[{SCRIPT}]]></script></svg>")
    return "\n".join(parts)


def label(name, width):
    room = int((width - 6) / CHARACTER)
    if room < 3:
        return ""
    return name if len(name) <= room else name[:room - 1] + "…"


def _palette(kind, hue, saturation, light, step):
    return "".join(f".flame .{kind}{n}{{fill:hsl({hue},{saturation}%,{light + n * step}%)}}" for n in range(5))


STYLE = (".flame{font:11px system-ui,sans-serif}.flame text{fill:#1b1b18;pointer-events:none}.flame .t{font-size:13px;font-weight:600}.flame .s{text-anchor:end}"
         ".flame .f{cursor:pointer}.flame .f:hover rect{stroke:#1b1b18;stroke-width:1}.flame .dim{opacity:.35}.flame .hit rect{fill:#c026d3}.flame .hit text{fill:#fff}"
         + _palette("n", 36, 85, 62, 3) + _palette("k", 205, 60, 66, 3) + _palette("u", 40, 6, 74, 3) + _palette("v", 152, 48, 60, 3) + _palette("p", 40, 10, 84, 1)
         + "@media(prefers-color-scheme:dark){.flame .t,.flame .s{fill:#e8e6e0}.flame .f:hover rect{stroke:#fff}}")

SCRIPT = r"""
(function(){
  var me=document.currentScript, svg=me.closest?me.closest('svg'):me.ownerSVGElement, W=1200, C=6.6;
  if(!svg)svg=document.documentElement;
  var frames=[].slice.call(svg.querySelectorAll('g.f')), status=svg.querySelector('text.s');
  function name(g){return g.querySelector('title').textContent.replace(/ \(\d+ samples.*$/,'')}
  function place(g,x,w){var r=g.querySelector('rect'),t=g.querySelector('text'),n=name(g),room=Math.floor((w-6)/C);
    r.setAttribute('x',x);r.setAttribute('width',Math.max(w-.5,.4));t.setAttribute('x',Math.max(x,0)+3);
    t.textContent=room<3?'':n.length<=room?n:n.slice(0,room-1)+'\u2026'}
  function zoom(to){var x0=+to.dataset.x,w0=+to.dataset.w,l0=+to.dataset.l,k=W/w0;
    frames.forEach(function(g){var x=+g.dataset.x,w=+g.dataset.w,under=x>=x0-.01&&x+w<=x0+w0+.01,holds=x<=x0+.01&&x+w>=x0+w0-.01;
      if(+g.dataset.l<l0?holds:under){g.style.display='';if(+g.dataset.l<l0){place(g,0,W)}else{place(g,(x-x0)*k,w*k)}
        g.classList.toggle('dim',+g.dataset.l<l0)}else g.style.display='none'})}
  function search(word){var sum=0,seen=[];frames.forEach(function(g){var hit=!!word&&name(g).toLowerCase().indexOf(word.toLowerCase())>=0;
      g.classList.toggle('hit',hit);if(hit&&!seen.some(function(s){return +g.dataset.x>=s[0]-.01&&+g.dataset.x<s[1]-.01})){sum+=+g.dataset.w;seen.push([+g.dataset.x,+g.dataset.x+ +g.dataset.w])}});
    status.textContent=word?word+': '+(100*sum/W).toFixed(1)+' %':''}
  frames.forEach(function(g){g.addEventListener('click',function(){zoom(g)})});
  document.addEventListener('keydown',function(e){if(e.target.matches&&e.target.matches('input'))return;
    if(e.key==='Escape'){zoom(frames[0]);search('')}else if(e.key==='/'){e.preventDefault();search(prompt('Frames whose name holds:')||'')}});
})();
"""
