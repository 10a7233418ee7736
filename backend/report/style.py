"""The look of the report: one style sheet, light and dark, for a phone and a screen. No words, no figures."""

from __future__ import annotations

__all__ = ["CSS"]

CSS = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1b1f24;--dim:#5b6470;--line:#d8dee6;--card:#f6f8fa;
--c0:#2f6fde;--c1:#d9822b;--c2:#2c9a5b;--c3:#c23b4e;--c4:#7a55c7;--c5:#6b7683;--add:#d3f2dd;--del:#fbdcdf}
@media(prefers-color-scheme:dark){:root{--bg:#14171b;--ink:#e6eaf0;--dim:#9aa4b1;--line:#343b44;--card:#1c2127;
--c0:#6ea0ff;--c1:#f0a659;--c2:#57c487;--c3:#f07b8b;--c4:#ab8cf0;--c5:#97a1ad;--add:#1d4a2e;--del:#5a2530}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:1080px;margin:0 auto;padding:16px}
h1{font-size:1.5rem;margin:.2em 0}h2{font-size:1.15rem;margin:2em 0 .4em;border-bottom:1px solid var(--line)}
p{margin:.4em 0}.dim{color:var(--dim);font-size:.875rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:12px 0}
.card,figure{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px;margin:0}
.card b{display:block;font-size:1.3rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
td,th{text-align:left;padding:4px 8px;border-bottom:1px solid var(--line);vertical-align:top}
td,th{overflow-wrap:normal;min-width:4.5em}td:last-child{overflow-wrap:break-word;min-width:11em}
svg{display:block;width:100%;height:auto;max-width:720px}
svg text{fill:var(--dim);font:12px system-ui,sans-serif}
.grid{stroke:var(--line)}.guide{stroke:var(--dim);stroke-dasharray:5 5}
polyline{fill:none;stroke-width:2.5}.thin{stroke-width:1.5}
.s0{fill:var(--c0)}.s1{fill:var(--c1)}.s2{fill:var(--c2)}.s3{fill:var(--c3)}.s4{fill:var(--c4)}.s5{fill:var(--c5)}
.l0{stroke:var(--c0)}.l1{stroke:var(--c1)}.l2{stroke:var(--c2)}.l3{stroke:var(--c3)}.l4{stroke:var(--c4)}
.l5{stroke:var(--c5)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 14px;margin:6px 0;padding:0;font-size:.875rem}
.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}
.k0{background:var(--c0)}.k1{background:var(--c1)}.k2{background:var(--c2)}.k3{background:var(--c3)}
.k4{background:var(--c4)}.k5{background:var(--c5)}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,240px),1fr));gap:12px}
figure img{display:block;width:100%;height:auto;background:var(--line);border-radius:4px}
figcaption{font-size:.9rem}
ins{background:var(--add);text-decoration:none}del{background:var(--del)}
.yes{color:var(--c2)}.no{color:var(--c3)}
"""
