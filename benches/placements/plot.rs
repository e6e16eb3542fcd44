//! Curves as a small SVG that is readable on light and on dark pages.

use std::fmt::Write;

/// The picture, and where the curves lie in it.
const WIDE: f64 = 720.0;
const HIGH: f64 = 400.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 348.0;

/// Colours that differ in lightness too, and are seen on white and on black.
const COLOURS: [&str; 4] = ["#2f81f7", "#d98a00", "#2da44e", "#a371f7"];

/// One curve: its name, and microseconds by agents.
pub struct Curve {
    pub name: &'static str,
    pub points: Vec<(usize, f64)>,
}

/// Microseconds a placement against agents, the latter by powers of ten.
pub fn svg(curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let most = points().map(|(_, cost)| *cost).fold(1.0, f64::max).ceil();
    let (first, last) =
        (points().map(|(at, _)| *at).min().unwrap(), points().map(|(at, _)| *at).max().unwrap());
    let log = |agents: usize| (agents as f64).log10();
    let x = |agents: usize| LEFT + (log(agents) - log(first)) / (log(last) - log(first)) * (RIGHT - LEFT);
    let y = |cost: f64| BOTTOM - cost / most * (BOTTOM - TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDE} {HIGH}\" role=\"img\" \
         aria-label=\"Microseconds a placement against the number of agents\">\n\
         <style>\n\
         text {{ font: 13px sans-serif; fill: #1f2328 }}\n\
         .grid {{ stroke: #8c959f; stroke-opacity: .35 }}\n\
         .curve {{ fill: none; stroke-width: 2.5; stroke-linejoin: round }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} }}\n\
         </style>\n\
         <text x=\"{LEFT}\" y=\"24\">microseconds a placement, of one processor</text>\n"
    );
    let step = (most / 6.0).ceil().max(1.0);
    let mut cost = 0.0;
    while cost <= most {
        let at = y(cost);
        writeln!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>").unwrap();
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{cost}</text>",
            LEFT - 8.0,
            at + 4.0
        )
        .unwrap();
        cost += step;
    }
    let sizes: std::collections::BTreeSet<usize> = points().map(|(at, _)| *at).collect();
    for agents in sizes {
        let at = x(agents);
        writeln!(svg, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{BOTTOM}\"/>").unwrap();
        let text = if agents < 1_000 { agents.to_string() } else { format!("{}k", agents / 1_000) };
        writeln!(svg, "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>", BOTTOM + 20.0)
            .unwrap();
    }
    writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">agents</text>",
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 42.0
    )
    .unwrap();
    // Names beside the ends of their curves, far enough from each other to be read.
    let mut ends: Vec<(f64, usize)> =
        curves.iter().enumerate().map(|(at, curve)| (y(curve.points.last().unwrap().1), at)).collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut lowest = TOP;
    for (end, at) in ends {
        let (curve, colour) = (&curves[at], COLOURS[at % COLOURS.len()]);
        let line: Vec<String> =
            curve.points.iter().map(|(agents, cost)| format!("{:.1},{:.1}", x(*agents), y(*cost))).collect();
        writeln!(svg, "<polyline class=\"curve\" stroke=\"{colour}\" points=\"{}\"/>", line.join(" "))
            .unwrap();
        let label = end.max(lowest);
        lowest = label + 17.0;
        writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>",
            RIGHT + 10.0,
            label - 5.0
        )
        .unwrap();
        writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", RIGHT + 26.0, label + 4.0, curve.name)
            .unwrap();
    }
    svg + "</svg>\n"
}
